"""Figure 29: nine trials on a grid, nine at random, and what each sees of the rate that matters."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from random_vs_grid import SHARES

import tinynet as tn
from tinynet import functional as F, models, optim, tune, viz

from . import style
from .nets import spirals
from .style import Picture

SPACE = {"lr": tune.LogUniform(1e-5, 10.0), "weight_decay": tune.LogUniform(1e-7, 1e-3)}


def accuracy(config: dict[str, Any], steps: int) -> float:
    """Of a small net after a short training, on new points of the spirals."""
    tn.manual_seed(style.SEED)
    net, rng = models.mlp([2, 64, 3]), tn.Generator(style.SEED + 100)
    optimizer = optim.SGD(optim.param_groups(net, weight_decay=config["weight_decay"]),
                          config["lr"], momentum=0.9)
    with np.errstate(all="ignore"):  # at some rates it explodes
        for _ in range(steps):
            points, arms = spirals(rng)
            optimizer.step(lambda p=points, a=arms: F.cross_entropy(net(p), a))
        points, arms = spirals(tn.Generator(style.SEED + 7), 1000)
        with tn.no_grad():
            return float((net(points).numpy().argmax(axis=1) == arms).mean())


def grid_and_random(quick: bool) -> Picture:
    """29: a grid tries three learning rates, nine random trials try nine."""
    steps = 60 if quick else 300
    lr, decay = SPACE["lr"], SPACE["weight_decay"]
    objective = functools.partial(accuracy, steps=steps)
    found = {
        "grid layout": tune.grid_search(objective, {
            "lr": [lr.at(share) for share in SHARES],
            "weight_decay": [decay.at(share) for share in SHARES]}),
        "random layout": tune.random_search(objective, SPACE, 9, seed=style.SEED)}
    sweep = np.linspace(0, 1, 9 if quick else 25)
    truth = tune.grid_search(objective, {"lr": [lr.at(float(u)) for u in sweep],
                                         "weight_decay": [decay.at(0.5)]})
    figure = viz.plot_searches(found, None, "lr", "weight_decay", truth=truth, title=(
        "Nine trials each; lr matters, weight decay hardly"))
    return Picture(figure, f"mlp([2, 64, 3]) on noisy spirals, {steps} steps of SGD, momentum 0.9; "
                   "score: accuracy on new points; lr (important) and weight decay (hardly) as on "
                   "the axes; grey: a sweep of lr", {
        name: {"values": len(one.values("lr")), "trials": len(one.trials),
               "best": one.best.score, "lr": one.best.config["lr"]}
        for name, one in found.items()} | {
        "share of the rates that come within 0.02 of the best": float(np.mean(
            [t.score > max(t.score for t in truth.trials) - 0.02 for t in truth.trials]))})
