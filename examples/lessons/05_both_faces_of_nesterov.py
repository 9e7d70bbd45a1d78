# %% [markdown]
# # 5. Both faces of Nesterov
#
# Momentum carries us on anyway, to `x + rho v`. So ask for the slope *there*, where we will be,
# and not here, where we are about to leave: brakes are pulled a step earlier.

# %%
import numpy as np
from drawing import draw

# %% [markdown]
# The first face looks ahead. On this slide lr is inside v: v' = rho v - lr grad(x + rho v), and
# then x' = x + v'. `gradient` is a function of the place.

# %%
def look_ahead(x, v, gradient, lr=0.01, rho=0.9):
    """The new x and v."""
    v = ...
    return ...

# %% [markdown]
# An optimizer is handed a gradient where the net *is*, and cannot ask elsewhere. So let the net
# live at the place ahead, z = x + rho v, and rewrite all in z. With x' = x + v':
#
# z' = x' + rho v' = x + v' + rho v' = z - rho v + (1 + rho) v'
#
# The second face is this line: the *old* v goes out, the new one comes in, with 1 + rho.

# %%
def change_of_variables(z, v, g, lr=0.01, rho=0.9):
    """The new z and v, where g is the gradient at z."""
    old = v
    v = ...
    return ...

# %% [markdown]
# Both are the same walk. What the net has at any time is z; the x of the slide lies rho v behind.

# %%
def back_to_x(z, v, rho=0.9):
    """The place x, from the z and v of the second face."""
    return ...

# %% [markdown]
# In the library this is `tinynet/optim/first_order.py:Nesterov`, and the second face, which needs
# no function of the place, is the option `nesterov` of `tinynet/optim/first_order.py:SGD`. In the
# picture: momentum in a bowl, and both faces on one another.

# %%
def picture(figure):
    axes = figure.subplots()
    x, v = 1.0, 0.0
    plain, ahead, behind = [], [], []
    for _ in range(60):
        plain.append(x)
        v = 0.9 * v - 0.1 * x
        x = x + v
    x, v, z, w = 1.0, 0.0, 1.0, 0.0
    for _ in range(60):
        ahead.append(x)
        behind.append(back_to_x(z, w))
        x, v = look_ahead(x, v, lambda place: place, lr=0.1)
        z, w = change_of_variables(z, w, z, lr=0.1)
    axes.plot(plain, label="momentum")
    axes.plot(ahead, linewidth=5, alpha=0.4, label="Nesterov, looking ahead")
    axes.plot(np.array(behind), "k--", label="Nesterov, second face")
    axes.set(xlabel="steps", ylabel="x")
    axes.legend()


if __name__ == "__main__":
    draw("05_both_faces_of_nesterov", picture)
