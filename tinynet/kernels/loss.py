r"""Softmax cross-entropy of class labels: loss and gradient from the logits.

    p_i = softmax(z_i),   L_i = -log p_i[y_i],   dL_i/dz_i = p_i - onehot(y_i)

The largest logit of each row is subtracted first, so nothing overflows, and the
logarithm is taken of the sum, not of a probability that may have rounded to zero: right
also for logits of 10,000. Where logits are many (samples times classes), rows are done
in blocks; where they are few, what counts is that one operation replaces eight. Cost
for n logits: 5 n operations and an exponential each forward, n backward, some 10 n and
2 n numbers read or written. Source: lecture id E2.

Read next: `kernels/erf.py`.
"""

from __future__ import annotations

import numpy as np

from ..backend import Array, xp
from . import gpu
from .kernel import kernel
from .memory import empty
from .softmax import in_blocks, row_sums


def plain_softmax_cross_entropy(z: Array, labels: Array) -> tuple[Array, Array]:
    shifted = z - z.max(axis=1, keepdims=True)
    p = xp.exp(shifted)
    sums = p.sum(axis=1, keepdims=True)
    losses = xp.log(sums[:, 0]) - shifted[xp.arange(len(z)), labels]
    p /= sums
    return losses, p


@kernel(plain=plain_softmax_cross_entropy, gpu=gpu.softmax_cross_entropy, wide=True)
def softmax_cross_entropy(z: Array, labels: Array) -> tuple[Array, Array]:
    """The losses (N,) and the probabilities (N, C) of logits z (N, C) and labels (N,).

    >>> losses, p = softmax_cross_entropy(xp.array([[0.0, 1e4]]), xp.array([0]))
    >>> losses.tolist(), p.tolist()
    ([10000.0], [[0.0, 1.0]])
    """
    p = empty(z.shape, z.dtype)
    losses = np.empty(len(z), z.dtype)

    def block(i: int, j: int) -> None:
        e = np.subtract(z[i:j], z[i:j].max(axis=1, keepdims=True), out=p[i:j])
        chosen = e[np.arange(j - i), labels[i:j]]
        np.exp(e, out=e)
        sums = row_sums(e)
        losses[i:j] = np.log(sums[:, 0]) - chosen
        e /= sums

    in_blocks(block, p)
    return losses, p


@kernel(gpu=gpu.softmax_cross_entropy_backward)
def softmax_cross_entropy_backward(g: Array, p: Array, labels: Array, shared: int = 1
                                   ) -> Array:
    """dz from the gradients g (N,) of the losses: g_i / shared (p_i - onehot(y_i)).

    g may be one for all, of their mean; `shared` is then their number.
    """
    g = g / p.dtype.type(shared)
    if g.ndim:
        dz = p * g[:, None]
    else:
        dz = p * g
    dz[xp.arange(len(p)), labels] -= g
    return dz
