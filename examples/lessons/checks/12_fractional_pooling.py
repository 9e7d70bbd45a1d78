"""Cuts that one can count, and pools of a small picture."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from grading import Answer, close, demand

X = np.array([[3.0, 1, 4, 1, 5], [9, 2, 6, 5, 3], [5, 8, 9, 7, 9], [3, 2, 3, 8, 4],
              [6, 2, 6, 4, 3]])


def right_cuts(n: int, parts: int, u: float) -> np.ndarray:
    places = np.ceil(n / parts * (np.arange(parts + 1) + u)).astype(int)
    return np.asarray(places - places[0])


def check_cuts(answer: Answer) -> None:
    # no alpha (i + u) is a whole number here that floats might miss
    for n, parts, u in ((25, 18, 0.3), (25, 18, 0.85), (36, 25, 0.55), (6, 4, 0.0)):
        what = f"cuts({n}, {parts}, u={u})"
        got = answer.cuts(n, parts, u)
        alpha = n / parts
        steps = np.arange(parts + 1)
        close(what, got, right_cuts(n, parts, u), "ceil(alpha (i + u)), less the first of them",
              {"They have to begin with 0: subtract the first.": np.ceil(alpha * (steps + u)),
               "ceil, not floor: the two cut elsewhere.":
                   np.floor(alpha * (steps + u)) - np.floor(alpha * u),
               "u is added to i, before alpha multiplies.":
                   np.ceil(alpha * steps + u) - np.ceil(u),
               "One cut more than there are regions: i runs from 0 to parts.":
                   right_cuts(n, parts, u)[:-1]})
    demand(set(np.diff(answer.cuts(100, 70, 0.77))) == {1, 2}, "steps are 1 or 2")


def pooled(rows: np.ndarray, columns: np.ndarray, more: int = 0, how: Any = np.max) -> np.ndarray:
    """`how` of each region of X, which ends `more` pixels after the next cut."""
    return np.array([[how(X[a:b + more, c:d + more]) for c, d in pairwise(columns)]
                     for a, b in pairwise(rows)])


def check_pool(answer: Answer) -> None:
    rows, columns = np.array([0, 2, 3, 5]), np.array([0, 1, 3, 5])
    close("pool with the rows 0, 2, 3, 5 and the columns 0, 1, 3, 5",
          answer.pool(X, rows, columns), pooled(rows, columns),
          "x[rows[i]:rows[i+1], columns[j]:columns[j+1]].max()",
          {"Regions end before the next cut: this one has a pixel of its neighbour.":
               pooled(rows, columns, more=1),
           "Rows come first in x: rows and columns are swapped.": pooled(columns, rows),
           "The largest, not the mean.": pooled(rows, columns, how=np.mean)})


def check_overlapping_pool(answer: Answer) -> None:
    rows, columns = np.array([0, 2, 3, 4]), np.array([0, 1, 3, 4])
    close("overlapping_pool with the rows 0, 2, 3, 4 and the columns 0, 1, 3, 4",
          answer.overlapping_pool(X, rows, columns), pooled(rows, columns, more=1),
          "Up to rows[i + 1] + 1.",
          {"The pixel at the next cut belongs to both: one further.": pooled(rows, columns)})
    steps = np.add.outer(np.arange(5.0), np.arange(5.0))  # the largest is always the last
    close("overlapping_pool of numbers that grow along both sides",
          answer.overlapping_pool(steps, rows, columns), np.add.outer(rows[1:], columns[1:]),
          "One pixel further than the cut, and no more.")


def check_test_time(answer: Answer) -> None:
    chances = [(0.1, 0.7), (0.45, 0.25), (0.9, 0.5)]

    def by_chance(u: float, v: float) -> np.ndarray:
        return pooled(right_cuts(5, 4, u), right_cuts(5, 4, v))

    close("test_time over three pairs", answer.test_time(X, 4, chances),
          np.mean([by_chance(u, v) for u, v in chances], axis=0), "The mean over all the pairs.",
          {"Rows and columns have a u each: here both take that of the rows.":
               np.mean([by_chance(u, u) for u, _ in chances], axis=0),
           "The mean over the cuts, not the largest.":
               np.max([by_chance(u, v) for u, v in chances], axis=0),
           "Only one pair is used.": by_chance(*chances[0])})
