"""Figures 8 to 14: which learning rate, and how to lower it while the net learns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinynet import train, tune
from tinynet.optim import schedule

from . import style
from .nets import run_deep, run_line, run_residual, run_spirals
from .style import BLACK, BLUE, GREEN, GREY, ORANGE, PINK, RED, Picture

RATES = {10.0: "very high", 0.003: "low", 0.6: "high", 0.1: "good"}


def four_rates(quick: bool) -> Picture:
    """8: one net at four learning rates; the library's rule names the curves."""
    steps = 800 if quick else 1500
    runs = {lr: run_spirals(lr, steps=steps) for lr in RATES}
    labels = tune.label_rates(runs)
    decayed = run_spirals(schedule.cosine(0.6, steps), steps=steps)
    figure, (panel,) = style.sheet(size=(6.2, 3.9))
    for (lr, losses), color in zip(runs.items(), (RED, BLUE, PINK, GREEN), strict=True):
        panel.plot(np.minimum(train.smooth(losses, 0.97), 100), color=color, linewidth=2.2,
                   label=f"{labels[lr]} learning rate ({lr:g})")
    panel.plot(train.smooth(decayed, 0.97), "--", color=BLACK, linewidth=1.5,
               label="start high (0.6), then decay")
    panel.set(xlabel="step", ylabel="loss", ylim=(0, 2.4), xlim=(-0.03 * steps, steps))
    style.title(panel, "One net, four learning rates")
    style.legend(panel, loc="upper right")
    return Picture(figure, f"mlp([2, 64, 3]) on noisy spirals, batch 32, SGD momentum 0.9, {steps} "
                   "steps; loss smoothed; names by tune.label_rates", {
        "labels": labels, "ends": {lr: float(np.mean(runs[lr][-100:])) for lr in RATES},
        "starts": {lr: float(np.mean(runs[lr][20:60])) for lr in RATES},
        "decayed": float(np.mean(decayed[-100:]))})


# The staircase, and the cosine: a ResNet's loss

EPOCHS = 120
PEAK = 0.1
RESNET = ("residual net (4 blocks with batch norm, width 32) on endless spirals, batch 32, SGD "
          f"momentum 0.9, peak lr {PEAK}")


def of_resnet(quick: bool, rate: Any) -> tuple[np.ndarray, np.ndarray]:
    """The loss after each epoch, and the learning rate at its beginning."""
    each = 8 if quick else 30  # steps of an epoch
    rule = rate(PEAK, EPOCHS * each)
    loss = np.array(run_residual(rule, EPOCHS, each))
    return loss, np.array([rule(epoch * each) for epoch in range(EPOCHS)])


def draw_loss(loss: np.ndarray, text: str) -> tuple[Any, Any]:
    figure, (panel,) = style.sheet(size=(6.2, 3.7))
    panel.plot(np.arange(1, EPOCHS + 1), loss, color=BLUE, linewidth=1.8)
    panel.set(xlabel="epoch", ylabel="loss", xlim=(0, EPOCHS), yscale="log")
    style.title(panel, text)
    return figure, panel


