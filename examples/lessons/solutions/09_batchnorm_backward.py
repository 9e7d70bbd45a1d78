"""9. Backward through BatchNorm: what the lesson asks for."""

import numpy as np


def forward(x, weight, bias, eps=1e-5):
    """The output; and what the backward pass wants: the normalised x, and 1/sqrt(var + eps)."""
    centred = x - x.mean(axis=0)
    inverse_std = 1 / np.sqrt((centred**2).mean(axis=0) + eps)
    x_hat = centred * inverse_std
    return weight * x_hat + bias, x_hat, inverse_std


def backward(g, x_hat, inverse_std, weight):
    """The gradients of x, weight and bias, from that of the output."""
    grad_weight = (g * x_hat).sum(axis=0)
    grad_bias = g.sum(axis=0)
    g = g * weight
    grad_x = inverse_std * (g - g.mean(axis=0) - x_hat * (g * x_hat).mean(axis=0))
    return grad_x, grad_weight, grad_bias


def update_running(running, new, momentum=0.1):
    """The leaky mean, one batch later."""
    return (1 - momentum) * running + momentum * new


def forward_test(x, weight, bias, running_mean, running_var, eps=1e-5):
    """The output at test time."""
    return weight * (x - running_mean) / np.sqrt(running_var + eps) + bias
