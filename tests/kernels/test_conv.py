"""Every algorithm of a convolution equals the plain one, values and gradients, in every shape."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from tests.kernels.measure import LAYOUTS, error, images
from tinynet.kernels import conv, im2col, memory, threads as kernel_threads, tiles, winograd
from tinynet.kernels.conv import choose, conv2d, conv2d_backward, force_algorithm
from tinynet.kernels.im2col import Shape

pytestmark = pytest.mark.numpy_only("algorithms of the CPU; functional/test_conv.py runs CuPy's")

# Largest error relative to the largest value. Winograd's matrices hold numbers up to 8.
BOUNDS = {("im2col", "f8"): 1e-13, ("winograd", "f8"): 1e-12,
          ("im2col", "f4"): 2e-6, ("winograd", "f4"): 2e-5}

THREES = [  # x, O, padding: 3x3 with stride 1
    ((2, 5, 8, 8), 3, (1, 1)),
    ((1, 16, 16, 16), 20, (1, 1)),
    ((3, 4, 9, 11), 6, (1, 1)),  # tiles hang over
    ((3, 4, 13, 6), 6, (0, 0)),
    ((2, 3, 6, 7), 4, (2, 2)),
    ((2, 3, 7, 5), 4, (0, 2)),
    ((2, 1, 3, 3), 1, (0, 0)),  # one output pixel
    ((2, 2, 1, 1), 3, (1, 1)),  # one input pixel
    ((40, 3, 4, 4), 2, (1, 1)),
    ((19, 8, 12, 12), 16, (2, 1)),  # blocks of unequal length
]
OTHERS: list[tuple[Any, Any, dict[str, Any]]] = [  # x, w, options
    ((2, 6, 9, 8), (4, 6, 3, 3), {"stride": (2, 2), "padding": (1, 1)}),
    ((2, 6, 9, 8), (4, 3, 3, 3), {"groups": 2}),
    ((2, 3, 20, 19), (5, 3, 3, 3), {"padding": (1, 1)}),  # few channels: planar
    ((2, 1, 28, 28), (4, 1, 5, 5), {}),
    ((2, 2, 18, 18), (4, 1, 3, 3), {"groups": 2}),
    ((2, 3, 33, 31), (6, 3, 7, 7), {"stride": (2, 2), "padding": (3, 3)}),
    ((1, 6, 12, 12), (150, 6, 3, 3), {"padding": (1, 1)}),  # fewer pixels than filters
    ((3, 4, 7, 7), (8, 4, 1, 1), {}),  # pointwise
    ((3, 4, 7, 7), (8, 2, 1, 1), {"groups": 2}),
    ((3, 4, 7, 7), (8, 4, 1, 1), {"stride": (2, 3)}),
    ((3, 4, 7, 7), (8, 4, 1, 1), {"padding": (1, 2)}),
    ((2, 16, 11, 12), (6, 16, 5, 3), {"stride": (2, 1), "padding": (2, 0), "dilation": (1, 2)}),
    ((2, 4, 12, 12), (4, 4, 3, 3), {"dilation": (2, 2), "padding": (2, 2)}),
    ((1, 20, 9, 9), (20, 1, 3, 3), {"groups": 20, "stride": (2, 2)}),  # depthwise
    ((70, 8, 16, 16), (8, 8, 2, 2), {"stride": (2, 2)}),  # several blocks
]


def compare(algorithm: str, x: np.ndarray, w: np.ndarray, options: dict[str, Any], rng: Any,
            layout: str) -> None:
    """Forward and both gradients against the plain algorithm in float64."""
    exact = x.astype("f8"), w.astype("f8")
    with force_algorithm("plain"):
        y = conv2d(*exact, **options)
        g = images(rng, y.shape, x.dtype.str, layout)
        wanted = (y, *conv2d_backward(g.astype("f8"), *exact, **options))
    with force_algorithm(algorithm):
        assert choose(Shape(x, w, *_all(options))) == algorithm
        found = (conv2d(x, w, **options), *conv2d_backward(g, x, w, **options))
    bound = BOUNDS[algorithm, x.dtype.str[1:]]
    for name, a, b in zip(("y", "dx", "dw"), found, wanted, strict=True):
        assert a.dtype == x.dtype
        assert error(a, b) < bound, name


def _all(options: dict[str, Any]) -> tuple[Any, ...]:
    defaults = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    return tuple((defaults | options).values())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("x", "o", "padding"), THREES)
def test_winograd_equals_plain(x: Any, o: int, padding: Any, dtype: str, layout: str,
                               rng: Any) -> None:
    w = rng.normal((o, x[1], 3, 3), dtype=dtype)
    compare("winograd", images(rng, x, dtype, layout), w, {"padding": padding}, rng, layout)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("x", "w", "options"),
                         OTHERS + [(x, (o, x[1], 3, 3), {"padding": p}) for x, o, p in THREES])
def test_im2col_equals_plain(x: Any, w: Any, options: Any, dtype: str, layout: str,
                             rng: Any) -> None:
    weights = rng.normal(w, dtype=dtype)
    compare("im2col", images(rng, x, dtype, layout), weights, options, rng, layout)


@pytest.mark.parametrize(("x", "w", "options"), OTHERS)
def test_plain_gradients_are_the_adjoint(x: Any, w: Any, options: Any, rng: Any) -> None:
    """sum(g conv(x, w)) = sum(dx x) = sum(dw w): convolution is linear in each argument."""
    image, weights = rng.normal(x, dtype="f8"), rng.normal(w, dtype="f8")
    with force_algorithm("plain"):
        y = conv2d(image, weights, **options)
        g = rng.normal(y.shape, dtype="f8")
        dx, dw = conv2d_backward(g, image, weights, **options)
    products = [float((g * y).sum()), float((dx * image).sum()), float((dw * weights).sum())]
    assert np.ptp(products) < 1e-10 * np.abs(g * y).sum()


def test_plain_by_definition(rng: Any) -> None:
    x, w = rng.normal((2, 4, 6, 5), dtype="f8"), rng.normal((6, 2, 3, 2), dtype="f8")
    stride, padding, dilation = (2, 1), (1, 0), (1, 2)
    with force_algorithm("plain"):
        y = conv2d(x, w, stride, padding, dilation, groups=2)
    image = np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    for n, o, p, q in np.ndindex(*y.shape):
        window = image[n, 2 * (o // 3) : 2 * (o // 3) + 2, 2 * p : 2 * p + 3, q : q + 3 : 2]
        assert abs(y[n, o, p, q] - (window * w[o]).sum()) < 1e-13


def test_winograd_by_the_formula(rng: Any) -> None:
    """One tile: Y = A^T [(B^T d B) * (G w G^T)] A is the convolution of 6x6 pixels by 3x3."""
    bt, at, a, _, g = tiles.matrices(np.dtype("f8"))
    d, w = rng.normal((6, 6), dtype="f8"), rng.normal((3, 3), dtype="f8")
    u = g @ w @ g.T
    y = at @ ((bt @ d @ bt.T) * u) @ a
    wanted = [[(d[i : i + 3, j : j + 3] * w).sum() for j in range(4)] for i in range(4)]
    assert error(y, np.array(wanted)) < 1e-14


def test_choice_by_shape() -> None:
    def chosen(x: Any, w: Any, **options: Any) -> str:
        return choose(Shape(np.empty(x), np.empty(w), *_all(options)))

    assert chosen((8, 32, 16, 16), (64, 32, 3, 3), padding=(1, 1)) == "winograd"
    assert chosen((8, 3, 32, 32), (64, 3, 3, 3), padding=(1, 1)) == "im2col"  # few channels
    assert chosen((1, 256, 8, 8), (256, 256, 3, 3), padding=(1, 1)) == "im2col"  # few tiles
    assert chosen((4, 256, 8, 8), (256, 256, 3, 3), padding=(1, 1)) == "winograd"
    assert chosen((8, 32, 16, 16), (64, 32, 3, 3), stride=(2, 2)) == "im2col"
    assert chosen((8, 32, 16, 16), (64, 16, 3, 3), groups=2) == "im2col"
    assert chosen((8, 32, 16, 16), (64, 32, 3, 3), padding=(3, 3)) == "im2col"
    assert chosen((8, 32, 16, 16), (64, 32, 5, 5), padding=(2, 2)) == "im2col"
    assert chosen((8, 32, 2, 2), (64, 32, 3, 3), padding=(1, 1)) == "im2col"  # tiles 3/4 empty
    with force_algorithm("winograd"):
        assert chosen((8, 3, 32, 32), (64, 3, 3, 3)) == "winograd"
        assert chosen((8, 32, 16, 16), (64, 32, 5, 5)) == "im2col"  # does not apply


def test_forcing_an_algorithm() -> None:
    assert conv.get_algorithm() is None
    with force_algorithm("im2col"):
        with force_algorithm(None):
            assert conv.get_algorithm() is None
        assert conv.get_algorithm() == "im2col"
    with pytest.raises(ZeroDivisionError), force_algorithm("plain"):
        _ = 1 / 0
    assert conv.get_algorithm() is None
    with pytest.raises(ValueError, match="'fft'"), force_algorithm("fft"):
        pass


@pytest.mark.parametrize("algorithm", conv.ALGORITHMS)
def test_unwanted_gradients_are_none(algorithm: str, rng: Any) -> None:
    x, w = rng.normal((2, 4, 8, 8), dtype="f8"), rng.normal((4, 4, 3, 3), dtype="f8")
    g = rng.normal((2, 4, 6, 6), dtype="f8")
    with force_algorithm(algorithm):
        dx, dw = conv2d_backward(g, x, w)
        assert conv2d_backward(g, x, w, wanted=(False, False)) == (None, None)
        only_x, no_w = conv2d_backward(g, x, w, wanted=(True, False))
        no_x, only_w = conv2d_backward(g, x, w, wanted=(False, True))
    assert no_w is None
    assert no_x is None
    assert error(only_x, dx) == error(only_w, dw) == 0


@pytest.mark.parametrize("algorithm", ["im2col", "winograd"])
def test_results_do_not_depend_on_workers_or_neighbours(algorithm: str, rng: Any) -> None:
    x = images(rng, (48, 16, 16, 16), "f4", "nhwc")
    g = images(rng, (48, 24, 16, 16), "f4", "nhwc")
    w = rng.normal((24, 16, 3, 3), dtype="f4")

    def bits() -> list[bytes]:
        with force_algorithm(algorithm):
            arrays = (conv2d(x, w, padding=(1, 1)), *conv2d_backward(g, x, w, padding=(1, 1)))
        return [a.tobytes() for a in arrays]

    workers = kernel_threads.get_num_workers()
    try:
        kernel_threads.set_num_workers(1)
        wanted = bits()
        for n in (2, 3):
            kernel_threads.set_num_workers(n)
            assert bits() == wanted
        found: list[list[bytes]] = []
        threads = [threading.Thread(target=lambda: found.append(_plain_bits())) for _ in range(2)]

        def _plain_bits() -> list[bytes]:
            arrays = (winograd.conv2d(x, w, (1, 1)),
                      *winograd.conv2d_backward(g, x, w, (1, 1))) if algorithm == "winograd" else (
                im2col.conv2d(x, w, s), *im2col.conv2d_backward(g, x, w, s))
            return [a.tobytes() for a in arrays]

        s = Shape(x, w, (1, 1), (1, 1), (1, 1), 1)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [wanted, wanted]
    finally:
        kernel_threads.set_num_workers(workers)


def test_channels_last_images_are_not_copied(rng: Any) -> None:
    x = images(rng, (4, 16, 8, 8), "f4", "nhwc")
    w = rng.normal((16, 16, 3, 3))
    before = memory.layout_copies
    for algorithm in ("im2col", "winograd"):
        with force_algorithm(algorithm):
            y = conv2d(x, w, padding=(1, 1))
            dx, _ = conv2d_backward(y, x, w, padding=(1, 1))
        assert all(a.transpose(0, 2, 3, 1).flags.c_contiguous for a in (y, dx))
    assert memory.layout_copies == before
