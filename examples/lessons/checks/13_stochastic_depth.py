"""The numbers of the paper's line, blocks that count their calls, and the mean over all nets."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from grading import Answer, close, demand


def check_survival(answer: Answer) -> None:
    close("survival(4)", answer.survival(4), [0.875, 0.75, 0.625, 0.5], "1 - l/L (1 - last)",
          {"Blocks are counted from 1: the last one has the probability `last`.":
               [1.0, 0.875, 0.75, 0.625],
           "Those are the probabilities of leaving out: 1 minus them.": [0.125, 0.25, 0.375, 0.5],
           "The line goes from the first to the last block: 1 - l/L (1 - last).": [0.5] * 4})
    close("the sum of survival(54), the blocks left on average,", np.sum(answer.survival(54)),
          40.25, "1 - l/L (1 - last)")
    close("survival(2, last=0.8)", answer.survival(2, last=0.8), [0.9, 0.8],
          "1 - l/L (1 - last)", {"It falls by 1 - last, not by `last`.": [0.6, 0.2]})


def counting(factors: list[float]) -> tuple[list[Callable[[float], float]], list[int]]:
    """Blocks x -> f x, and the numbers of those that were called."""
    calls: list[int] = []

    def block(i: int, f: float) -> Callable[[float], float]:
        def run(x: float) -> float:
            calls.append(i)
            return f * x
        return run

    return [block(i, f) for i, f in enumerate(factors)], calls


def check_train(answer: Answer) -> None:
    blocks, calls = counting([1.0, 3.0, 0.5])
    close("train from 1 with the factors 1, 3, 0.5 and the second left out",
          answer.train(1.0, blocks, [True, False, True]), 3.0, "x = x + block(x), if it is there",
          {"The shortcut is lost: x + block(x).": 0.5,
           "A block that is left out leaves x as it is: it does not make it 0.": 0.0,
           "Every block was used: look at `there`.": 12.0,
           "Those that are there are left out.": 4.0})
    demand(calls == [0, 2], f"the blocks {calls} were computed, and should be [0, 2]",
           "A block that is left out is not even called: that is where the time is saved.")


def check_test_time(answer: Answer) -> None:
    factors = [1.0, 3.0, 0.5]
    blocks, _ = counting(factors)
    p = [0.9, 0.6, 0.5]
    wanted = 0.0
    for there in itertools.product([0, 1], repeat=3):
        net = weight = 1.0
        for on, f, share in zip(there, factors, p, strict=True):
            net *= 1 + on * f
            weight *= share if on else 1 - share
        wanted += weight * net
    close("test_time, which should be the mean over all 8 nets,", answer.test_time(1.0, blocks, p),
          wanted, "x + share * block(x)",
          {"A block was there p of the time only: scale what it adds.": 12.0,
           "The shortcut was always there: scale what the block adds, not the sum.":
               0.9 * 2 * 0.6 * 4 * 0.5 * 1.5,
           "Divided by p, as if training had not left blocks out: multiply.":
               (1 + 1 / 0.9) * (1 + 3 / 0.6) * (1 + 0.5 / 0.5)})
