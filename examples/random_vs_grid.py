"""Random search against a grid: the lecture's figure, from real trainings of a small conv net.

    python examples/random_vs_grid.py            CIFAR-10 if it can be had, else shapes; 6 min
    python examples/random_vs_grid.py --quick    fewer pictures, a coarser sweep: 1 min
    python examples/random_vs_grid.py --data shapes

Nine trials on a 3 x 3 grid and nine at random over the same ranges of learning rate (which matters)
and weight decay (which hardly does), and a fine sweep of the rate alone as the truth behind them:
39 trainings of 5 epochs on the first 8,000 training pictures, judged by the next 2,000; the test
set is not touched. Two processes train at a time, on one thread each.

The folder `--out` gets random_vs_grid.png, result.json, and the journal of finished trials: after
Ctrl-C or a crash the same command goes on, and when all is done it draws anew in a second.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import signal
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinynet import data, models, optim, train, tune, viz

SPACE = {"lr": tune.LogUniform(1e-5, 1.0), "weight_decay": tune.LogUniform(1e-7, 1e-3)}
SHARES = (1 / 6, 1 / 2, 5 / 6)  # the grid: the middles of three equal parts, in logarithms


class Size(NamedTuple):
    """How much is done."""

    pictures: int = 8000  # to train on
    validation: int = 2000
    epochs: int = 5
    sweep: int = 21  # learning rates of the truth


QUICK = Size(pictures=1000, validation=500, epochs=3, sweep=11)


def available(which: str) -> str:
    """"cifar10", or "shapes" where CIFAR-10 cannot be had."""
    if which != "shapes":
        try:
            data.load_cifar10()
            return "cifar10"
        except data.DownloadError as error:
            if which == "cifar10":
                raise
            print(f"CIFAR-10 is not here and cannot be downloaded: {error}\n"
                  "Using the built-in set `shapes` instead.\n", flush=True)
    return "shapes"


@functools.cache
def loaders(name: str, size: Size) -> tuple[data.DataLoader, data.DataLoader]:
    n = size.pictures + size.validation
    whole = data.load_cifar10()[0] if name == "cifar10" else data.load_shapes(train=n, test=0)[0]
    training, validation = whole.take(slice(size.pictures)), whole.take(slice(size.pictures, n))
    normalise = data.Normalize(*data.channel_statistics(training.images))
    return (data.DataLoader(training.images, training.labels, 50, transform=normalise),
            data.DataLoader(validation.images, validation.labels, 250, transform=normalise,
                            shuffle=False))


def accuracy(config: dict[str, Any], name: str, size: Size) -> float:
    """Validation accuracy of one training: the weights differ from trial to trial as well."""
    train_loader, val_loader = loaders(name, size)
    train_loader.set_epoch(0)
    model = models.small_conv_net(widths=(8, 16, 32))
    groups = optim.param_groups(model, weight_decay=config["weight_decay"])
    optimizer = optim.SGD(groups, config["lr"], momentum=0.9)
    trainer = train.Trainer(model, optimizer, progress=False, keep_best=False)
    if trainer.fit(train_loader, epochs=size.epochs).stopped == "interrupted":
        raise KeyboardInterrupt  # no score for half a training
    return trainer.evaluate(val_loader).accuracy


def end_with_parent() -> None:
    """In a worker: Ctrl-C ends it at once, in silence, and so does the end of the main process."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    def watch(parent: Any) -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, args=(parent_process(),), daemon=True).start()


def search(name: str, size: Size, seed: int, journal: tune.Journal, workers: int,
           pace: train.Pace) -> dict[str, tune.Search]:
    """All trials that are not in the journal yet, with a line for each."""
    lr, decay = SPACE["lr"], SPACE["weight_decay"]
    planned, start, ran = 18 + size.sweep, time.perf_counter(), 0

    def line(kind: str, t: tune.Trial) -> None:
        nonlocal ran
        ran += 1
        left = (planned - len(journal)) * (time.perf_counter() - start) / ran
        print(f"{len(journal):3}/{planned}  {kind:6} lr {t.config['lr']:.1e}, weight decay "
              f"{t.config['weight_decay']:.1e}: {t.score:6.1%}   about {left / 60:.1f} min left",
              flush=True)
        pace.said()

    with ProcessPoolExecutor(workers, get_context("spawn"), end_with_parent) as executor:
        def options(kind: str) -> dict[str, Any]:
            return {"executor": executor, "seed": seed, "journal": journal, "name": kind,
                    "on_trial": functools.partial(line, kind)}

        objective = functools.partial(accuracy, name=name, size=size)
        sweep = [lr.at(i / (size.sweep - 1)) for i in range(size.sweep)]
        return {
            "grid": tune.grid_search(objective, {
                "lr": [lr.at(u) for u in SHARES], "weight_decay": [decay.at(u) for u in SHARES]},
                **options("grid")),
            "random": tune.random_search(objective, SPACE, 9, **options("random")),
            "sweep": tune.grid_search(objective, {"lr": sweep, "weight_decay": [decay.at(0.5)]},
                                       **options("sweep"))}


