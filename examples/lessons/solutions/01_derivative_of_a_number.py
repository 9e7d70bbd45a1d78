"""1. The derivative of a number: what the lesson asks for."""

import math


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
        return Value(self.data * other.data, [(self, other.data), (other, self.data)])

    def __pow__(self, n):  # n is a plain number
        return Value(self.data**n, [(self, n * self.data ** (n - 1))])

    def tanh(self):
        t = math.tanh(self.data)
        return Value(t, [(self, 1 - t * t)])

    def pull(self, g):
        """Take g, the slope of the end in this number, and send each part its share of it."""
        self.grad += g
        for part, slope in self.parts:
            part.pull(g * slope)

    def __sub__(self, other):
        return self + as_value(other) * -1.0

    def __truediv__(self, other):
        return self * as_value(other) ** -1
