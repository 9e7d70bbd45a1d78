r"""Batch norm of a batch that several ranks share: a message forward, and one back.

    n = sum n_r,   m = sum n_r m_r / n,   v = sum n_r (v_r + m_r^2) / n - m^2
    v = sum n_r (v_r + (m_r - m)^2) / n          where |m| is large against the deviation
    s = sum w_r s_r / w                          of db and dw, for the gradient of x

Rank r has n_r values of a channel, with mean m_r and variance v_r. The first form of v
needs no m, so all of it is one message. It costs as many digits as m^2 / v has, so
where a channel lies far from zero the second form takes a message more; all ranks see
the same sums, and so decide alike.

What moves x on one rank moves the losses of all. Of these a rank's own has the weight
w_r, with which its gradients are multiplied after backward: so what it takes over from
rank r is w_r s_r / w. The gradients of weight and bias are of its own rows, and are
added up later, with all the others. Source: Chan, Golub and LeVeque 1983, "Algorithms
for computing the sample variance".

Read next: `kernels/channels.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..backend import Array, xp
from .precision import NEAR


@dataclass(frozen=True)
class Ranks:
    """`total` gives the sum of the arrays of all ranks; `weight` is that of a rank's loss."""

    total: Callable[[Array], Array]
    weight: float
    count: int = 0  # values of a channel on all ranks together, once they have met

    def merged(self, mean: Array, var: Array, n: int) -> tuple[Array, Array, Ranks]:
        """Mean and variance of all ranks' values, from those of n here; and the count."""
        own = xp.concatenate([xp.full(1, float(n)), n * mean, n * (var + mean * mean)])
        sums = self.total(own)
        count = float(sums[0])
        m, second = sums[1:].reshape(2, -1) / max(1.0, count)
        v = xp.maximum(second - m * m, 0)
        if not bool((xp.abs(m) <= NEAR * xp.sqrt(v)).all()):
            v = self.total(n * (var + (mean - m) ** 2)) / max(1.0, count)
        return m, v, replace(self, count=round(count))

    def gradients(self, dw: Array, db: Array) -> tuple[Array, Array]:
        """The sums of all ranks, as the gradient of this rank's x wants them."""
        both = self.total(xp.stack([dw, db]) * self.weight) * (1.0 / self.weight)
        return both[0], both[1]
