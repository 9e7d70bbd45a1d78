"""What a run prints: a bar with the time left, and one line per epoch that stays.

The bar (tqdm, on standard error) appears on a terminal only; the lines go to standard
output, so a log file holds them alone. Nobody has to listen: where an output is closed,
or its reader has gone (``| head -3``), a run goes on without it.

Read next: `train/pace.py`.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

from .callbacks import Callback, Run
from .history import smooth

_SILENT = 10.0  # seconds without a line, where there is no bar
_TIMED = 20  # steps by which the run's time is told
_FORMAT = "{l_bar}{bar}| {n_fmt}/{total_fmt} {remaining} left{postfix}"
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
    """A bar over all steps of a `fit`, and a line after each epoch.

    In a notebook it is the notebook's own bar. Where there is neither, as in a file, a
    line says every ten seconds how far the run is.
    """

    only_watches = True

    def __init__(self, monitor: str = "val_accuracy") -> None:
        self.monitor = monitor
        self._bar: Any = None
        self._said = 0.0  # when the last line was printed
        self._timed = (0, 0.0)  # a step, and when it was done

    def on_start(self, trainer: Run) -> None:
        """Open the bar, where somebody can see it move; it counts over all epochs."""
        self._start = trainer.step
        self._began = time.monotonic()
        self._said = self._began
        self._last_epoch = trainer.planned_epochs
        self._timed = (0, 0.0)
        notebook = _in_notebook()
        if notebook or _is_terminal(sys.stderr):
            total = trainer.planned_steps or None
            # without tqdm, as in a browser, the lines are all there is
            with contextlib.suppress(OSError, ValueError, ImportError):
                self._bar = _bar_class(notebook)(
                    total=total, unit="step", leave=False, dynamic_ncols=True,
                    bar_format=_FORMAT if total else None)

    def say(self, text: str) -> None:
        """Print a line; above the bar while there is one."""
        self._said = time.monotonic()
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
        """Move the bar and show the newest numbers; without a bar now and then a line."""
        done = trainer.step - self._start
        self._expect(trainer, done)
        if self._bar is not None:
            self._bar.set_postfix_str(self._numbers(trainer), refresh=False)
            self._with_bar(lambda bar: bar.update(done - bar.n))
        elif time.monotonic() - self._said > _SILENT:
            self.say(f"{self._numbers(trainer)}   {self._place(trainer, done)}")

    def _expect(self, trainer: Run, done: int) -> None:
        """Once, after some steps: how long the run will take on this machine."""
        first, began = self._timed
        if not trainer.planned_steps or first < 0:
            return
        if first == 0:  # the first steps are slow: memory is fetched, kernels are chosen
            self._timed = (done, time.monotonic())
            return
        spent = time.monotonic() - began
        if done - first < _TIMED and spent < _SILENT:
            return
        self._timed = (-1, 0.0)
        left = spent / (done - first) * (trainer.planned_steps - done)
        if left > _SILENT:
            self.say(f"about {duration(left)} for {trainer.planned_steps - done:,} more "
                     f"steps here ({1e3 * spent / (done - first):.0f} ms each)")

    def _numbers(self, trainer: Run) -> str:
        """Short, since a terminal is 80 columns wide and the bar needs some of them."""
        steps = trainer.history.steps
        parts = [f"ep {trainer.epoch + 1}/{self._last_epoch}",
                 f"loss {smooth(steps['loss'][-50:])[-1]:.3g}"]
        if "accuracy" in steps:
            parts.append(f"acc {smooth(steps['accuracy'][-50:])[-1]:.1%}")
        parts.append(f"lr {steps['lr'][-1]:.2g}".replace("lr 0.", "lr ."))
        return " ".join(parts)

    def _place(self, trainer: Run, done: int) -> str:
        """How many steps are done, and how long the others will take."""
        if not trainer.planned_steps:
            return f"step {done:,}"
        seconds = time.monotonic() - self._began
        left = seconds * (trainer.planned_steps / max(1, done) - 1)
        return f"step {done:,} of {trainer.planned_steps:,}, {duration(left)} left"

    def on_epoch(self, trainer: Run) -> None:
        """One line that stays."""
        row = {name: column[-1] for name, column in trainer.history.epochs.items()}
        line = f"epoch {trainer.epoch:3}/{self._last_epoch}"
        for name, text in _PARTS.items():
            value = row.get(name)
            # an accuracy is nan in the epochs that did not measure it
            if value is not None and (math.isfinite(value) or "accuracy" not in name):
                line += text.format(value)
        monitor = self.monitor
        if monitor not in trainer.history.epochs:  # no accuracy is measured
            monitor = trainer.monitor
        if trainer.history.is_best(monitor, trainer.epoch):
            line += "   best so far"
        self.say(line)

    def on_end(self, trainer: Run) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._with_bar(lambda bar: bar.close())
            self._bar = None


def duration(seconds: float) -> str:
    """A time as one says it.

    >>> duration(42.3), duration(230), duration(8000)
    ('42 s', '4 min', '2.2 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


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


def _bar_class(notebook: bool) -> Any:
    """tqdm's bar for a terminal, or the one that fits the notebook."""
    if not notebook:
        from tqdm import tqdm

        return tqdm
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without ipywidgets it is the plain bar
        from tqdm.auto import tqdm as fitting

    return fitting


def _in_notebook() -> bool:
    """Whether an IPython kernel runs this: Jupyter, or an editor's notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, OSError, ValueError):  # None: closed before the start
        return False
