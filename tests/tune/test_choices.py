"""Any value can be a choice: None, words, functions, classes, arrays, objects."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinynet import nn, tune, viz
from tinynet.functional import relu, tanh
from tinynet.tune import Choice, LogUniform, When, grid_search, random_search, successive_halving
from tinynet.tune.space import describe, distinct
from tinynet.viz import plot_searches

ODD = {
    "None beside numbers": [None, 1.0, 5.0],
    "functions": [relu, tanh],
    "classes": [nn.ReLU, nn.Tanh],
    "objects": [object(), object()],
    "lambdas": [lambda x: x, lambda x: -x],
    "arrays": [np.zeros(3), np.ones(3)],
    "lists": [[32, 64], [64, 128]],
    "dicts": [{"p": 0.1}, {"p": 0.5}],
    "words beside numbers": ["none", 0.1],
    "truth beside numbers": [True, 1.0, False],
    "numbers of NumPy": [np.float32(0.5), np.int64(3)],
    "numbers that are not finite": [math.inf, math.nan, 1.0],
}


@pytest.mark.parametrize("options", ODD.values(), ids=ODD.keys())
def test_a_search_over_any_values_can_be_read_and_drawn(options: list[Any], tmp_path: Path) -> None:
    given: list[Any] = []

    def objective(config: dict[str, Any]) -> float:
        given.append(config["a"])
        return config["lr"]

    space = {"a": Choice(*options), "lr": LogUniform(1e-4, 1e-1)}
    found = random_search(objective, space, trials=8)
    assert [trial.config["a"] is value for trial, value in zip(found.trials, given, strict=True)]
    assert len(found.values("a")) <= len(options)
    assert len(found.table().splitlines()) == 9
    assert isinstance(found.warnings(), list)
    plot_searches({"random": found}, tmp_path / "search.png", "a", "lr")
    on_grid = grid_search(lambda config: 1.0, {"a": options})
    assert len(on_grid.values("a")) == len(options)
    assert isinstance(on_grid.warnings(), list)


@pytest.mark.parametrize("kind", sorted(ODD.keys() - {"objects", "lambdas"}))
def test_such_a_search_goes_on_from_its_journal(kind: str, tmp_path: Path) -> None:
    calls: list[Any] = []

    def search() -> list[Any]:
        found = grid_search(lambda config: float(len(calls.append(config) or [])),
                            {"a": ODD[kind]}, journal=tmp_path / "journal.jsonl")
        return [trial.config["a"] for trial in found.trials]

    first = search()
    again = search()
    assert len(calls) == len(ODD[kind])
    assert all(a is b for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("kind", ["objects", "lambdas"])
def test_what_a_journal_cannot_name_is_refused_before_the_first_trial(
        kind: str, tmp_path: Path) -> None:
    calls: list[Any] = []
    with pytest.raises(TypeError, match=r"^a, of trial 0, is <.*give the choice a name"):
        grid_search(lambda config: calls.append(config) or 1.0, {"a": ODD[kind]},
                    journal=tmp_path / "journal.jsonl")
    assert calls == []


def test_the_best_number_is_compared_with_numbers_only() -> None:
    found = grid_search(lambda c: 0.0 if c["clip"] is None else c["clip"],
                        {"clip": [None, 1.0, 5.0]})
    (warning,) = found.warnings()
    assert warning.startswith("the best clip, 5, lies at the border of what was tried (1 to 5)")


def test_values_are_numbers_in_order_and_then_the_others() -> None:
    assert distinct([3, None, 1.0, "a", 1, None, True]) == [1.0, 3, None, "a", True]
    arrays = distinct([np.zeros(2), np.zeros(2), np.zeros(3)])
    assert [a.shape for a in arrays] == [(2,), (3,)]


def test_what_a_trial_says_besides_its_score_never_loses_it(tmp_path: Path) -> None:
    found = grid_search(lambda c: {"score": 1.0, "model": object(), "curve": np.ones(2),
                                   "worst": math.nan}, {"x": [1]}, journal=tmp_path / "j.jsonl")
    extra = found.trials[0].extra
    assert extra["model"].startswith("<object") and extra["curve"] == [1.0, 1.0]
    assert extra["worst"] == "nan"


def test_a_parameter_that_some_trials_lack_is_drawn(tmp_path: Path) -> None:
    space = {"rule": Choice("sgd", "adam"), "momentum": When("rule", "sgd", Choice(0.8, 0.9))}
    found = random_search(lambda c: c.get("momentum", 0.0), space, trials=8)
    plot_searches({"random": found}, tmp_path / "search.png", "rule", "momentum")


def test_halving_takes_any_choice() -> None:
    rungs = successive_halving(lambda c: c["epochs"] * (c["act"] is relu),
                               {"act": Choice(relu, tanh)}, trials=9)
    assert rungs[-1].best.config["act"] is relu


def test_names_of_functions_and_classes_are_whole() -> None:
    assert describe(relu) == "tinynet.functional.activation.relu"
    assert describe({"layers": (nn.ReLU, 3)}) == {"layers": ["tinynet.nn.layers.ReLU", 3]}


def test_a_score_that_no_float_holds_is_refused_in_words() -> None:
    with pytest.raises(TypeError, match="the objective must return its score"):
        grid_search(lambda config: 10**400, {"x": [1]})


class Unlike:
    """An object that cannot be compared."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "Unlike()"


