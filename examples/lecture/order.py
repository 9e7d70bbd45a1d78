"""Figures 15 and 16: the next step by the tangent, and by the parabola."""

from __future__ import annotations

import numpy as np

from tinynet import calculus, optim
from tinynet.optim import landscapes
from tinynet.optim.landscapes import Make, trace
from tinynet.viz.landscape import losses

from . import style
from .style import BLACK, BLUE, GREEN, GREY, RED, Picture

LOSS = landscapes.double_well
HERE = 1.95
LR = 0.1


def model(t: np.ndarray, order: int) -> np.ndarray:
    """The Taylor polynomial of the loss at HERE, up to this order, a step t away."""
    a, b, c = calculus.taylor(LOSS.f, np.array([HERE]), np.array([1.0]))
    return a + b * t + (c * t * t / 2 if order == 2 else 0.0)


def error_slope(order: int) -> float:
    """How the model's error grows with the step, as a power: 2 for the tangent, 3 for it."""
    small = np.geomspace(1e-4, 1e-2, 9)
    truth = losses(LOSS, HERE + small[:, None])
    return float(np.polyfit(np.log(small), np.log(np.abs(truth - model(small, order))), 1)[0])


def draw(order: int, make: Make, text: str, settings: str) -> Picture:
    """The loss, its model at one point, and where the optimizer's next step lands."""
    land = float(trace(make, LOSS, [HERE], 1)[-1, 0])
    here = losses(LOSS, np.array([HERE]))
    there = losses(LOSS, np.array([land]))
    hoped = float(model(np.array(land - HERE), order))
    name = "tangent" if order == 1 else "parabola"
    figure, (panel,) = style.sheet(size=(6.0, 3.9))
    w = np.linspace(-1.6, 2.2, 300)
    panel.plot(w, losses(LOSS, w[:, None]), color=BLACK, linewidth=2, label="loss")
    panel.plot(w, model(w - HERE, order), color=RED, linewidth=2, linestyle="--",
               label=f"{name}: the model here")
    panel.plot(HERE, here, "o", color=BLUE, markersize=10, zorder=6)
    style.say(panel, HERE - 0.06, float(here) + 0.1, "here", BLUE, ha="right")
    panel.plot([land, land], [hoped, there], ":", color=GREY, linewidth=2)
    panel.plot(land, hoped, "s", color=RED, markersize=8, zorder=6)
    style.say(panel, land - 0.1, hoped, "the model says", RED, ha="right", va="bottom")
    panel.plot(land, there, "o", color=GREEN, markersize=10, zorder=7)
    style.say(panel, land + 0.12, float(there) - 0.05, "next point", GREEN, va="top")
    style.arrow(panel, (HERE, -1.9), (land, -1.9), BLUE)
    style.say(panel, HERE + 0.04, -1.9, "step", BLUE, va="center")
    panel.set(xlabel="w", ylabel="loss", ylim=(-2.2, 3.0), xlim=(-1.6, 2.4))
    style.title(panel, text)
    style.legend(panel, loc="upper left")
    return Picture(figure, settings, {
        "land": land, "loss here": float(here), "loss there": float(there), "hoped": hoped,
        "error grows as step to the": error_slope(order),
        "slope of the model there": float(np.diff(model(np.array([land - HERE - 1e-4,
                                                                  land - HERE + 1e-4]), order))[0]
                                          / 2e-4)})


def first(quick: bool) -> Picture:
    """15: a line says which way is down, not how far; the step's length is ours to choose."""
    return draw(1, lambda p: optim.SGD(p, LR), "First order: along the tangent, as far as lr says",
                f"double well from {HERE}; SGD(lr={LR}), one step; the tangent's error grows as "
                f"step^{error_slope(1):.2f}")


def second(quick: bool) -> Picture:
    """16: a parabola has a minimum: go there. No step size."""
    return draw(2, lambda p: optim.Newton(p),
                "Second order: to the minimum of the parabola",
                f"double well from {HERE}; Newton, one step, no learning rate; the parabola's "
                f"error grows as step^{error_slope(2):.2f}")


