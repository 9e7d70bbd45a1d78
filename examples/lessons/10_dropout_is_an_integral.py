# %% [markdown]
# # 10. Dropout is an integral
#
# In training switch each unit off at random, and the net cannot rely on any one of them. At test
# time nobody wants a random answer: we want the mean over all masks, y = ∫ p(z) f(x, z) dz. There
# are 2ⁿ masks, and yet the answer is one multiplication.

# %%
import itertools

import numpy as np
from drawing import draw

# %% [markdown]
# First the honest way, for one unit a = w·x with few inputs: go through *all* masks. Each has its
# probability: `keep` for each input that stays, 1 - keep for each that goes.

# %%
def mean_over_all_masks(w, x, keep):
    """The mean of w·(mask x), each mask weighted with its probability."""
    total = 0.0
    for bits in itertools.product([0, 1], repeat=len(x)):
        mask = np.array(bits)
        probability = ...
        total += probability * (w @ (mask * x))
    return total

# %% [markdown]
# Try it: w = (2, 3), x = (5, 7), keep = 0.5 gives 15.5, half of w·x = 31. So the mean over all
# masks is keep times the whole. Better still, divide by `keep` in training, and test time has
# nothing to do. `u` are random numbers between 0 and 1, one for each unit.

# %%
def dropout(x, u, keep):
    """Training: x where u < keep, scaled so that the mean stays x; else 0. And the mask used."""
    mask = ...
    return ...


def dropout_backward(g, mask):
    """The gradient of x: the units that were off get none. The mask is that of the forward pass."""
    return ...


def dropout_test(x, keep):
    """Test time, for a net trained with `dropout`."""
    return ...

# %% [markdown]
# Beware of the two meanings of p: the lecture's p is the probability to *keep*, PyTorch's and ours
# in the library the probability to *drop*. At 0.5 nobody notices.
#
# In the library this is `tinynet/functional/regularize.py:dropout`, and what remains of the
# integral in a deep net is found by `tinynet/nn/noise.py:marginalize`.

# %%
def picture(figure):
    axes = figure.subplots()
    rng = np.random.default_rng(0)
    w, x = np.array([2.0, 3.0]), np.array([5.0, 7.0])
    answers = [w @ dropout(x, rng.random(2), 0.5)[0] for _ in range(400)]
    axes.plot(answers, ".", color="lightgray", label="one mask, scaled")
    axes.plot(np.cumsum(answers) / np.arange(1, 401), label="mean of all so far")
    axes.axhline(2 * mean_over_all_masks(w, x, 0.5), color="black", label="the integral")
    axes.legend(loc="upper right")


if __name__ == "__main__":
    draw("10_dropout_is_an_integral", picture)
