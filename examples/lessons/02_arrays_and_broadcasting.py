# %% [markdown]
# # 2. Arrays and broadcasting
#
# One number at a time is slow, so we pull gradients of whole arrays. Only two things are new.
# The first: NumPy stretches a small array to fit a large one. Where one number was copied to
# many places, all of those places have something to say about it, and what they say adds up.

# %%
import numpy as np
from drawing import draw

# %% [markdown]
# `g` is the gradient of the stretched array, and `shape` the one before stretching. NumPy puts
# missing axes in *front*, and stretches axes of length 1. Undo both.

# %%
def sum_to(g, shape):
    """The gradient of an array of this shape, from that of what it was stretched to."""
    in_front = tuple(range(g.ndim - len(shape)))
    g = ...  # sum over the axes `in_front`
    for axis, length in enumerate(shape):
        if length == 1:
            g = ...  # and over this one, which stays, with length 1
    return g

# %% [markdown]
# The second: a matrix product `y = a @ b`. Entry (i, j) of y reads row i of a and column j of b.
# You need not remember the rule: only one product has the right shape. With a (n, k) and
# b (k, m), g is (n, m), and the gradient of a must be (n, k) again.

# %%
def matmul_pull(g, a, b):
    """The gradients of a and b, where g is the gradient of a @ b."""
    grad_a = ...
    grad_b = ...
    return grad_a, grad_b

# %% [markdown]
# Never believe a gradient that you have not measured. Move one number by h to either side: the
# change of the loss over 2h is its slope, up to an error of h².

# %%
def measured(loss, x, h=1e-5):
    """The gradient of loss(x) in each number of x, by central differences."""
    result = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = h
        result[i] = ...
    return result

# %% [markdown]
# In the library this is `tinynet/graph.py:unbroadcast`, `tinynet/ops/linalg.py:matmul` and
# `tinynet/gradcheck/check.py:gradcheck`. The picture shows why h is neither large nor tiny.

# %%
def picture(figure):
    axes = figure.subplots()
    steps = np.logspace(-14, 0, 60)
    point = np.array([0.7])
    errors = [abs(measured(lambda x: np.exp(x).sum(), point, h)[0] - np.exp(0.7)) for h in steps]
    axes.loglog(steps, np.maximum(errors, 1e-16))
    axes.set(xlabel="h", ylabel="error of the measured slope of exp")


if __name__ == "__main__":
    draw("02_arrays_and_broadcasting", picture)
