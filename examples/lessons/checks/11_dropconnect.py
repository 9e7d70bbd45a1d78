"""Two samples, two masks; the moments of a unit against all of its masks."""

from __future__ import annotations

import itertools
import math

import numpy as np
from grading import Answer, close

X = np.array([[1.0, 2.0, -1.0], [0.5, -1.0, 3.0]])
W = np.array([[2.0, 1.0, 0.5], [-1.0, 3.0, 1.5]])
MASKS = np.array([[[1.0, 0, 1], [0, 1, 1]], [[0.0, 1, 1], [1, 1, 0]]])
G = np.array([[1.0, -2.0], [0.5, 3.0]])


def check_forward(answer: Answer) -> None:
    close("u", answer.forward(X, W, MASKS), [(MASKS[n] * W) @ X[n] for n in (0, 1)],
          "For each sample n its own mask: (masks[n] * W) @ x[n].",
          {"One mask for the whole batch: each sample has its own.": X @ (MASKS[0] * W).T,
           "Nothing is cut: the masks are missing.": X @ W.T,
           "That cuts the mean of the masks: each sample has its own.":
               X @ (MASKS.mean(axis=0) * W).T})


def check_backward(answer: Answer) -> None:
    grad_x, grad_W = answer.backward(G, X, W, MASKS)
    close("grad_x", grad_x, [G[n] @ (MASKS[n] * W) for n in (0, 1)],
          "g[n] @ (masks[n] * W)", {"The mask is used again on the way back.": G @ W})
    close("grad_W", grad_W, sum(MASKS[n] * np.outer(G[n], X[n]) for n in (0, 1)),
          "The sum over n of masks[n] * outer(g[n], x[n])",
          {"A cut weight had no part in this: its gradient is cut as well.": G.T @ X,
           "The samples' parts add up: no mean.":
               sum(MASKS[n] * np.outer(G[n], X[n]) for n in (0, 1)) / 2})


def check_moments(answer: Answer) -> None:
    keep = 0.3
    values, weights = [], []
    for bits in itertools.product([0, 1], repeat=3):
        values.append((np.array(bits) * W) @ X[0])
        weights.append(keep ** sum(bits) * (1 - keep) ** (3 - sum(bits)))
    mean = np.average(values, axis=0, weights=weights)
    variance = np.average((np.array(values) - mean) ** 2, axis=0, weights=weights)
    got_mean, got_variance = answer.moments(X[:1], W, keep)
    squares = (X[:1] ** 2) @ (W**2).T
    close("the mean of u over all masks", got_mean, mean[None], "keep x W^T",
          {"keep is missing.": X[:1] @ W.T, "keep, not 1 - keep.": 0.7 * X[:1] @ W.T})
    close("the variance of u over all masks", got_variance, variance[None],
          "keep (1 - keep) times the sum of (w x)^2",
          {"A coin has the variance keep (1 - keep), not keep.": keep * squares,
           "A coin has the variance keep (1 - keep), not keep^2.": keep**2 * squares,
           "Square each w x before the sum, not the sum.": keep * (1 - keep) * (X[:1] @ W.T) ** 2,
           "That is the mean of w x, not of its square.": keep * (1 - keep) * X[:1] @ W.T})


def check_mean_of_relu(answer: Answer) -> None:
    mean, variance = np.array([0.0, 1.0, -0.5]), np.array([4.0, 1.0, 0.25])
    sd = np.sqrt(variance)
    z = mean / sd
    bell = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    area = np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in z])
    close("the mean of max(0, u)", answer.mean_of_relu(mean, variance), mean * area + sd * bell,
          "mean * area + sd * bell",
          {"That is the ReLU of the mean: it is 0 where u is often above 0.": np.maximum(mean, 0),
           "The bell is scaled by sd: without it the units are wrong.": mean * area + bell,
           "The bell is scaled by sd, not by the variance.": mean * area + variance * bell,
           "The second part is missing: sd * bell.": mean * area})
