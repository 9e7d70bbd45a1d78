# %% [markdown]
# # 15. Augmentation, keyed by index
#
# A cat in a mirror is a cat, a cat two pixels further left as well: flips and shifts give new
# pictures for nothing. They are drawn at random. But what if you ask tomorrow for picture 17 of
# epoch 3? If all pictures draw from one stream of numbers, its flip depends on how many were asked
# before it. So give *each picture its own stream*, and let its key say which.

# %%
import numpy as np
from drawing import draw

# %% [markdown]
# The key is (seed, epoch, index), and all three count: without the epoch each picture would look
# the same for ever. NumPy makes a stream from a list of numbers. Do not add them up: epoch 1 of
# picture 2 is not epoch 2 of picture 1.

# %%
def stream(seed, epoch, index):
    """The random numbers of one picture in one epoch: a np.random.Generator."""
    return ...

# %% [markdown]
# A shift by at most `pad` pixels: put a border of zeros around the picture and cut out one of its
# size. There are 2 pad + 1 places for the corner in each direction, 0 to 2 pad. (Mind what
# `rng.integers(low, high)` leaves out.)

# %%
def flip_and_shift(picture, rng, pad=2):
    """The picture (H, W), mirrored half of the time, and shifted."""
    if rng.random() < 0.5:
        picture = ...  # left and right change places
    H, W = picture.shape
    wide = np.pad(picture, pad)
    top, left = ...
    return ...

# %% [markdown]
# A batch is then a list of indices, in any order, on any machine. What matters is who a picture
# *is*, its index in the data set, not where it stands in the batch.

# %%
def batch(pictures, indices, seed, epoch):
    """The augmented pictures of these indices, (len(indices), H, W)."""
    made = ...
    return np.stack(made)

# %% [markdown]
# In the library this is `tinynet/random.py:key`, a hash of words and numbers, and each
# `tinynet/data/transform.py:Transform` draws by it. A run that was cut off goes on with the
# very pictures it would have seen.

# %%
def picture(figure):
    panels = figure.subplots(2, 8)
    letter = np.zeros((12, 12))
    letter[2:10, 3] = letter[2, 3:9] = letter[6, 3:7] = 1
    pictures = [letter * (1 + i) for i in range(8)]
    for epoch, row in enumerate(panels):
        for i, panel in enumerate(row):
            panel.imshow(batch(pictures, [i], 0, epoch)[0], cmap="gray")
            panel.set(xticks=[], yticks=[], title=f"{i}" if epoch == 0 else "")
        row[0].set_ylabel(f"epoch {epoch}")


if __name__ == "__main__":
    draw("15_augmentation_by_index", picture)
