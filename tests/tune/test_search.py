"""Search: trials that depend on (seed, i) alone, in any place and after any interruption."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from tests.processes import environment
from tests.tune.objectives import noisy, slow_square, square
from tinynet import random
from tinynet.tune import (
    Choice,
    LogUniform,
    Search,
    Trial,
    Uniform,
    When,
    grid,
    grid_search,
    hit_probability,
    random_search,
    sample,
    successive_halving,
)

SPACE = {"lr": LogUniform(1e-4, 1e-1), "dropout": Uniform(0.0, 0.7),
         "optimizer": Choice("sgd", "adam"),
         "momentum": When("optimizer", "sgd", Uniform(0.8, 0.99))}


def facts(found: Search) -> list[Any]:
    return [(t.i, t.config, t.score, t.extra) for t in found.trials]


def test_H8_nine_trials_show_3_values_on_a_grid_and_9_at_random() -> None:
    axis = [1e-4, 1e-3, 1e-2]
    on_grid = grid_search(square, {"x": axis, "y": axis})
    at_random = random_search(square, {"x": LogUniform(1e-4, 1e-2), "y": Uniform(0, 1)}, trials=9)
    assert len(on_grid.trials) == len(at_random.trials) == 9
    assert len(on_grid.values("x")) == len(on_grid.values("y")) == 3
    assert len(at_random.values("x")) == len(at_random.values("y")) == 9


def test_H8_chances_of_random_search() -> None:
    assert f"{hit_probability(0.1, 9):.1%}" == "61.3%"
    assert f"{hit_probability(0.05, 60):.1%}" == "95.4%"
    with pytest.raises(ValueError, match=r"fraction must lie in \[0, 1\]"):
        hit_probability(1.5, 3)


def test_H8_random_hits_a_peak_that_the_grid_misses() -> None:
    """A peak of a tenth of the important axis, between two of the grid's three lines."""
    space = {"x": Uniform(0, 1), "y": Uniform(0, 1)}
    runs = 2000
    hits = sum(any(0.3 <= sample(space, seed, i)["x"] < 0.4 for i in range(9))
               for seed in range(runs))
    assert abs(hits / runs - hit_probability(0.1, 9)) < 4 * math.sqrt(0.613 * 0.387 / runs)
    lines = [c["x"] for c in grid({"x": [1 / 6, 1 / 2, 5 / 6], "y": [1 / 6, 1 / 2, 5 / 6]})]
    assert not any(0.3 <= x < 0.4 for x in lines)


def test_H8_learning_rates_are_drawn_by_factor_and_dropout_evenly() -> None:
    drawn = [sample(SPACE, 5, i) for i in range(3000)]
    for low in (1e-4, 1e-3, 1e-2):  # a third in each decade
        share = sum(low <= c["lr"] < 10 * low for c in drawn) / len(drawn)
        assert abs(share - 1 / 3) < 4 * math.sqrt(2 / 9 / 3000)
    share = sum(c["dropout"] < 0.175 for c in drawn) / len(drawn)
    assert abs(share - 0.25) < 4 * math.sqrt(0.1875 / 3000)
    sgd = [c for c in drawn if c["optimizer"] == "sgd"]
    assert abs(len(sgd) / 3000 - 0.5) < 4 * 0.5 / math.sqrt(3000)
    assert all(("momentum" in c) == (c["optimizer"] == "sgd") for c in drawn)
    assert all(0.8 <= c["momentum"] < 0.99 for c in sgd)


def test_H8_a_trial_is_a_function_of_seed_and_number_alone() -> None:
    assert [sample(SPACE, 0, i) for i in range(5)] == [sample(SPACE, 0, i) for i in range(5)]
    assert sample(SPACE, 0, 3) != sample(SPACE, 1, 3) != sample(SPACE, 1, 4)
    more = {"batch": Choice(32, 64)} | SPACE  # other parameters do not move it
    assert {n: v for n, v in sample(more, 0, 3).items() if n != "batch"} == sample(SPACE, 0, 3)
    five, nine = (random_search(noisy, {"x": Uniform(0, 1)}, n) for n in (5, 9))
    assert facts(five) == facts(nine)[:5]
    before = random.get_state()
    random.default_generator.uniform(7)
    assert facts(random_search(noisy, {"x": Uniform(0, 1)}, 5)) == facts(five)
    assert random.get_state()["counter"] == before["counter"] + 1


