"""GELU's Phi by a tanh is right to its rounding; blocks change no bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinynet.kernels import activation, threads as kernel_threads

pytestmark = pytest.mark.numpy_only("blocks for the cache and worker threads")


def test_phi_over_its_range_and_beyond() -> None:
    from scipy import special as scipy_special

    x = np.concatenate([np.linspace(-12, 12, 300_001), [-1e30, -40.0, 40.0, 1e30]]).astype("f4")
    y = activation.in_blocks(activation.gelu_of, x, approximate="none")
    exact = x.astype("f8") * scipy_special.ndtr(x.astype("f8"))
    assert np.abs(y - exact)[:-4].max() < 1e-6
    inner = np.abs(x) < 3
    assert np.abs(y - exact)[inner].max() < 5e-7
    assert y[-4:].tolist() == [0.0, 0.0, 40.0, x.tolist()[-1]]


@pytest.mark.parametrize("f", [activation.sigmoid_of, activation.silu_of])
def test_blocks_and_workers_change_no_bit(f: Any, rng: Any) -> None:
    x = rng.normal((64, 32, 33, 31))
    workers = kernel_threads.get_num_workers()
    found = []
    for n in (1, 2):
        kernel_threads.set_num_workers(n)
        found.append(activation.in_blocks(f, x).tobytes())
    kernel_threads.set_num_workers(workers)
    assert found[0] == found[1] == f(x).tobytes()
