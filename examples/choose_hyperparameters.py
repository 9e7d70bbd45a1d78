"""Choose learning rate and weight decay by the lecture's seven steps, and read the report.

    python examples/choose_hyperparameters.py              CIFAR-10 if it can be had; 28 minutes
    python examples/choose_hyperparameters.py --quick      fewer pictures and trials; 2 minutes
    python examples/choose_hyperparameters.py --data shapes

The first 10,000 training pictures of CIFAR-10 (2,000 with --quick): 9,000 to train on, 1,000 for
validation; the test set is not touched. Nothing is started that would not end within the budget:
28 minutes, or 1.7 (`--minutes`). Open report.html in the folder `--out` at any time: it is written
anew after every step; result.json comes at the end. A slow machine tries less in the same time:
there `--minutes 60` tries all. Ctrl-C, or a crash, loses one trial at most: the same command goes
on from the journal, recipe.jsonl.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import tinynet as tn
from tinynet import data, models, optim, train, tune, viz

PLANS: dict[bool, dict[str, Any]] = {
    False: {"coarse_epochs": 2, "fine_epochs": 10, "fine_trials": 4, "rounds": 3},
    True: {"coarse_epochs": 2, "fine_epochs": 8, "fine_trials": 3, "rounds": 1},  # --quick
}


class Progress:
    """A line for each training, with the time left: as the plan is, and within the budget."""

    def __init__(self, plan: dict[str, Any], budget: float, pace: train.Pace) -> None:
        self.pace = pace
        self.plan, self.budget, self.found = plan, budget, tune.recipe.Found()
        self.spent = 0.0  # in the step that runs

    def step(self, found: tune.recipe.Found) -> None:
        """A step has ended."""
        self.found, self.spent = found, 0.0
        print(found.steps[-1], "\n", flush=True)
        self.pace.said()

    def trial(self, trial: tune.Trial) -> None:
        """A training has ended."""
        self.spent += trial.seconds
        plan, rounds = self.plan, sum(step.number == 5 for step in self.found.steps)
        coarse = self.found.steps[-1].number == 3
        epochs = len(trial.extra["history"]["epochs"].get("epoch", [])) or 1
        of, later = ((12, plan["fine_trials"] * plan["fine_epochs"] * plan["rounds"]) if coarse else
                     (plan["fine_trials"], plan["fine_trials"] * epochs
                      * (plan["rounds"] - rounds - 1)))
        left = trial.seconds * (of - trial.i - 1 + later / epochs)
        left = max(0.0, min(left, self.budget - self.found.seconds - self.spent))
        chosen = ", ".join(f"{name} {value:.3g}" for name, value in trial.config.items())
        print(f"    {trial.i + 1}/{of}  {chosen}: {trial.score:.1%} in {trial.seconds:.1f} s   "
              f"about {left / 60:.1f} min left", flush=True)
        self.pace.said()


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--data", choices=["auto", "cifar10", "shapes"], default="auto",
        help="auto: CIFAR-10 if it is there or can be downloaded, else shapes (default: auto)")
    add("--quick", action="store_true", help="2,000 pictures, one round, at most 2 minutes")
    add("--minutes", type=float, help="budget (default: 28, with --quick 1.7)")
    add("--pictures", type=int, help="of the training set (default: 10,000, with --quick 2,000)")
    add("--seed", type=int, default=0, help="of weights, order and trials (default: 0)")
    add("--out", type=Path, default=Path("runs/recipe"), help="folder for report and journal")
    args = parser.parse_args(argv)
    for option, value, least in (("--minutes", args.minutes, 0.0), ("--pictures", args.pictures,
                                                                    400)):
        if value is not None and not value >= least:
            parser.error(f"{option} must be at least {least:g}, got {value:g}")
    return args


def pictures(which: str, n: int) -> data.Dataset:
    """The first `n` training pictures."""
    if which != "shapes":
        try:
            return data.load_cifar10()[0].take(slice(n))
        except data.DownloadError as error:
            if which == "cifar10":
                raise
            print(f"CIFAR-10 is not here and cannot be downloaded: {error}\n"
                  "Using the built-in set `shapes` instead.\n", flush=True)
    return data.load_shapes(train=n, test=0)[0]


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    minutes = args.minutes if args.minutes is not None else 1.7 if args.quick else 28.0
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        whole = pictures(args.data, args.pictures or (2_000 if args.quick else 10_000))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    training, validation = whole.split(max(200, len(whole) // 10), seed=args.seed)
    normalise = data.Normalize(*data.channel_statistics(training.images))
    padding = 4 if whole.name == "cifar10" else 1  # pixels that a picture may shift by
    augment = [data.RandomHorizontalFlip(), data.RandomCrop(32, padding), normalise]
    classes = len(whole.classes)
    train_loader = data.DataLoader(training.images, training.labels, 32 if args.quick else 64,
                                   seed=args.seed, transform=data.Compose(augment),
                                   num_classes=classes)
    val_loader = data.DataLoader(validation.images, validation.labels, 250, shuffle=False,
                                 transform=normalise, num_classes=classes)
    tn.manual_seed(args.seed)
    model = models.small_conv_net(num_classes=classes)
    # The rate is a first guess, for step 2 alone; the recipe looks for a better one.
    optimizer = optim.SGD(optim.param_groups(model, weight_decay=1e-4), lr=0.02, momentum=0.9)
    name = f"{whole.name}, {len(training):,} + {len(validation):,} pictures"
    print(f"{name}; at most {minutes:g} minutes on 2 cores. Report: {args.out / 'report.html'}\n",
          flush=True)

    plan = PLANS[args.quick]
    pace = train.Pace(what="all steps")
    progress = Progress(plan, 60 * minutes, pace)

    def report(found: tune.recipe.Found) -> None:
        progress.step(found)
        viz.write_report(found, args.out / "report.html", f"Choosing hyper-parameters: {name}")

    try:
        with pace:
            found = tune.recipe.run(model, optimizer, train_loader, val_loader, seed=args.seed,
                                    journal=args.out / "recipe.jsonl", budget=60 * minutes,
                                    report=report, on_trial=progress.trial, **plan)
    except (OSError, ValueError) as error:  # the journal is of another run, or the disk is full
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\ninterrupted: the same command goes on from {args.out / 'recipe.jsonl'}")
        return 130
    result = {"dataset": whole.name, "train_pictures": len(training),
              "val_pictures": len(validation), "seed": args.seed,
              "fault": found.fault, "stopped": found.stopped, "seconds": round(found.seconds, 1),
              "best": found.best and found.best.config | {"score": found.best.score}}
    train.write_atomic(args.out / "result.json", json.dumps(result, indent=2) + "\n")
    print(f"{found.seconds:.0f} s in all; report and result are in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