def test_H8_spawned_processes_give_the_same_trials_each_on_one_thread() -> None:
    options: dict[str, Any] = {"space": {"x": Uniform(0, 1)}, "trials": 6, "seed": 3}
    here = random_search(noisy, **options)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        there = random_search(noisy, **options, executor=executor)
    assert [(t.i, t.config, t.score) for t in there.trials] == \
        [(t.i, t.config, t.score) for t in here.trials]
    for trial in there.trials:
        assert trial.extra["process"] != os.getpid()
        assert trial.extra["workers"] == 1 and set(trial.extra["blas"]) <= {1}


def test_H8_threads_give_the_same_trials_and_leave_the_number_of_workers() -> None:
    here = random_search(noisy, {"x": Uniform(0, 1)}, 6)
    with ThreadPoolExecutor(3) as executor:
        there = random_search(noisy, {"x": Uniform(0, 1)}, 6, executor=executor)
    assert [t.score for t in there.trials] == [t.score for t in here.trials]


def test_H8_a_killed_search_goes_on_where_it_was(tmp_path: Path, root: Path) -> None:
    whole = random_search(slow_square, {"x": Uniform(0, 1)}, 8, seed=2)
    path = tmp_path / "trials.jsonl"
    script = ("from tests.tune.objectives import slow_square\n"
              "from tinynet.tune import Uniform, random_search\n"
              "random_search(slow_square, {'x': Uniform(0, 1)}, 8, seed=2, "
              f"journal={str(path)!r})")
    process = subprocess.Popen([sys.executable, "-c", script], cwd=root,
                               env=environment())
    try:
        deadline = time.monotonic() + 60
        while not path.exists() or path.read_bytes().count(b"\n") < 4:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    done = path.read_bytes().count(b"\n") - 1
    assert 3 <= done < 8
    calls: list[int] = []
    resumed = random_search(slow_square, {"x": Uniform(0, 1)}, 8, seed=2, journal=path,
                            on_trial=lambda trial: calls.append(trial.i))
    assert facts(resumed) == facts(whole) and calls == list(range(done, 8))
    again = random_search(lambda config: 1 / 0, {"x": Uniform(0, 1)}, 8, seed=2, journal=path)
    assert facts(again) == facts(whole)  # nothing is left to run


def test_a_journal_of_another_search_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    grid_search(square, {"x": [1, 2]}, journal=path)
    with pytest.raises(ValueError, match=r"j.jsonl belongs to another search: trial 1 was "
                                         r"{'x': 2} there and is {'x': 3} here"):
        grid_search(square, {"x": [1, 3]}, journal=path)
    with pytest.raises(ValueError, match="belongs to another run: seed is 0 there and 1 here"):
        grid_search(square, {"x": [1, 2]}, journal=path, seed=1)


def test_H8_a_best_value_on_the_border_is_a_warning() -> None:
    def best(x: float, axis: Any) -> list[str]:
        trials = [Trial(i, {"x": v}, -abs(v - x), 0.0) for i, v in enumerate((0.0, 0.1, 0.4, 1.0))]
        return Search(trials, {"x": axis} if axis else {}).warnings()

    assert best(1.0, None) == ["the best x, 1, lies at the border of what was tried (0 to 1): "
                               "try larger ones as well"]
    assert best(0.4, None) == []
    assert best(0.0, None) == []  # there is no less than none
    assert "try larger" in best(1.0, Uniform(0, 1.01))[0] and not best(1.0, Uniform(0, 2))
    assert "try smaller" in best(0.1, LogUniform(0.095, 10))[0]
    tie = [Trial(i, {"x": i}, score, 0.0) for i, score in enumerate((0.1, 0.7, 0.2, 0.7))]
    assert Search(tie).warnings() == Search(tie[::-1]).warnings() == []
    assert Search([Trial(0, {"x": 3, "kind": "sgd", "flag": True}, 1.0, 0.0)]).warnings() == []


