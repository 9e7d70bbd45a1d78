"""Each schedule at its corners: the first step, the last before a change, and after the end."""

from __future__ import annotations

import math

from grading import Answer, close


def check_step_decay(answer: Answer) -> None:
    def at(t: int) -> float:
        return answer.step_decay(t, lr=0.5, every=30)  # type: ignore[no-any-return]

    close("step_decay at t = 29, the last of the first 30 steps,", at(29), 0.5,
          "lr * factor ** (t // every)",
          {"The fall comes at 30 full steps: t // every, a whole number.": 0.5 * 0.1 ** (29 / 30),
           "One too early: the first step is t = 0, so 29 is still of the first 30.": 0.05})
    close("step_decay at t = 30", at(30), 0.05, "lr * factor ** (t // every)",
          {"One too late: steps 0 to 29 are 30 steps.": 0.5,
           "That is only the factor: lr is missing.": 0.1})
    close("step_decay at t = 65", at(65), 0.005, "Two full thirties: factor squared.",
          {"Each `every` multiplies once more: factor ** (t // every).": 0.05,
           "It is multiplied again each time: a power, not a product.": 0.1})


def check_cosine(answer: Answer) -> None:
    def wave(t: float) -> float:
        return 0.2 * (1 + math.cos(math.pi * t / 80))

    for t in (0, 20, 40, 60, 79):
        close(f"cosine at t = {t} of T = 80, lr = 0.4,", answer.cosine(t, lr=0.4, T=80), wave(t),
              "lr/2 (1 + cos(pi t/T))",
              {"pi is missing: half a wave is pi long.": 0.2 * (1 + math.cos(t / 80)),
               "A quarter of a wave: it is (1 + cos(pi t/T)) / 2.":
                   0.4 * math.cos(math.pi * t / 160),
               "The half is missing: lr/2.": 2 * wave(t),
               "A full wave goes down and up again: pi, not 2 pi.":
                   0.2 * (1 + math.cos(2 * math.pi * t / 80)),
               "T steps fall from t = 0 to t = T: divide by T, not by T - 1.":
                   0.2 * (1 + math.cos(math.pi * t / 79))})
    for t in (80, 100, 160):
        close(f"cosine at t = {t}, after T = 80,", answer.cosine(t, lr=0.4, T=80), 0.0,
              "From T on it is 0.",
              {"The wave rises again: from T on it has to stay at 0.": wave(t)})


def check_linear(answer: Answer) -> None:
    for t, wanted in ((0, 0.4), (20, 0.3), (80, 0.0)):
        close(f"linear at t = {t} of T = 80, lr = 0.4,", answer.linear(t, lr=0.4, T=80), wanted,
              "lr (1 - t/T)")
    close("linear at t = 120, after T = 80,", answer.linear(120, lr=0.4, T=80), 0.0,
          "From T on it is 0.",
          {"Below 0 training would climb: from T on it has to stay at 0.": -0.2})


def check_inverse_root(answer: Answer) -> None:
    for t, wanted in ((0, 0.4), (3, 0.2), (99, 0.04)):
        close(f"inverse_root at t = {t}, lr = 0.4,", answer.inverse_root(t, lr=0.4), wanted,
              "lr / sqrt(t + 1)",
              {"The first step is t = 0, and lr/sqrt(0) is infinite: sqrt(t + 1).":
                   0.4 / math.sqrt(t) if t else math.inf,
               "The root is missing.": 0.4 / (t + 1),
               "1 is added under the root.": 0.4 / (math.sqrt(t) + 1)})
