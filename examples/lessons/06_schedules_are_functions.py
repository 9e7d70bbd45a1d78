# %% [markdown]
# # 6. Schedules are functions
#
# Begin with large steps, end with small ones. A schedule says how large at each step, and it is
# best a plain function of `t`, the number of steps done so far: then it can be drawn, tested, and
# taken up in the middle of a run without knowing what came before.

# %%
import numpy as np
from drawing import draw

# %% [markdown]
# **Step decay**, as for the first ResNets: a tenth after every so many steps. The first step is
# t = 0: with `every` = 30 the steps 0 to 29 are at full size, and step 30 is the first small one.

# %%
def step_decay(t, lr=0.1, every=30, factor=0.1):
    """lr, times factor once for each full `every`."""
    return ...

# %% [markdown]
# **Cosine**: half a wave from lr down to 0 at t = T, no corner anywhere. And after T? A wave would
# rise again. Training that goes on a little longer should not explode: stay at 0.

# %%
def cosine(t, lr=0.1, T=100):
    """lr/2 (1 + cos(pi t / T)), and 0 after T."""
    t = ...  # not beyond T
    return ...

# %% [markdown]
# **Linear** is a straight line to 0, and stays there. **Inverse root** never ends; it is written
# for a first step of 1, so that our t, from 0, has to be moved by one. Else the first step divides
# by zero.

# %%
def linear(t, lr=0.1, T=100):
    """lr (1 - t/T), and 0 after T."""
    return ...


def inverse_root(t, lr=0.1):
    """lr, lr/sqrt(2), lr/sqrt(3), ... for t = 0, 1, 2, ..."""
    return ...

# %% [markdown]
# In the library this is `tinynet/optim/schedule.py:step_decay`, and beside it
# `tinynet/optim/schedule.py:cosine`, `tinynet/optim/schedule.py:linear` and
# `tinynet/optim/schedule.py:inverse_sqrt`, which keeps the slide's t = 1 for its first value.

# %%
def picture(figure):
    axes = figure.subplots()
    steps = range(120)
    for schedule in (step_decay, cosine, linear, inverse_root):
        axes.plot(steps, [schedule(t) for t in steps], label=schedule.__name__)
    axes.set(xlabel="step", ylabel="lr", ylim=(0, None))
    axes.legend()


if __name__ == "__main__":
    draw("06_schedules_are_functions", picture)
