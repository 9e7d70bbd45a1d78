# %% [markdown]
# # 7. Warm-up
#
# At the start the weights are random, the gradients large and their direction poor: the rate that
# is right later on may throw the net out at once. So let the rate rise in a straight line over the
# first steps, and only then begin the schedule one wanted.

# %%
import numpy as np
from drawing import draw

# %% [markdown]
# Two corners decide whether it is right. The first step must not have the rate 0: it would be a
# step for nothing, so step t gets the share (t + 1) / steps. And the schedule that follows begins
# with *its own* 0, or it has lost its first part before it is asked.

# %%
def warm_up(schedule, steps):
    """A schedule, a function of t: a straight rise to schedule(0), and then `schedule`."""
    def rate(t):
        if t < steps:
            return ...  # on the way up
        return ...  # what follows, from its own 0

    return rate

# %% [markdown]
# Does it help? Here is a valley whose walls get steep far out, and plain SGD on one number that
# starts there. `descend` gives the whole path, and stops where it leaves the world.

# %%
def gradient(x):
    """The slope of x^2/2 + x^4/4, which is x near 0 and x^3 far out."""
    return x + x**3


def descend(rate, x=5.0, steps=60):
    """x after each step, the start included; until it is no number or beyond a million."""
    path = [x]
    for t in range(steps):
        x = ...
        path.append(x)
        if not abs(x) < 1e6:
            break
    return path

# %% [markdown]
# With a constant 0.2 the first step goes from 5 to -21, the next to 1835, and so on, out of
# the world. With ten steps of warm-up the same rate is fine: by then x is where it may be used.
#
# In the library this is `tinynet/optim/schedule.py:warmup`, which takes any schedule of lesson 6.

# %%
def picture(figure):
    left, right = figure.subplots(1, 2)

    def cold(t):
        return 0.2 * (1 - t / 60)

    for name, rate in {"cold": cold, "warm": warm_up(cold, 10)}.items():
        left.plot([rate(t) for t in range(60)], label=name)
        right.plot(np.abs(descend(rate)), ".-", label=name)
    left.set(xlabel="step", ylabel="lr", ylim=(0, None))
    right.set(xlabel="step", ylabel="distance from the minimum", yscale="log", ylim=(1e-3, 1e4))
    right.legend()


if __name__ == "__main__":
    draw("07_warm_up", picture)
