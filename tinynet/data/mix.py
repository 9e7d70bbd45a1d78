r"""Two pictures in one, and their labels in the same proportion: mixup and CutMix.

    mixup    x = lam x_i + (1 - lam) x_j               t = lam t_i + (1 - lam) t_j
    CutMix   x = x_i, with a rectangle of x_j in it    t alike, lam = the part of x_i that is left

Picture i of a batch of n meets j = (i + shift) mod n, shift random from 1 to n - 1:
none meets itself, and a shuffled batch needs no other order. lam ~ Beta(alpha, alpha)
is one for the batch. Cross-entropy is linear in its targets: the loss of mixed labels
is lam CE(i) + (1 - lam) CE(j). These are batch transforms, for
DataLoader(batch_transform=): the key is that of (seed, epoch, batch number), and
targets are probabilities (N, classes). Accuracy on such batches counts lam where the
net says i and 1 - lam where it says j: it is no measure of fit, and labelled "mixed".
At test time pictures stay as they are (CS231n lecture 8: G5).

Read next: `data/views.py`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ..backend import Array, check_range, float_dtype, on_gpu, xp
from ..checks import check_images, check_probability, check_whole
from ..random import beta, key
from .pixels import as_dtype, in_blocks, working_dtype
from .transform import show


class Plan(NamedTuple):
    """Picture i meets i + shift, and keeps the share lam; `draws` is for the rest."""

    lam: float
    shift: int
    draws: int


class BatchTransform:
    """What mixup and CutMix share: how strong, how often, who meets whom, labels.

    alpha  of Beta(alpha, alpha): mean 1/2, variance 1 / (4 (2 alpha + 1)); small values
           mix little
    p      probability that a batch is mixed at all; targets are probabilities anyway
    """

    def __init__(self, num_classes: int, alpha: float = 1.0, p: float = 1.0) -> None:
        if not 0.0 < alpha < math.inf:
            raise ValueError(f"alpha must be positive, got {alpha}: small values mix "
                             "little")
        self.num_classes = check_whole("num_classes", num_classes)
        self.alpha = alpha
        self.p = check_probability("p", p)

    def __call__(self, images: Array, labels: Array, batch_key: int) -> tuple[Array, Array]:
        """New images, and probabilities (N, num_classes) in place of labels (N,)."""
        plan = self.plan(len(images), batch_key)
        return self._mixed(images, labels, plan)

    def of_share(self, images: Array, labels: Array, plan: Plan | None) -> tuple[Array, Array]:
        """The same of a part of a batch: its m pictures, and behind them their partners.

        `plan` is that of the whole batch. Picture i meets picture m + i; m come back.
        """
        m = len(images) // 2
        if plan is not None:
            plan = plan._replace(shift=m)
        mixed, targets = self._mixed(images, labels, plan)
        return mixed[:m], targets[:m]

    def plan(self, n: int, batch_key: int) -> Plan | None:
        """How a batch of `n` pictures is mixed; None if it is not."""
        draws = key(type(self).__name__, batch_key)
        if _uniform(key("mixed at all", draws)) >= self.p:
            return None
        lam = beta(key("lam", draws), self.alpha, self.alpha)
        others = n - 1
        shift = min(1, others) + int(_uniform(key("shift", draws)) * others)
        return Plan(lam, shift, draws)

    def _mixed(self, images: Array, labels: Array, plan: Plan | None) -> tuple[Array, Array]:
        check_images(images)
        targets = self._probabilities(images, labels)
        if plan is None:
            return images, targets
        images, lam = self.mix(images, plan.shift, plan.lam, plan.draws)
        return images, targets * lam + xp.roll(targets, -plan.shift, axis=0) * (1.0 - lam)

    def mix(self, images: Array, shift: int, lam: float, draws: int) -> tuple[Array, float]:
        """The mixed pictures, and the part that the first of each two has in them."""
        raise TypeError(f"{type(self).__name__} must define mix(images, shift, lam, "
                        "draws)")

    def _probabilities(self, images: Array, labels: Array) -> Array:
        dtype = float_dtype(images.dtype)
        wanted = (len(images), self.num_classes)
        shape = getattr(labels, "shape", type(labels))
        if shape == wanted:  # mixed before
            return labels.astype(dtype, copy=False)
        if shape != wanted[:1]:
            raise ValueError(f"labels must be an array of class numbers {wanted[:1]} "
                             f"or probabilities {wanted}, got {shape}")
        check_range("labels", labels, self.num_classes, f"num_classes={self.num_classes}.")
        one_hot = (labels[:, None] == xp.arange(self.num_classes)).astype(dtype)
        if not on_gpu:
            return one_hot
        # There labels are not read back to be checked: a wrong one makes nan, as in the
        # loss.
        wrong = (labels < 0) | (labels >= self.num_classes)
        return xp.where(wrong[:, None], xp.nan, one_hot)

    def __repr__(self) -> str:
        return show(self)


class Mixup(BatchTransform):
    """x = lam x_i + (1 - lam) x_j, lam ~ Beta(alpha, alpha) (Zhang et al. 2018).

    Images are (N, C, H, W), floats or integers (rounded); the batch itself is not
    written to.

    >>> mixed, targets = Mixup(3, alpha=0.2)(xp.ones((4, 1, 2, 2)), xp.array([0, 1, 2, 0]), 7)
    >>> mixed.shape, targets.sum(axis=1).round(6).tolist()
    ((4, 1, 2, 2), [1.0, 1.0, 1.0, 1.0])
    """

    def __init__(self, num_classes: int, alpha: float = 0.2, p: float = 1.0) -> None:
        super().__init__(num_classes, alpha, p)

    def mix(self, images: Array, shift: int, lam: float, draws: int) -> tuple[Array, float]:
        """x_i + (1 - lam) (x_j - x_i), in blocks that stay in the cache."""
        dtype = working_dtype(images)

        def work(block: Array, i: int, j: int) -> None:
            k = (i + shift) % len(images)
            others = images[k : k + j - i]  # a view, but for the block in which j begins again
            if len(others) < j - i:
                others = xp.concatenate([others, images[: j - i - len(others)]])
            xp.subtract(others, images[i:j], out=block, dtype=dtype)
            block *= 1.0 - lam
            block += images[i:j]

        return as_dtype(in_blocks(work, images, dtype=dtype), images.dtype), lam


class CutMix(BatchTransform):
    """x_i with a rectangle of x_j in the same place (Yun et al. 2019, section 3.1).

    The rectangle has 1 - lam of the area and the picture's shape, lam ~ Beta(alpha,
    alpha); its centre is uniform, what hangs over is lost, and lam becomes exactly the
    part of x_i left.

    >>> mixed, targets = CutMix(2)(xp.arange(2.0).reshape(2, 1, 1, 1) + xp.zeros((2, 1, 8, 8)),
    ...                            xp.array([0, 1]), 3)
    >>> bool(abs(mixed.mean(axis=(1, 2, 3)) - targets[:, 1]).max() < 1e-6)
    True
    """

    def mix(self, images: Array, shift: int, lam: float, draws: int) -> tuple[Array, float]:
        """Copy the rectangle; one place for the whole batch, as in the paper's code."""
        cut = []
        area = 1
        for i, side in enumerate(images.shape[2:]):
            length = int(side * math.sqrt(1.0 - lam))
            start = int(side * _uniform(key("centre of the cut", i, draws))) - length // 2
            cut.append(slice(max(start, 0), max(0, min(start + length, side))))
            area *= cut[i].stop - cut[i].start
        part = (slice(None), slice(None), *cut)
        out = images.copy()
        out[part] = xp.roll(images[part], -shift, axis=0)
        return out, 1.0 - area / (images.shape[2] * images.shape[3])


def _uniform(draws: int) -> float:
    """A number in [0, 1) on the host: the first 53 of the 64 random bits of a key."""
    return (draws >> 11) * 2.0**-53
