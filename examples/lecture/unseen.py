"""Figures 17, 18 and 30: what counts is unseen data. Curves, when to stop, snapshots."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

import tinynet as tn
from tinynet import data, models, optim, train, viz
from tinynet.optim import landscapes, schedule
from tinynet.optim.landscapes import Landscape, trace

from . import style
from .descent import heights
from .nets import small_pictures, spirals
from .style import BLACK, BLUE, RED, Picture


def curves(quick: bool) -> Picture:
    """17: the loss goes down; what we want is accuracy on pictures that it has not seen."""
    pictures, epochs, lr = (600, 3, 0.1) if quick else (1500, 12, 0.1)
    training, validation = small_pictures(pictures, 100 if quick else 500)
    normalise = data.Normalize(*data.channel_statistics(training.images))
    tn.manual_seed(style.SEED)
    net = models.resnet(3, widths=(8, 16, 32))
    loader = data.DataLoader(training.images, training.labels, 32, seed=style.SEED,
                             transform=normalise)
    test = data.DataLoader(validation.images, validation.labels, 250, shuffle=False,
                           transform=normalise)
    optimizer = optim.SGD(net.named_parameters(), lr, momentum=0.9)
    history = train.Trainer(net, optimizer, progress=False).fit(loader, test, epochs)
    figure = viz.plot_history(history, panels=("loss", "accuracy"))
    figure.set_size_inches(9.4, 3.9)
    for panel, text in zip(figure.axes, ("Training loss", "Accuracy: training and unseen"),
                           strict=True):
        style.title(panel, text)
    best = history.best("val_accuracy")
    return Picture(figure, f"ResNet-8 on {pictures} pictures of shapes at 16x16, batch 32, "
                   f"SGD lr {lr}, momentum 0.9, {epochs} epochs", {
        "loss": [float(np.mean(history.steps["loss"][:5])),
                 float(np.mean(history.steps["loss"][-5:]))],
        "train": history.epochs["train_accuracy"], "val": history.epochs["val_accuracy"],
        "best": best[1]})


# Early stopping

EPOCHS = 250
PATIENCE = 25


@functools.cache
def overfit(quick: bool, callbacks: bool) -> tuple[train.History, float]:
    """A large net learns few noisy points by heart; the accuracy that its kept weights have."""
    epochs = 120 if quick else EPOCHS
    rng = tn.Generator(style.SEED)
    points, arms = spirals(rng, 120)
    noisy = np.where(np.arange(120) % 4 == 0, (arms + 1) % 3, arms)  # a quarter is wrong
    unseen, truth = spirals(rng, 2000)
    tn.manual_seed(style.SEED)
    net = models.mlp([2, 256, 256, 3])
    optimizer = optim.Adam(net.named_parameters(), lr=0.01)
    extra = [train.EarlyStopping(patience=PATIENCE)] if callbacks else []
    trainer = train.Trainer(net, optimizer, progress=False, callbacks=extra)
    loader = data.DataLoader(points.numpy(), noisy, 120, seed=style.SEED)
    test = data.DataLoader(unseen.numpy(), truth, 1000, shuffle=False)
    history = trainer.fit(loader, test, epochs)
    return history, trainer.evaluate(test).accuracy


def early_stopping(quick: bool) -> Picture:
    """18: training gets better and better, validation worse: stop there, keep those weights."""
    history, kept = overfit(quick, False)
    stopped, kept_then = overfit(quick, True)
    best, value = history.best("val_accuracy")
    last = len(stopped.epochs["epoch"])
    epochs = history.epochs["epoch"]
    figure, (left, right) = style.sheet(1, 2, (9.0, 3.9))
    left.plot(epochs, history.epochs["train_loss"], color=BLUE, linewidth=2, label="training")
    left.plot(epochs, history.epochs["val_loss"], color=RED, linewidth=2, label="validation")
    left.set(xlabel="epoch", ylabel="loss", ylim=(0, 1.05 * max(history.epochs["val_loss"])))
    style.title(left, "Loss")
    style.legend(left, loc="upper left")
    for name, color, label in (("train_accuracy", BLUE, "training"),
                               ("val_accuracy", RED, "validation")):
        right.plot(epochs, 100 * np.array(history.epochs[name]), color=color, linewidth=2,
                   label=label)
    right.plot(best, 100 * value, "*", color=RED, markersize=16, markeredgecolor="black", zorder=6)
    right.set(xlabel="epoch", ylabel="right answers (%)", ylim=(40, 102))
    style.title(right, "Accuracy")
    style.legend(right, loc="center right")
    for panel in (left, right):
        panel.axvline(best, color=BLACK, linewidth=1.6, linestyle="--")
    style.say(right, best + 4, 44, "stop here")
    return Picture(figure, "mlp([2, 256, 256, 3]), 120 points on spirals, a quarter with "
                   f"wrong labels, full batch, Adam lr 0.01; EarlyStopping({PATIENCE}) ends it "
                   f"at epoch {last} with the weights of epoch {best}: {kept_then:.1%}; at the end "
                   f"{history.epochs['val_accuracy'][-1]:.1%}", {
        "best": best, "best accuracy": value, "kept": kept, "kept when stopped": kept_then,
        "stopped at": last, "patience": PATIENCE,
        "last": history.epochs["val_accuracy"][-1],
        "train": [history.epochs["train_accuracy"][best - 1], history.epochs["train_accuracy"][-1]],
        "val_loss": [min(history.epochs["val_loss"]), history.epochs["val_loss"][-1]]})


# Snapshots

def hills(w: Any) -> Any:
    """A bowl with dents in it: a minimum near every multiple of pi, all of them good."""
    return 0.03 * (w * w).sum(axis=-1) + 0.5 * (1 - tn.cos(2 * w)).sum(axis=-1)


HILLS = Landscape("a bowl with dents", hills, ((0.0, 0.0),), (-3.4, 3.6), (-4.9, 4.9, -4.9, 4.9))
CYCLES = 6
STEPS = 60  # of one cycle
NOISE = 1.0
PEAK = 0.9


def snapshots(quick: bool) -> Picture:
    """30: one descent ends in one minimum; a rate that starts anew visits a minimum each time."""
    total = CYCLES * STEPS
    rates = {"once": schedule.cosine(PEAK, total),
             "cycles": schedule.cyclic_cosine(PEAK, STEPS)}
    paths = {name: trace(lambda p, rate=rate: optim.SGD(p, rate), landscapes.noisy(
        HILLS, NOISE, tn.Generator(style.SEED)), HILLS.start, total)
        for name, rate in rates.items()}
    kept = paths["cycles"][STEPS::STEPS]
    figure, (left, right, below) = style.sheet(1, 3, (11.4, 3.9))
    for panel, path in ((left, paths["once"]), (right, paths["cycles"])):
        heights(panel, HILLS, HILLS.window)
        panel.plot(*HILLS.start, "o", color="white", markeredgecolor="black", markersize=9,
                   zorder=7)
        style.bare(panel)
        panel.set(xlabel="", ylabel="")
        panel.plot(*path.T, color=BLACK, linewidth=0.8, alpha=0.75, zorder=4)
    left.plot(*paths["once"][-1], "*", color=BLACK, markersize=18, markeredgecolor="white",
              zorder=8)
    style.title(left, "One schedule: one model")
    minima = [tuple(np.rint(place / np.pi).astype(int).tolist()) for place in kept]
    for place, minimum in zip(kept, minima, strict=True):
        right.plot(*place, "*", color=BLUE, markersize=20, markeredgecolor="white", zorder=7)
        same = [str(i) for i, other in enumerate(minima, 1) if other == minimum]
        style.say(right, np.pi * minimum[0], np.pi * minimum[1] - 0.95,
                  "model " + ", ".join(same), BLUE, ha="center", fontsize=9)
    style.title(right, f"Cyclic schedule: {CYCLES} snapshots")
    t = np.arange(total)
    below.plot(t, [rates["once"](int(i)) for i in t], color=BLACK, linewidth=1.6,
               label="one cosine")
    below.plot(t, [rates["cycles"](int(i)) for i in t], color=BLUE, linewidth=2,
               label=f"{CYCLES} cosines")
    below.plot(np.arange(1, CYCLES + 1) * STEPS, np.zeros(CYCLES), "*", color=BLUE, markersize=14,
               clip_on=False, zorder=6)
    below.set(xlabel="step", ylabel="learning rate", ylim=(0, None), xlim=(0, total))
    style.title(below, "Learning rate")
    style.legend(below, loc="upper right")
    away = [float(np.abs(place / np.pi - np.rint(place / np.pi)).max()) for place in kept]
    return Picture(figure, f"SGD, both from peak lr {PEAK}, gradient with noise of deviation "
                   f"{NOISE}, {total} steps; stars: weights kept where the rate has come down", {
        "minima": len(set(minima)), "away from a minimum": max(away),
        "rates": [float(rates["cycles"](i)) for i in (0, STEPS // 2, STEPS - 1, STEPS)]})
