"""The way people train: a loop with curves, validation, best weights, and saved models.

    trainer = Trainer(model, optimizer)
    history = trainer.fit(train_loader, val_loader, epochs=10)
    print(history.table(), trainer.evaluate(test_loader))
    save_model(model, "model.safetensors")

The lecture closes with two questions and who answers them (H10):

    Is the training error too high?           Is the test error much higher?
    functional.activation   nn.init           data.augment      data.colour    data.crops
    functional.norm         nn.norm           data.geometry     data.mix       data.erase
    optim.first_order       optim.schedule    functional.regularize            nn.dropout
    optim.second_order      optim.clip        functional.dropconnect           nn.noise
    optim.quasi_newton      train.rates       functional.fractional            optim.averaging
    train.callbacks         train.detective   train.averaging   train.ensemble data.views
    train.sanity            train.diagnose    train.space       train.search   train.recipe

On the left: the optimizer, its learning rate and schedule, and what lets gradients through. On the
right: regularisation, and hyper-parameters that are chosen by validation. `diagnose` tells which of
the two a run has. Weight decay is an option of every optimizer, and belongs to the right.

Start with `trainer.py`, then `recipe.py`; the pictures are in `tinynet.viz`.
"""

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
