"""One step to the bottom of a bowl; two loops against the matrix that they stand for."""

from __future__ import annotations

import numpy as np
from grading import Answer, close

H = np.array([[4.0, 1.0, 0.0], [1.0, 3.0, -1.0], [0.0, -1.0, 2.0]])
X = np.array([1.0, -2.0, 0.5])


def inverse(moves: list[np.ndarray], changes: list[np.ndarray], scale: float) -> np.ndarray:
    """The matrix of BFGS, written out: each pair makes it right along itself."""
    result = scale * np.eye(3)
    for s, y in zip(moves, changes, strict=True):
        rho = 1 / (s @ y)
        left = np.eye(3) - rho * np.outer(s, y)
        result = left @ result @ left.T + rho * np.outer(s, s)
    return result


def check_newton(answer: Answer) -> None:
    low = np.array([0.5, 1.0, -1.0])
    g = H @ (X - low)
    step = np.linalg.solve(H, g)
    close("the lowest point of the bowl", answer.newton(X, g, H), low, "x - H^-1 g",
          {"That is the highest point's side: x minus the step.": X + step,
           "That is the step; the new place is x minus it.": step,
           "H g makes steep directions longer: it is H^-1 g that is wanted.": X - H @ g,
           "That is a step of plain descent: the curvature is missing.": X - g,
           "The whole matrix is inverted, not each of its numbers.": X - g / np.diag(H)})


def check_two_loops(answer: Answer) -> None:
    moves = [np.array([1.0, 0.5, 0.0]), np.array([0.2, -1.0, 0.3]), np.array([0.0, 0.4, 1.0])]
    changes = [H @ s for s in moves]
    s, y = moves[-1], changes[-1]
    scale = (s @ y) / (y @ y)
    g = np.array([1.0, 2.0, -3.0])
    close("two_loops with one pair (1, 0.5, 0)", answer.two_loops(g, moves[:1], changes[:1]),
          inverse(moves[:1], changes[:1], (moves[0] @ changes[0]) / (changes[0] @ changes[0])) @ g,
          "Four lines, each with its own letter: s q, y, y y, s.",
          {"The scale in the middle is missing: s y / y y.":
               inverse(moves[:1], changes[:1], 1.0) @ g,
           "The scale is upside down: s y / y y, about 1 over the curvature.":
               inverse(moves[:1], changes[:1],
                       (changes[0] @ changes[0]) / (moves[0] @ changes[0])) @ g})
    upside_down = inverse(moves[::-1], changes[::-1], scale) @ g
    close("two_loops with three pairs", answer.two_loops(g, moves, changes),
          inverse(moves, changes, scale) @ g,
          "First from the newest to the oldest, then back; each pair gets its own share.",
          {"The order is turned round: the first loop begins with the newest pair.": upside_down})
    close("two_loops of the newest y, which should be its s,", answer.two_loops(y, moves, changes),
          s, "The secant equation: the last pair has to come out exactly.")
