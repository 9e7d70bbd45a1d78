"""How far is a program, and how long will the rest take? Measured, and said in time.

    with Pace(12, "trainings") as pace:        stderr, after 3 s and then every 10:
        for setting in settings:               trainings: 2 of 12, 9 s so far, about 45 s to go
            try_it(setting)
            pace.step()

A `Trainer` shows its own bar; this is for what consists of many of them, or of none. A
thread says it, so that no piece of work, however long, makes the program look dead.

Read next: `train/distributed.py`.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from types import TracebackType
from typing import Self

from .callbacks import Callback, Run
from .progress import duration

_FIRST = 3.0  # seconds after which something has been measured


class Pace(Callback):
    """Says on stderr every `every` seconds how much of `total` is done.

    `total` is in units of your choice, such as steps; 0 if nobody knows. As a callback
    of a `Trainer` each epoch is a unit. After `said`, for the program has just printed
    something, it is silent as long again.
    """

    only_watches = True

    def __init__(self, total: float = 0, what: str = "", every: float = 10.0) -> None:
        self.total = total
        self.what = what
        self.every = every
        self.done = 0.0
        self._began = time.monotonic()
        self._next = self._began + min(_FIRST, every)
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def step(self, work: float = 1.0) -> None:
        """So much more is done."""
        self.done += work

    def on_epoch(self, trainer: Run) -> None:
        """An epoch is a unit."""
        self.step()

    def said(self) -> None:
        """The program has printed something itself."""
        self._next = time.monotonic() + self.every

    def line(self) -> str:
        """What is known now.

        >>> Pace(total=12, what="trainings").line()
        'trainings: 0 of 12, 0 s so far'
        """
        spent = time.monotonic() - self._began
        known = f"{self.done:,.0f} of {self.total:,.0f}, " if self.total else ""
        text = f"{known}{duration(spent)} so far"
        if self.what:
            text = f"{self.what}: {text}"
        if 0 < self.done < self.total:
            left = spent * (self.total / self.done - 1.0)
            text += f", about {duration(left)} to go"
        return text

    def __enter__(self) -> Self:
        thread = threading.Thread(target=self._watch, daemon=True)
        with contextlib.suppress(RuntimeError):  # no thread to be had, as in a browser: silence
            thread.start()
            self._thread = thread
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        """Until the work is over, wait for the next moment to say something."""
        while not self._over.wait(max(0.0, self._next - time.monotonic())):
            if time.monotonic() < self._next:  # the program has said something meanwhile
                continue
            with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody listens
                print(self.line(), file=sys.stderr, flush=True)
            self.said()
