"""Dropout layers: values switched off at random in training.

In CS231n lecture 8, p is the probability of KEEPING a value; here, as in PyTorch, it is
that of zeroing one: keep = 1 - p. Every call in training draws one key from the layer's
`generator`, or from the default one; then ``tn.get_state()`` and ``tn.set_state(...)``
repeat the masks exactly. Read next: `dropconnect.py`.
"""

from __future__ import annotations

from typing import Any

from .. import functional as F
from ..checks import check_probability
from ..random import Generator
from ..tensor import Tensor
from .noise import Noise


class _Dropout(Noise):
    def __init__(self, p: float = 0.5, *, inverted: bool = True,
                 generator: Generator | None = None) -> None:
        self.p = check_probability("p (of zeroing)", p)
        self.inverted, self.generator = inverted, generator


class Dropout(_Dropout):
    """Inverted dropout: x * mask / keep in training, with keep = 1 - p; x itself in
    evaluation.

    `p` is the probability of zeroing. Dividing by keep in training keeps the mean, so
    that evaluation has nothing to do (E6). With ``inverted=False`` it is the lecture's
    vanilla dropout (E4, E5): x * mask in training, x * keep in evaluation.

    >>> layer, x = Dropout(p=0.25), tn.tensor([1.0, 2.0])
    >>> layer.eval()(x) is x, Dropout(p=0.25, inverted=False).eval()(x)
    (True, Tensor([0.75, 1.5 ]))
    """

    def forward(self, x: Any) -> Tensor:
        return F.dropout(x, self.p, self.training, inverted=self.inverted,
                         key=self.key_in_training())


class Dropout2d(_Dropout):
    """Dropout of whole channels: each x[n, c] of (N, C, H, W) is zeroed or kept at once."""

    def forward(self, x: Any) -> Tensor:
        return F.dropout2d(x, self.p, self.training, inverted=self.inverted,
                           key=self.key_in_training())
