"""Pictures: training curves and schedules, and optimizers on their way. Start with `curves.py`."""

from .contact_sheet import contact_sheet
from .curves import Panel, plot_history, plot_panels, plot_schedule
from .landscape import plot_paths
from .race import race_gif, race_page
from .report import write_report
from .search import plot_searches

__all__ = ["Panel", "contact_sheet", "plot_history", "plot_panels", "plot_paths", "plot_schedule",
           "plot_searches", "race_gif", "race_page", "write_report"]
