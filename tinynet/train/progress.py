"""What a run prints: a bar with the time left, and one line per epoch that stays.

The bar (tqdm, on standard error) appears on a terminal only; the lines go to standard
output, so a log file holds them alone. Nobody has to listen: where an output is closed,
or its reader has gone (``| head -3``), a run goes on without it.

Read next: `train/history.py`.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Callable
from typing import Any

from .callbacks import Callback, Run
from .history import smooth

_PARTS = {
    "train_loss": "   train loss {:.3f}",
    "train_accuracy": ", {:6.2%}",
    "mixed_accuracy": ", {:6.2%} (mixed labels)",
    "val_loss": "   val loss {:.3f}",
    "val_accuracy": ", {:6.2%}",
    "lr": "   lr {:.2g}",
    "seconds": "   {:.1f} s",
}


class Progress(Callback):
    """A progress bar over all steps of a `fit`, and a line after each epoch."""

    only_watches = True

    def __init__(self, monitor: str = "val_accuracy") -> None:
        self.monitor = monitor
        self._bar: Any = None

    def on_start(self, trainer: Run) -> None:
        """Open the bar, if standard error is a terminal; it counts over all epochs."""
        from tqdm import tqdm

        self._start = trainer.step
        self._last_epoch = trainer.planned_epochs
        if _is_terminal(sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                self._bar = tqdm(total=trainer.planned_steps or None, unit="step", leave=False,
                                 dynamic_ncols=True)

    def say(self, text: str) -> None:
        """Print a line; above the bar while there is one."""
        if self._bar is None:
            print_line(text)
        else:
            self._with_bar(lambda bar: bar.write(text))

    def _with_bar(self, act: Callable[[Any], object]) -> None:
        """Do something with the bar; it is dropped when the terminal has gone."""
        try:
            act(self._bar)
        except (OSError, ValueError):
            self._bar = None

    def on_log(self, trainer: Run) -> None:
        """Move the bar and show the newest numbers."""
        if self._bar is None:
            return
        steps = trainer.history.steps
        parts = [f"epoch {trainer.epoch + 1}/{self._last_epoch}",
                 f"loss {smooth(steps['loss'][-50:])[-1]:.3f}"]
        if "accuracy" in steps:
            parts.append(f"accuracy {smooth(steps['accuracy'][-50:])[-1]:.1%}")
        parts.append(f"lr {steps['lr'][-1]:.2g}")
        done = trainer.step - self._start
        self._bar.set_postfix_str(", ".join(parts), refresh=False)
        self._with_bar(lambda bar: bar.update(done - bar.n))

    def on_epoch(self, trainer: Run) -> None:
        """One line that stays."""
        row = {name: column[-1] for name, column in trainer.history.epochs.items()}
        line = f"epoch {trainer.epoch:3}/{self._last_epoch}"
        for name, text in _PARTS.items():
            value = row.get(name)
            # an accuracy is nan in the epochs that did not measure it
            if value is not None and (math.isfinite(value) or "accuracy" not in name):
                line += text.format(value)
        if trainer.history.is_best(self.monitor, trainer.epoch):
            line += "   best so far"
        self.say(line)

    def on_end(self, trainer: Run) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._with_bar(lambda bar: bar.close())
            self._bar = None


def print_line(text: str) -> None:
    """Print a line at once, if somebody listens; else it is dropped."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _close_quietly(sys.stdout)
    except (OSError, ValueError):  # the disk of a log is full; closed
        pass


def _close_quietly(stream: Any) -> None:
    """Send a stream whose reader has gone to nowhere.

    Else what it still holds is an error at exit; so Python's page on `signal` advises.
    """
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # no file of the system
        pass


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, OSError, ValueError):  # None: closed before the start
        return False
