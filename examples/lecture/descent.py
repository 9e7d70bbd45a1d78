"""Figures 1 to 7: how gradient descent moves, and what momentum makes of it."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinynet as tn
from tinynet import calculus, optim
from tinynet.optim import landscapes
from tinynet.optim.landscapes import Landscape, trace
from tinynet.viz.landscape import losses

from . import style
from .style import BLUE, GREEN, GREY, RED, Picture


def slope(f: Any, x: Any) -> np.ndarray:
    """The gradient of `f` at the point x, by the library."""
    point = tn.tensor(np.asarray(x, dtype=np.float64), requires_grad=True)
    return tn.to_numpy(tn.grad(f(point), point).data)


def heights(panel: Any, f: Landscape, window: tuple[float, float, float, float],
            filled: bool = True) -> None:
    """The loss as a map, red in the pit and blue on the heights; or its contours alone."""
    left, right, bottom, top = window
    x = np.linspace(left, right, 160)
    y = np.linspace(bottom, top, 160)
    loss = losses(f, np.stack(np.meshgrid(x, y), axis=-1))
    levels = np.quantile(loss, np.linspace(0, 1, 17) ** 1.6)
    if filled:
        panel.contourf(x, y, loss, levels, cmap=style.HEIGHTS, alpha=0.85)
    else:
        panel.contour(x, y, loss, levels[1:], colors=GREY, linewidths=0.7, alpha=0.6)
    panel.set(xlim=(left, right), ylim=(bottom, top), xlabel="w1", ylabel="w2")
    panel.grid(False)


def walk(panel: Any, path: np.ndarray, color: str, label: str, **more: Any) -> None:
    """A path with a dot for each step, on a white edge."""
    look = {"marker": ".", "markersize": 6, "linewidth": 1.5} | more
    panel.plot(*path.T, color="white", linewidth=look["linewidth"] + 2.5, zorder=4)
    panel.plot(*path.T, color=color, label=label, zorder=5, **look)


def gradient_descent(quick: bool) -> Picture:
    """1: from a point on the map, step after step against the gradient, into the red pit."""
    f = landscapes.bowl(3)
    start, lr, steps = (-1.1, 0.95), 0.08, 120
    path = trace(lambda p: optim.SGD(p, lr), f, start, steps)
    figure, (panel,) = style.sheet(size=(5.2, 4.2))
    heights(panel, f, (-1.4, 1.4, -1.3, 1.3))
    walk(panel, path, BLUE, f"gradient descent, lr {lr}: {steps} steps")
    downhill = -slope(f, start)
    style.arrow(panel, start, np.add(start, 0.25 * downhill), "white", 4.0, edge="black")
    panel.plot(*start, "o", color="white", markeredgecolor="black", markersize=9, zorder=7)
    style.say(panel, start[0] + 0.1, start[1] + 0.07, "original W")
    style.say(panel, start[0] + 0.3, start[1] - 0.38, "negative gradient")
    style.title(panel, "Loss over two weights: follow the slope into the pit")
    style.legend(panel, loc="lower right")
    first = path[1] - path[0]
    return Picture(figure, f"{f.name}; SGD(lr={lr}), full gradient; the white arrow is its "
                   "direction at the start", {
        "distance": float(np.linalg.norm(path[-1])),
        "first step over gradient": float(np.linalg.norm(first - lr * downhill)),
        "falls at every step": bool((np.diff(losses(f, path)) < 0).all())})


def zig_zag(quick: bool) -> Picture:
    """2: steep along one axis, flat along the other: to and fro, and hardly forward."""
    k, lr, steps = 20.0, 0.093, 36
    f = landscapes.bowl(k)
    path = trace(lambda p: optim.SGD(p, lr), f, (-1.2, 0.28), steps)
    curvature = np.linalg.eigvalsh(tn.to_numpy(calculus.hessian(f.f, np.zeros(2)).data))
    condition = float(curvature[-1] / curvature[0])
    figure, (panel,) = style.sheet(size=(6.6, 3.2))
    heights(panel, f, (-1.35, 0.35, -0.42, 0.42), filled=False)
    walk(panel, path, RED, f"gradient descent, lr {lr}: {steps} steps")
    panel.plot(0, 0, "*", color=GREEN, markersize=14, markeredgecolor="black", zorder=6)
    panel.set(xlabel="w1: flat", ylabel="w2: steep")
    style.title(panel, f"A long valley (condition number of the Hessian: {condition:.0f})")
    style.legend(panel, loc="upper right")
    return Picture(figure, f"{f.name}; SGD(lr={lr}), start (-1.2, 0.28); from 2/{k:g} = "
                   f"{2 / k:g} on it diverges", {
        "condition": condition,
        "turns": landscapes.sign_changes(path[:, 1]),
        "steps": steps,
        "left along the flat axis": float(abs(path[-1, 0])),
        "worst lr": 2 / k})


def stuck(quick: bool) -> Picture:
    """3: a local minimum and a saddle: the gradient is zero, and descent stops."""
    well, saddle, lr = landscapes.double_well, landscapes.saddle, 0.01
    kinds = {"gradient descent": 0.0, "momentum 0.9": 0.9}
    colors = dict(zip(kinds, (RED, BLUE), strict=True))

    def make(rho: float) -> Any:
        return lambda p: optim.SGD(p, lr, momentum=rho)

    figure, (left, middle, right) = style.sheet(1, 3, (9.6, 3.3))
    x = np.linspace(-1.75, 2.1, 200)
    left.plot(x, losses(well, x[:, None]), color="black", linewidth=1.8)
    numbers: style.Numbers = {}
    for name, rho in kinds.items():
        end = trace(make(rho), well, [2.0], 3000)[-1]
        left.plot(end[0], losses(well, end) + 0.07, "o", color=colors[name], markersize=12,
                  label=f"{name} ends at {end[0]:.2f}")
        numbers[f"well, {name}"] = float(end[0])
        path = trace(make(rho), saddle, saddle.start, 2000, lambda x: abs(x[1]) > 1)
        numbers[f"saddle, {name}"] = len(path) - 1
        right.plot(np.abs(path[:, 1]), color=colors[name], linewidth=1.8,
                   label=f"{name}: {len(path) - 1} steps")
    left.plot(2.0, losses(well, np.array([2.0])), "o", color="black", fillstyle="none",
              markersize=10)
    left.set(xlabel="w", ylabel="loss", ylim=(-0.75, 3.4))
    style.title(left, "Local minimum: stuck")
    style.legend(left, loc="upper center")
    heights(middle, saddle, (-1.2, 1.2, -1.2, 1.2))
    path = trace(make(0.0), saddle, saddle.start, 360)
    walk(middle, path, RED, "gradient descent")
    middle.plot(0, 0, "X", color="black", markersize=10, zorder=6)
    middle.text(0.1, -0.32, "gradient 0", fontweight="bold")
    style.title(middle, "Saddle point: very slow")
    right.set(xlabel="step", ylabel="|w2|, way off the saddle", yscale="log")
    right.axhline(1.0, color=GREY, linewidth=1)
    style.title(right, "Steps to leave the saddle")
    style.legend(right, loc="lower right")
    return Picture(figure, f"all with lr {lr}; double well from 2 and saddle w1^2 - w2^2 from "
                   "(1, 0.001); with w2 = 0 nobody ever leaves", numbers)


# Noise

def on_batches(lr: float, rho: float, batch: int | None, steps: int) -> np.ndarray:
    """The path of SGD on mini-batches of a regression; `batch` None: on all examples."""
    loss = landscapes.regression()
    if batch:
        loss = landscapes.regression(batch, tn.Generator(style.SEED))
    return trace(lambda p: optim.SGD(p, lr, momentum=rho), loss, loss.start, steps)


WINDOW = (-1.35, 2.1, -0.1, 2.3)


def mini_batches(quick: bool) -> Picture:
    """4: the gradient of a mini-batch is noisy, so the path wanders."""
    lr, steps = 0.02, 150
    paths = {"full gradient": on_batches(lr, 0.0, None, steps),
             "mini-batches of 2": on_batches(lr, 0.0, 2, steps)}
    figure, (panel,) = style.sheet(size=(5.6, 4.0))
    loss = landscapes.regression()
    heights(panel, loss, WINDOW, filled=False)
    for (name, path), color in zip(paths.items(), (GREEN, "black"), strict=True):
        walk(panel, path, color, name, linewidth=1.2, markersize=4)
    panel.plot(*loss.minima[0], "*", color=GREEN, markersize=14, markeredgecolor="black",
               zorder=6)
    style.title(panel, "Stochastic gradient descent: noisy steps")
    style.legend(panel, loc="lower right")
    return Picture(figure, f"regression on 200 examples; both SGD(lr={lr}), {steps} steps", {
        name: landscapes.turning_angle(path) for name, path in paths.items()})


def momentum(quick: bool) -> Picture:
    """5: with momentum the noise averages out: a smoother path at the same learning rate."""
    lr, steps = 0.002, 150
    paths = {"SGD": on_batches(lr, 0.0, 2, steps),
             "SGD + momentum 0.9": on_batches(lr, 0.9, 2, steps)}
    figure, (panel,) = style.sheet(size=(5.6, 4.0))
    loss = landscapes.regression()
    heights(panel, loss, WINDOW, filled=False)
    for (name, path), color in zip(paths.items(), ("black", BLUE), strict=True):
        walk(panel, path, color, name, linewidth=1.2, markersize=4)
    panel.plot(*loss.minima[0], "*", color=GREEN, markersize=14, markeredgecolor="black",
               zorder=6)
    style.title(panel, "The same noise, with and without momentum")
    style.legend(panel, loc="lower right")
    left = {name: float(np.linalg.norm(path[-1] - loss.minima[0]))
            for name, path in paths.items()}
    return Picture(figure, f"regression, mini-batches of 2; both lr {lr}, {steps} steps",
                   {"angle": {name: landscapes.turning_angle(path)
                              for name, path in paths.items()}, "distance": left})


# Arrows

BOWL = landscapes.bowl(3)
LR = 0.12
RHO = 0.8


def draw_arrows(nesterov: bool, text: str) -> Picture:
    """The third step of (Nesterov) momentum in its parts: rho v, then -lr g, together the step."""
    make = optim.Nesterov if nesterov else optim.SGD
    path = trace(lambda p: make(p, LR, momentum=RHO), BOWL, (-1.3, 0.55), 3)
    before, now, after = path[-3:]
    velocity = RHO * (now - before)
    ahead = now + velocity
    at = ahead if nesterov else now
    gradient = -LR * slope(BOWL, at)

    figure, (panel,) = style.sheet(size=(5.8, 3.8))
    heights(panel, BOWL, (-1.15, -0.3, -0.3, 0.3), filled=False)
    walk(panel, path[:-1], GREY, "")
    style.arrow(panel, now, ahead, GREEN, 3.2)
    style.arrow(panel, at, at + gradient, RED, 3.2)
    style.arrow(panel, now, after, BLUE, 3.2)
    if not nesterov:  # the sum: each arrow once more at the other's tip
        for tip in (ahead, now + gradient):
            panel.plot(*np.stack([tip, after]).T, ":", color=GREY, linewidth=1.5)
    panel.plot(*now, "o", color=RED, markersize=11, markeredgecolor="white", zorder=8)
    style.say(panel, *np.add(now, (-0.03, 0.035)), "here", ha="right")
    style.say(panel, *np.add(now + 0.55 * velocity, (0.0, -0.06)), "velocity", GREEN, ha="right")
    style.say(panel, *np.add(at + gradient, (0.01, 0.03)), "gradient", RED, ha="center")
    style.say(panel, *np.add(after, (0.03, -0.03)), "actual step", BLUE)
    style.bare(panel)
    panel.set(xlabel="", ylabel="")
    style.title(panel, text)
    return Picture(figure, f"{BOWL.name}; lr {LR}, rho {RHO}, step 3; velocity = rho v, gradient "
                   "= -lr grad " + ("f(x + rho v)" if nesterov else "f(x)"), {
        "closing error": float(np.abs(velocity + gradient - (after - now)).max()),
        "velocity": velocity.tolist(), "gradient": gradient.tolist()})


def momentum_arrows(quick: bool) -> Picture:
    """6: the actual step is the sum of the velocity so far and the gradient here."""
    return draw_arrows(False, "Momentum update: velocity + gradient here")


def nesterov_arrows(quick: bool) -> Picture:
    """7: look ahead: first the velocity, then the gradient at the place where it leads."""
    return draw_arrows(True, "Nesterov momentum: velocity, then the gradient there")
