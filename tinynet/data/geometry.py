r"""Moving the points of a picture: one random affine map, and the distortion of a lens (F7).

    affine   p' = A (p - c) + c + t,   A = R(angle) [[1, tan shear], [0, 1]] diag(s r, s)
    lens     p  = c + (p' - c) (1 + k |p' - c|^2 / R^2),   R from the centre c to a corner

p = (x, y) is a place in the old picture (x to the right, y down), p' in the new one.
For every new pixel the map is followed backwards and the old picture is read there,
between its pixels: one resampling, whatever the number of motions. What comes from
outside is `fill`. |det A| = s^2 r is the factor of areas.

Read next: `data/colour.py`.
"""

from __future__ import annotations

import math

from ..backend import Array, xp
from ..checks import as_range
from ..random import uniform
from .pixels import Numbers
from .resample import sample
from .transform import Transform

Range = float | tuple[float, float]


def _about_zero(what: str, value: Range, limit: float = math.inf) -> tuple[float, float]:
    low, high = as_range(value, lambda v: (0 - v, v))
    if not -limit < low <= high < limit:
        within = f" within -{limit:g} and {limit:g}" if math.isfinite(limit) else ""
        raise ValueError(f"{what} must be v for (-v, v), v >= 0, or (low, high), low "
                         f"<= high{within}, got {value!r}")
    return low, high


def _about_one(what: str, value: Range) -> tuple[float, float]:
    low, high = as_range(value, lambda v: (1.0 / (1.0 + v), 1.0 + v))
    if not 0.0 < low <= high:
        raise ValueError(f"{what} must be v for factors (1 / (1 + v), 1 + v), v >= 0, "
                         f"or (low, high), 0 < low <= high, got {value!r}")
    return low, high


class RandomAffine(Transform):
    """Rotate, shift, scale, stretch and shear at random, in one resampling.

    degrees     angle, counter-clockwise, about the middle of the picture
    translate   shift to the right and, drawn apart, downwards, as a part of width and height; a
                pair is a range here, too: what is (0.1, 0.1) in torchvision is 0.1
    scale       factor s of both sides, log-uniform
    stretch     factor r of the width alone, log-uniform
    shear       degrees by which the vertical leans to the right downwards
    fill        what lies outside: a number, or one for each channel

    Each is a range (low, high), or v for -v .. v, and for the factors 1 / (1 + v) .. 1
    + v.

    >>> turn = RandomAffine(degrees=(90, 90))
    >>> x = xp.arange(4.0).reshape(1, 1, 2, 2)
    >>> turn(x, xp.zeros(1, xp.uint64)).round().ravel().tolist()
    [1.0, 3.0, 0.0, 2.0]
    """

    def __init__(self, degrees: Range = 0.0, translate: Range = 0.0, scale: Range = 0.0,
                 stretch: Range = 0.0, shear: Range = 0.0, fill: Numbers = 0.0) -> None:
        self.degrees = _about_zero("degrees", degrees)
        self.translate = _about_zero("translate", translate)
        self.scale = _about_one("scale", scale)
        self.stretch = _about_one("stretch", stretch)
        self.shear = _about_zero("shear", shear, 90.0)
        self.fill = fill

    def change(self, images: Array, keys: Array) -> Array:
        a, shift = self.maps(images, keys)
        x, y, middle = _grid(images)
        x = x - shift[:, :1, None]
        y = y - shift[:, 1:, None]
        a = a[:, :, :, None, None]
        det = a[:, 0, 0] * a[:, 1, 1] - a[:, 0, 1] * a[:, 1, 0]
        old_x = a[:, 1, 1] / det * x - a[:, 0, 1] / det * y  # the inverse of A
        old_y = a[:, 0, 0] / det * y - a[:, 1, 0] / det * x
        return sample(images, old_y + middle[1], old_x + middle[0], self.fill)

    def maps(self, images: Array, keys: Array) -> tuple[Array, Array]:
        """(A, t): matrices (N, 2, 2), and shifts (N, 2) in pixels, as (x, y)."""
        u = uniform(self.draws(images, keys), 6, dtype="float64")

        def draw(i: int, pair: tuple[float, float], unit: float = 1.0) -> Array:
            return unit * (pair[0] + (pair[1] - pair[0]) * u[:, i])

        angle = draw(0, self.degrees, math.pi / 180.0)
        lean = xp.tan(draw(1, self.shear, math.pi / 180.0))
        high = xp.exp(draw(2, _log(self.scale)))
        wide = high * xp.exp(draw(3, _log(self.stretch)))
        c = xp.cos(angle)  # y points down: (1, 0) turns to (c, -s)
        s = xp.sin(angle)
        rows = [c * wide, (c * lean + s) * high, -s * wide, (c - s * lean) * high]
        h, w = images.shape[2:]
        shift = [draw(4, self.translate, w), draw(5, self.translate, h)]
        return xp.stack(rows, axis=1).reshape(-1, 2, 2), xp.stack(shift, axis=1)


class LensDistortion(Transform):
    """Bend straight lines as a lens does: k > 0 barrel, k < 0 pincushion.

    `k` is a range (low, high) above -1/3, where the picture would fold, or v for -v ..
    v. It is the part of its distance by which a corner is read from farther outside.

    >>> lens = LensDistortion(k=0.0)
    >>> lens(xp.ones((1, 1, 2, 2)), xp.zeros(1, xp.uint64)).sum().item()
    4.0
    """

    def __init__(self, k: Range = 0.2, fill: Numbers = 0.0) -> None:
        self.k = _about_zero("k", k)
        if self.k[0] <= -1.0 / 3.0:
            raise ValueError(f"k must be more than -1/3, or the picture folds, got {k}")
        self.fill = fill

    def change(self, images: Array, keys: Array) -> Array:
        k = uniform(self.draws(images, keys), (), *self.k, "float64")[:, None, None]
        x, y, middle = _grid(images)
        h, w = images.shape[2:]
        bend = 1.0 + k * ((x * x + y * y) * (4.0 / (h * h + w * w)))
        return sample(images, y * bend + middle[1], x * bend + middle[0], self.fill)


def _grid(images: Array) -> tuple[Array, Array, tuple[float, float]]:
    """x (1, 1, W), y (1, H, 1) of the pixels from the middle, and the middle (x, y)."""
    h, w = images.shape[2:]
    middle = (w - 1) / 2.0, (h - 1) / 2.0
    x = xp.arange(w)[None, None, :] - middle[0]
    y = xp.arange(h)[None, :, None] - middle[1]
    return x, y, middle


def _log(pair: tuple[float, float]) -> tuple[float, float]:
    return math.log(pair[0]), math.log(pair[1])
