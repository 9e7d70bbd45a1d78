"""Odd values in a checkpoint that is whole: documented errors, and the next one is not harmed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.train.toy import batches, net, trainer
from tinynet import to_numpy
from tinynet.optim import SGD, Adam, Muon, Together
from tinynet.optim.schedule import cosine
from tinynet.train import (
    Checkpoints,
    Trainer,
    read_checkpoint,
    read_newest,
    save_checkpoint,
)
from tinynet.train.state import check_state

ODD: list[Any] = [float("inf"), float("nan"), -1, 2**70, 0.5, "text", None, True, [], [[]], {},
                  {"a": 1}, np.zeros(3), np.zeros(0), np.array(7)]


def make(folder: Path) -> Trainer:
    return trainer(patience=50, callbacks=[Checkpoints(folder, every=4, keep=None)])


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """In mid-epoch, and after an epoch."""
    folder = tmp_path_factory.mktemp("states")
    make(folder).fit(batches(), batches(32, seed=1), 2)
    return [read_checkpoint(folder / f"step-{step:08d}.safetensors") for step in (8, 6)]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything in a tree."""
    if path:
        yield path
    items: Any = value.items() if isinstance(value, dict) else (
        enumerate(value) if isinstance(value, list) else ())
    for name, item in items:
        yield from places(item, (*path, name))


