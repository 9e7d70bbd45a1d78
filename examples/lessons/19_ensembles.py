# %% [markdown]
# # 19. Ensembles
#
# Train five nets, ask all of them, take the mean of what they say: about two points better, for
# nothing but time. Their mistakes are not the same, and where they differ they cancel.

# %%
import math

import numpy as np
from drawing import draw

# %% [markdown]
# What is averaged? The probabilities, after each net's own softmax. Scores have no common scale: a
# net that shouts would outvote four that agree.

# %%
def softmax(scores):
    """Probabilities over the last axis."""
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))  # or scores of 1000 overflow
    return ...


def together(scores):
    """The probabilities of the ensemble (N, classes), from scores (nets, N, classes)."""
    return ...

# %% [markdown]
# Is that better? In accuracy, mostly. In the loss, always: the logarithm bends down, so the loss of
# the mean is at most the mean of the losses (Jensen's inequality): `gain` is never negative.

# %%
def loss(p, labels):
    """The mean of -log of what the right class got; p is (N, classes)."""
    return ...


def gain(scores, labels):
    """The mean loss of the single nets, less that of the ensemble."""
    alone = np.mean([loss(softmax(one), labels) for one in scores])
    return ...

# %% [markdown]
# Five nets cost five trainings. Snapshots need one: let the rate fall by a cosine and jump up
# again, `cycles` times, and keep the net at the end of each.

# %%
def snapshot_rate(t, T=300, cycles=6, lr=0.1):
    """The rate at step t = 0 .. T-1: a cosine from lr down, anew in each cycle."""
    length = math.ceil(T / cycles)
    return ...


def is_snapshot(t, T=300, cycles=6):
    """Whether the net is kept after step t: the last of its cycle."""
    length = math.ceil(T / cycles)
    return ...

# %% [markdown]
# In the library this is `tinynet/train/ensemble.py:Ensemble`, and the callback
# `tinynet/train/ensemble.py:Snapshots`.

# %%
def picture(figure):
    left, right = figure.subplots(1, 2)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 1000)
    scores = 1.5 * np.eye(10)[labels] + rng.normal(size=(20, 1000, 10))
    sizes = range(1, 21)
    left.plot(sizes, [np.mean(together(scores[:n]).argmax(1) == labels) for n in sizes], "o-")
    left.set(xlabel="nets", ylabel="accuracy (of made-up nets)")
    right.plot([snapshot_rate(t) for t in range(300)])
    kept = [t for t in range(300) if is_snapshot(t)]
    right.plot(kept, [0] * len(kept), "o")
    right.set(xlabel="step", ylabel="lr; dots: snapshots")


if __name__ == "__main__":
    draw("19_ensembles", picture)