def test_fractions_giants_and_objects_that_do_not_compare_are_choices() -> None:
    (warning,) = grid_search(lambda config: 1.0, {"a": [Fraction(1, 2), 1]}).warnings()
    assert warning.startswith("the best a, 0.5, lies at the border")
    assert grid_search(lambda config: 1.0, {"a": [10**400, 1]}).warnings() == []
    assert len(grid_search(lambda config: 1.0, {"a": [Unlike(), Unlike()]}).values("a")) == 2
    space = {"a": Choice(np.zeros(2), np.ones(2)), "m": When("a", np.zeros(2), Choice(1, 2))}
    found = random_search(lambda config: 1.0, space, trials=8)
    assert all(("m" in t.config) == (not t.config["a"].any()) for t in found.trials)


class Mute:
    """An object whose text cannot be had."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


def test_an_object_without_a_text_is_a_choice_and_refused_by_a_journal_on_disk(
        tmp_path: Path) -> None:
    space = {"p": tune.Choice(Mute(), Mute()), "x": tune.Uniform(0, 1)}
    found = tune.random_search(lambda c: c["x"], space, trials=4)
    assert "whose repr raises RuntimeError" in found._repr_html_()
    viz.plot_searches({"a": found}, tmp_path / "p.png", "x", "p")
    with pytest.raises(TypeError, match=r"p, of trial 0, is <Mute whose repr raises RuntimeError>"):
        tune.random_search(lambda c: c["x"], space, trials=4, journal=tmp_path / "j.jsonl")
    with pytest.raises(TypeError, match=r"must be a Uniform.* got <Mute whose repr raises"):
        tune.random_search(lambda c: 0.0, {"p": Mute()}, trials=1)


@pytest.mark.parametrize("word", ["\ud800", "$x^", "$\\frac$", "a\nb", ""],
                         ids=["half a letter", "open formula", "bad formula", "lines", "empty"])
def test_any_word_is_a_choice_a_name_and_a_label(word: str, tmp_path: Path) -> None:
    name = word or "x"
    space = {name: tune.Choice(word, "b"), "lr": tune.LogUniform(1e-3, 1.0)}
    found = tune.random_search(lambda c: c["lr"], space, trials=4)
    for x, y in (("lr", name), (name, "lr")):
        viz.plot_searches({word: found}, tmp_path / "p.svg", x, y)
        viz.plot_searches({word: found}, tmp_path / "p.png", x, y)
    assert {t.config[name] for t in found.trials} <= {word, "b"}


def test_errors_show_any_value_and_not_all_of_it() -> None:
    with pytest.raises(ValueError, match=r"trials must be .* got <Mute whose repr raises"):
        tune.random_search(lambda c: 0.0, {"x": tune.Uniform(0, 1)}, trials=Mute())
    with pytest.raises(ValueError) as caught:
        tune.random_search(lambda c: 0.0, {"x": tune.Uniform(0, 1)}, trials="long " * 10_000)
    assert len(str(caught.value)) < 400