def test_failed_trials_are_kept_and_never_the_best() -> None:
    def explode(config: dict[str, Any]) -> float:
        if config["x"] == 2:
            raise FloatingPointError("the loss became nan")
        return math.inf if config["x"] == 3 else float(config["x"])

    found = grid_search(explode, {"x": [1, 2, 3]})
    assert math.isnan(found.trials[1].score) and math.isnan(found.trials[2].score)
    assert found.trials[1].extra == {"error": "the loss became nan"} and found.best.i == 0
    assert "nan" in found.table().splitlines()[2] and found.table().splitlines()[1].endswith(" *")
    with pytest.raises(ZeroDivisionError):  # a mistake is no failed trial
        grid_search(lambda config: 1 / 0, {"x": [1]})
    for wrong in (None, {"accuracy": 0.5}):
        with pytest.raises(TypeError, match=r"the objective must return its score, .* got "):
            grid_search(lambda config, wrong=wrong: wrong, {"x": [1]})
    with pytest.raises(ValueError, match="no trial has finished"):
        _ = Search([]).best


def test_H8_a_budget_stops_and_more_budget_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    part = random_search(slow_square, {"x": Uniform(0, 1)}, 8, journal=path, budget=0.1)
    assert 0 < len(part.trials) < 8 and "budget" in part.stopped
    assert facts(random_search(slow_square, {"x": Uniform(0, 1)}, 8, journal=path)) == \
        facts(random_search(slow_square, {"x": Uniform(0, 1)}, 8))
    assert json.loads(path.read_text().splitlines()[0])["head"] == {"seed": 0}


def test_H8_successive_halving_spends_the_same_on_every_rung(tmp_path: Path) -> None:
    spent: list[int] = []

    def objective(config: dict[str, Any]) -> float:
        spent.append(config["epochs"])
        return float(config["x"] - 1 / config["epochs"])

    rungs = successive_halving(objective, {"x": Uniform(0, 1)}, 27, journal=tmp_path / "j.jsonl")
    assert [len(rung.trials) for rung in rungs] == [27, 9, 3, 1]
    assert [sum(spent[a:b]) for a, b in ((0, 27), (27, 36), (36, 39), (39, 40))] == [27] * 4
    best = max((sample({"x": Uniform(0, 1)}, 0, i)["x"], i) for i in range(27))
    assert (rungs[-1].best.config["x"], rungs[-1].best.i) == best
    again = successive_halving(objective, {"x": Uniform(0, 1)}, 27, journal=tmp_path / "j.jsonl")
    assert [facts(a) for a in again] == [facts(a) for a in rungs] and len(spent) == 40
    with pytest.raises(ValueError, match="factor >= 2"):
        successive_halving(objective, {"x": Uniform(0, 1)}, 3, factor=1)


def test_spaces_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="LogUniform has no lower end at 0"):
        LogUniform(0, 1)
    with pytest.raises(ValueError, match="Uniform needs low < high, got 2, 1"):
        Uniform(2, 1)
    with pytest.raises(ValueError, match="Choice needs at least one option"):
        Choice()
    with pytest.raises(TypeError, match=r"x must be a Uniform, .* or When, got \(0, 1\)"):
        sample({"x": (0, 1)}, 0, 0)  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="momentum depends on 'optimizer', which does not stand"):
        sample({"momentum": SPACE["momentum"], "optimizer": Choice("sgd")}, 0, 0)


def test_options_are_checked_by_name() -> None:
    space = {"x": Uniform(0, 1)}
    for search in (random_search, successive_halving):
        with pytest.raises(TypeError, match=r"'budgt' is no option here: there are budget, exec"):
            search(square, space, 3, budgt=1.0)
    with pytest.raises(TypeError, match="'trials' is no option here"):
        grid_search(square, {"x": [1]}, trials=3)
    with pytest.raises(ValueError, match="threads must be an integer of at least 1, got 0"):
        random_search(square, space, 3, threads=0)
    for wrong in (-1.0, math.nan):
        with pytest.raises(ValueError, match="budget must be 0 seconds or more, or None, got"):
            random_search(square, space, 3, budget=wrong)
