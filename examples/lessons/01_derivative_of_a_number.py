# %% [markdown]
# # 1. The derivative of a number
#
# Wiggle `x` a little and `y` wiggles `slope` times as much: that is all a derivative says. If each
# number remembers what it was made of, and by which slope, the chain rule is a multiplication.

# %%
import math

import numpy as np
from drawing import draw

# %% [markdown]
# A `Value` keeps its number and pairs of (part, slope). For a sum both slopes are 1. What are
# they for a product, a power, a tanh? Fill in each `...`.

# %%
class Value:
    """A number that remembers how it was made; `pull` sends a gradient down to its parts."""

    def __init__(self, data, parts=()):
        self.data = data
        self.parts = parts
        self.grad = 0.0

    def __add__(self, other):
        other = as_value(other)
        return Value(self.data + other.data, [(self, 1.0), (other, 1.0)])

    def __mul__(self, other):
        other = as_value(other)
        return ...

    def __pow__(self, n):  # n is a plain number
        return ...

    def tanh(self):
        t = math.tanh(self.data)
        return ...  # its slope is 1 - t^2

    def pull(self, g):
        """Take g, the slope of the end in this number, and send each part its share of it."""
        ...  # keep g in self.grad: this may be one way to the end among several
        for part, slope in self.parts:
            ...  # the chain rule

    def __sub__(self, other):
        return self + as_value(other) * -1.0

    def __truediv__(self, other):
        return self * as_value(other) ** -1


def as_value(x):
    return x if isinstance(x, Value) else Value(x)

# %% [markdown]
# Ask for the slope of the end in itself, which is 1, and read `grad` of what it was made of:
# `y = x * x; y.pull(1.0); x.grad`. Here is a whole curve with its slope, found point by point.
#
# In the library this is `tinynet/tensor.py:Tensor`, and a slope is written beside its operation
# as in `tinynet/ops/arithmetic.py:multiply`. Next: numbers come in arrays.

# %%
def picture(figure):
    axes = figure.subplots()
    points = [Value(float(x)) for x in np.linspace(-2, 2, 81)]
    curve = [(x * x - 1.0).tanh() for x in points]
    for y in curve:
        y.pull(1.0)
    axes.plot([x.data for x in points], [y.data for y in curve], label="tanh(x² - 1)")
    axes.plot([x.data for x in points], [x.grad for x in points], label="its slope")
    axes.legend()


if __name__ == "__main__":
    draw("01_derivative_of_a_number", picture)
