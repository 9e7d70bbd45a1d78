"""y <- a x + b y: BLAS's routine and the plain twin."""

from __future__ import annotations

import numpy as np
import pytest

from tinynet.kernels import axpby as module
from tinynet.kernels.axpby import axpby, plain_axpby

pytestmark = pytest.mark.numpy_only("a device updates in one launch")


@pytest.mark.parametrize(("dtype", "bound"), [("f2", 0.0), ("f4", 3e-7), ("f8", 6e-16)])
@pytest.mark.parametrize("n", [1, 2, 7, 16, 33, 1000, 70_001])
def test_equals_the_plain_twin(dtype: str, bound: float, n: int) -> None:
    rng = np.random.default_rng(n)
    for a, b in ((0.3, 0.9), (1.0, 0.9), (-0.01, 1.0), (2.0, -1.0)):
        x, y = rng.normal(size=(2, n)).astype(dtype)
        kept, wanted = x.copy(), y.copy()
        plain_axpby(a, x, b, wanted)
        axpby(a, x, b, y)
        assert np.abs(y - wanted).max() <= bound * (np.abs(x).max() + np.abs(wanted).max())
        assert (x == kept).all()


def test_touches_its_row_alone() -> None:
    memory = np.ones(30, np.float32)
    axpby(1.0, memory[20:25], 1.0, memory[10:15])
    assert memory.tolist() == [1] * 10 + [2] * 5 + [1] * 15


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_does_not_depend_on_the_cut(dtype: str) -> None:
    rng = np.random.default_rng(0)
    x, whole = rng.normal(size=(2, 1000)).astype(dtype)
    parts = whole.copy()
    axpby(0.3, x, 0.9, whole)
    for i, j in ((0, 1), (1, 18), (18, 500), (500, 1000)):
        axpby(0.3, x[i:j], 0.9, parts[i:j])
    assert (whole == parts).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_passes_on_what_is_not_finite(value: float) -> None:
    x, y = np.array([value, 1.0, 1.0], np.float32), np.array([1.0, value, 1.0], np.float32)
    axpby(-0.1, x, 1.0, y)
    assert np.isfinite(y).tolist() == [False, False, True]


def test_blas_has_the_routine_where_numpy_brings_openblas() -> None:
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
    for dtype in map(np.dtype, ("f4", "f8")):
        assert module._routine(dtype) is not None or "openblas" not in blas
    for other in map(np.dtype, ("f2", "i4", "c8", dtype.newbyteorder())):
        assert module._routine(other) is None


def test_without_the_routine_the_plain_twin_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "blas_libraries", list)
    module._routine.cache_clear()
    try:
        y = np.ones(3, np.float32)
        axpby(2.0, np.arange(3, dtype=np.float32), 0.5, y)
        assert module._routine(y.dtype) is None
    finally:
        module._routine.cache_clear()
    assert y.tolist() == [0.5, 2.5, 4.5]
