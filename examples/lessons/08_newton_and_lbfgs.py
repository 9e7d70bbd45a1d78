# %% [markdown]
# # 8. Newton and L-BFGS
#
# A gradient is a plane that touches the loss; how far to go on it, nobody knows. Add the curvature
# and the plane becomes a bowl with a lowest point: go there. No step size is left to choose.

# %%
import numpy as np
from drawing import draw

# %% [markdown]
# The bowl is loss + d'g + d'Hd/2, and lowest where g + H d = 0. Let NumPy *solve* for d; an inverse
# costs more and is less exact.

# %%
def newton(x, g, H):
    """The lowest point of the bowl with gradient g and Hessian H at x."""
    return ...

# %% [markdown]
# With a million weights H has 10¹² numbers. L-BFGS keeps none of them. It remembers the last few
# moves s and how the gradient changed on them, y = H s, and gets H⁻¹g from these pairs: down the
# pairs from the newest to the oldest, a guess of the scale in the middle, and up again.

# %%
def two_loops(g, moves, changes):
    """About H^-1 g, from lists of s (moves) and y (changes), the oldest first."""
    q = np.array(g)
    shares = []
    for s, y in zip(reversed(moves), reversed(changes)):
        share = ...  # s q / s y: how much of q this pair explains
        q = ...  # take it out of q
        shares.append(share)
    s, y = moves[-1], changes[-1]
    q = ...  # the scale of H^-1 along the newest pair: s y / y y
    for s, y, share in zip(moves, changes, reversed(shares)):
        again = ...  # y q / s y: what of it is in q already
        q = ...  # put back the rest, along s
    return q

# %% [markdown]
# A test of one line: whatever the pairs, the newest must come out right, `two_loops(y) = s`. That
# is called the secant equation.
#
# In the library this is `tinynet/optim/second_order.py:Newton` and
# `tinynet/optim/quasi_newton.py:LBFGS`, which also search along the line that comes out.

# %%
def picture(figure):
    axes = figure.subplots()
    H = np.diag(np.logspace(0, 2, 20))
    start = np.ones(20)
    plain, x = [], start
    for _ in range(40):
        plain.append(x @ H @ x)
        x = x - 2 / 101 * (H @ x)
    kept, moves, changes = [], [], []
    x = start
    for _ in range(40):
        kept.append(max(x @ H @ x, 1e-20))
        d = two_loops(H @ x, moves[-8:], changes[-8:]) if moves else H @ x
        s = -d * (d @ H @ x) / max(d @ H @ d, 1e-300)  # the lowest point on the line
        moves.append(s)
        changes.append(H @ s)
        x = x + s
    last = newton(start, H @ start, H)
    axes.semilogy(plain, label="gradient descent, its best rate")
    axes.semilogy(kept, "o-", label="L-BFGS")
    axes.semilogy([start @ H @ start, max(last @ H @ last, 1e-20)], "s--", label="Newton")
    axes.set(xlabel="steps", ylabel="loss")
    axes.legend()


if __name__ == "__main__":
    draw("08_newton_and_lbfgs", picture)
