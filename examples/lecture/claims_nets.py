"""Claims of the lecture that need trained nets: three trainings each or more, some minutes in all.

    python examples/lecture/claims_nets.py                     all of them, one line each
    python examples/lecture/claims_nets.py --only large_fc     these

Pictures are those of `data.load_shapes`; every seed is fixed. The answers stand in
examples/lecture/README.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

if __package__ in (None, ""):  # run as a script: its folder is a package
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import random_vs_grid

import tinynet as tn
from lecture.claims import spread
from tinynet import data, models, nn, optim, train, tune

SEEDS = (0, 1, 2)


def trained(model: nn.Module, training: Any, epochs: int, lr: float, seed: int) -> nn.Module:
    """The net after some epochs of SGD with momentum, its rate falling by a cosine."""
    loader = data.DataLoader(*training, 50, seed=seed)
    schedule = optim.schedule.cosine(lr, epochs * len(loader))
    optimizer = optim.SGD(model.named_parameters(), schedule, momentum=0.9)
    trainer = train.Trainer(model, optimizer, progress=False, keep_best=False)
    trainer.fit(loader, epochs=epochs)
    return model


def sets(pictures: int, test: int = 1000) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """(images, labels) to train on and to test by, normalised."""
    training, other = data.load_shapes(train=pictures, test=test)
    normalise = data.Normalize(*data.channel_statistics(training.images))
    return ((normalise(training.images, None), training.labels),
            (normalise(other.images, None), other.labels))


def right(models_: Sequence[nn.Module], images: Any, labels: Any) -> float:
    """The share of the pictures of which the mean prediction is right, in points."""
    found = train.Ensemble(list(models_)).predict(images, batch_size=250)
    return 100 * float((found.argmax(1) == tn.to_numpy(labels)).mean())


def ensemble_gap() -> str:
    """Four nets trained apart on few pictures: what each and what their mean gets right."""
    training, test = sets(600)
    alone, together, gains = [], [], []
    for seed in SEEDS:
        members = []
        for member in range(4):
            tn.manual_seed(10 * seed + member)
            net = models.small_conv_net(widths=(8, 16, 32))
            members.append(trained(net, training, 12, 0.05, 10 * seed + member))
        each = [(right([net], *training), right([net], *test)) for net in members]
        own, other = np.mean(each, axis=0)
        own_mean, other_mean = right(members, *training), right(members, *test)
        alone.append(own - other)
        together.append(own_mean - other_mean)
        gains.append(other_mean - other)
    return (f"600 pictures: training less test accuracy {spread(alone, '.1f')} points for a "
            f"member, {spread(together, '.1f')} for the mean of 4; test accuracy "
            f"{spread(gains, '+.1f')}")


def large_fc() -> str:
    """Two layers of 1,024 units behind a small convolution, with and without dropout of 0.5."""
    training, test = sets(600)

    def net(p: float) -> nn.Module:
        drop = [[nn.Dropout(p)] if p else [] for _ in range(2)]
        return nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                             nn.Flatten(), nn.Linear(1024, 1024), nn.ReLU(), *drop[0],
                             nn.Linear(1024, 1024), nn.ReLU(), *drop[1], nn.Linear(1024, 10))

    found: dict[float, list[float]] = {0.0: [], 0.5: []}
    for p, scores in found.items():
        for seed in SEEDS:
            tn.manual_seed(seed)
            scores.append(right([trained(net(p), training, 20, 0.02, seed)], *test))
    gains = [b - a for a, b in zip(*found.values(), strict=True)]
    return (f"2.1 million weights in linear layers, 600 pictures, 20 epochs: test accuracy "
            f"{spread(found[0.0], '.1f')} without, {spread(found[0.5], '.1f')} with dropout; gain "
            f"{spread(gains, '+.1f')}")


def random_or_grid() -> str:
    """Nine trainings on a 3 x 3 grid of rate and decay, and nine at random, five times."""
    space, size = random_vs_grid.SPACE, random_vs_grid.QUICK
    grid = {name: [which.at(u) for u in random_vs_grid.SHARES] for name, which in space.items()}
    best: dict[str, list[float]] = {"grid": [], "random": []}
    for seed in range(5):
        tn.manual_seed(seed)

        def objective(config: dict[str, Any]) -> float:
            return 100 * random_vs_grid.accuracy(config, "shapes", size)

        best["grid"].append(tune.grid_search(objective, grid, seed=seed).best.score)
        best["random"].append(tune.random_search(objective, space, 9, seed=seed).best.score)
    wins = sum(r > g for g, r in zip(best["grid"], best["random"], strict=True))
    return (f"{size.pictures:,} pictures, {size.epochs} epochs, best of nine: random "
            f"{spread(best['random'], '.1f')} %, grid {spread(best['grid'], '.1f')} %; random is "
            f"better in {wins} of 5")


CLAIMS: dict[str, Callable[[], str]] = {f.__name__: f for f in (
    ensemble_gap, large_fc, random_or_grid)}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--only", nargs="+", choices=sorted(CLAIMS), metavar="NAME",
                        help=f"of {', '.join(CLAIMS)}")
    args = parser.parse_args(argv)
    with train.Pace(len(args.only or CLAIMS), "claims") as pace:
        for name in args.only or CLAIMS:
            print(f"{name}: {CLAIMS[name]()}", flush=True)
            pace.step(1)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
