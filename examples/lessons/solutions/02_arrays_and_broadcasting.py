"""2. Arrays and broadcasting: what the lesson asks for."""

import numpy as np


def sum_to(g, shape):
    """The gradient of an array of this shape, from that of what it was stretched to."""
    in_front = tuple(range(g.ndim - len(shape)))
    g = g.sum(axis=in_front)
    for axis, length in enumerate(shape):
        if length == 1:
            g = g.sum(axis=axis, keepdims=True)
    return g


def matmul_pull(g, a, b):
    """The gradients of a and b, where g is the gradient of a @ b."""
    grad_a = g @ b.T
    grad_b = a.T @ g
    return grad_a, grad_b


def measured(loss, x, h=1e-5):
    """The gradient of loss(x) in each number of x, by central differences."""
    result = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = h
        result[i] = (loss(x + step) - loss(x - step)) / (2 * h)
    return result
