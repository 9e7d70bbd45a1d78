"""Fractional max pooling: an image shrinks by any ratio, over regions drawn at random.

What it computes stands in `functional/fractional.py`. Read next: `container.py`.
"""

from __future__ import annotations

from typing import Any

from .. import functional as F
from ..checks import check_whole
from ..functional.checks import Pair
from ..functional.fractional import fractional_size
from ..random import Generator, key
from ..tensor import Tensor
from .noise import Noise


class FractionalMaxPool2d(Noise):
    """The largest value of each of random regions; the image shrinks by any ratio from
    1 to 2.

    Give the `output_size` or the `ratio` (input / output). In training every call draws
    new regions from `generator` (the default one if None), the same for the whole batch
    unless `per_sample`. In evaluation the result is the mean over `passes` choices of
    regions, always the same ones; to average the predictions of a net instead, as the
    paper does, call ``marginalize(net, x, how="sample", n=passes)``. Regions:
    `functional/fractional.py` (G2).

    >>> FractionalMaxPool2d(ratio=2**0.5)(tn.zeros((2, 3, 36, 36))).shape
    (2, 3, 25, 25)
    """

    def __init__(self, output_size: int | Pair | None = None, *,
                 ratio: float | tuple[float, float] | None = None, pseudo: bool = True,
                 overlapping: bool = True, per_sample: bool = False, passes: int = 1,
                 generator: Generator | None = None) -> None:
        fractional_size((1, 1), output_size, ratio)  # is one of them given, and sound?
        self.output_size = output_size
        self.ratio = ratio
        self.pseudo = pseudo
        self.overlapping = overlapping
        self.per_sample = per_sample
        self.passes = check_whole("passes", passes)
        self.generator = generator

    def forward(self, x: Any) -> Tensor:
        keys = [self.draw_key()] if self.training else [key("test", k) for k in range(self.passes)]
        first, *others = (F.fractional_max_pool2d(
            x, self.output_size, ratio=self.ratio, pseudo=self.pseudo, key=k,
            overlapping=self.overlapping, per_sample=self.per_sample) for k in keys)
        return sum(others, first) / len(keys) if others else first
