"""Adam as it comes, or SGD with momentum, its learning rate and schedule tuned? Lecture id C8.

    python examples/adam_or_sgd.py                   on the built-in pictures: 5 to 10 minutes
    TINYNET_DATA=... python examples/adam_or_sgd.py --data cifar10       on as many of CIFAR-10

SGD's rate and schedule are searched with one seed, on one half of the validation pictures. The
table then has other seeds and the other half, so that the search does not win by luck. Adam with
the schedule that was found, from its default rate, is listed too: what is due to the schedule,
and what to the rule?
"""

from __future__ import annotations

import argparse
import statistics
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import tinynet as tn
from tinynet import data, models, optim, train
from tinynet.optim import schedule

SEARCH_SEED = 1000
RATES = (0.003, 0.01, 0.03, 0.1)
SCHEDULES: dict[str, Callable[[float, int], schedule.Schedule]] = {  # of a rate and all steps
    "constant": lambda lr, steps: schedule.constant(lr),
    "cosine": lambda lr, steps: schedule.cosine(lr, steps),
    "warm-up, cosine": lambda lr, steps: schedule.warmup(
        schedule.cosine(lr, steps - steps // 4), steps // 4),
}
Make = Callable[[Any, int], optim.Optimizer]  # of the parameters and the number of steps
Found = dict[tuple[float, str], float]  # accuracy by rate and schedule


class Task(NamedTuple):
    """Prepared pictures with labels: to train, to search settings, and to report."""

    train: data.Dataset
    search: data.Dataset
    report: data.Dataset


def load(name: str, n: int) -> Task:
    """`n` training pictures and 2,000 for validation; CIFAR-10 is not downloaded."""
    if name == "cifar10":
        pictures, held_out = data.load_cifar10(download=False)
        pictures = pictures.take(slice(0, n))
    else:
        pictures, held_out = data.load_shapes(train=n, test=2000)
    return Task(pictures, held_out.take(slice(0, 1000)), held_out.take(slice(1000, 2000)))


def loader(pictures: data.Dataset, transform: data.Normalize, seed: int = 0) -> data.DataLoader:
    return data.DataLoader(pictures.images, pictures.labels, 50, transform=transform, seed=seed)


def accuracy(task: Task, make: Make, seed: int, epochs: int, val: data.Dataset,
             pace: train.Pace) -> float:
    """The validation accuracy after `epochs`, no epoch chosen; nan if the run diverged."""
    tn.manual_seed(seed)
    normalize = data.Normalize(*data.channel_statistics(task.train.images))
    batches = loader(task.train, normalize, seed)
    model = models.small_conv_net(num_classes=len(task.train.classes), widths=(16, 32, 64))
    optimizer = make(model.named_parameters(), epochs * len(batches))
    trainer = train.Trainer(model, optimizer, keep_best=False, progress=False, callbacks=[pace])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # overflow where the rate is too high
        try:
            trainer.fit(batches, epochs=epochs)
        except FloatingPointError:
            pace.step(epochs - trainer.epoch)  # they will not come
            return float("nan")
        return trainer.evaluate(loader(val, normalize)).accuracy


def sgd(lr: float, name: str) -> Make:
    return lambda params, steps: optim.SGD(params, SCHEDULES[name](lr, steps), momentum=0.9)


def search(task: Task, epochs: int, pace: train.Pace) -> Found:
    """The accuracy with each rate and schedule."""
    return {(lr, name): accuracy(task, sgd(lr, name), SEARCH_SEED, epochs, task.search, pace)
            for name in SCHEDULES for lr in RATES}


def compare(task: Task, found: Found, seeds: int, epochs: int,
            pace: train.Pace) -> dict[str, list[float]]:
    """Validation accuracies by contender, one for each seed."""
    lr, name = max(found, key=lambda key: np.nan_to_num(found[key], nan=-1.0))
    contenders: dict[str, Make] = {
        "Adam, defaults (1e-3, constant)": lambda params, steps: optim.Adam(params),
        **({f"Adam, 1e-3, {name}": lambda params, steps: optim.Adam(
            params, SCHEDULES[name](1e-3, steps))} if name != "constant" else {}),
        f"SGD + momentum, tuned: {lr:g}, {name}": sgd(lr, name),
        f"SGD + momentum, a tenth of it: {lr / 10:g}, {name}": sgd(lr / 10, name),
        f"SGD + momentum, ten times it: {lr * 10:g}, {name}": sgd(lr * 10, name),
    }
    return {name: [accuracy(task, make, seed, epochs, task.report, pace) for seed in range(seeds)]
            for name, make in contenders.items()}


def report(found: Found, rows: dict[str, list[float]]) -> str:
    """Both tables as Markdown."""
    lines = ["| search: lr | " + " | ".join(f"{lr:g}" for lr in RATES) + " |",
             "|---|" + "---:|" * len(RATES)]
    lines += [f"| {name} | " + " | ".join(f"{found[lr, name]:.1%}" for lr in RATES) + " |"
              for name in SCHEDULES]
    lines += ["", "| contender | validation accuracy | lowest - highest | seeds |",
              "|---|---:|---:|---:|"]
    lines += [f"| {name} | {statistics.mean(a):.1%} | {min(a):.1%} - {max(a):.1%} | {len(a)} |"
              for name, a in rows.items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=["shapes", "cifar10"], default="shapes")
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    task = load(options.data, options.pictures)
    trainings = len(SCHEDULES) * len(RATES) + 5 * options.seeds
    with train.Pace(trainings * options.epochs, "epochs of all trainings") as pace:
        found = search(task, options.epochs, pace)
        rows = compare(task, found, options.seeds, options.epochs, pace)
    print(report(found, rows))


if __name__ == "__main__":
    main()
