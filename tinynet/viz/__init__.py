"""Pictures: training curves, schedules, graphs, optimizers on their way. Start with `curves.py`."""

from .anatomy import plot_anatomy
from .contact_sheet import contact_sheet
from .curves import Panel, plot_history, plot_panels, plot_schedule
from .graph import plot_graph
from .landscape import plot_paths
from .race import race_gif, race_page
from .report import write_report
from .search import plot_searches

__all__ = ["Panel", "contact_sheet", "plot_anatomy", "plot_graph", "plot_history", "plot_panels",
           "plot_paths", "plot_schedule", "plot_searches", "race_gif", "race_page", "write_report"]
