"""Pictures: curves, schedules, graphs, optimizers at work.

Every function that draws returns its figure, which a notebook shows; with a path it
writes a file as well.

Read next: `viz/canvas.py`.
"""

# ruff: noqa: I001
from .anatomy import plot_anatomy as plot_anatomy
from .answers import plot_confusion as plot_confusion, plot_predictions as plot_predictions
from .card import (
    ReportCard as ReportCard, draw_answers as draw_answers, write_card as write_card,
    write_layers as write_layers,
)
from .contact_sheet import contact_sheet as contact_sheet
from .curves import (
    Panel as Panel, plot_history as plot_history, plot_panels as plot_panels,
    plot_schedule as plot_schedule,
)
from .graph import plot_graph as plot_graph
from .landscape import plot_paths as plot_paths
from .race import race_gif as race_gif
from .report import write_report as write_report
from .search import plot_searches as plot_searches
from ..names import lister as _lister

__dir__ = _lister(__name__)
