"""14. Cutout and mixup: what the lesson asks for."""

import numpy as np


def cutout(picture, row, column, size):
    """A copy of picture (channels, H, W) with a square of zeros around (row, column)."""
    top = row - size // 2
    left = column - size // 2
    out = picture.copy()
    out[:, max(top, 0):top + size, max(left, 0):left + size] = 0
    return out


def mean_hidden(side, size):
    """The share of pixels that are hidden, the mean over all centres."""
    ones = np.ones((1, side, side))
    left = [cutout(ones, i, j, size).mean() for i in range(side) for j in range(side)]
    return 1 - np.mean(left)


def mixup(x, y, lam, order):
    """The mixed pictures x (N, ...) and labels y (N, classes)."""
    return lam * x + (1 - lam) * x[order], lam * y + (1 - lam) * y[order]


def mixed_loss(log_p, y):
    """The mean over the batch of -sum y log p."""
    return -(y * log_p).sum(axis=1).mean()
