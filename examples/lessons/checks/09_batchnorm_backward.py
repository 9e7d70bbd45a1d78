"""A batch of five by hand, gradients by differences, and a test time without neighbours."""

from __future__ import annotations

import numpy as np
from grading import Answer, close

RNG = np.random.default_rng(0)
X = RNG.normal(2.0, 3.0, size=(5, 3))
G = RNG.normal(size=(5, 3))
WEIGHT = np.array([1.5, -0.5, 2.0])
BIAS = np.array([0.1, 0.2, 0.3])


def check_forward(answer: Answer) -> None:
    y, x_hat, inverse_std = answer.forward(X, WEIGHT, BIAS, eps=0.5)
    mean, var = X.mean(axis=0), X.var(axis=0)
    close("inverse_std", inverse_std, 1 / np.sqrt(var + 0.5), "1 / sqrt(mean of centred^2 + eps)",
          {"Divide by N, not by N - 1: this is the batch itself, no estimate.":
               1 / np.sqrt(X.var(axis=0, ddof=1) + 0.5),
           "eps stands under the root here.": 1 / (np.sqrt(var) + 0.5),
           "One number for all features: the mean is over the batch alone, axis=0.":
               1 / np.sqrt(X.var() + 0.5),
           "That is the square of it: the root is missing.": 1 / (var + 0.5),
           "That is the std: its inverse is wanted.": np.sqrt(var + 0.5)})
    close("the normalised x", x_hat, (X - mean) / np.sqrt(var + 0.5), "centred * inverse_std",
          {"The mean is over the batch: axis=0.": (X - X.mean()) / np.sqrt(var + 0.5)})
    close("the output", y, WEIGHT * x_hat + BIAS)


def check_backward(answer: Answer) -> None:
    _, x_hat, inverse_std = answer.forward(X, WEIGHT, BIAS)
    grad_x, grad_weight, grad_bias = answer.backward(G, x_hat, inverse_std, WEIGHT)
    close("grad_weight", grad_weight, (G * x_hat).sum(axis=0), "The sum of g x_hat over the batch.",
          {"Sums, not means: each sample adds its part.": (G * x_hat).mean(axis=0),
           "weight multiplies x_hat: its gradient is g x_hat.": G.sum(axis=0)})
    close("grad_bias", grad_bias, G.sum(axis=0), "The sum of g over the batch.",
          {"bias is added everywhere: a sum, not a mean.": G.mean(axis=0)})
    g = G * WEIGHT
    without_mean = g - x_hat * (g * x_hat).mean(axis=0)
    without_var = g - g.mean(axis=0)
    right = without_var - x_hat * (g * x_hat).mean(axis=0)
    close("grad_x", grad_x, inverse_std * right,
          "inverse_std * (g - mean(g) - x_hat * mean(g x_hat))",
          {"The way through the mean is missing: g less its mean.": inverse_std * without_mean,
           "The way through the variance is missing: less x_hat times the mean of g x_hat.":
               inverse_std * without_var,
           "Both statistics are held still here: each x moves them too.": inverse_std * g,
           "inverse_std is missing.": right,
           "Means over the batch, not sums.":
               inverse_std * (g - g.sum(axis=0) - x_hat * (g * x_hat).sum(axis=0)),
           "x_hat has to multiply the last mean.":
               inverse_std * (without_var - (g * x_hat).mean(axis=0))})


def check_update_running(answer: Answer) -> None:
    running = np.array([1.0, 2.0])
    new = np.array([3.0, -2.0])
    close("the running mean", answer.update_running(running, new, momentum=0.1),
          0.9 * running + 0.1 * new, "(1 - momentum) running + momentum new",
          {"momentum is the share of the new value here, as in PyTorch.":
               0.1 * running + 0.9 * new,
           "The two shares have to sum to 1.": running + 0.1 * new})


def check_forward_test(answer: Answer) -> None:
    mean, var = np.array([1.0, 2.0, 3.0]), np.array([4.0, 0.25, 1.0])
    wanted = WEIGHT * (X - mean) / np.sqrt(var + 1e-5) + BIAS
    close("the output at test time", answer.forward_test(X, WEIGHT, BIAS, mean, var), wanted,
          "weight (x - running_mean) / sqrt(running_var + eps) + bias",
          {"Those are the statistics of this batch: at test the running ones are used.":
               WEIGHT * (X - X.mean(axis=0)) / np.sqrt(X.var(axis=0) + 1e-5) + BIAS,
           "running_var is a variance: divide by its root.": WEIGHT * (X - mean) / var + BIAS})
    close("the output of one sample alone", answer.forward_test(X[:1], WEIGHT, BIAS, mean, var),
          wanted[:1], "A sample's output must not depend on its batch.")
