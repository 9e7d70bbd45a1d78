"""6. Schedules are functions: what the lesson asks for."""

import numpy as np


def step_decay(t, lr=0.1, every=30, factor=0.1):
    """lr, times factor once for each full `every`."""
    return lr * factor ** (t // every)


def cosine(t, lr=0.1, T=100):
    """lr/2 (1 + cos(pi t / T)), and 0 after T."""
    t = min(t, T)
    return lr / 2 * (1 + np.cos(np.pi * t / T))


def linear(t, lr=0.1, T=100):
    """lr (1 - t/T), and 0 after T."""
    return lr * max(0.0, 1 - t / T)


def inverse_root(t, lr=0.1):
    """lr, lr/sqrt(2), lr/sqrt(3), ... for t = 0, 1, 2, ..."""
    return lr / np.sqrt(t + 1)
