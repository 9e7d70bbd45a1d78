"""erf to a few units in the last place."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.arrays import host
from tinynet.backend import asarray
from tinynet.kernels.erf import erf


def test_erf_over_its_range() -> None:
    x = np.concatenate([np.linspace(-7, 7, 20_001), 10.0 ** np.linspace(-300, 0, 1000),
                        [0.46875, np.nextafter(0.46875, 1), 5.999, 6.0, 30.0, np.inf]])
    wanted = np.array([math.erf(v) for v in x])
    found = host(erf(asarray(x)))
    nonzero = wanted != 0
    assert np.abs(found[nonzero] / wanted[nonzero] - 1).max() < 1e-15
    assert (found[~nonzero] == 0).all()
    assert erf(asarray(-x)).tolist() == (-found).tolist()


def test_erf_keeps_dtype_and_shape() -> None:
    x = np.linspace(-3, 3, 12, dtype=np.float32).reshape(3, 4)
    y = host(erf(asarray(x)))
    assert y.dtype == np.float32
    wanted = np.array([math.erf(v) for v in x.ravel().tolist()]).reshape(3, 4)
    assert np.abs(y - wanted).max() < 3e-7
    assert math.isnan(float(erf(asarray(np.array(np.nan)))))


@pytest.mark.parametrize("x", [0.0, -0.0, 0.3])
def test_erf_of_one_number(x: float) -> None:
    assert float(erf(asarray(np.array(x)))) == pytest.approx(math.erf(x), rel=1e-15)
