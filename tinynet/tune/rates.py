r"""Which learning rate was too low, too high or good, judged by the loss curves of several runs.

                   the loss
    "very high"    becomes nan or infinite, or ends above where it started
    "good"         ends among the lowest: within `near` of the fall of the best run
    "high"         of a larger rate than the best: falls quickly, then is flat above it
    "low"          of a smaller rate than the best: is still on its way down

The lecture's figure of four curves (A21). Its conclusion is that all of them are right,
one after the other: start high, then decay (`optim.schedule`).

Read next: `tune/recipe.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean


def label_rates(runs: Mapping[float, Sequence[float]], near: float = 0.1
                ) -> dict[float, str]:
    """From ``runs[learning rate] = losses, step by step`` to ``{learning rate: label}``.

    The end of a run is the mean of its last eighth, the start the first loss of all
    runs. Runs may differ in length: one that exploded has stopped early. ValueError if
    a run has no losses.

    >>> curves = {0.01: [2.0, 1.9, 1.8], 0.1: [2.0, 1.0, 0.2], 1.0: [2.0, 0.8, 0.9],
    ...           10.0: [2.0, 90.0, float("nan")]}
    >>> label_rates(curves)
    {0.01: 'low', 0.1: 'good', 1.0: 'high', 10.0: 'very high'}
    """
    if not runs or not all(runs.values()):
        raise ValueError("runs needs at least one learning rate, and each at least one "
                         "loss")
    start = sum(losses[0] for losses in runs.values()) / len(runs)
    ends = {lr: fmean(losses[-max(1, len(losses) // 8):]) for lr, losses in runs.items()}
    best = min(ends, key=lambda lr: ends[lr] if ends[lr] < start else math.inf)

    def label(lr: float) -> str:
        if not ends[lr] < start:
            return "very high"
        if ends[lr] - ends[best] <= near * (start - ends[best]):
            return "good"
        return "low" if lr < best else "high"

    return {lr: label(lr) for lr in runs}
