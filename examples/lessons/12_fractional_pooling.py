# %% [markdown]
# # 12. Fractional max pooling
#
# A 2x2 pool throws away three pixels of four, at once. To go from 25 pixels to 18, cut the side
# into 18 regions of one or two pixels, and take the largest of each. Which are the long ones is
# left to chance: in training that is noise, at test time one takes the mean over a few cuts.

# %%
import numpy as np
from drawing import draw

# %% [markdown]
# Cuts that are spread evenly: with alpha = n/parts, between 1 and 2, the numbers
# ceil(alpha (i + u)) grow by one or two each time, and u, from 0 to 1, moves the pattern along.
# Subtract the first, so that they run from 0 to n.

# %%
def cuts(n, parts, u):
    """a_0 = 0 < a_1 < ... < a_parts = n: region i has the pixels from a_i on, before a_(i+1)."""
    alpha = n / parts
    places = ...
    return ...

# %% [markdown]
# Rows and columns are cut on their own, each with its own u.

# %%
def pool(x, rows, columns):
    """The largest of each region of x, which is (H, W); rows and columns are cuts."""
    out = np.empty((len(rows) - 1, len(columns) - 1))
    for i, j in np.ndindex(out.shape):
        out[i, j] = ...
    return out


def overlapping_pool(x, rows, columns):
    """The same, but each region has the first pixel of the next one too; cuts of H-1 and W-1."""
    out = np.empty((len(rows) - 1, len(columns) - 1))
    for i, j in np.ndindex(out.shape):
        out[i, j] = ...
    return out

# %% [markdown]
# At test time: the mean over several cuts. (Of a net one takes the mean of its *answers*; here
# the pooled picture stands for them.)

# %%
def test_time(x, parts, chances):
    """The mean of the pooled x over pairs (u of the rows, u of the columns)."""
    side = len(x)  # x is square
    pooled = ...
    return ...

# %% [markdown]
# In the library this is `tinynet/functional/fractional.py:fractional_max_pool2d`, and the cuts are
# `tinynet/functional/fractional.py:fractional_regions`, which counts in whole numbers: a float
# just above 18 would cut a region too many.

# %%
def picture(figure):
    axes = figure.subplots(1, 4)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:25, :25] / 4
    waves = np.sin(x + y) + np.cos(2 * x - y) + 0.3 * rng.normal(size=(25, 25))
    axes[0].imshow(waves)
    axes[0].set_title("25 x 25")
    for panel in axes[1:3]:
        panel.imshow(pool(waves, cuts(25, 18, rng.random()), cuts(25, 18, rng.random())))
        panel.set_title("18 x 18, by chance")
    axes[3].imshow(test_time(waves, 18, rng.random((20, 2))))
    axes[3].set_title("mean of 20")


if __name__ == "__main__":
    draw("12_fractional_pooling", picture)
