"""Axes, lengths and empty arrays: NumPy's answer, or an error that names the argument."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.arrays import close, equal, host
from tinynet import Tensor, functional as F, grad, random
from tinynet.backend import xp

OVER_AXES = {"sum": tn.sum, "mean": tn.mean, "var": tn.var, "std": tn.std, "max": tn.max,
             "min": tn.min, "prod": tn.prod, "logsumexp": tn.logsumexp, "norm": tn.norm,
             "all": tn.all, "any": tn.any, "softmax": F.softmax, "log_softmax": F.log_softmax}
ALONG_ONE = {"cumsum": tn.cumsum, "sort": tn.sort, "argsort": tn.argsort, "median": tn.median,
             "argmax": tn.argmax, "argmin": tn.argmin}
one = np.int64(1)
two = np.int32(2)


def ones(*shape: int) -> Tensor:
    return Tensor(xp.ones(shape), requires_grad=True)


def slopes(f: Callable[[Any], Any], x: Tensor) -> Any:
    """The value and, where there is one, the gradient of its sum."""
    y = f(x)
    return y, grad(tn.sum(y), x) if y.requires_grad else None


@pytest.mark.parametrize("name", OVER_AXES | ALONG_ONE)
@pytest.mark.parametrize("axis", [1, -1])
def test_an_axis_may_be_a_numpy_integer(name: str, axis: int) -> None:
    f = (OVER_AXES | ALONG_ONE)[name]
    x = Tensor(random.normal(1, (2, 3, 4), dtype=float), requires_grad=True)
    wanted = slopes(lambda x: f(x, axis=axis), x)
    found = slopes(lambda x: f(x, axis=np.int8(axis)), x)
    assert equal(found[0], wanted[0])
    assert wanted[1] is None or equal(found[1], wanted[1])


@pytest.mark.parametrize("name", OVER_AXES)
def test_several_axes_may_be_negative_or_in_a_list(name: str) -> None:
    f = OVER_AXES[name]
    x = Tensor(random.normal(1, (2, 3, 4), dtype=float), requires_grad=True)
    wanted = slopes(lambda x: f(x, axis=(0, 2)), x)
    for axis in ((np.int64(0), -1), (-1, -3)):
        found = slopes(lambda x, axis=axis: f(x, axis=axis), x)
        assert close(found[0], wanted[0], 1e-14)
        assert wanted[1] is None or close(found[1], wanted[1], 1e-14)


@pytest.mark.parametrize("name", OVER_AXES | ALONG_ONE)
@pytest.mark.parametrize("axis", [1.0, "a", True, (0, 0), (0, -2), 5, -3, (0, 7)],
                         ids=["float", "text", "bool", "twice", "twice by name", "large", "small",
                              "one of two is large"])
def test_an_axis_that_is_none_is_refused_by_name(name: str, axis: Any) -> None:
    f = (OVER_AXES | ALONG_ONE)[name]
    for x in (ones(2, 3), xp.ones((2, 3))):
        with pytest.raises((TypeError, ValueError), match="axis"):
            f(x, axis=axis)


NUMPY_ON_EMPTY = {"sum": 0.0, "prod": 1.0, "all": True, "any": False, "logsumexp": -math.inf,
                  "norm": 0.0}


@pytest.mark.parametrize("name", NUMPY_ON_EMPTY)
def test_a_sum_of_nothing_is_its_neutral_element(name: str) -> None:
    y, slope = slopes(lambda x: OVER_AXES[name](x, axis=1), ones(2, 0))
    assert y.tolist() == [NUMPY_ON_EMPTY[name]] * 2
    assert slope is None or slope.shape == (2, 0)
    assert OVER_AXES[name](ones(0)).item() == NUMPY_ON_EMPTY[name]


@pytest.mark.parametrize("name", OVER_AXES | ALONG_ONE)
def test_an_empty_axis_beside_the_one_reduced_does_no_harm(name: str) -> None:
    f = (OVER_AXES | ALONG_ONE)[name]
    for shape, axis in (((2, 0), 0), ((0, 3), 1)):
        y, slope = slopes(lambda x, axis=axis: f(x, axis=axis), ones(*shape))
        assert y.size == 0
        assert slope is None or slope.shape == shape


@pytest.mark.parametrize("name", ["max", "min", "var", "std", "median", "argmax", "argmin"])
def test_of_nothing_there_is_no_largest_and_no_middle(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}|needs more than 0 values"):
        (OVER_AXES | ALONG_ONE)[name](ones(2, 0), axis=1)


@pytest.mark.parametrize("f", [F.softmax, F.log_softmax, tn.sort, lambda x: tn.cumsum(x, -1)],
                         ids=["softmax", "log_softmax", "sort", "cumsum"])
def test_what_keeps_the_shape_keeps_an_empty_one(f: Any) -> None:
    y, slope = slopes(f, ones(2, 0))
    assert y.shape == slope.shape == (2, 0)


def test_the_mean_of_nothing_is_nan_as_in_numpy() -> None:
    with np.errstate(invalid="ignore"):
        y, slope = slopes(tn.mean, ones(0))
        loss, of_loss = slopes(lambda x: F.mse_loss(x, xp.ones(0)), ones(0))
    assert math.isnan(y.item()) and slope.shape == (0,)
    assert math.isnan(loss.item()) and of_loss.shape == (0,)


def test_the_median_of_a_row_with_nan_is_nan() -> None:
    x = Tensor(xp.asarray([[3.0, math.nan, 1.0], [4.0, 2.0, 3.0]]), requires_grad=True)
    y, slope = slopes(tn.median, x)
    assert equal(np.isnan(host(y)), [True, False]) and y.tolist()[1] == 3.0
    assert slope.tolist()[1] == [0.0, 0.0, 1.0]
    assert tn.median(Tensor([60_000.0, 60_000.0], dtype="float16")).item() == 60_000.0
    assert tn.median(xp.asarray([200, 250], "uint8")) == 225.0


SHAPES: dict[str, tuple[Callable[[Any], Any], tuple[int, ...]]] = {
    "reshape": (lambda x: x.reshape(two * 3, one), (6, 1)),
    "transpose": (lambda x: x.transpose(one, np.int64(0)), (3, 2)),
    "permute": (lambda x: x.permute([one, np.int64(0)]), (3, 2)),
    "swapaxes": (lambda x: x.swapaxes(one, -two), (3, 2)),
    "moveaxis": (lambda x: x.moveaxis(one, np.int64(0)), (3, 2)),
    "expand_dims": (lambda x: x.expand_dims(one), (2, 1, 3)),
    "squeeze": (lambda x: x[None].squeeze(np.int64(0)), (2, 3)),
    "flatten": (lambda x: x.flatten(np.int64(0)), (6,)),
    "flip": (lambda x: x.flip((np.int64(0), one)), (2, 3)),
    "split": (lambda x: x.split(two, one)[0], (2, 2)),
    "split in lengths": (lambda x: x.split([one, two], one)[1], (2, 2)),
    "pad": (lambda x: tn.pad(x, one), (4, 5)),
    "pad by axis": (lambda x: tn.pad(x, ((one, 0), (0, two))), (3, 5)),
    "concatenate": (lambda x: tn.concatenate([x, x], axis=one), (2, 6)),
    "stack": (lambda x: tn.stack([x, x], axis=two), (2, 3, 2)),
    "broadcast_to": (lambda x: x.broadcast_to((two, two, 3)), (2, 2, 3)),
    "sum_to": (lambda x: x.sum_to((one, 3)), (1, 3)),
    "take_along_axis": (lambda x: tn.take_along_axis(x, [[0], [1]], one), (2, 1)),
    "put": (lambda x: tn.put(x, [0, 1], (two * 2, 3)), (4, 3)),
    "getitem": (lambda x: x[one], (3,)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_lengths_and_places_may_be_numpy_integers_forward_and_backward(name: str) -> None:
    f, shape = SHAPES[name]
    y, slope = slopes(f, ones(2, 3))
    assert y.shape == shape and slope.shape == (2, 3)
    assert all(type(n) is int for n in y.shape)


@pytest.mark.parametrize("make", [tn.zeros, tn.ones, tn.rand, tn.randn,
                                  lambda shape: tn.full(shape, 1.0)],
                         ids=["zeros", "ones", "rand", "randn", "full"])
def test_new_tensors_take_numpy_integers_as_lengths(make: Any) -> None:
    assert make((two, one)).shape == (2, 1)
    assert make((two,)).shape == (2,)


def test_the_second_of_two_lengths_is_no_dtype() -> None:
    for second in (3, np.int64(3)):
        with pytest.raises(TypeError, match="shape is one tuple"):
            tn.zeros(2, second)
    assert tn.rand(two, 3).shape == (2, 3)
    with pytest.raises(ValueError, match="length of the shape"):
        tn.rand(2, -1)


def test_several_axes_come_and_go_as_in_numpy() -> None:
    x = ones(1, 2, 1)
    assert x.squeeze((0, 2)).shape == x.squeeze([0, -1]).shape == (2,)
    assert x.expand_dims((0, -1)).shape == (1, 1, 2, 1, 1)
    for source, destination in (((0, 1), (1, 0)), ((0, 2), (-1, 0)), ((), ())):
        a = random.normal(2, (2, 3, 4), dtype=float)
        y, slope = slopes(lambda x, s=source, d=destination: tn.moveaxis(x, s, d),
                          Tensor(a, requires_grad=True))
        assert equal(y, np.moveaxis(host(a), source, destination)) and slope.shape == a.shape


@pytest.mark.parametrize(("call", "words"), [
    (lambda: ones(1, 2).squeeze((0, 1)), "squeeze: axis 1 of shape .* has length 2"),
    (lambda: ones(1, 1).squeeze((0, 0)), "axis .0, 0. names an axis twice"),
    (lambda: ones(2).expand_dims((0, 3)), "axis 3 is out of range"),
    (lambda: ones(2, 3).moveaxis((0, 1), 0), "source .* and destination .* as many"),
    (lambda: ones(2, 3).flatten(2), "axis 2 is out of range"),
    (lambda: ones(2, 3).transpose(0, 0), "axes .0, 0. are not an order of the 2 axes"),
    (lambda: ones(2, 3).transpose(0), "axes .0,. are not an order of the 2 axes"),
    (lambda: tn.split(ones(3), [5, -2]), "split: every one of sizes .* got -2"),
    (lambda: tn.split(ones(3), [1.0, 2.0]), "split: every one of sizes .* got 1.0"),
    (lambda: tn.split(ones(3), -1), "split: sizes must be an integer of at least 1, got -1"),
    (lambda: tn.split(ones(3), [1, 1]), "split: sizes .* add up to 2, but axis 0 has length 3"),
    (lambda: tn.pad(ones(3), ((1, 2, 3),)), "pad_width must be .* got"),
    (lambda: tn.pad(ones(3), 1.5), "pad_width must be .* got 1.5"),
    (lambda: tn.concatenate([]), "concatenate needs at least one tensor"),
], ids=range(14))
def test_impossible_shapes_are_refused_by_name(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


def test_tensors_to_be_joined_may_come_from_a_generator() -> None:
    x = ones(2)
    assert tn.stack(x for _ in range(3)).shape == (3, 2)
    assert grad(tn.concatenate(x for _ in range(3)).sum(), x).tolist() == [3.0, 3.0]


def test_an_empty_axis_is_split_into_one_empty_piece() -> None:
    assert [piece.shape for piece in tn.split(ones(0, 3), 2)] == [(0, 3)]


def test_a_linear_map_of_no_features_is_its_bias() -> None:
    weight = ones(4, 0)
    bias = Tensor(xp.arange(4.0), requires_grad=True)
    for shape in ((2, 0), (3, 2, 0), (0,)):
        x = ones(*shape)
        y = F.linear(x, weight, bias)
        assert y.shape == (*shape[:-1], 4)
        assert equal(y, np.broadcast_to(np.arange(4.0), y.shape))
        assert [g.shape for g in grad(y.sum(), [x, weight, bias])] == [shape, (4, 0), (4,)]
    assert F.linear(ones(0, 3, 2), ones(4, 2)).shape == (0, 3, 4)
