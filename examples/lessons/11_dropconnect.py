# %% [markdown]
# # 11. DropConnect
#
# Dropout switches units off; DropConnect cuts single wires. Of a layer u = W x each weight is there
# or not, with its own coin, and with new coins for *each sample* of the batch: with one mask for
# all, a whole batch would learn the same accident.

# %%
import math

import numpy as np
from drawing import draw

# %% [markdown]
# x is (N, in), W is (out, in), and the masks of zeros and ones are (N, out, in). `np.einsum` says
# it without loops: name the axes n, o, i, and the ones that do not come out are summed over.

# %%
def forward(x, W, masks):
    """u[n] = (masks[n] W) x[n] for each sample, (N, out)."""
    return ...


def backward(g, x, W, masks):
    """The gradients of x and of W; a weight that was cut for a sample learns nothing from it."""
    grad_x = ...
    grad_W = ...
    return grad_x, grad_W

# %% [markdown]
# At test time all wires are there, and we want the mean over all masks. Each u is a sum of many
# small coins, so it is about normal. Its mean is `keep` W x. Each coin has the variance
# keep (1 - keep), and comes with the weight (w x)².

# %%
def moments(x, W, keep):
    """The mean and the variance of each u, (N, out) both."""
    mean = ...
    variance = ...
    return mean, variance

# %% [markdown]
# Then comes a ReLU, and the mean of a ReLU is not the ReLU of the mean: if u is often a bit above 0
# and often a bit below, the mean is above 0, always. For a normal u with z = mean/sd it is
# mean Phi(z) + sd phi(z), where phi is the bell and Phi the area under it.

# %%
def mean_of_relu(mean, variance):
    """The mean of max(0, u) for a normal u."""
    sd = np.sqrt(variance)
    z = mean / sd
    bell = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    area = 0.5 * (1 + np.vectorize(math.erf)(z / math.sqrt(2)))
    return ...

# %% [markdown]
# In the library this is `tinynet/functional/dropconnect.py:dropconnect_linear` and
# `tinynet/functional/dropconnect.py:expected_relu`.

# %%
def picture(figure):
    axes = figure.subplots()
    rng = np.random.default_rng(0)
    x, W = rng.normal(size=(1, 50)), rng.normal(size=(1, 50)) / 7
    u = forward(np.repeat(x, 5000, 0), W, rng.random((5000, 1, 50)) < 0.5)
    mean, variance = moments(x, W, 0.5)
    axes.hist(u.ravel(), 60, color="lightgray", label="u, 5,000 masks")
    axes.axvline(np.maximum(u, 0).mean(), linewidth=5, alpha=0.4, label="mean of max(0, u)")
    axes.axvline(mean_of_relu(mean, variance).item(), color="k", label="the same by the formula")
    axes.axvline(max(mean.item(), 0), color="C3", linestyle="--", label="max(0, mean of u)")
    axes.legend()


if __name__ == "__main__":
    draw("11_dropconnect", picture)
