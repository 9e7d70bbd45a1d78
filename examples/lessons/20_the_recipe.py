# %% [markdown]
# # 20. The recipe, in seven steps
#
# Seven steps from an untrained net to good settings: look at the first loss; fit a handful; find
# the rate; try coarsely; try finely; look at the curves; again.

# %%
import math

import numpy as np
from drawing import draw

# %% [markdown]
# **Step 1.** A net that knows nothing gives each of C classes 1/C. So what is the loss before any
# training, without weight decay? If yours is another, stop: something is wrong already.

# %%
def first_loss(classes):
    """The cross-entropy of a net that knows nothing."""
    return ...

# %% [markdown]
# **Step 2.** Fit five batches, to 100 %. If the loss hardly falls, the rate is too low; if it is
# no number any more, too high. **Step 3.** On all data, which rate brings it lowest in 100 steps?

# %%
def verdict(losses):
    """"too high" if a loss is nan or inf, "too low" if the last is over 0.9 of the first."""
    ...  # which question comes first? nan compares as False to everything
    return "fine"


def best_rate(runs):
    """Of {rate: losses} the rate whose last loss is lowest; runs that left the numbers lose."""
    sound = ...
    return ...

# %% [markdown]
# **Steps 4 and 5.** Rates of 0.001 and 0.002 differ as much as 0.1 and 0.2: what counts is the
# factor. So draw the *logarithm* evenly. `u` is an even draw from 0 to 1.

# %%
def log_uniform(low, high, u):
    """low at u = 0, high at u = 1, and the same factor for the same step of u."""
    return ...

# %% [markdown]
# **Step 6.** Look at the curves, and at the size of the updates: the norm of a step over the norm
# of what it changes should be about 0.001. **Step 7.** Go back to step 5.

# %%
def read(train, val, gap=0.1, low=0.6):
    """"overfitting" if the last accuracies differ by `gap`, else "underfitting" below `low`."""
    ...  # train[-1] and val[-1] are the last ones
    return "healthy"


def update_ratio(w, g, lr):
    """The norm of the step lr g over that of the weights w."""
    return ...

# %% [markdown]
# In the library this is `tinynet/tune/recipe.py:run`. Nine random draws or a grid of nine: the
# picture counts how many *different* rates each has tried.

# %%
def picture(figure):
    axes = figure.subplots()
    for u in np.random.default_rng(0).random((9, 2)):
        axes.plot(log_uniform(1e-4, 1e-1, u[0]), log_uniform(1e-5, 1e-2, u[1]), "C0o")
    for lr in log_uniform(1e-4, 1e-1, np.array([0.1, 0.5, 0.9])):
        axes.plot([lr] * 3, log_uniform(1e-5, 1e-2, np.array([0.1, 0.5, 0.9])), "C1s")
    axes.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="weight decay")
    axes.set_title("dots at random: nine rates tried; a grid of nine: three")


if __name__ == "__main__":
    draw("20_the_recipe", picture)
