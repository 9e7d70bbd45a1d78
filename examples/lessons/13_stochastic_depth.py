# %% [markdown]
# # 13. Stochastic depth
#
# In a residual net each block only *adds* something: x + f(x). So a block can be left out, and the
# rest still makes sense. In training leave out some, by chance: the net is short while it learns
# and deep when it is asked.

# %%
import numpy as np
from drawing import draw

# %% [markdown]
# Early blocks are what all others build on; they should nearly always be there. So the probability
# to be there falls in a line, from almost 1 at the first block to `last` at the last one. Blocks
# are counted from l = 1 to L.

# %%
def survival(L, last=0.5):
    """p_l = 1 - l/L (1 - last), for l = 1 .. L, as an array."""
    number = ...  # of each block
    return ...

# %% [markdown]
# A net of 54 blocks has 40.25 left on average: a quarter of the time is saved, for a block that is
# left out is not computed at all. `blocks` are functions, `there` says for each whether it is.

# %%
def train(x, blocks, there):
    """x through the blocks that are there; the others leave it as it is, and are not called."""
    for block, is_there in zip(blocks, there):
        ...  # only if it is there, and nothing is scaled in training
    return x

# %% [markdown]
# At test time every block is there; but what follows has seen it only p_l of the time. So what a
# block adds counts p_l, and the shortcut past it counts whole, since it was always there.

# %%
def test_time(x, blocks, p):
    """x through all blocks, with p[l] of what each adds."""
    for block, share in zip(blocks, p):
        x = ...
    return x

# %% [markdown]
# For blocks that are linear this is the mean over all nets exactly, as the picture shows: many
# short nets, and the deep one in the middle of them.
#
# In the library this is `tinynet/nn/blocks.py:Residual`, with
# `tinynet/nn/blocks.py:linear_decay` for the probabilities of *skipping*, 1 - p.

# %%
def picture(figure):
    axes = figure.subplots()
    rng = np.random.default_rng(0)
    blocks = [lambda x: 0.1 * x] * 12
    p = survival(12)
    ends = []
    for _ in range(300):
        there = rng.random(12) < p
        path = [train(1.0, blocks[:n], there[:n]) for n in range(13)]
        ends.append(path[-1])
        axes.plot(path, color="lightgray", linewidth=0.5)
    axes.plot([test_time(1.0, blocks[:n], p[:n]) for n in range(13)], "k", label="test time")
    axes.plot(12, np.mean(ends), "o", label="mean of 300 short nets")
    axes.set(xlabel="block", ylabel="x")
    axes.legend()


if __name__ == "__main__":
    draw("13_stochastic_depth", picture)
