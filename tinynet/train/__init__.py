"""The way people train: a loop with curves, validation, best weights, and saved models.

    trainer = Trainer(model, optimizer)
    history = trainer.fit(train_loader, val_loader, epochs=10)
    print(history.table(), trainer.evaluate(test_loader))
    save_model(model, "model.safetensors")

Start with `trainer.py`. How settings are chosen is `tinynet.tune`; the pictures are in
`tinynet.viz`. (The names of `tune` are found here as well: `foreign.attach`.)

Read next: `train/trainer.py`.
"""
# ruff: noqa: I001  (exported names stand side by side)

from ..files import write_atomic as write_atomic
from .anatomy import Anatomy as Anatomy, trace as trace
from .averaging import (
    WeightAveraging as WeightAveraging, averaged as averaged,
    recompute_batch_norm as recompute_batch_norm,
)
from .callbacks import (
    RATIO_HIGH as RATIO_HIGH, RATIO_LOW as RATIO_LOW, BestWeights as BestWeights,
    Callback as Callback, ClipGradients as ClipGradients,
    EarlyStopping as EarlyStopping, ReportToSchedule as ReportToSchedule, Run as Run,
    UpdateRatio as UpdateRatio, ratio_advice as ratio_advice,
    ratio_warnings as ratio_warnings,
)
from .checkpoint import (
    load_model as load_model, read_model as read_model, save_model as save_model,
)
from .classifier import (
    Classifier as Classifier, Prediction as Prediction, load_classifier as load_classifier,
)
from .confusion import (
    ConfusionMatrix as ConfusionMatrix, confusion_matrix as confusion_matrix,
    surest_mistakes as surest_mistakes,
)
from .detective import NanGuard as NanGuard, find_nonfinite as find_nonfinite
from .distributed import World as World
from .ensemble import (
    Ensemble as Ensemble, EnsembleRow as EnsembleRow, EnsembleTable as EnsembleTable,
    Snapshots as Snapshots,
)
from .history import History as History, smooth as smooth
from .logs import LogFile as LogFile, TensorBoard as TensorBoard
from .pace import Pace as Pace
from .predict import predict_views as predict_views
from .progress import Progress as Progress
from .resume import (
    Checkpoints as Checkpoints, load_checkpoint as load_checkpoint,
    read_checkpoint as read_checkpoint,
    read_newest as read_newest, save_checkpoint as save_checkpoint,
)
from .trainer import (
    Evaluation as Evaluation, Trainer as Trainer, count_correct as count_correct,
)
from ..names import lister as _lister

__dir__ = _lister(__name__)
