"""19. Ensembles: what the lesson asks for."""

import math

import numpy as np


def softmax(scores):
    """Probabilities over the last axis."""
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))  # or scores of 1000 overflow
    return e / e.sum(axis=-1, keepdims=True)


def together(scores):
    """The probabilities of the ensemble (N, classes), from scores (nets, N, classes)."""
    return softmax(scores).mean(axis=0)


def loss(p, labels):
    """The mean of -log of what the right class got; p is (N, classes)."""
    return -np.log(p[np.arange(len(labels)), labels]).mean()


def gain(scores, labels):
    """The mean loss of the single nets, less that of the ensemble."""
    alone = np.mean([loss(softmax(one), labels) for one in scores])
    return alone - loss(together(scores), labels)


def snapshot_rate(t, T=300, cycles=6, lr=0.1):
    """The rate at step t = 0 .. T-1: a cosine from lr down, anew in each cycle."""
    length = math.ceil(T / cycles)
    return lr / 2 * (1 + math.cos(math.pi * (t % length) / length))


def is_snapshot(t, T=300, cycles=6):
    """Whether the net is kept after step t: the last of its cycle."""
    length = math.ceil(T / cycles)
    return (t + 1) % length == 0
