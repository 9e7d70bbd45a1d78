"""Pictures: training curves and schedules. Start with `curves.py`."""

from .curves import plot_history, plot_schedule

__all__ = ["plot_history", "plot_schedule"]