def share_of_wins(on_grid: tune.Search, truth: tune.Search) -> float:
    """How many of 1,000 other draws of nine beat the grid, judged by the sweep alone."""
    known = [math.log(t.config["lr"]) for t in truth.trials]
    scores = [t.score if math.isfinite(t.score) else 0.0 for t in truth.trials]

    def best_of(lrs: list[float]) -> float:
        return float(np.interp(np.log(lrs), known, scores).max())

    grid_best = best_of(on_grid.values("lr"))
    return float(np.mean([best_of([tune.sample(SPACE, seed, i)["lr"] for i in range(9)])
                          > grid_best for seed in range(1000, 2000)]))


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--data", choices=["auto", "cifar10", "shapes"], default="auto",
        help="auto: CIFAR-10 if it is there or can be downloaded, else shapes (default: auto)")
    add("--quick", action="store_true", help="1,000 pictures, 3 epochs, a sweep of 11: 1 minute")
    add("--pictures", type=int, help="to train on (default: 8,000, with --quick 1,000)")
    add("--sweep", type=int, help="trials of the truth (default: 21, with --quick 11)")
    add("--workers", type=int, default=2, help="processes (default: 2)")
    add("--seed", type=int, default=0, help="of the trials (default: 0)")
    add("--out", type=Path, default=Path("runs/random_vs_grid"), help="folder for the results")
    args = parser.parse_args(argv)
    size = QUICK if args.quick else Size()
    args.size = size._replace(pictures=size.pictures if args.pictures is None else args.pictures,
                              sweep=size.sweep if args.sweep is None else args.sweep)
    for option, value, least in (("--pictures", args.size.pictures, 1),
                                 ("--sweep", args.size.sweep, 2), ("--workers", args.workers, 1)):
        if value < least:
            parser.error(f"{option} must be at least {least}, got {value}")
    return args


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    size, path = args.size, args.out / "trials.jsonl"
    try:
        name = available(args.data)
        journal = tune.Journal(path, {"data": name, **size._asdict(), "seed": args.seed})
        print(f"{name}: {size.pictures:,} pictures to train on, {size.validation:,} to judge by; "
              f"{18 + size.sweep} trainings of {size.epochs} epochs, {len(journal)} are done",
              flush=True)
        with train.Pace(what="trainings") as pace:
            found = search(name, size, args.seed, journal, args.workers, pace)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, BrokenProcessPool) as error:
        why = "interrupted" if isinstance(error, KeyboardInterrupt) else "a process died"
        print(f"\n{why}. The same command goes on from {path}", file=sys.stderr)
        return 130
    truth = found.pop("sweep")
    result: dict[str, Any] = {"dataset": name, **size._asdict(), "seed": args.seed}
    for kind, one in found.items():
        result[kind] = one.best.config | {"score": one.best.score}
        print(f"{kind:7} {len(one.values('lr'))} learning rates, best {one.best.score:.1%} at "
              f"lr {one.best.config['lr']:.2g}")
    result["random wins"] = share_of_wins(found["grid"], truth)
    print(f"by the sweep: random beats this grid in {result['random wins']:.0%} of 1,000 draws")
    train.write_atomic(args.out / "result.json", json.dumps(result, indent=2) + "\n")
    picture = args.out / "random_vs_grid.png"
    viz.plot_searches(found, picture, "lr", "weight_decay", truth=truth, title=(
        f"Nine trainings each: validation accuracy on {name}, {size.pictures:,} pictures, "
        f"{size.epochs} epochs (grey: a sweep of lr)"))
    print(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
