"""Signals wait for lines that belong together, and no longer."""

from __future__ import annotations

import signal
import threading
from types import FrameType

import pytest

from tinynet.optim.interrupts import held


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_comes_when_the_block_is_done() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), held():
        ctrl_c()
        done.append("inside")
    assert done == ["inside"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_inner_block_leaves_it_to_the_outer_one() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), held():
        with held():
            ctrl_c()
        done.append("outer")
    assert done == ["outer"]


def test_it_comes_at_once_where_it_is_let_through() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), held() as signals:
        try:
            with signals.released():
                ctrl_c()
                done.append("never")
        finally:
            done.append("undone")
    assert done == ["undone"]
    done.clear()
    with pytest.raises(KeyboardInterrupt), held() as signals:
        ctrl_c()
        with signals.released():  # what waits comes first
            done.append("never")
    assert done == []


def test_an_error_passes_and_handlers_are_restored() -> None:
    came: list[int] = []

    def own(number: int, frame: FrameType | None) -> None:
        came.append(number)

    before = signal.signal(signal.SIGTERM, own)
    try:
        with pytest.raises(ZeroDivisionError), held():
            signal.raise_signal(signal.SIGTERM)
            assert came == []
            raise ZeroDivisionError
        assert came == [signal.SIGTERM] and signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)


def test_other_threads_have_no_signals_to_hold() -> None:
    done = []

    def work() -> None:
        with held() as signals, signals.released():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
