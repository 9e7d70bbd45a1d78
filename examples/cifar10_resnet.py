"""The lecture's own protocol on CIFAR-10: a ResNet, SGD with momentum, and a rate that falls.

    python examples/cifar10_resnet.py                          ResNet-20, 12 epochs
    python examples/cifar10_resnet.py --depth 110 --survival 0.5     with stochastic depth
    python examples/cifar10_resnet.py --cutout 16 --mixup 1.0 --schedule cosine
    python examples/cifar10_resnet.py --snapshots 3            an ensemble of one run
    python examples/cifar10_resnet.py --data shapes --depth 8 --epochs 2     no download

The papers train for 160 to 500 epochs, which is hours on two cores even for the smallest net. So
beside the accuracy measured here stands the paper's, and how much of its budget this run had: what
a technique is worth at a tenth of the epochs is often another question. Most regularizers cost
accuracy in a short run and gain it in a long one.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

import tinynet as tn
from tinynet import data, functional as F, models, nn, optim, train, viz
from tinynet.optim.schedule import Schedule, cosine, cyclic_cosine, multistep
from tinynet.train.progress import print_line

DEPTHS = (8, 20, 32, 44, 56, 110)  # 6 n + 2 layers with weights: n blocks of each width


class Paper(NamedTuple):
    """What a paper reports for its net and its epochs, in percent of the test pictures."""

    accuracy: float
    epochs: int
    what: str


# He et al. 2016, "Deep residual learning for image recognition", table 6: 64,000 steps of 128.
RESNETS = {
    depth: Paper(accuracy, 164, f"ResNet-{depth} (He et al. 2016)")
    for depth, accuracy in ((20, 91.25), (32, 92.49), (44, 92.83), (56, 93.03), (110, 93.57))
}
# With the technique; in brackets the same net without it.
TECHNIQUES = {
    "survival": Paper(94.8, 500, "ResNet-110, stochastic depth p_L = .5 [93.6] (Huang et al. "
                                  "2016, \"Deep networks with stochastic depth\")"),
    "dropout": Paper(96.1, 200, "WRN-28-10, dropout .3 inside the blocks [96.0] (Zagoruyko and "
                                 "Komodakis 2016, \"Wide residual networks\")"),
    "cutout": Paper(96.0, 200, "ResNet-18, cutout 16 [95.3] (DeVries and Taylor 2017)"),
    "mixup": Paper(95.8, 200, "PreAct ResNet-18, mixup alpha 1 [94.4] (Zhang et al. 2018)"),
    "snapshots": Paper(94.7, 300, "ResNet-110, 6 snapshots [94.5] (Huang et al. 2017, "
                                   "\"Snapshot ensembles\")"),
}


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--data", choices=["cifar10", "shapes"], default="cifar10", help="(default: cifar10)")
    add("--data-dir", type=Path, help="folder with CIFAR-10 (default: TINYNET_DATA, or the cache)")
    add("--depth", type=int, choices=DEPTHS, default=20, help="layers (default: 20)")
    add("--epochs", type=int, default=12, help="passes over the data (default: 12)")
    add("--lr", type=float, default=0.1, help="the first, and highest, learning rate (default: .1)")
    add("--schedule", choices=["step", "cosine"], default="step",
        help="x0.1 after half and after three quarters, or a half cosine (default: step)")
    add("--survival", type=float, default=1.0,
        help="stochastic depth: the last block is kept with this probability (default: 1, off)")
    add("--dropout", type=float, default=0.0, help="before the last layer (default: 0)")
    add("--cutout", type=int, default=0, help="side of a grey square, paper 16 (default: 0, off)")
    add("--mixup", type=float, default=0.0, help="alpha, paper 1 (default: 0, off)")
    add("--snapshots", type=int, default=0,
        help="so many cosines one after the other, whose ends vote (default: 0, off)")
    add("--seed", type=int, default=0, help="of weights, order and augmentation (default: 0)")
    add("--limit", type=int, help="use this many training pictures only, for a quick look")
    add("--out", type=Path, help="folder for the results (default: runs/resnet)")
    add("--resume", action="store_true", help="go on with the run that was cut off in --out")
    add("--quiet", action="store_true", help="print the result only")
    args = parser.parse_args(argv)
    for name in ("epochs", "limit"):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f"--{name} must be at least 1, got {value}")
    if not 0 < args.survival <= 1 or not 0 <= args.dropout < 1 or min(
            args.cutout, args.mixup, args.snapshots) < 0 or not args.lr > 0:
        parser.error("--survival is in (0, 1], --dropout in [0, 1), --lr above 0, the others are "
                     "0 or more")
    args.out = args.out or Path("runs") / "resnet"
    args.checkpoints = args.out / "checkpoints"
    if not args.resume and any(args.checkpoints.glob("step-*")):
        parser.error(f"{args.checkpoints} holds an earlier run: go on with --resume, or remove "
                     "that folder")
    return args


def make_model(args: argparse.Namespace) -> nn.Sequential:
    """Blocks of 16, 32 and 64 channels; batch norm after every convolution."""
    net = models.resnet((args.depth - 2) // 2, survival=args.survival)
    if args.dropout:
        net = nn.Sequential(*net[:-1], nn.Dropout(args.dropout), net[-1])
    return net


def make_loaders(args: argparse.Namespace, training: data.Dataset, test: data.Dataset
                 ) -> tuple[data.DataLoader, data.DataLoader, data.DataLoader]:
    """45,000 pictures to train on, 5,000 to watch (nothing is chosen by them), the test."""
    training, watched = training.split(max(1, len(training) // 10), seed=args.seed)
    normalise = data.Normalize(*data.channel_statistics(training.images))
    augment = [data.RandomHorizontalFlip(), data.RandomCrop(32, 4), normalise]
    if args.cutout:
        augment.append(data.Cutout(args.cutout))
    mix = data.Mixup(len(test.classes), args.mixup) if args.mixup else None
    loader = data.DataLoader(training.images, training.labels, 128, seed=args.seed,
                             transform=data.Compose(augment), batch_transform=mix,
                             drop_last=len(training) > 128, num_classes=len(test.classes))
    plain = {"shuffle": False, "transform": normalise, "num_classes": len(test.classes)}
    return (loader, data.DataLoader(watched.images, watched.labels, 256, **plain),
            data.DataLoader(test.images, test.labels, 256, **plain))


def make_schedule(args: argparse.Namespace, steps: int) -> Schedule:
    if args.snapshots:
        return cyclic_cosine(args.lr, -(-steps // args.snapshots))
    if args.schedule == "cosine":
        return cosine(args.lr, steps)
    return multistep(args.lr, [steps // 2, 3 * steps // 4])  # 32,000 and 48,000 of 64,000


def papers(args: argparse.Namespace) -> list[Paper]:
    """The papers whose figures belong beside this run."""
    used = {"survival": args.survival < 1, "dropout": args.dropout > 0, "cutout": args.cutout > 0,
            "mixup": args.mixup > 0, "snapshots": args.snapshots > 0}
    found = [RESNETS[args.depth]] if args.depth in RESNETS else []
    return found + [TECHNIQUES[name] for name, on in used.items() if on]


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    start = time.perf_counter()
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        if args.data == "cifar10":
            training, test = data.load_cifar10(args.data_dir)
        else:
            training, test = data.load_shapes(train=args.limit or 6000, test=1000)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if args.limit:
        training, test = training.take(slice(args.limit)), test.take(slice(args.limit))
    tn.manual_seed(args.seed)
    model = make_model(args)
    loader, watched, test_loader = make_loaders(args, training, test)
    steps = args.epochs * len(loader)
    schedule = make_schedule(args, steps)
    optimizer = optim.SGD(model.named_parameters(), schedule, momentum=0.9, weight_decay=1e-4)
    if not args.quiet:
        print_line(f"{training.name}: {len(loader.images):,} pictures to train on, "
                   f"{len(watched.images):,} to watch, {len(test):,} for the test at the end\n"
                   f"ResNet-{args.depth}, {model.num_parameters():,} parameters, {args.epochs} "
                   f"epochs of {len(loader)} steps of {loader.batch_size}\n{schedule!r}\n"
                   "how long it takes is said after the first steps; Ctrl-C stops, --resume "
                   "goes on\n")
    callbacks: list[train.Callback] = [train.Checkpoints(args.checkpoints, every=50)]
    snapshots = None
    if args.snapshots:
        snapshots = train.Snapshots(args.out, period=-(-steps // args.snapshots))
        callbacks.append(snapshots)
    trainer = train.Trainer(model, optimizer, progress=not args.quiet, keep_best=False,
                            callbacks=callbacks)
    history = trainer.fit(loader, watched, args.epochs,
                          resume=args.checkpoints if args.resume else None)
    if history.stopped == "interrupted":
        print_line("interrupted: the same command with --resume goes on")
        return 130
    if snapshots is None:
        scores = trainer.predict(test_loader)
    else:
        scores = train.Ensemble(snapshots.files(), model).predict(test_loader)
    accuracy = float((scores.argmax(axis=1) == test.labels).mean())
    beside = papers(args)
    result = {
        "model": f"ResNet-{args.depth}", "dataset": training.name, "test_accuracy": accuracy,
        "test_pictures": len(test),
        "settings": {name: str(value) if isinstance(value, Path) else value
                     for name, value in vars(args).items() if value is not None},
        "parameters": model.num_parameters(), "seconds": round(trainer.seconds, 1),
        "papers": [paper._asdict() for paper in beside],
        "versions": {"tinynet": tn.__version__, "python": platform.python_version(),
                     "numpy": np.__version__},
    }
    history.save(args.out / "history.json")
    train.write_atomic(args.out / "result.json", json.dumps(result, indent=2) + "\n")
    viz.plot_history(history, args.out / "curves.png", smooth=0.95,
                     title=f"ResNet-{args.depth} on {training.name}: {accuracy:.2%}")
    viz.draw_answers(test.labels, scores, test, args.out)
    viz.write_layers(model, F.cross_entropy, next(iter(loader)), args.out)
    card = viz.write_card(args.out)
    if not args.quiet:
        print_line(f"\n{history.table()}\n")
    print_line(f"here    {100 * accuracy:6.2f} %  {args.epochs:4} epochs  ResNet-{args.depth} on "
               f"{len(test):,} test pictures of {training.name}, "
               f"{time.perf_counter() - start:.0f} s")
    for paper in beside:
        print_line(f"paper   {paper.accuracy:6.2f} %  {paper.epochs:4} epochs  {paper.what}")
    print_line(f"look at {card}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before or after the training itself
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
