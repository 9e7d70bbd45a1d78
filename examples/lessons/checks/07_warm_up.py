"""The corners of a warm-up, and a run that only it saves."""

from __future__ import annotations

from grading import Answer, close, demand


def falling(t: float) -> float:
    return 0.4 * (1 - t / 100)


def check_warm_up(answer: Answer) -> None:
    rate = answer.warm_up(falling, 10)
    demand(callable(rate), "warm_up does not return a function", "It ends with `return rate`.")
    close("the rate at t = 0 of 10 steps of warm-up to 0.4", rate(0), 0.04,
          "The share (t + 1) / steps of schedule(0).",
          {"A first step of 0 is a step for nothing: (t + 1) / steps.": 0.0,
           "That is the full rate: the rise is missing.": 0.4,
           "The rise is to schedule(0), and not to 1.": 0.1})
    close("the rate at t = 4", rate(4), 0.2, "The share (t + 1) / steps of schedule(0).",
          {"The rise ends at schedule(0): do not let the schedule fall meanwhile.":
               0.5 * falling(4)})
    close("the rate at t = 9, the last of the rise,", rate(9), 0.4, "By then it is schedule(0).")
    close("the rate at t = 10, the first after the rise,", rate(10), 0.4,
          "schedule(t - steps)",
          {"The schedule that follows begins with its own 0: schedule(t - steps).": falling(10),
           "One step of the schedule is lost: schedule(t - steps).": falling(1)})
    close("the rate at t = 60", rate(60), falling(50), "schedule(t - steps)")
    close("the rate at t = 3, without any warm-up,", answer.warm_up(falling, 0)(3), falling(3),
          "With steps = 0 all is the schedule.")


def check_descend(answer: Answer) -> None:
    path = answer.descend(lambda t: 0.1, x=1.0, steps=2)
    close("x after one step from 1 with the rate 0.1", path[1], 0.8, "x - rate(t) gradient(x)",
          {"That is uphill.": 1.2})
    cold = answer.descend(lambda t: 0.2)
    warm = answer.descend(answer.warm_up(lambda t: 0.2, 10))
    demand(len(cold) < 10, "without warm-up the run should leave the world in a few steps",
           "x = x - rate(t) * gradient(x)")
    demand(abs(warm[-1]) < 1e-3, f"with warm-up the run ends at {warm[-1]:.3g}, not near 0",
           "Is rate(t) asked in every step, for its own t?")
