"""11. DropConnect: what the lesson asks for."""

import math

import numpy as np


def forward(x, W, masks):
    """u[n] = (masks[n] W) x[n] for each sample, (N, out)."""
    return np.einsum("noi,oi,ni->no", masks, W, x)


def backward(g, x, W, masks):
    """The gradients of x and of W; a weight that was cut for a sample learns nothing from it."""
    grad_x = np.einsum("no,noi,oi->ni", g, masks, W)
    grad_W = np.einsum("no,noi,ni->oi", g, masks, x)
    return grad_x, grad_W


def moments(x, W, keep):
    """The mean and the variance of each u, (N, out) both."""
    mean = keep * x @ W.T
    variance = keep * (1 - keep) * x**2 @ (W**2).T
    return mean, variance


def mean_of_relu(mean, variance):
    """The mean of max(0, u) for a normal u."""
    sd = np.sqrt(variance)
    z = mean / sd
    bell = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    area = 0.5 * (1 + np.vectorize(math.erf)(z / math.sqrt(2)))
    return mean * area + sd * bell