def put(state: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(state)
    inner: Any = changed
    for name in path[:-1]:
        inner = inner[name]
    if value is KeyError:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return changed


def test_a_run_s_own_states_are_right(states: list[dict[str, Any]]) -> None:
    for state in states:
        check_state(state)


@pytest.mark.filterwarnings("ignore:resumed with other settings")
def test_any_odd_value_at_any_place_is_a_documented_error_or_goes_on(
        tmp_path: Path, states: list[dict[str, Any]]) -> None:
    every = {path: state for state in states for path in places(state)}
    refused = 0
    for path, state in every.items():
        for odd in (KeyError, *ODD):
            t = make(tmp_path)
            try:
                t._loaders = [batches(), batches(32, seed=1)]
                t.load_state_dict(put(state, path, odd))
            except ValueError as error:
                assert "does not fit this run" in str(error)
                refused += 1
            except Exception as error:
                raise AssertionError(f"{path} = {odd!r}: {error!r}") from error
    assert refused > 500


@pytest.mark.parametrize("path, value, said", [
    (("step",), float("inf"), "the state /step must be a whole number of at least 0, it is inf"),
    (("step",), -3, "the state /step must be a whole number of at least 0, it is -3"),
    (("epoch",), True, "/epoch must be a whole number of at least 0, it is True"),
    (("model",), np.zeros(2), r"/model must be a dict, it is array\(\[0., 0.\]\)"),
    (("model", "0.weight"), 1, "/model/0.weight must be an array, it is 1"),
    (("seconds",), float("nan"), "/seconds must be a finite number, it is nan"),
    (("sums",), {"batches": 1}, "/sums/mixed must be there"),
    (("sums", "loss"), "x", "/sums/loss must be a finite number, it is 'x'"),
    (("random", "default", "counter"), -1, "/random/default/counter must be a whole number"),
    (("sums", "batches"), -1, "/sums/batches must be a count, it is -1"),
    (("optimizer", "groups", 0, "lr"), None, "/optimizer/groups/0/lr is None, where this optim"),
    (("optimizer", "groups", 0, "momentum"), "x", "/groups/0/momentum is 'x', where this optimi"),
    (("optimizer", "groups", 0, "max_norm"), {}, "/groups/0/max_norm is {}, where this optimize"),
    (("callbacks", 2, 1, "weights"), 1, "the best weights must be arrays by name"),
    (("callbacks", 2, 1, "weights", "0.bias"), 1, "the best weights must be arrays by name"),
    (("callbacks", 2, 1, "epoch"), "x", "the epoch of the best weights must be an integer of at"),
    (("optimizer", "t"), 0.5, "/optimizer/t must be a whole number"),
    (("optimizer", "groups", 0, "momentum"), float("nan"), "/groups/0/momentum is nan, where"),
    (("history", "steps", "loss"), {}, "/history/steps/loss must be an array"),
    (("callbacks", 0), "BestWeights", "/callbacks/0 must be a name and a dict"),
    (("callbacks",), KeyError, "/callbacks must be there"),
], ids=lambda value: None)
def test_an_odd_value_is_refused_by_name(
        tmp_path: Path, states: list[dict[str, Any]], path: tuple[Any, ...], value: Any,
        said: str) -> None:
    file = tmp_path / "step-00000008.safetensors"
    state = put(states[0], path, value)
    save_checkpoint(file, {"step": 8, "epoch": 1} | state)
    if path == ("step",) and value == float("inf"):
        assert read_newest(tmp_path) is not None  # the file itself is whole
    with pytest.raises(ValueError, match=f"the checkpoint does not fit this run: .*{said}"):
        make(tmp_path).fit(batches(), batches(32, seed=1), 2, resume=tmp_path)


@pytest.mark.parametrize("odd", [KeyError, np.zeros(3)], ids=["missing", "of-another-shape"])
def test_best_weights_of_another_model_are_refused_before_the_first_step(
        tmp_path: Path, states: list[dict[str, Any]], odd: Any) -> None:
    path = ("callbacks", 2, 1, "weights", "0.weight")
    save_checkpoint(tmp_path / "step-00000008.safetensors", put(states[0], path, odd))
    t = make(tmp_path)
    with pytest.raises(ValueError, match="the best weights of the checkpoint are not those of"):
        t.fit(batches(), batches(32, seed=1), 2, resume=tmp_path)
    assert t.step == 8


def test_numbers_that_no_file_can_hold_are_refused_by_name(tmp_path: Path) -> None:
    for number in (np.complex64(1j), np.longdouble(1), np.datetime64(0, "s")):
        with pytest.raises(TypeError, match=r"the state /n is a .*, which cannot be saved"):
            save_checkpoint(tmp_path / "x", {"step": 0, "epoch": 0, "n": number})

def test_several_optimizers_together_go_on_bit_for_bit(tmp_path: Path) -> None:
    def run(folder: Path, epochs: float, resume: bool = False) -> Trainer:
        model = net()
        hidden = [(n, p) for n, p in model.named_parameters() if p.ndim == 2]
        rest = [(n, p) for n, p in model.named_parameters() if p.ndim < 2]
        both = Together(Muon(hidden, lr=cosine(0.05, 12)), Adam(rest, lr=0.01))
        t = Trainer(model, both, progress=False, callbacks=[Checkpoints(folder, every=1)])
        t.fit(batches(), epochs=epochs, resume=folder if resume else None)
        return t

    whole = run(tmp_path / "whole", 2)
    cut = run(tmp_path / "cut", 1.5)
    files = sorted((tmp_path / "cut").glob("step-*"))
    assert cut.step == 9 and files[0].name == "step-00000008.safetensors"
    files[-1].unlink()  # what is left was saved in the middle of an epoch
    again = run(tmp_path / "cut", 2, resume=True)
    assert again.step == whole.step == 12
    for name, x in whole.model.state_dict().items():
        assert np.array_equal(to_numpy(x), to_numpy(again.model.state_dict()[name]))


def test_a_damaged_member_of_several_optimizers_is_named(tmp_path: Path) -> None:
    model = net()
    both = Together(SGD(list(model.named_parameters())[:2], lr=0.1),
                    Adam(list(model.named_parameters())[2:], lr=0.01))
    t = Trainer(model, both, progress=False)
    t.fit(batches())
    state = t.state_dict()
    del state["optimizer"]["members"][1]["state"]
    with pytest.raises(ValueError, match="/optimizer/members/1/state must be there"):
        t.load_state_dict(state)
