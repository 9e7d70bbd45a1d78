"""The way people train: a loop with curves, validation, best weights, and saved models.

    trainer = Trainer(model, optimizer)
    history = trainer.fit(train_loader, val_loader, epochs=10)
    print(history.table(), trainer.evaluate(test_loader))
    save_model(model, "model.safetensors")

Start with `trainer.py`. How settings are chosen is `tinynet.tune`; the pictures are in
`tinynet.viz`.
"""

<<<<<<< HEAD
from ..files import write_atomic
from . import recipe
from .anatomy import Anatomy, trace
from .averaging import WeightAveraging, averaged, recompute_batch_norm
from .callbacks import (
    RATIO_HIGH,
    RATIO_LOW,
    BestWeights,
    Callback,
    ClipGradients,
    EarlyStopping,
    ReportToSchedule,
    Run,
    UpdateRatio,
    ratio_advice,
    ratio_warnings,
)
from .checkpoint import load_model, read_model, save_model
from .detective import NanGuard, find_nonfinite
from .diagnose import ADVICE, Diagnosis, diagnose
from .ensemble import Ensemble, EnsembleRow, EnsembleTable, Snapshots
from .history import History, smooth
from .journal import Journal
from .logs import LogFile, TensorBoard
from .progress import Progress
from .rates import label_rates
from .resume import Checkpoints, read_checkpoint, read_newest, save_checkpoint
from .search import (
    Search,
    Trial,
    grid_search,
    random_search,
    run_trials,
    successive_halving,
)
from .space import Choice, LogUniform, Uniform, When, grid, hit_probability, sample
from .trainer import Evaluation, Trainer, count_correct
from .views import predict_views

__all__ = [
    "ADVICE", "Anatomy", "BestWeights", "Callback", "Checkpoints", "Choice", "ClipGradients",
    "Diagnosis", "EarlyStopping", "Ensemble", "EnsembleRow", "EnsembleTable", "Evaluation",
    "History", "Journal", "LogFile", "LogUniform", "NanGuard", "Progress", "RATIO_HIGH",
    "RATIO_LOW", "ReportToSchedule", "Run",
    "Search", "Snapshots", "TensorBoard", "Trainer", "Trial", "Uniform", "UpdateRatio",
    "WeightAveraging", "When", "averaged", "count_correct", "diagnose", "find_nonfinite", "grid",
    "grid_search", "hit_probability", "label_rates", "load_model", "predict_views", "random_search",
    "ratio_advice", "ratio_warnings", "read_checkpoint", "read_model", "read_newest", "recipe",
    "recompute_batch_norm", "run_trials", "sample", "save_checkpoint", "save_model", "smooth",
    "successive_halving", "trace", "write_atomic",
]
=======
import sys
from typing import Any

from ..files import write_atomic as write_atomic
from .anatomy import Anatomy as Anatomy, trace as trace
from .averaging import (
    WeightAveraging as WeightAveraging,
    averaged as averaged,
    recompute_batch_norm as recompute_batch_norm,
)
from .callbacks import (
    RATIO_HIGH as RATIO_HIGH,
    RATIO_LOW as RATIO_LOW,
    BestWeights as BestWeights,
    Callback as Callback,
    ClipGradients as ClipGradients,
    EarlyStopping as EarlyStopping,
    ReportToSchedule as ReportToSchedule,
    UpdateRatio as UpdateRatio,
    ratio_advice as ratio_advice,
    ratio_warnings as ratio_warnings,
)
from .checkpoint import (
    load_model as load_model,
    read_model as read_model,
    save_model as save_model,
)
from .detective import NanGuard as NanGuard, find_nonfinite as find_nonfinite
from .ensemble import (
    Ensemble as Ensemble,
    EnsembleRow as EnsembleRow,
    EnsembleTable as EnsembleTable,
    Snapshots as Snapshots,
)
from .history import History as History, smooth as smooth
from .logs import LogFile as LogFile, TensorBoard as TensorBoard
from .progress import Progress as Progress
from .resume import (
    Checkpoints as Checkpoints,
    read_checkpoint as read_checkpoint,
    read_newest as read_newest,
    save_checkpoint as save_checkpoint,
)
from .trainer import (
    Evaluation as Evaluation,
    Trainer as Trainer,
    count_correct as count_correct,
)
from .views import predict_views as predict_views


def __getattr__(name: str) -> Any:
    """Names of `tinynet.tune`, which chooses settings, are found here as well."""
    tune = sys.modules.get("tinynet.tune")
    if tune is not None and not name.startswith("_") and hasattr(tune, name):
        return getattr(tune, name)
    raise AttributeError(f"module 'tinynet.train' has no attribute {name!r}")
>>>>>>> 70cf28d (train/ runs, tune/ chooses: search, diagnosis, sanity checks and the recipe have a room of their own)
