"""Nets of which one shouts, Jensen's inequality, and the corners of a cyclic rate."""

from __future__ import annotations

import math

import numpy as np
from grading import Answer, close, demand

SCORES = np.array([[[1.0, 0.0, 2.0], [0.5, 0.5, -1.0]],
                   [[0.0, 1.0, 1.0], [2.0, 0.0, 0.0]],
                   [[9.0, 0.0, 0.0], [0.0, 8.0, 1.0]]])
LABELS = np.array([2, 0])


def right(scores: np.ndarray) -> np.ndarray:
    e = np.exp(scores)
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def check_softmax(answer: Answer) -> None:
    e = np.exp(SCORES - SCORES.max(axis=-1, keepdims=True))
    close("softmax", answer.softmax(SCORES), right(SCORES), "e / its sum over the classes",
          {"Those do not sum to 1: divide by the sum over the classes.": e,
           "The sum is over the last axis alone, with keepdims.": e / e.sum()})
    close("softmax((1000, 0))", answer.softmax(np.array([1000.0, 0.0])), [1.0, 0.0],
          "Subtract the largest first.")


def check_together(answer: Answer) -> None:
    p = right(SCORES)
    product = np.exp(np.log(p).mean(axis=0))
    votes = np.eye(3)[SCORES.argmax(axis=-1)].mean(axis=0)
    close("together", answer.together(SCORES), p.mean(axis=0), "softmax first, then the mean",
          {"Those are averaged scores: the net that shouts decides alone. Softmax comes first.":
               right(SCORES.mean(axis=0)),
           "Those are votes: how sure each net is, is lost.": votes,
           "That is the product's root: the arithmetic mean is wanted.": product,
           "The mean is over the nets, axis=0.": p.mean(axis=1),
           "Probabilities sum to 1: the mean, not the sum.": p.sum(axis=0)})


def check_loss(answer: Answer) -> None:
    p = np.array([[0.2, 0.3, 0.5], [0.9, 0.05, 0.05]])
    wanted = -(math.log(0.5) + math.log(0.9)) / 2
    close("loss", answer.loss(p, LABELS), wanted, "The mean of -log p[i, labels[i]]",
          {"The minus is missing.": -wanted,
           "The logarithm comes before the mean.": -math.log(0.7),
           "The mean over the samples, not the sum.": 2 * wanted})


def check_gain(answer: Answer) -> None:
    rng = np.random.default_rng(0)
    p = right(SCORES)
    each = -np.log(p[:, [0, 1], LABELS])
    wanted = each.mean() + np.log(p.mean(axis=0)[[0, 1], LABELS]).mean()
    close("gain", answer.gain(SCORES, LABELS), wanted, "alone - loss(together(scores), labels)",
          {"The other way round: single nets less ensemble.": -wanted,
           "That is the loss of the ensemble: subtract it from the mean of the single ones.":
               each.mean() - wanted})
    for _ in range(20):
        gain = answer.gain(rng.normal(size=(4, 10, 3)) * 3, rng.integers(0, 3, 10))
        demand(gain >= 0, f"gain is {gain:.3g} for some nets, and cannot be negative",
               "Jensen: is it the mean of the probabilities?")


def check_snapshot_rate(answer: Answer) -> None:
    for t, wanted in ((0, 0.1), (25, 0.05), (49, 9.866357858e-5), (50, 0.1), (299, 9.866357858e-5)):
        off = 0.05 * (1 + math.cos(math.pi * ((t + 1) % 50) / 50))
        close(f"snapshot_rate at t = {t} of 300 steps in 6 cycles", answer.snapshot_rate(t), wanted,
              "lr/2 (1 + cos(pi (t % length) / length))",
              {"It never jumps up again: t % length.": 0.05 * (1 + math.cos(math.pi * t / 50)),
               "It never jumps up again: t % length, not t of all steps.":
                   0.05 * (1 + math.cos(math.pi * t / 300)),
               "t counts from 0 here: no t + 1.": off})


def check_is_snapshot(answer: Answer) -> None:
    kept = [t for t in range(300) if answer.is_snapshot(t)]
    demand(kept != [0, 50, 100, 150, 200, 250],
           f"the net is kept after the steps {kept}",
           "That is the first step of each cycle, when the rate is highest: keep after the last.")
    demand(kept == [49, 99, 149, 199, 249, 299], f"the net is kept after the steps {kept[:8]}, "
           "and should be after 49, 99, 149, 199, 249, 299", "(t + 1) % length == 0")
