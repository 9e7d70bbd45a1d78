"""What the kernel tests share: arrays in several memory orders, and one measure of error."""

from __future__ import annotations

from typing import Any

import numpy as np

LAYOUTS = ("nchw", "nhwc", "gaps")


def images(rng: Any, shape: tuple[int, ...], dtype: str, layout: str = "nchw") -> np.ndarray:
    """Normal numbers of shape (N, C, H, W), channels first or last in memory, or with gaps."""
    n, c, h, w = shape
    if layout == "nhwc":
        return np.ascontiguousarray(rng.normal((n, h, w, c), dtype=dtype)).transpose(0, 3, 1, 2)
    if layout == "gaps":
        return rng.normal((n, c, h, 2 * w), dtype=dtype)[:, :, ::-1, ::2]
    return rng.normal(shape, dtype=dtype)


def error(found: Any, wanted: Any) -> float:
    """The largest difference, relative to the largest wanted value; inf if shapes differ."""
    if found.shape != wanted.shape:
        return np.inf
    largest = np.abs(wanted).max(initial=0)
    return float(np.abs(found - wanted).max(initial=0) / (largest or 1))
