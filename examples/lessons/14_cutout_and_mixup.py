# %% [markdown]
# # 14. Cutout and mixup
#
# Two ways to make a picture harder. Cutout hides a square, so that the net has to look at the whole
# cat and not at its ears alone. Mixup lays two pictures over each other and asks for both answers,
# in proportion. At test time pictures are as they are.

# %%
import numpy as np
from drawing import draw

# %% [markdown]
# The centre of the square is any pixel, so it may hang over the edge: what hangs over is lost. Take
# care where the square begins before pixel 0: `x[-2:3]` is not what one thinks. And leave the
# picture that came in alone; it is wanted again in the next epoch.

# %%
def cutout(picture, row, column, size):
    """A copy of picture (channels, H, W) with a square of zeros around (row, column)."""
    top = row - size // 2
    left = column - size // 2
    out = ...
    ...
    return out

# %% [markdown]
# How much is hidden on average? With a 16x16 square on 32x32 pixels a quarter, if it were always
# inside. As it hangs over, less: go through all centres.

# %%
def mean_hidden(side, size):
    """The share of pixels that are hidden, the mean over all centres."""
    ones = np.ones((1, side, side))
    left = [cutout(ones, i, j, size).mean() for i in range(side) for j in range(side)]
    return ...

# %% [markdown]
# Mixup: `lam` of a picture and 1 - lam of another, which stands at `order` in the batch. The
# labels, one row of probabilities for each picture, are mixed in the same proportion.

# %%
def mixup(x, y, lam, order):
    """The mixed pictures x (N, ...) and labels y (N, classes)."""
    return ...

# %% [markdown]
# The loss of a mixed label is the mixture of the two losses, so nothing new has to be written for
# it: `mixed_loss` gets log-probabilities (N, classes) and labels of any kind.

# %%
def mixed_loss(log_p, y):
    """The mean over the batch of -sum y log p."""
    return ...

# %% [markdown]
# In the library this is `tinynet/data/erase.py:Cutout` and `tinynet/data/mix.py:Mixup`.

# %%
def picture(figure):
    panels = figure.subplots(1, 4)
    y, x = np.mgrid[-1:1:32j, -1:1:32j]
    disc = np.where(x**2 + y**2 < 0.5, 1.0, 0.2)[None]
    cross = np.where(np.minimum(abs(x), abs(y)) < 0.2, 1.0, 0.2)[None]
    mixed, label = mixup(np.stack([disc, cross]), np.eye(2), 0.4, [1, 0])
    titles = ["disc", "cross", "disc, cutout", f"disc {label[0, 0]:.1f}, cross {label[0, 1]:.1f}"]
    images = [disc, cross, cutout(disc, 10, 3, 16), mixed[0]]
    for panel, image, title in zip(panels, images, titles):
        panel.imshow(image[0], vmin=0, vmax=1, cmap="gray")
        panel.set_title(title)


if __name__ == "__main__":
    draw("14_cutout_and_mixup", picture)