def staircase(quick: bool) -> Picture:
    """9: a ResNet's loss where the learning rate drops tenfold at epochs 30, 60, 90."""
    loss, rates = of_resnet(quick, lambda lr, steps: schedule.step_decay(lr, every=steps // 4))
    figure, panel = draw_loss(loss, "ResNet: learning rate x 0.1 at epochs 30, 60, 90")
    for epoch in (30, 60, 90):
        panel.axvline(epoch, color=GREY, linewidth=1, linestyle="--")
        style.say(panel, epoch + 1.5, loss.max(), "reduce\nlearning rate", "#555555",
                  fontsize=8.5, va="top")
    return Picture(figure, RESNET, {
        "rates": [float(rates[epoch]) for epoch in (0, 29, 30, 59, 60, 90)],
        "around epoch 30": [float(loss[20:30].mean()), float(loss[32:42].mean())],
        "stages": loss.reshape(4, 30)[:, 5:].mean(axis=1).tolist()})


def cosine_loss(quick: bool) -> Picture:
    """11: the loss of the same ResNet under a cosine: it falls to the end, without steps."""
    loss, rates = of_resnet(quick, schedule.cosine)
    figure, panel = draw_loss(loss, "Training loss under a cosine learning rate")
    rate = panel.inset_axes((0.66, 0.62, 0.32, 0.34))
    rate.plot(rates, color=RED, linewidth=1.6)
    rate.set(xticks=[], yticks=[], ylim=(0, None))
    rate.set_title("learning rate", fontsize=8)
    return Picture(figure, f"{RESNET}, cosine over {EPOCHS} epochs", {
        "thirds": loss.reshape(3, 40).mean(axis=1).tolist(),
        "last": float(loss[-5:].mean())})


# The shapes of schedules

def one_rate(quick: bool, make: Any, name: str, formula: str) -> Picture:
    """A schedule as a run had it: the learning rate over 100 epochs."""
    epochs, each, lr = 100, 8, 0.1
    steps = epochs * each
    rule = make(lr, steps)
    figure, (panel,) = style.sheet(size=(5.4, 3.5))
    rates = np.array([rule(t) for t in range(steps + 1)])
    panel.plot(np.arange(steps + 1) / each, rates / lr, color=RED, linewidth=2.4)
    panel.set(xlabel="epoch", ylabel="learning rate / highest", xlim=(0, epochs), ylim=(0, 1.08))
    panel.text(0.95, 0.88, formula, transform=panel.transAxes, fontsize=15, ha="right")
    style.title(panel, f"Learning rate decay: {name}")
    ends = {kind: float(np.mean(run_line(how, steps=1200)[-60:]))
            for kind, how in (("constant", lr), ("decayed", make(lr, 1200)))}
    return Picture(figure, f"{rule.text}; {each} steps an epoch. One run on a noisy line, 1200 "
                   f"steps: the squared distance from the truth is {ends['decayed']:.1e} in the "
                   f"end, at constant lr {lr} {ends['constant']:.1e}", {
        "rates": {share: float(rule(round(share * steps)) / lr) for share in (0, .25, .5, .75, 1)},
        "first steps": [float(rule(t) / lr) for t in (0, 3, 99)], "ends": ends})


def cosine(quick: bool) -> Picture:
    """10: half a cosine from the highest rate to 0."""
    return one_rate(quick, schedule.cosine, "cosine",
                    r"$\alpha_t = \frac{1}{2}\alpha_0(1 + \cos(t\pi / T))$")


def linear(quick: bool) -> Picture:
    """12: a straight line from the highest rate to 0."""
    return one_rate(quick, schedule.linear, "linear", r"$\alpha_t = \alpha_0(1 - t / T)$")


def inverse_root(quick: bool) -> Picture:
    """13: by the root of the step, counted from 1."""
    return one_rate(quick, lambda lr, steps: schedule.inverse_sqrt(lr), "inverse square root",
                    r"$\alpha_t = \alpha_0\,/\sqrt{t}$")


def warm_up(quick: bool) -> Picture:
    """14: up along a line first; without, the same net explodes at the same rate."""
    peak, first, steps = 0.45, 5000, 50_000
    rule = schedule.warmup(schedule.cosine(peak, steps - first), first)
    figure, (left, right) = style.sheet(1, 2, (8.4, 3.5))
    t = np.arange(0, steps, 50)
    left.plot(t, [rule(int(i)) for i in t], color=RED, linewidth=2.4)
    left.axvspan(0, first, color=ORANGE, alpha=0.25, linewidth=0)
    left.text(first * 1.15, peak * 0.08, "first 5000 steps:\nlinear warm-up", fontsize=9)
    left.set(xlabel="step", ylabel="learning rate", xlim=(0, steps), ylim=(0, 0.5))
    style.title(left, "Linear warm-up, then cosine")
    bare = run_deep(peak)
    warm = run_deep(schedule.warmup(peak, 200))
    right.plot(np.minimum(bare, 1e8), color=RED, linewidth=2, label=f"lr {peak} at once: explodes")
    right.plot(warm, color=BLUE, linewidth=2, label=f"warmed up to {peak} in 200 steps")
    right.set(xlabel="step", ylabel="loss", yscale="log", ylim=(1e-4, 1e6))
    style.title(right, "A net that only warm-up saves")
    style.legend(right, loc="center right")
    return Picture(figure, "right: mlp([10, 32, 32, 1]), LeakyReLU, full batch, SGD momentum 0.9",
                   {"rates": [float(rule(i)) for i in (0, 2499, 4999, 5000)],
                    "explodes": not math.isfinite(bare[-1]), "warm": warm[-1],
                    "steps without": len(bare)})
