"""What each step says of runs whose faults are known."""

from __future__ import annotations

import math

import numpy as np
from grading import Answer, close, demand


def check_first_loss(answer: Answer) -> None:
    for classes in (10, 100):
        close(f"first_loss({classes})", answer.first_loss(classes), math.log(classes),
              "-log(1/C), the natural logarithm",
              {"That is the logarithm to the base 10: the natural one.": math.log10(classes),
               "That is the logarithm to the base 2: the natural one.": math.log2(classes),
               "A loss is positive: -log(1/C) is log C.": -math.log(classes),
               "That is the probability; the loss is minus its logarithm.": 1 / classes})


def check_verdict(answer: Answer) -> None:
    for losses, wanted, hint in (
        ([2.3, 1.0, 0.1], "fine", "It fell to less than 0.9 of the first."),
        ([4.0, 3.1, 3.0], "fine", "It fell to less than 0.9 of the first."),
        ([2.3, 2.2, 0.5], "fine", "The last loss counts."),
        ([2.3, 0.5, 2.2], "too low", "The last loss counts."),
        ([2.3, 2.3, 2.29], "too low", "It fell by less than a tenth: the rate is too low."),
        ([2.3, 9.0, math.nan], "too high",
         "nan is neither larger nor smaller than anything: ask np.isfinite first."),
        ([2.3, math.inf, 1.0], "too high",
         "Any of them may have left the numbers, not only the last: np.isfinite(losses).all()."),
    ):
        got = answer.verdict(losses)
        demand(got == wanted, f"verdict({losses}) is {got!r}, and should be {wanted!r}", hint)


def check_best_rate(answer: Answer) -> None:
    runs = {1.0: [2.3, math.nan], 0.1: [2.3, 0.9], 0.01: [2.3, 1.5], 0.001: [2.3, 2.2]}
    got = answer.best_rate(runs)
    demand(got != 1.0, "best_rate chose 1.0, whose loss is nan",
           "min() keeps a nan that comes first: leave such runs out.")
    demand(got != 0.9, "best_rate is 0.9: that is the loss", "Return the rate, not its loss.")
    close("best_rate", got, 0.1, "The lowest last loss of those that are numbers.",
          {"That one has the highest loss: the lowest is wanted.": 0.001})
    runs = {0.5: [2.3, math.inf, 0.1], 0.1: [2.3, 1.5, 0.9], 0.2: [2.3, 0.5, 1.2]}
    close("best_rate where a run went to infinity and came back", answer.best_rate(runs), 0.1,
          "The last loss counts, of runs that stayed numbers.",
          {"A run that left the numbers is out, even if it came back.": 0.5,
           "The *last* loss counts, not the lowest on the way.": 0.2})


def check_log_uniform(answer: Answer) -> None:
    even = 1e-4 + 0.5 * (1e-1 - 1e-4)
    close("log_uniform(0.0001, 0.1, 0)", answer.log_uniform(1e-4, 1e-1, 0.0), 1e-4)
    close("log_uniform(0.0001, 0.1, 1)", answer.log_uniform(1e-4, 1e-1, 1.0), 1e-1)
    close("log_uniform(0.0001, 0.1, 0.5)", answer.log_uniform(1e-4, 1e-1, 0.5), 1e-4 * 1000**0.5,
          "low * (high / low) ** u",
          {"Drawn evenly, half of all rates lie above 0.05: draw the logarithm evenly.": even})


def check_read(answer: Answer) -> None:
    for train, val, wanted, hint in (
        ([0.5, 0.7, 0.99], [0.5, 0.68, 0.84], "overfitting", "train is far above val at the end."),
        ([0.3, 0.4], [0.3, 0.39], "underfitting", "No gap, and both are low."),
        ([0.4, 0.5, 0.9], [0.3, 0.3, 0.88], "healthy", "No gap at the end, and both are good."),
        ([0.9, 0.8], [0.7, 0.78], "healthy", "Look at the last accuracies, not at the first."),
        ([0.5, 0.55], [0.4, 0.3], "overfitting", "The gap is asked for first."),
        ([0.5, 0.7], [0.6, 0.85], "healthy",
         "val above train is no overfitting: the sign of the gap counts."),
    ):
        got = answer.read(train, val)
        demand(got == wanted, f"read({train}, {val}) is {got!r}, and should be {wanted!r}", hint)


def check_update_ratio(answer: Answer) -> None:
    w, g = np.array([[3.0, 4.0], [0.0, 12.0]]), np.array([[0.0, 1.0], [2.0, 2.0]])
    close("update_ratio", answer.update_ratio(w, g, 0.01), 0.03 / 13, "norm(lr g) / norm(w)",
          {"Upside down: the step over the weights.": 13 / 0.03,
           "The step is lr g: lr is missing.": 3 / 13,
           "Norms, not their squares.": 0.03**2 / 169})
