"""A program that says in time how far it is, and stays silent when it has just spoken."""

from __future__ import annotations

import re
import sys
import time

import pytest

from tests.train.toy import batches, trainer
from tinynet.train import Pace


def test_a_thread_says_how_far_the_work_is(capsys: pytest.CaptureFixture[str]) -> None:
    with Pace(4, "trainings", every=0.02) as pace:
        pace.step()
        time.sleep(0.15)
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert 2 <= len(lines) <= 8 and not said.out
    assert all(re.fullmatch(r"trainings: 1 of 4, 0 s so far, about \d s to go", line)
               for line in lines), lines
    time.sleep(0.06)
    assert not capsys.readouterr().err  # it is over


def test_a_program_that_speaks_is_not_interrupted(capsys: pytest.CaptureFixture[str]) -> None:
    with Pace(every=30.0) as pace:
        pace._next = time.monotonic() + 0.03
        pace.said()
        time.sleep(0.1)
    assert not capsys.readouterr().err


def test_the_rest_is_estimated_by_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("tinynet.train.pace.time.monotonic", lambda: now[0])
    pace = Pace(1000)
    now[0] = 130.0
    assert pace.line() == "0 of 1,000, 30 s so far"
    pace.step(250)
    assert pace.line() == "250 of 1,000, 30 s so far, about 90 s to go"
    pace.step(750)
    assert pace.line() == "1,000 of 1,000, 30 s so far"
    assert Pace(what="all").line() == "all: 0 s so far"


def test_each_epoch_of_a_trainer_is_a_unit() -> None:
    pace = Pace(3)
    trainer(callbacks=[pace]).fit(batches(), epochs=3)
    assert pace.done == 3


def test_nobody_needs_to_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with Pace(every=0.01):
        time.sleep(0.05)
