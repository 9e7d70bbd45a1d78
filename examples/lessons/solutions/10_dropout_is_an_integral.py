"""10. Dropout is an integral: what the lesson asks for."""

import itertools

import numpy as np


def mean_over_all_masks(w, x, keep):
    """The mean of w·(mask x), each mask weighted with its probability."""
    total = 0.0
    for bits in itertools.product([0, 1], repeat=len(x)):
        mask = np.array(bits)
        probability = keep ** mask.sum() * (1 - keep) ** (len(x) - mask.sum())
        total += probability * (w @ (mask * x))
    return total


def dropout(x, u, keep):
    """Training: x where u < keep, scaled so that the mean stays x; else 0. And the mask used."""
    mask = (u < keep) / keep
    return x * mask, mask


def dropout_backward(g, mask):
    """The gradient of x: the units that were off get none. The mask is that of the forward pass."""
    return g * mask


def dropout_test(x, keep):
    """Test time, for a net trained with `dropout`."""
    return x
