# %% [markdown]
# # 4. From SGD to Adam
#
# Five rules, each a cure for what ails the one before. All get the same: where we are, `x`, and
# the gradient there, `g`. **SGD** goes downhill. In a narrow valley it bounces from wall to wall.

# %%
import numpy as np
from drawing import draw

# %%
def sgd(x, g, lr=0.01):
    """x - lr g: the new x."""
    return ...

# %% [markdown]
# **Momentum** remembers: what points the same way each time adds up, what flips cancels. With
# rho = 0.9 it ends up ten times as fast as SGD. On the slide lr stays outside of v.

# %%
def momentum(x, g, v, lr=0.01, rho=0.9):
    """v = rho v + g, x = x - lr v: the new x and v."""
    v = ...
    return ...

# %% [markdown]
# **AdaGrad** gives each number its own step: it divides by the root of all squares so far. The
# 1e-7 keeps 0/0 away and stands *outside* the root. As the sum only grows, the steps only shrink;
# **RMSProp** lets the sum leak, so that it forgets.

# %%
def adagrad(x, g, s, lr=0.01):
    """s sums squares, and the step is divided by its root: the new x and s."""
    s = ...
    return ...


def rmsprop(x, g, s, lr=0.01, decay=0.99):
    """The same with a leaky mean: `decay` of the old, the rest of the new. The new x and s."""
    s = ...
    return ...

# %% [markdown]
# **Adam** is both: a leaky mean of g over the root of a leaky mean of g². Both means begin at 0,
# so at first they are too small; each is divided by the share that it has seen so far, 1 - beta^t.

# %%
def adam(x, g, m, v, t, lr=1e-3, beta1=0.9, beta2=0.999):
    """Step t, where the first is t = 1: the new x, m and v."""
    m = ...
    v = ...
    unbiased_m = ...
    unbiased_v = ...
    return ...

# %% [markdown]
# In the library these are `tinynet/optim/first_order.py:SGD`, `AdaGrad`, `RMSProp` and
# `tinynet/optim/first_order.py:Adam`. The valley of the picture is 25 times steeper across.

# %%
def picture(figure):
    axes = figure.subplots()
    across, along = np.meshgrid(np.linspace(-0.6, 0.6, 60), np.linspace(-1.1, 0.5, 60))
    axes.contour(along, across, along**2 + 25 * across**2, 15, colors="lightgray")
    rules = {"SGD": (sgd, 0, 0.038), "momentum": (momentum, 1, 0.01), "Adam": (adam, 2, 0.05)}
    for name, (rule, slots, lr) in rules.items():
        x, state, path = np.array([-1.0, 0.5]), [np.zeros(2)] * slots, []
        for t in range(1, 60):
            path.append(x)
            out = rule(x, x * [2, 50], *state, *[t] * (slots == 2), lr=lr)
            x, state = (out[0], out[1:]) if slots else (out, [])
        axes.plot(*np.transpose(path), ".-", label=name)
    axes.legend()


if __name__ == "__main__":
    draw("04_sgd_to_adam", picture)
