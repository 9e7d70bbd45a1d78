"""What a run prints: a bar with the time left while it runs, and one line per epoch that stays.

The bar (tqdm, on standard error) appears on a terminal only; the lines go to standard output, so a
log file holds them alone. Read next: `trainer.py`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .callbacks import Callback
from .history import smooth

if TYPE_CHECKING:
    from .trainer import Trainer


class Progress(Callback):
    """A progress bar over all steps of a `fit`, and a line after each epoch."""

    def __init__(self, monitor: str = "val_accuracy") -> None:
        self.monitor = monitor
        self._bar: Any = None

    def on_start(self, trainer: Trainer) -> None:
        """Open the bar; time left is counted over all epochs."""
        from tqdm import tqdm

        self._start = trainer.step
        self._last_epoch = trainer.planned_epochs
        # disable=None: no bar where standard error is no terminal
        self._bar = tqdm(total=trainer.planned_steps, unit="step", disable=None, leave=False,
                         dynamic_ncols=True)

    def say(self, text: str) -> None:
        """Print a line; above the bar while there is one."""
        (print if self._bar is None else self._bar.write)(text)

    def on_log(self, trainer: Trainer) -> None:
        """Move the bar and show the newest numbers."""
        steps = trainer.history.steps
        parts = [f"epoch {trainer.epoch + 1}/{self._last_epoch}",
                 f"loss {smooth(steps['loss'][-50:])[-1]:.3f}"]
        if "accuracy" in steps:
            parts.append(f"accuracy {smooth(steps['accuracy'][-50:])[-1]:.1%}")
        self._bar.set_postfix_str(", ".join([*parts, f"lr {steps['lr'][-1]:.2g}"]), refresh=False)
        self._bar.update(trainer.step - self._start - self._bar.n)

    def on_epoch(self, trainer: Trainer) -> None:
        """One line that stays."""
        history = trainer.history
        row = {name: column[-1] for name, column in history.epochs.items()}
        line = f"epoch {trainer.epoch:3}/{self._last_epoch}"
        for part in ("train", "val"):
            if f"{part}_loss" in row:
                line += f"   {part} loss {row[f'{part}_loss']:.3f}"
            for name, kind in ((part, ""), ("mixed" if part == "train" else "", " (mixed labels)")):
                if math.isfinite(accuracy := row.get(f"{name}_accuracy", math.nan)):
                    line += f", {accuracy:6.2%}{kind}"
        line += f"   lr {row['lr']:.2g}   {row['seconds']:.1f} s"
        if self.monitor in row and history.best(self.monitor)[0] == trainer.epoch:
            line += "   best so far"
        self.say(line)

    def on_end(self, trainer: Trainer) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
