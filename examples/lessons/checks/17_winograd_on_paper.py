"""The numbers on the paper, numbers that count their multiplications, and the direct sum."""

from __future__ import annotations

from typing import Any

import numpy as np
from grading import Answer, close, demand


def check_prepare(answer: Answer) -> None:
    close("prepare((5, 6, 7))", answer.prepare([5.0, 6.0, 7.0]), [5, 9, 3, 7],
          "g0, (g0 + g1 + g2)/2, (g0 - g1 + g2)/2, g2",
          {"The middle two are halved.": [5, 18, 6, 7],
           "The third has a minus at g1.": [5, 9, 9, 7]})


def check_tile(answer: Answer) -> None:
    close("the tile (1, 2, 3, 4) with u = (5, 9, 3, 7)",
          answer.tile([1.0, 2.0, 3.0, 4.0], [5.0, 9.0, 3.0, 7.0]), [38, 56],
          "m1 = (d1 + d2) u1, m2 = (d2 - d1) u2; m0 + m1 + m2 and m1 - m2 - m3",
          {"The sign of m3: the second output is m1 - m2 - m3.": [38, 28],
           "The sign of m2: the second output is m1 - m2 - m3.": [38, 62],
           "m2 is (d2 - d1) u2: the difference is turned round.": [32, 62],
           "m1 has the sum d1 + d2.": [2, 20]})
    close("the tile (1, 0, 2, -1) with u = (5, 9, 3, 7)",
          answer.tile([1.0, 0.0, 2.0, -1.0], [5.0, 9.0, 3.0, 7.0]), [19, 5])


def check_products(answer: Answer) -> None:
    class Number:
        products = 0

        def __init__(self, value: float):
            self.value = value

        def __add__(self, other: Any) -> Number:
            return Number(self.value + getattr(other, "value", other))

        __radd__ = __add__

        def __sub__(self, other: Any) -> Number:
            return Number(self.value - getattr(other, "value", other))

        def __neg__(self) -> Number:
            return Number(-self.value)

        def __mul__(self, other: Any) -> Number:
            Number.products += 1
            return Number(self.value * getattr(other, "value", other))

        __rmul__ = __mul__

    answer.tile([Number(1.0)] * 4, [Number(2.0)] * 4)
    demand(Number.products == 4, f"tile multiplies {Number.products} times, not 4",
           "Four products, one with each u; the rest are sums.")


def check_row(answer: Answer) -> None:
    x = np.array([1.0, 2, 3, 4, -1, 0, 2, 5, 3, 1])
    g = np.array([5.0, 6, 7])
    wanted = np.convolve(x, g[::-1], "valid")
    close("row", answer.row(x, g), wanted, "Tiles begin at 0, 2, 4, ..., len(x) - 4.",
          {"Tiles overlap by two: the next one begins 2 further.": wanted[[0, 1, 4, 5]],
           "The last tile is missing: it begins at len(x) - 4.": wanted[:-2]})


def check_tile_2d(answer: Answer) -> None:
    d = np.arange(16.0).reshape(4, 4) ** 1.5
    g = np.array([[1.0, 2, 3], [-1, 0, 1], [2, 5, -2]])
    wanted = [[(d[i:i + 3, j:j + 3] * g).sum() for j in (0, 1)] for i in (0, 1)]
    close("tile_2d", answer.tile_2d(d, g), wanted, "AT [(G g G') * (BT d BT')] AT'",
          {"The window is turned round; nets do not do that.":
               [[(d[i:i + 3, j:j + 3] * g[::-1, ::-1]).sum() for j in (0, 1)] for i in (0, 1)],
           "Rows and columns are swapped: the second matrix is transposed.":
               np.transpose(wanted)})
