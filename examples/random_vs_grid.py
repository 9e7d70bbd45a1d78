"""Random search against a grid: the lecture's figure, from real trainings of a small conv net.

    python examples/random_vs_grid.py            about 2 min on 2 cores, ends in random_vs_grid.png

Nine trials on a 3 x 3 grid and nine at random over the same ranges of learning rate (which matters)
and weight decay (which hardly does), and a fine sweep of the rate alone as the truth behind them.
Finished trials are in journals in the folder `--out`: the same command goes on after an
interruption, and draws anew in a second when all is done.
"""

from __future__ import annotations

import argparse
import functools
import math
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import tinynet as tn
from tinynet import data, models, optim, train, viz

SPACE = {"lr": train.LogUniform(1e-5, 1.0), "weight_decay": train.LogUniform(1e-7, 1e-3)}
SHARES = (1 / 6, 1 / 2, 5 / 6)  # the grid: the middles of three equal parts, in logarithms


@functools.cache
def loaders(pictures: int) -> tuple[data.DataLoader, data.DataLoader]:
    training, validation = data.load_shapes(train=pictures, test=500)
    normalise = data.Normalize(*data.channel_statistics(training.images))
    return (data.DataLoader(training.images, training.labels, 50, transform=normalise),
            data.DataLoader(validation.images, validation.labels, 250, transform=normalise,
                            shuffle=False))


def accuracy(config: dict[str, Any], pictures: int = 1500, epochs: int = 4) -> float:
    """Validation accuracy of one training: the weights differ from trial to trial as well."""
    train_loader, val_loader = loaders(pictures)
    train_loader.set_epoch(0)
    model = models.small_conv_net(widths=(8, 16, 32))
    groups = optim.param_groups(model, weight_decay=config["weight_decay"])
    optimizer = optim.SGD(groups, config["lr"], momentum=0.9)
    trainer = train.Trainer(model, optimizer, progress=False, keep_best=False)
    trainer.fit(train_loader, epochs=epochs)
    return trainer.evaluate(val_loader).accuracy


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/random_vs_grid"), help="folder")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--sweep", type=int, default=21, help="trials of the truth (default: 21)")
    parser.add_argument("--pictures", type=int, default=1500, help="to train on (default: 1500)")
    parser.add_argument("--seed", type=int, default=0, help="of the trials (default: 0)")
    args = parser.parse_args(argv)
    objective = functools.partial(accuracy, pictures=args.pictures)
    lr, decay = SPACE["lr"], SPACE["weight_decay"]
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as executor:
        def options(name: str) -> dict[str, Any]:
            return {"executor": executor, "seed": args.seed,
                    "journal": args.out / f"{name}.jsonl",
                    "on_trial": lambda t: print(f"{name} {t.i}: lr {t.config['lr']:.2g}, weight "
                                                f"decay {t.config['weight_decay']:.2g} -> "
                                                f"{t.score:.1%}", flush=True)}

        on_grid = train.grid_search(objective, {"lr": [lr.at(u) for u in SHARES],
                                                "weight_decay": [decay.at(u) for u in SHARES]},
                                    **options("grid"))
        at_random = train.random_search(objective, SPACE, 9, **options("random"))
        sweep = [lr.at(i / (args.sweep - 1)) for i in range(args.sweep)]
        truth = train.grid_search(objective, {"lr": sweep, "weight_decay": [decay.at(0.5)]},
                                  **options("sweep"))
    for name, found in (("grid", on_grid), ("random", at_random)):
        print(f"{name:7} {len(found.values('lr'))} learning rates, best {found.best.score:.1%} at "
              f"lr {found.best.config['lr']:.2g}")
    # Other draws of nine, judged by the sweep: a failed trial counts as 0.
    known = [math.log(t.config["lr"]) for t in truth.trials]
    scores = [t.score if math.isfinite(t.score) else 0.0 for t in truth.trials]

    def best_of(lrs: list[float]) -> float:
        return float(np.interp(np.log(lrs), known, scores).max())

    grid_best = best_of(on_grid.values("lr"))
    wins = [best_of([train.sample(SPACE, seed, i)["lr"] for i in range(9)]) > grid_best
            for seed in range(1, 1001)]
    print(f"by the sweep: random beats this grid in {np.mean(wins):.0%} of 1,000 draws")
    picture = args.out / "random_vs_grid.png"
    viz.plot_searches({"grid": on_grid, "random": at_random}, picture, "lr", "weight_decay",
                      truth=truth, title="Nine trainings each, validation accuracy (grey: a fine "
                      "sweep of lr)")
    print(f"{picture}   ({tn.__version__})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
