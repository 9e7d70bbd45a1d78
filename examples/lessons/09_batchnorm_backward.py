# %% [markdown]
# # 9. Backward through BatchNorm
#
# Give each feature of a batch the mean 0 and the variance 1, and training gets easier. Forward it
# is two lines. Backward it is the best exercise of all, since each x pulls on the result in three
# ways: by itself, by the mean, and by the variance.

# %%
import numpy as np
from drawing import draw

# %% [markdown]
# `x` is (N, features). Divide by N (not N - 1), and keep eps under the root, as everybody does.
# Afterwards `weight` and `bias` may undo it all.

# %%
def forward(x, weight, bias, eps=1e-5):
    """The output; and what the backward pass wants: the normalised x, and 1/sqrt(var + eps)."""
    centred = ...
    inverse_std = ...
    x_hat = centred * inverse_std
    return weight * x_hat + bias, x_hat, inverse_std

# %% [markdown]
# Backward: a change that moves all of a feature alike is taken out by the mean, so nothing of g may
# point there; a change along x_hat is taken out by the variance, so nothing may point there
# either. What is left is g, less its mean, less x_hat times the mean of g x_hat.

# %%
def backward(g, x_hat, inverse_std, weight):
    """The gradients of x, weight and bias, from that of the output."""
    grad_weight = ...
    grad_bias = ...
    g = g * weight
    grad_x = ...
    return grad_x, grad_weight, grad_bias

# %% [markdown]
# At test time there may be one picture, and its answer must not depend on its neighbours. So while
# training keep a leaky mean of what was seen, and at test use that. Here `momentum` is the share of
# the *new* value.

# %%
def update_running(running, new, momentum=0.1):
    """The leaky mean, one batch later."""
    return ...


def forward_test(x, weight, bias, running_mean, running_var, eps=1e-5):
    """The output at test time."""
    return ...

# %% [markdown]
# In the library this is `tinynet/functional/norm.py:batch_norm`, and its backward is
# `tinynet/kernels/norm.py:batch_norm_backward`, where the three parts are A g + P x + Q.

# %%
def picture(figure):
    axes = figure.subplots()
    rng = np.random.default_rng(0)
    _, x_hat, inverse_std = forward(rng.normal(3, 2, size=(64, 1)), 1.0, 0.0)
    g = 1 + 2 * x_hat + rng.normal(size=(64, 1))
    axes.plot(x_hat, g * inverse_std, "o", label="g, only scaled")
    axes.plot(x_hat, backward(g, x_hat, inverse_std, 1.0)[0], "o", label="gradient of x")
    axes.set(xlabel="normalised x", title="no mean, and no trend along x, is left in the gradient")
    axes.legend()


if __name__ == "__main__":
    draw("09_batchnorm_backward", picture)
