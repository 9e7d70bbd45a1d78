"""What a run prints: a bar with the time left while it runs, and one line per epoch
that stays.

The bar (tqdm, on standard error) appears on a terminal only; the lines go to standard
output, so a log file holds them alone. Nobody has to listen: where an output is closed,
or its reader has gone (``| head -3``), a run goes on without it. Read next:
`trainer.py`.
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


class Progress(Callback):
    """A progress bar over all steps of a `fit`, and a line after each epoch."""

    only_watches = True

    def __init__(self, monitor: str = "val_accuracy") -> None:
        self.monitor = monitor
        self._bar: Any = None

    def on_start(self, trainer: Run) -> None:
        """Open the bar, if standard error is a terminal; time left is counted over all epochs."""
        from tqdm import tqdm

        self._start = trainer.step
        self._last_epoch = trainer.planned_epochs
        if _is_terminal(sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                self._bar = tqdm(total=trainer.planned_steps, unit="step", leave=False,
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

    def on_end(self, trainer: Run) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._with_bar(lambda bar: bar.close())
            self._bar = None


def print_line(text: str) -> None:
    """Print a line at once, if somebody listens; a line that cannot be printed is dropped."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _close_quietly(sys.stdout)
    except (OSError, ValueError):  # the disk of a log is full; closed
        pass


def _close_quietly(stream: Any) -> None:
    """Send a stream whose reader has gone to nowhere: else what it still holds is an
    error at exit.

    As the documentation of Python's `signal` advises.
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
    except (AttributeError, OSError, ValueError):  # None where it was closed before the start
        return False
