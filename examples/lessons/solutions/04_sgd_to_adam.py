"""4. From SGD to Adam: what the lesson asks for."""

import numpy as np


def sgd(x, g, lr=0.01):
    """x - lr g: the new x."""
    return x - lr * g


def momentum(x, g, v, lr=0.01, rho=0.9):
    """v = rho v + g, x = x - lr v: the new x and v."""
    v = rho * v + g
    return x - lr * v, v


def adagrad(x, g, s, lr=0.01):
    """s sums squares, and the step is divided by its root: the new x and s."""
    s = s + g * g
    return x - lr * g / (np.sqrt(s) + 1e-7), s


def rmsprop(x, g, s, lr=0.01, decay=0.99):
    """The same with a leaky mean: `decay` of the old, the rest of the new. The new x and s."""
    s = decay * s + (1 - decay) * g * g
    return x - lr * g / (np.sqrt(s) + 1e-7), s


def adam(x, g, m, v, t, lr=1e-3, beta1=0.9, beta2=0.999):
    """Step t, where the first is t = 1: the new x, m and v."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    unbiased_m = m / (1 - beta1**t)
    unbiased_v = v / (1 - beta2**t)
    return x - lr * unbiased_m / (np.sqrt(unbiased_v) + 1e-7), m, v
