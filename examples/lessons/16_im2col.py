# %% [markdown]
# # 16. Convolution as one matrix product
#
# A convolution lays a small window everywhere on a picture and multiplies. Six loops say so, and
# Python's loops are slow. But multiplying and adding up is what a matrix product does, and nothing
# on this machine is faster. So write each window as a row: im2col, "image to columns".

# %%
import numpy as np
from drawing import draw

# %% [markdown]
# First, how many windows fit? The side is n, with `pad` zeros on *both* ends. The last window has
# to begin k pixels before the end, and where it begins goes up by `stride`.

# %%
def output_size(n, k, stride=1, pad=0):
    """How many windows of k pixels fit along one side."""
    return ...

# %% [markdown]
# Then the rows. A window of all C channels has C k k numbers; `reshape(-1)` takes channels first,
# then rows, then columns, and the weights, (O, C, k, k), have to be flattened in the same order.

# %%
def columns(x, k, stride=1, pad=0):
    """Of pictures x (N, C, H, W) all windows as rows: (N, H', W', C k k)."""
    N, C, H, W = x.shape
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    rows = np.empty((N, output_size(H, k, stride, pad), output_size(W, k, stride, pad), C * k * k))
    for i, j in np.ndindex(rows.shape[1:3]):
        top = ...
        left = ...
        rows[:, i, j] = ...
    return rows

# %% [markdown]
# Now all windows times all weights is a single `@`. Its last axis is O, the output channels; they
# belong behind N. (A "convolution" in deep learning does not turn the window round, as
# mathematicians do: the weights are learnt, either way round.)

# %%
def conv(x, w, stride=1, pad=0):
    """x (N, C, H, W) with weights w (O, C, k, k): (N, O, H', W')."""
    y = ...  # (N, H', W', O)
    return ...

# %% [markdown]
# The price is memory: each pixel is written k² times. So a block of pictures at a time, which stays
# in the cache.
#
# In the library this is `tinynet/kernels/im2col.py:columns_of`, and
# `tinynet/kernels/im2col.py:conv2d` for the product.

# %%
def picture(figure):
    panels = figure.subplots(1, 4)
    y, x = np.mgrid[-1:1:24j, -1:1:24j]
    disc = np.where(x**2 + y**2 < 0.5, 1.0, 0.0)[None, None]
    sobel = np.array([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
    edges = conv(disc, np.stack([sobel, sobel.T])[:, None], pad=1)[0]
    rows = columns(disc, 3, pad=1).reshape(-1, 9)
    titles = ["24 x 24", "edges to the side", "edges up and down", "576 rows"]
    for panel, image, title in zip(panels, [disc[0, 0], *edges, rows], titles):
        panel.imshow(image, cmap="gray", aspect="auto" if len(image) > 99 else "equal")
        panel.set_title(title)


if __name__ == "__main__":
    draw("16_im2col", picture)
