"""All masks of a small unit, and a mask that is used twice."""

from __future__ import annotations

import numpy as np
from grading import Answer, close

W = np.array([2.0, 3.0, -1.0])
X = np.array([5.0, 7.0, 4.0])


def check_mean_over_all_masks(answer: Answer) -> None:
    close("the mean over all masks of 2*5 + 3*7, keep 0.5,",
          answer.mean_over_all_masks(W[:2], X[:2], 0.5), 15.5, "keep^(ones) (1 - keep)^(zeros)",
          {"The probabilities of all masks have to sum to 1: here they are 1 each.": 62.0})
    whole = float(W @ X)
    close("the mean over all masks of three inputs, keep 0.25,",
          answer.mean_over_all_masks(W, X, 0.25), 0.25 * whole,
          "keep^(ones) (1 - keep)^(zeros)",
          {"All masks count alike here; at keep 0.25 those with many zeros are likelier.":
               0.5 * whole,
           "Ones are kept with probability keep, zeros with 1 - keep: they are swapped.":
               0.75 * whole})


def check_dropout(answer: Answer) -> None:
    x = np.array([1.0, 2.0, 3.0, 4.0])
    u = np.array([0.1, 0.3, 0.7, 0.9])
    y, mask = answer.dropout(x, u, 0.25)
    close("dropout with u = (0.1, 0.3, 0.7, 0.9) and keep 0.25", y, [4.0, 0.0, 0.0, 0.0],
          "(u < keep) / keep, times x",
          {"No division by keep: then training and test differ by that factor.":
               [1.0, 0.0, 0.0, 0.0],
           "u > keep drops what should be kept: with keep 0.25 a quarter stays.":
               [0.0, 8.0, 12.0, 16.0],
           "Kept with probability keep, but divided by 1 - keep.": [4 / 3, 0.0, 0.0, 0.0],
           "u > keep drops what should be kept, and nothing is scaled.": [0.0, 2.0, 3.0, 4.0],
           "That is keep taken as the probability to drop.":
               [0.0, 8 / 3, 4.0, 16 / 3]})
    close("the mask that comes with it", mask, [4.0, 0.0, 0.0, 0.0],
          "The mask with its scale: the backward pass multiplies by the same numbers.",
          {"The backward pass needs the scale as well: return the mask divided by keep.":
               [1.0, 0.0, 0.0, 0.0]})
    close("the mean of dropout over 1,000 even u",
          answer.dropout(np.ones(1000), (np.arange(1000) + 0.5) / 1000, 0.8)[0].mean(), 1.0,
          "It has to be that of x.")


def check_dropout_backward(answer: Answer) -> None:
    g = np.array([1.0, 2.0, 3.0])
    mask = np.array([0.0, 1.25, 1.25])
    close("the gradient behind a mask (0, 1.25, 1.25)", answer.dropout_backward(g, mask),
          g * mask, "g * mask, the mask of the forward pass",
          {"The mask has to be used again: what was off gets no gradient.": g,
           "The scale is part of the mask: multiply by the mask itself.": g * (mask > 0),
           "Divided where it should be multiplied.": np.divide(g, mask, where=mask > 0,
                                                               out=np.full(3, np.inf))})


def check_dropout_test(answer: Answer) -> None:
    close("dropout at test time", answer.dropout_test(X, 0.25), X, "Nothing is left to do.",
          {"Scaled twice: training has divided by keep already.": 0.25 * X,
           "Training has scaled already, and nothing is dropped now.": X / 0.25})
