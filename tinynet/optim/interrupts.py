"""Ctrl-C waits until a few lines that belong together are done.

Python raises KeyboardInterrupt between any two lines of the main thread, also between
the write of a velocity and that of the weights it moves. Inside `held` a signal is
noted instead, and its handler runs at the end.

Read next: `optim/first_order.py`.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGINT)  # what stops a program; Ctrl-C goes last


class held:
    """Inside, signals wait. (In other threads than the main one there are none.)

    Where lines in between may take long, let signals through, and undo what must not
    stay:

        with held() as signals:
            try:
                change()
                with signals.released():
                    wait_for_the_user()
            finally:
                change_back()
    """

    def __enter__(self) -> held:
        self.handlers: dict[int, Any] = {}
        self.waiting: list[tuple[int, FrameType | None]] = []
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                handler = signal.getsignal(number)
                if callable(handler):  # else the system's own, which raises nothing
                    self.handlers[number] = handler
        self._hold()
        return self

    def __exit__(self, *error: object) -> None:
        self._let_through()

    @contextlib.contextmanager
    def released(self) -> Iterator[None]:
        """Inside, signals come as always, first of all those that wait."""
        try:
            self._let_through()
            yield
        finally:
            self._hold()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.waiting.append((number, frame))

    def _hold(self) -> None:
        for number in self.handlers:
            signal.signal(number, self._note)

    def _let_through(self) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        while self.waiting:
            number, frame = self.waiting.pop(0)
            self.handlers[number](number, frame)
