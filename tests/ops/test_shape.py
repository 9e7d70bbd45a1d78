"""Operations that move elements: values against NumPy, several spellings, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.arrays import equal
from tinynet import Tensor, grad

X = np.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize(("ours", "numpys"), [
    (lambda x: x.reshape(4, -1), lambda x: x.reshape(4, -1)),
    (lambda x: x.reshape((6, 4)), lambda x: x.reshape(6, 4)),
    (lambda x: x.view([24]), lambda x: x.reshape(24)),
    (lambda x: x.sum().reshape(), lambda x: x.sum().reshape(())),
    (lambda x: x.T, lambda x: x.T),
    (lambda x: x.transpose(), lambda x: x.transpose()),
    (lambda x: x.transpose(0, 2, 1), lambda x: x.transpose(0, 2, 1)),
    (lambda x: x.permute((-1, 0, 1)), lambda x: x.transpose(-1, 0, 1)),
    (lambda x: x.swapaxes(0, -1), lambda x: x.swapaxes(0, -1)),
    (lambda x: x.moveaxis(0, -1), lambda x: np.moveaxis(x, 0, -1)),
    (lambda x: x.moveaxis(-1, 0), lambda x: np.moveaxis(x, -1, 0)),
    (lambda x: x.expand_dims(1), lambda x: x[:, None]),
    (lambda x: x.expand_dims(-1), lambda x: x[..., None]),
    (lambda x: x[:, :1].squeeze(1), lambda x: x[:, 0]),
    (lambda x: x[:1, :, :1].squeeze(), lambda x: x[0, :, 0]),
    (lambda x: x.flatten(), lambda x: x.ravel()),
    (lambda x: x.flatten(1), lambda x: x.reshape(2, 12)),
    (lambda x: x.flip(1), lambda x: np.flip(x, 1)),
    (lambda x: x.broadcast_to((5, 2, 3, 4)), lambda x: np.broadcast_to(x, (5, 2, 3, 4))),
    (lambda x: x.sum_to((3, 1)), lambda x: x.sum((0, 2))[:, None]),
    (lambda x: tn.pad(x, 1), lambda x: np.pad(x, 1)),
    (lambda x: tn.pad(x, ((0, 1), 2, (0, 0)), 7.0),
     lambda x: np.pad(x, ((0, 1), (2, 2), (0, 0)), constant_values=7.0)),
    (lambda x: tn.concatenate([x, x[:, :1]], axis=1), lambda x: np.concatenate([x, x[:, :1]], 1)),
    (lambda x: tn.concatenate([x]), lambda x: x),
    (lambda x: tn.stack([x, x + 1], axis=-1), lambda x: np.stack([x, x + 1], axis=-1)),
    (lambda x: tn.split(x, 2, axis=-1)[1], lambda x: x[..., 2:]),
    (lambda x: x.split([1, 0, 2], axis=1)[2], lambda x: x[:, 1:]),
])
def test_values_are_numpys(ours: Any, numpys: Any) -> None:
    y, want = ours(Tensor(X, requires_grad=True)), numpys(X)
    assert y.shape == want.shape and equal(y.data, want) and y.requires_grad


def test_sizes_of_split_are_lengths_as_in_pytorch() -> None:
    assert [len(part) for part in tn.split(Tensor(np.arange(7.0)), 3)] == [3, 3, 1]
    assert tn.split(Tensor(np.arange(4)), [1, 3])[1].tolist() == [1, 2, 3]


def test_concatenate_keeps_each_gradient_in_its_dtype() -> None:
    a, b = Tensor([1.0], requires_grad=True), Tensor(np.ones(2), requires_grad=True)
    y = tn.concatenate([a, b, a])
    assert y.dtype == np.float64
    da, db = grad(y, [a, b], [1.0, 2.0, 3.0, 4.0])
    assert da.tolist() == [5.0] and da.dtype == np.float32 and db.tolist() == [2.0, 3.0]


@pytest.mark.parametrize(("call", "words"), [
    (lambda x: x.expand_dims(4), "axis 4 is out of range: there are 4 axes"),
    (lambda x: x.swapaxes(0, 3), "axis 3 is out of range: there are 3 axes"),
    (lambda x: x.moveaxis(3, 0), "axis 3 is out of range"),
    (lambda x: x.squeeze(1), r"squeeze: axis 1 of shape \(2, 3, 4\) has length 3"),
    (lambda x: x.squeeze(-4), "axis -4 is out of range"),
    (lambda x: x.split(2, axis=3), "axis 3 is out of range"),
    (lambda x: x.split([1, 1], axis=1), r"sizes \[1, 1\] add up to 2, but axis 1 has length 3"),
    (lambda x: x.split(0), "split: sizes must be an integer of at least 1, got 0"),
    (lambda x: tn.pad(x, -1), "none negative; got -1"),
    (lambda x: tn.pad(x, ((1, 1),)), r"for each of 3 axes.*got \(\(1, 1\),\)"),
    (lambda x: tn.concatenate([]), "at least one"),
    (lambda x: tn.concatenate([x, x[0]]), r"needs equal shapes elsewhere, got \[\(2, 3, 4\)"),
    (lambda x: tn.concatenate([x, x], axis=3), "axis 3 is out of range"),
    (lambda x: tn.stack([x, x[0]]), r"stack needs tensors of one shape, got \[\(2, 3, 4\)"),
    (lambda x: x.sum_to((3, 2)), r"shape \(2, 3, 4\) cannot be summed to shape \(3, 2\)"),
    (lambda x: x.sum_to((1, 2, 3, 4)), "cannot be summed"),
    (lambda x: x.broadcast_to((3, 4)), r"shape \(2, 3, 4\) cannot be stretched to \(3, 4\)"),
    (lambda x: x.broadcast_to((4, 3, 4)), r"shape \(2, 3, 4\) cannot be stretched to \(4, 3, 4\)"),
    (lambda x: x.broadcast_to((9, 4, 300, 4)), r"cannot be stretched to \(9, 4, 300, 4\)"),
])
def test_errors_name_the_shape_and_the_axis(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call(Tensor(X))
