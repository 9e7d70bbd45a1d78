# %% [markdown]
# # 17. Winograd, on paper
#
# Three weights slide along four numbers: two outputs, of three products each. Six multiplications.
# Take a pencil: d = (1, 2, 3, 4), g = (5, 6, 7) gives 38 and 56. Winograd needs four.

# %%
import numpy as np
from drawing import draw

# %% [markdown]
# The weights are prepared once, however many tiles there are: four numbers from three,
# u = (g0, (g0 + g1 + g2)/2, (g0 - g1 + g2)/2, g2). On paper: 5, 9, 3, 7.

# %%
def prepare(g):
    """The four numbers u of three weights g."""
    return ...

# %% [markdown]
# Each tile: differences and a sum of the four d, times the four u. Then only sums again. The middle
# two products belong to both outputs; that is where the multiplications are saved.

# %%
def tile(d, u):
    """Two outputs from four numbers d, with four multiplications."""
    m0 = (d[0] - d[2]) * u[0]
    m1 = ...
    m2 = ...
    m3 = (d[1] - d[3]) * u[3]
    return ...

# %% [markdown]
# A whole row is cut into tiles of four numbers that overlap by two: each gives two more outputs.

# %%
def row(x, g):
    """All outputs of the weights g along x, whose length is even."""
    u = prepare(g)
    out = []
    ...  # for each tile of four numbers: out.extend(tile(..., u))
    return out

# %% [markdown]
# Written as matrices the same is AT [(G g) (BT d)]. In two dimensions each matrix works on the rows
# and, transposed, on the columns: 4x4 inputs, 2x2 outputs, 16 products in place of 36.

# %%
BT = np.array([[1.0, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
G = np.array([[1.0, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
AT = np.array([[1.0, 1, 1, 0], [0, 1, -1, -1]])


def tile_2d(d, g):
    """The 2x2 outputs of 3x3 weights g on 4x4 numbers d."""
    m = ...
    return ...

# %% [markdown]
# In the library this is `tinynet/kernels/winograd.py:convolve`, with tiles of 4x4 outputs: 36
# products in place of 144. The price is exactness: its matrices hold larger numbers.

# %%
def picture(figure):
    axes = figure.subplots()
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=200).astype("f4"), rng.normal(size=3).astype("f4")
    exact = np.convolve(x.astype("f8"), g[::-1].astype("f8"), "valid")
    axes.plot(np.abs(row(x, g) - exact), ".", label="Winograd, 4 products")
    axes.plot(np.abs(np.convolve(x, g[::-1], "valid") - exact), ".", label="direct, 6 products")
    axes.set(xlabel="output", ylabel="error in float32")
    axes.legend()


if __name__ == "__main__":
    draw("17_winograd_on_paper", picture)
