"""Convolution: the definition, layout, and errors that name argument, value and fix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.arrays import close, equal, host
from tinynet import Tensor, functional as F, grad
from tinynet.kernels import memory


def by_definition(x: Any, w: Any, stride: int, padding: int, dilation: int,
                  groups: int) -> np.ndarray:
    """Seven loops, folded into five by two sums."""
    x, w = host(x), host(w)
    n, _, h, width = x.shape
    o, i, kh, kw = w.shape
    x = np.pad(x, ((0, 0), (0, 0), (padding,) * 2, (padding,) * 2))
    oh, ow = ((s + 2 * padding - dilation * (k - 1) - 1) // stride + 1
              for s, k in ((h, kh), (width, kw)))
    y = np.zeros((n, o, oh, ow))
    for out in range(o):
        start = out // (o // groups) * i
        for p in range(oh):
            for q in range(ow):
                for a in range(kh):
                    for b in range(kw):
                        pixel = x[:, start : start + i, p * stride + a * dilation,
                                  q * stride + b * dilation]
                        y[:, out, p, q] += (pixel * w[out, :, a, b]).sum(1)
    return y


@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), [
    (1, 0, 1, 1), (1, 1, 1, 1), (2, 1, 1, 2), (1, 2, 2, 4), (3, 0, 2, 2)])
def test_definition(stride: int, padding: int, dilation: int, groups: int, rng: Any) -> None:
    x, w = rng.normal((2, 4, 7, 6), dtype="f8"), rng.normal((4, 4 // groups, 3, 3), dtype="f8")
    options = (stride, padding, dilation, groups)
    y = F.conv2d(x, w, None, *options)
    assert close(y, by_definition(x, w, *options), atol=1e-13)


@pytest.mark.numpy_only("channels-last memory is the layout of the kernels on the CPU")
@pytest.mark.parametrize(("kernel", "options"), [
    (3, {"padding": 1}), (3, {"stride": 2, "padding": 1}), (1, {}), (1, {"stride": 2}),
    (3, {"padding": 1, "groups": 4}), (5, {"padding": "same"}), (2, {"padding": "same"})])
@pytest.mark.parametrize("channels_last", [True, False])
def test_results_lie_channels_last(kernel: int, options: Any, channels_last: bool,
                                   rng: Any) -> None:
    x = rng.normal((2, 8, 8, 4)).transpose(0, 3, 1, 2)
    t = Tensor(x if channels_last else np.ascontiguousarray(x), requires_grad=True)
    w = Tensor(rng.normal((8, 4 // options.get("groups", 1), kernel, kernel)), requires_grad=True)
    before = memory.layout_copies
    y = F.conv2d(t, w, **options)
    copies = memory.layout_copies - before
    grad(y, [t, w], rng.normal((2, *y.shape[2:], 8)).transpose(0, 3, 1, 2))
    assert y.data.transpose(0, 2, 3, 1).flags.c_contiguous
    assert copies <= (0 if channels_last and kernel != 2 else 1)


def test_same_keeps_the_size(rng: Any) -> None:
    x = rng.normal((1, 2, 7, 5))
    for kernel in [(1, 1), (2, 3), (5, 4)]:
        for dilation in (1, 2):
            y = F.conv2d(x, rng.normal((3, 2, *kernel)), padding="same", dilation=dilation)
            assert y.shape == (1, 3, 7, 5)


@pytest.mark.parametrize(("change", "words"), [
    ({"x": (4, 8, 8)}, r"x must have shape \(N, C, H, W\), got \(4, 8, 8\): add the batch axis"),
    ({"x": (2, 3, 8, 8)}, r"has 3 channels, but weight of shape \(6, 4, 3, 3\) with groups=1 "
                          "takes 4"),
    ({"weight": (6, 4, 3)}, r"weight must have shape .* got \(6, 4, 3\)"),
    ({"bias": (4,)}, r"bias must have shape \(6,\).*got \(4,\)"),
    ({"groups": 2}, "has 4 channels, but .* groups=2 takes 8"),
    ({"groups": 4}, "divides the 6 output channels of weight, got 4"),
    ({"groups": 0}, "got 0"),
    ({"stride": 0}, "stride must be an integer of at least 1 or two of them .* got 0"),
    ({"padding": (1, -1)}, r"padding must be .* got \(1, -1\)"),
    ({"padding": "full"}, "'same', 'valid' or numbers, got 'full'"),
    ({"padding": "same", "stride": 2}, r"needs stride 1, got stride=\(2, 2\)"),
    ({"dilation": 4}, r"kernel spans \(9, 9\) pixels, but the image has \(8, 8\)"),
])
def test_errors_name_argument_value_and_fix(change: dict[str, Any], words: str) -> None:
    arguments = {"x": (2, 4, 8, 8), "weight": (6, 4, 3, 3), "bias": (6,)}
    options = {name: value for name, value in change.items() if name not in arguments}
    arrays = {name: Tensor(np.ones(change.get(name, shape), "f4"))
              for name, shape in arguments.items()}
    with pytest.raises(ValueError, match=words):
        F.conv2d(**arrays, **options)


def test_dtypes_must_agree() -> None:
    w = Tensor(np.ones((2, 1, 3, 3), "f4"))
    with pytest.raises(TypeError, match=r"x is uint8, weight is float32: .*\.astype"):
        F.conv2d(Tensor(np.ones((1, 1, 4, 4), "u1")), w)
    with pytest.raises(TypeError, match="x is float64, weight is float32"):
        F.conv2d(Tensor(np.ones((1, 1, 4, 4))), w)


def test_sizes_may_be_numpy_integers(rng: Any) -> None:
    x, w = rng.normal((1, 2, 5, 5)), rng.normal((3, 2, 3, 3))
    one = np.int64(1)
    assert equal(F.conv2d(x, w, stride=one, padding=[one, 0]),
                          F.conv2d(x, w, padding=(1, 0)))
