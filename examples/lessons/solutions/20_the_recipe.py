"""20. The recipe, in seven steps: what the lesson asks for."""

import math

import numpy as np


def first_loss(classes):
    """The cross-entropy of a net that knows nothing."""
    return math.log(classes)


def verdict(losses):
    """"too high" if a loss is nan or inf, "too low" if the last is over 0.9 of the first."""
    if not np.isfinite(losses).all():
        return "too high"
    if losses[-1] > 0.9 * losses[0]:
        return "too low"
    return "fine"


def best_rate(runs):
    """Of {rate: losses} the rate whose last loss is lowest; runs that left the numbers lose."""
    sound = {lr: losses[-1] for lr, losses in runs.items() if np.isfinite(losses).all()}
    return min(sound, key=sound.get)


def log_uniform(low, high, u):
    """low at u = 0, high at u = 1, and the same factor for the same step of u."""
    return low * (high / low) ** u


def read(train, val, gap=0.1, low=0.6):
    """"overfitting" if the last accuracies differ by `gap`, else "underfitting" below `low`."""
    if train[-1] - val[-1] > gap:
        return "overfitting"
    if train[-1] < low:
        return "underfitting"
    return "healthy"


def update_ratio(w, g, lr):
    """The norm of the step lr g over that of the weights w."""
    return np.linalg.norm(lr * g) / np.linalg.norm(w)
