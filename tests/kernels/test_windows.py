"""How many windows there are, and where they lie."""

from __future__ import annotations

import numpy as np
import pytest

from tests.arrays import equal, host
from tinynet.backend import asarray, xp
from tinynet.checks import count, taps
from tinynet.kernels.windows import bordered, inside, view

CASES = [((5, 7), (3, 3), (1, 1), (0, 0), (1, 1)), ((9, 8), (2, 3), (2, 1), (1, 2), (1, 1)),
         ((11, 12), (3, 2), (3, 2), (2, 0), (2, 3)), ((4, 4), (4, 4), (1, 1), (0, 0), (1, 1))]


@pytest.mark.parametrize(("size", "kernel", "stride", "padding", "dilation"), CASES)
def test_windows_by_definition(size: tuple[int, int], kernel: tuple[int, int],
                               stride: tuple[int, int], padding: tuple[int, int],
                               dilation: tuple[int, int]) -> None:
    x = np.arange(2.0 * 3 * size[0] * size[1]).reshape(2, 3, *size)
    out = count(size, kernel, stride, padding, dilation)
    image = bordered(asarray(x), padding, -1.0)
    border = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2), constant_values=-1)
    assert equal(image, border)
    assert equal(inside(image, padding), x)
    found = host(view(image, kernel, stride, out, dilation))
    image = host(image)
    assert found.shape == (2, 3, *out, *kernel)
    tap_views = {(i, j): image[:, :, rows, columns]
                 for i, j, rows, columns in taps(kernel, stride, out, dilation)}
    for p in range(out[0]):
        for q in range(out[1]):
            for (i, j), tap in tap_views.items():
                pixel = border[:, :, p * stride[0] + i * dilation[0],
                               q * stride[1] + j * dilation[1]]
                assert (found[:, :, p, q, i, j] == pixel).all()
                assert (tap[:, :, p, q] == pixel).all()
    last = (out[0] * stride[0] + (kernel[0] - 1) * dilation[0], border.shape[2])
    assert last[0] >= last[1]  # one window more would not fit


def test_a_copy_is_made_only_for_a_border() -> None:
    x = xp.ones((1, 4, 4, 2))
    assert bordered(x, (0, 0)) is x
    assert bordered(x, (0, 1)) is not x
