"""The way people train: a loop with curves, validation, best weights, and saved models.

    trainer = Trainer(model, optimizer)
    history = trainer.fit(train_loader, val_loader, epochs=10)
    print(history.table(), trainer.evaluate(test_loader))
    save_model(model, "model.safetensors")

Start with `trainer.py`; the pictures are in `tinynet.viz`.
"""

from .callbacks import (
    RATIO_HIGH,
    RATIO_LOW,
    BestWeights,
    Callback,
    EarlyStopping,
    ReportToSchedule,
    UpdateRatio,
    ratio_advice,
    ratio_warnings,
)
from .checkpoint import load_model, read_model, save_model
from .files import write_atomic
from .history import History, smooth
from .progress import Progress
from .trainer import Evaluation, Trainer, count_correct

__all__ = [
    "BestWeights", "Callback", "EarlyStopping", "Evaluation", "History", "Progress", "RATIO_HIGH",
    "RATIO_LOW", "ReportToSchedule", "Trainer", "UpdateRatio", "count_correct", "load_model",
    "ratio_advice", "ratio_warnings", "read_model", "save_model", "smooth", "write_atomic",
]
