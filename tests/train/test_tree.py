"""Checkpoints of one's own: any tree of arrays, numbers and texts comes back as it was."""

from __future__ import annotations

import math
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp

import tinynet as tn
from tinynet import nn, train
from tinynet.backend import to_numpy
from tinynet.train import load_checkpoint, load_model, read_checkpoint, save_checkpoint
from tinynet.train.tree import pack, unpack


def same(a: Any, b: Any) -> bool:
    """Equal in kind and value all the way down; nan is nan, and -0.0 is not 0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray | np.generic):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or a.hex() == b.hex()
    return bool(a == b)


NUMBERS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
ARRAYS = hnp.arrays(st.sampled_from(["?", "u1", "i8", "f2", "f4", "f8"]),
                    hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3))
LEAVES = NUMBERS | ARRAYS | ARRAYS.map(lambda x: x.reshape(-1)[:1]).filter(len).map(lambda x: x[0])
KEYS = st.text() | st.integers() | st.booleans() | st.tuples(st.integers(), st.text())
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3)
                     | st.lists(inner, max_size=3).map(tuple)
                     | st.dictionaries(KEYS, inner, max_size=3), max_leaves=10)


@given(TREES)
def test_any_tree_comes_back_exactly(tree: Any) -> None:
    arrays: dict[str, Any] = {}
    packed = pack(tree, arrays)
    assert same(unpack(packed, arrays), tree)


ODD = {
    "none": None, "int": 3, "float": 3.0, "big": 2**80, "nan": math.nan, "inf": -math.inf,
    "minus zero": -0.0, "true": True, "text": "grün\n", "nested": [1, (2, [3.0, ()]), {}],
    "float32": np.float32(0.1), "int8": np.int8(-3), "bool_": np.bool_(True),
    "array": np.arange(6, dtype=np.float16).reshape(2, 3).T, "no axes": np.array(2.5),
    "empty": np.zeros((0, 3), np.int32), 7: "seven", 7.5: "and a half", (1, "a"): [None],
    "a/b": np.zeros(1), "a": {"b": np.ones(1)}, "$array": 3, "x": {"$array": "y"},
    "$tuple": [1], "model": {"__metadata__": np.zeros(2), "weight": np.ones(2)},
    "nans": np.array([np.nan, np.inf, -0.0]),
}


def test_a_file_holds_it_exactly(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "x", ODD)
    found = load_checkpoint(tmp_path / "x")
    assert same(found, ODD)
    found["nans"][0] = 1.0  # it is one's own
    for tree in ([1, 2], (np.zeros(2),), 3, "text", None, np.arange(3)):
        save_checkpoint(tmp_path / "x", tree)
        assert same(load_checkpoint(tmp_path / "x"), tree)
    assert read_checkpoint is load_checkpoint


def test_tensors_come_back_as_tensors(tmp_path: Path) -> None:
    tree = {"w": tn.tensor([1.0, 2.0], requires_grad=True), "x": tn.tensor([3])}
    save_checkpoint(tmp_path / "x", tree)
    found = load_checkpoint(tmp_path / "x")
    assert [type(found[name]) for name in tree] == [tn.Tensor, tn.Tensor]
    assert found["w"].requires_grad and not found["x"].requires_grad
    assert found["w"].tolist() == [1.0, 2.0] and found["x"].dtype == np.int64


def test_subclasses_come_back_as_the_plain_kind(tmp_path: Path) -> None:
    class Pair(NamedTuple):
        a: int
        b: float

    save_checkpoint(tmp_path / "x", {"p": Pair(1, 2.0), "o": OrderedDict(a=1)})
    assert same(load_checkpoint(tmp_path / "x"), {"p": (1, 2.0), "o": {"a": 1}})


def test_the_weights_in_it_are_a_model_too(tmp_path: Path) -> None:
    model = nn.Linear(2, 3)
    save_checkpoint(tmp_path / "x.safetensors", {"model": model.state_dict(), "epoch": 3})
    other = load_model(tmp_path / "x.safetensors", nn.Linear(2, 3))
    assert (to_numpy(other.weight.data) == to_numpy(model.weight.data)).all()


@pytest.mark.parametrize(("tree", "place"), [
    ({"a": {"b": [0, object()]}}, "/a/b/1 is a object"), ({"f": print}, "/f is a builtin"),
    ({"s": {1, 2}}, "/s is a set"), ({"b": b"x"}, "/b is a bytes"), ({"c": 1j}, "/c is a complex"),
    ({("k", print): 1}, "/key 0/1 is a builtin"), (print, "/ is a builtin"),
    ({"g": train.Trainer}, "/g is a type")], ids=lambda value: None)
def test_what_cannot_be_saved_is_named_and_writes_nothing(
        tmp_path: Path, tree: Any, place: str) -> None:
    with pytest.raises(TypeError, match=f"the state {place}.*, which cannot be saved: a state hol"):
        save_checkpoint(tmp_path / "x", tree)
    assert not (tmp_path / "x").exists()


def test_the_order_of_the_arguments_is_said(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"save_checkpoint\(path, state\) takes the file's name"):
        save_checkpoint({"a": 1}, tmp_path / "x")  # type: ignore[arg-type]


def test_a_tree_of_ones_own_is_no_run(tmp_path: Path) -> None:
    model = nn.Linear(2, 3)
    trainer = train.Trainer(model, tn.optim.SGD(model.parameters(), lr=0.1), progress=False)
    save_checkpoint(tmp_path / "x.safetensors", {"model": model.state_dict()})
    batch = (np.zeros((4, 2), "float32"), np.zeros(4, int))
    with pytest.raises(ValueError, match="does not fit this run: the state /step must be there"):
        trainer.fit([batch], resume=tmp_path / "x.safetensors")
