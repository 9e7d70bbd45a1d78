"""Every fused operation equals its reference, and both equal finite differences, at order 1 and 2.

The table below has rows for each fused operation of `tinynet.functional`; a test fails when one
has none. Convolutions are run by each algorithm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinynet import (
    Tensor,
    functional as F,  # noqa: F401  (registers its operations)
    grad,
    operation,
)
from tinynet.backend import xp
from tinynet.functional.conv import _conv2d
from tinynet.functional.dropconnect import _dropconnect
from tinynet.functional.fractional import _fractional_max_pool2d, _taps, fractional_regions
from tinynet.functional.loss import _softmax_cross_entropy
from tinynet.functional.norm import _batch_norm, _group_norm, _layer_norm
from tinynet.functional.pool import _avg_pool2d, _global_max_pool2d, _max_pool2d
from tinynet.gradcheck import gradcheck
from tinynet.kernels.conv import force_algorithm
from tinynet.random import Generator

Row = tuple[Callable[..., Any], list[tuple[int, ...] | None], dict[str, Any]]


ALGORITHMS = [None, "plain", "im2col", "depthwise", "winograd"]


def conv(x: Any, w: Any, bias: bool = True, stride: Any = (1, 1), padding: Any = (0, 0),
         dilation: Any = (1, 1), groups: int = 1) -> Row:
    return (_conv2d, [x, w, w[:1] if bias else None],
            {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups})


def masked(*args: Any, keep: float = 0.5, **options: Any) -> Row:
    """The same by DropConnect."""
    _, shapes, settings = conv(*args, **options)
    return _dropconnect, shapes, {"key": 3, "keep": keep, **settings}


def fractional(x: tuple[int, ...], out: tuple[int, int], overlapping: bool, samples: int = 1,
               pseudo: bool = True) -> Row:
    rows, columns = (_taps(fractional_regions(n, parts, pseudo=pseudo, overlapping=overlapping,
                                              samples=samples, key=n), overlapping)
                     for n, parts in zip(x[2:], out, strict=True))
    return _fractional_max_pool2d, [x], {"rows": rows, "columns": columns}


def pool(operation: Any, x: Any, kernel: Any, stride: Any, padding: Any = (0, 0)) -> Row:
    return operation, [x], {"kernel": kernel, "stride": stride, "padding": padding}


ROWS: list[Row] = [
    conv((2, 3, 6, 5), (4, 3, 3, 3), padding=(1, 1)),
    conv((2, 16, 8, 8), (16, 16, 3, 3), padding=(1, 1)),
    conv((5, 3, 18, 20), (8, 3, 3, 3), padding=(1, 1)),
    conv((1, 16, 6, 7), (5, 16, 3, 3), bias=False),
    conv((3, 17, 5, 9), (16, 17, 3, 3), padding=(2, 2)),
    conv((2, 4, 7, 6), (6, 2, 3, 2), stride=(2, 1), padding=(1, 0), groups=2),
    conv((1, 4, 7, 7), (4, 1, 3, 3), padding=(1, 1), groups=4),
    conv((3, 5, 7, 8), (5, 1, 3, 2), stride=(2, 3), padding=(1, 1), dilation=(2, 1), groups=5),
    conv((2, 16, 9, 8), (24, 4, 3, 3), padding=(1, 1), groups=4),
    conv((2, 12, 6, 7), (24, 2, 2, 3), stride=(1, 2), groups=6),
    conv((2, 4, 7, 8), (5, 4, 5, 5), padding=(2, 1)),
    conv((1, 2, 9, 8), (3, 2, 3, 3), dilation=(2, 1), padding=(2, 1)),
    conv((2, 5, 4, 3), (3, 5, 1, 1)),
    conv((2, 5, 5, 5), (3, 5, 1, 1), stride=(2, 2), bias=False),
    conv((1, 3, 4, 4), (2, 3, 4, 4)),
    masked((2, 3, 6, 5), (4, 3, 3, 3), padding=(1, 1), keep=0.7),
    masked((3, 16, 13, 10), (16, 16, 3, 3), padding=(1, 1)),
    masked((2, 17, 14, 12), (16, 17, 3, 3), padding=(2, 0), bias=False),
    masked((19, 4, 7, 6), (6, 2, 3, 2), stride=(2, 1), padding=(1, 0), groups=2),
    masked((9, 5, 3, 1), (4, 5, 1, 1), keep=0.9),
    fractional((2, 3, 6, 8), (4, 5), False),
    fractional((3, 2, 7, 7), (5, 6), False, samples=3, pseudo=False),
    fractional((2, 3, 8, 9), (6, 4), True),
    fractional((3, 2, 5, 6), (2, 5), True, samples=3, pseudo=False),
    *(pool(p, (2, 3, 6, 8), (2, 2), (2, 2)) for p in (_max_pool2d, _avg_pool2d)),
    *(pool(p, (2, 3, 7, 6), (3, 3), (2, 2), (1, 1)) for p in (_max_pool2d, _avg_pool2d)),
    *(pool(p, (2, 2, 5, 5), (3, 2), (1, 2)) for p in (_max_pool2d, _avg_pool2d)),
    *(pool(p, (2, 3, 4, 4), (4, 4), (4, 4)) for p in (_max_pool2d, _avg_pool2d)),
    (_global_max_pool2d, [(3, 2, 4, 3)], {}),
    *((_batch_norm, [shape, gamma, beta], {"eps": 1e-2, "with_relu": with_relu})
      for shape in ((4, 3), (4, 3, 5), (4, 3, 3, 2), (4, 24, 20, 18)) for with_relu in (False, True)
      for gamma, beta in ((shape[1:2],) * 2, (None, None), (shape[1:2], None))),
    *((_group_norm, [shape, gamma, beta], {"groups": 2, "eps": 1e-2})
      for shape in ((3, 4), (2, 6, 5), (2, 4, 3, 5), (6, 16, 27, 28))
      for gamma, beta in ((shape[1:2],) * 2, (None, None), (None, shape[1:2]))),
    *((_layer_norm, [shape, gamma, beta], {"eps": 1e-2})
      for shape in ((4, 3), (300, 400))
      for gamma, beta in ((shape[1:],) * 2, (None, None), (shape[1:], None))),
    *((_batch_norm, [shape, gamma, gamma], {"eps": 1e-2, "with_relu": with_relu, "wait": True})
      for shape in ((4, 3, 3, 2), (4, 24, 20, 18)) for with_relu in (False, True)
      for gamma in (shape[1:2], None)),
    (_softmax_cross_entropy, [(5, 4)], {"labels": xp.array([0, 3, 1, 1, 2])}),
]
IDS = [f"{row[0].__name__}{i}" for i, row in enumerate(ROWS)]


def draw(row: Row, dtype: str = "float64") -> list[Tensor | None]:
    rng = Generator(11)
    return [None if shape is None else
            Tensor(rng.normal(shape, dtype="f8").astype(dtype), requires_grad=True)
            for shape in row[1]]


def forced() -> list[Any]:
    """Each row; those of convolutions once for each algorithm."""
    return [pytest.param(row, algorithm, id=f"{name}-{algorithm}" if algorithm else name)
            for row, name in zip(ROWS, IDS, strict=True)
            for algorithm in (ALGORITHMS if row[0] in (_conv2d, _dropconnect) else [None])]


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-11), ("float32", 5e-5)])
@pytest.mark.parametrize(("row", "algorithm"), forced())
def test_fused_equals_reference(row: Row, algorithm: str | None, dtype: str, bound: float
                                ) -> None:
    inputs = draw(row, dtype)
    wrt = [x for x in inputs if x is not None]
    results = []
    for f in (row[0], row[0].reference):
        with force_algorithm(algorithm):
            y = f(*inputs, **row[2])
            y = y[0] if isinstance(y, tuple) else y
            g = Generator(12).normal(y.shape, dtype="f8").astype(dtype)
            results.append([y, *grad(y, wrt, g)])
    for a, b in zip(*results, strict=True):
        assert a.dtype == b.dtype == dtype and a.shape == b.shape
        assert np.abs(a.data - b.data).max() <= bound * max(1.0, np.abs(b.data).max())


@pytest.mark.parametrize(("row", "algorithm"), forced())
def test_gradients_equal_differences(row: Row, algorithm: str | None) -> None:
    f, shapes, options = row
    arrays = [x.data for x in draw(row) if x is not None]

    def call(*values: Tensor) -> Any:
        given = iter(values)
        return f(*(None if shape is None else next(given) for shape in shapes), **options)

    with force_algorithm(algorithm):
        gradcheck(call, *arrays, order=2 if algorithm is None else 1, directions=1)


def test_every_fused_operation_has_rows() -> None:
    ours = {name: f for name, f in operation.fusions.items()
            if f.__module__.startswith("tinynet.functional")}
    assert set(ours.values()) == {row[0] for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_unwanted_gradients_are_not_computed(row: Row) -> None:
    arrays = [None if x is None else x.data for x in draw(row)]
    for i, a in enumerate(arrays):
        if a is not None:
            only = [j == i for j in range(len(arrays))]
            y, backward, *_ = row[0].__wrapped__(*arrays, needs=tuple(only), **row[2])
            found = backward(xp.ones(y.shape), only)
            assert [dx is not None for dx in found] == only
