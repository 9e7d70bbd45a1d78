"""Train a conv net on CIFAR-10, or on the built-in set `shapes` where CIFAR-10 cannot be had.

    python examples/train_cifar10.py                    what is there: CIFAR-10, else shapes
    python examples/train_cifar10.py --data shapes      no download, a minute or two
    python examples/train_cifar10.py --help

A tenth of the training set is held out for validation: it decides which epoch's weights are kept.
The test set is used once, at the end. Ctrl-C stops early and keeps the best weights so far. The
folder `--out` then holds report.html (open it), model.safetensors, the page's pictures and
numbers. A run that was cut off leaves checkpoints there, too: the same command with `--resume` goes
on, bit for bit. For your own pictures there is `examples/predict.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

import tinynet as tn
from tinynet import data, functional as F, models, nn, optim, train, viz
from tinynet.optim.schedule import cosine, warmup
from tinynet.text import counted
from tinynet.train.progress import print_line

MODELS = {
    "small": models.small_conv_net,
    "vgg": partial(models.net_s, dropout=0.0),  # in a short run augmentation regularises enough
    "resnet": models.resnet_small,
}


class Recipe(NamedTuple):
    """What is done when the command line does not say otherwise."""

    model: str
    epochs: int
    batch_size: int
    lr: float
    padding: int  # pixels that a picture may shift by
    cutout: int  # side of the square in pixels, 0: none
    expect: str


RECIPES = {
    "cifar10": Recipe("vgg", 7, 128, 0.05, 4, 8, "84 % on the test set"),
    # here objects lie anywhere already, and a hole in the only object costs more than it teaches
    "shapes": Recipe("small", 4, 64, 0.02, 1, 0, "98 % on the test set"),
}


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--data", choices=["auto", *RECIPES], default="auto",
        help="auto: CIFAR-10 if it is there or can be downloaded, else shapes (default: auto)")
    add("--data-dir", type=Path, help="folder with CIFAR-10 (default: TINYNET_DATA, or the cache)")
    add("--model", choices=list(MODELS), help="network" + defaults("model"))
    add("--epochs", type=positive, help="passes over the data" + defaults("epochs"))
    add("--batch-size", type=positive, help="pictures in a batch" + defaults("batch_size"))
    add("--lr", type=float, help="peak learning rate" + defaults("lr"))
    add("--dtype", choices=["float32", "float64"], default="float32", help="of weights and "
        "pictures (default: float32; in float64 any number of ranks reaches the same accuracy)")
    add("--seed", type=int, default=0, help="of weights, order and augmentation (default: 0)")
    add("--limit", type=positive, help="use this many training pictures only, for a quick look")
    add("--threads", type=positive, help="worker threads (default: all cores)")
    add("--out", type=Path, help="folder for the results (default: runs/cifar10, or runs/shapes)")
    add("--resume", action="store_true", help="go on with the run that was cut off in --out")
    add("--quiet", action="store_true", help="print the result only")
    add("--distributed", action="store_true", help="train on all ranks that mpiexec has started, "
        "each with --batch-size pictures of every batch")
    args = parser.parse_args(argv)
    if args.data_dir and not args.data_dir.is_dir():
        parser.error(f"--data-dir {args.data_dir} is no folder")
    if args.lr is not None and not args.lr > 0:
        parser.error(f"--lr must be positive, got {args.lr}")
    args.out = args.out or Path("runs") / ("shapes" if args.data == "shapes" else "cifar10")
    args.checkpoints = args.out / "checkpoints"
    if not args.resume and any(args.checkpoints.glob("step-*")):
        parser.error(f"{args.checkpoints} holds a run that was cut off: go on with --resume, or "
                     "remove that folder")
    return args


def defaults(setting: str) -> str:
    values = ", ".join(f"{name} {getattr(recipe, setting)}" for name, recipe in RECIPES.items())
    return f" (default: {values})"


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def load(args: argparse.Namespace) -> tuple[data.Dataset, data.Dataset]:
    """(train, test) of the set that was asked for, or of `shapes` if that is all there is."""
    if args.data != "shapes":
        try:
            return data.load_cifar10(args.data_dir)
        except data.DownloadError as error:
            if args.data == "cifar10":
                raise
            print_line(f"CIFAR-10 is not here and cannot be downloaded: {error}\n"
                       "Using the built-in set `shapes` instead.\n")
    size = args.limit or 10_000
    return data.load_shapes(train=size, test=min(2_000, size))


def loaders(training: data.Dataset, test: data.Dataset, recipe: Recipe, batch_size: int, seed: int
            ) -> tuple[data.DataLoader, data.DataLoader, data.DataLoader]:
    """Batches for training (augmented), validation (a tenth, held out) and test."""
    training, validation = training.split(max(1, len(training) // 10), seed=seed)
    normalise = data.Normalize(*data.channel_statistics(training.images))
    augment = [data.RandomHorizontalFlip(), data.RandomCrop(32, recipe.padding), normalise,
               *([data.Cutout(recipe.cutout)] if recipe.cutout else [])]
    same = {"shuffle": False, "transform": normalise, "num_classes": len(test.classes)}
    return (
        data.DataLoader(training.images, training.labels, batch_size, seed=seed,
                        transform=data.Compose(augment), drop_last=len(training) > batch_size,
                        num_classes=len(test.classes)),
        data.DataLoader(validation.images, validation.labels, 256, **same),
        data.DataLoader(test.images, test.labels, 256, **same),
    )


def take_up(loader: data.DataLoader, checkpoints: Path) -> None:
    """Give the loader the batch of the run that goes on, maybe of another number of ranks.

    The schedule is made for so many steps. What does not fit is said by `fit`.
    """
    for file in reversed(train.Checkpoints(checkpoints).files()):
        with contextlib.suppress(ValueError, OSError):  # a damaged one: `fit` takes that before it
            loader.set_state(train.load_checkpoint(file)["loaders"][0])
            return


def make_optimizer(model: nn.Module, lr: float, steps: int) -> optim.Optimizer:
    """Nesterov momentum; up for a fifth of the steps, down by a cosine; decay on weights only."""
    ramp = max(1, steps // 5)
    schedule = warmup(cosine(lr, max(1, steps - ramp)), ramp)
    return optim.SGD(optim.param_groups(model, weight_decay=5e-4), schedule, momentum=0.9,
                     nesterov=True)


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    start = time.perf_counter()
    world = tn.distributed.World() if args.distributed else tn.distributed.alone()
    args.quiet = args.quiet or not world.is_first
    if args.threads:
        tn.set_num_workers(args.threads)
    try:
        args.out.mkdir(parents=True, exist_ok=True)  # before an hour's work, not after
        training, test = world.first_to(lambda: load(args))  # who downloads does it once
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    tn.set_default_dtype(args.dtype)
    recipe = RECIPES[training.name]
    if args.limit:
        training, test = training.take(slice(args.limit)), test.take(slice(args.limit))
    name, epochs = args.model or recipe.model, args.epochs or recipe.epochs
    batch_size = args.batch_size or recipe.batch_size
    tn.manual_seed(args.seed)
    model = MODELS[name](num_classes=len(test.classes))
    train_loader, val_loader, test_loader = loaders(training, test, recipe, batch_size,
                                                    args.seed)
    train_loader.shard(world)
    if args.resume:
        take_up(train_loader, args.checkpoints)
    steps = epochs * len(train_loader)
    # A short run has no time to warm up to the full rate: the loss would jump and not come back.
    lr = args.lr or recipe.lr * min(1.0, steps / 500)
    optimizer = make_optimizer(model, lr, steps)
    if not args.quiet:
        ending = "keeps the best weights"
        if world.size > 1:
            ending = "ends all ranks: go on with --resume"
        standard = not (args.limit or args.model or args.epochs or args.batch_size or args.lr)
        print_line(f"{training.name}: {len(train_loader.images):,} pictures to train on, "
                   f"{len(val_loader.images):,} held out for validation, {len(test):,} for the "
                   f"test\n"
                   f"{name}: {model.num_parameters():,} parameters, {epochs} epochs of "
                   f"{len(train_loader)} steps, batch {train_loader.batch_size}, peak lr {lr:g}, "
                   f"backend {tn.xp.__name__}\n"
                   f"expect {'' if standard else 'with the default settings on all pictures '}"
                   f"{recipe.expect}; how long it takes is said after the first steps\n"
                   f"Ctrl-C stops early and {ending}\n")

    trainer = train.Trainer(model, optimizer, progress=not args.quiet, parallel=world,
                            callbacks=[train.Checkpoints(args.checkpoints, every=100)])
    before = time.perf_counter()
    history = trainer.fit(train_loader, val_loader, epochs,
                          resume=args.checkpoints if args.resume else None)
    if not world.is_first:
        return 0
    # of the run before it was cut off, if this one has resumed it
    earlier = max(0.0, trainer.seconds - (time.perf_counter() - before))
    train.save_model(model, args.out / "model.safetensors",
                     {"model": name, "data": training.name}, classes=test.classes,
                     normalize=test_loader.transform, shape=test.images.shape[1:])
    history.save(args.out / "history.json")
    scores = trainer.predict(test_loader)
    accuracy = float((scores.argmax(axis=1) == test.labels).mean())
    seconds = time.perf_counter() - start + earlier

    result = {
        "dataset": training.name, "test_accuracy": accuracy,
        "test_loss": F.cross_entropy(tn.tensor(scores), test.labels).item(),
        "seconds": round(seconds, 2),
        "epochs": trainer.epoch, "seed": args.seed, "model": name,
        "parameters": model.num_parameters(), "stopped": history.stopped,
        "batch_size": train_loader.batch_size, "ranks": world.size, "lr": lr, "dtype": args.dtype,
        "train_pictures": len(train_loader.images),
        "test_pictures": len(test), "backend": tn.xp.__name__,
        "versions": {"tinynet": tn.__version__, "python": platform.python_version(),
                     "numpy": np.__version__},
    }
    if "val_accuracy" in history:
        result["best_epoch"], result["val_accuracy"] = history.best("val_accuracy")
    train.write_atomic(args.out / "result.json", json.dumps(result, indent=2) + "\n")
    title = f"{name} on {training.name}: {accuracy:.2%} on {len(test):,} test pictures"
    viz.plot_history(history, args.out / "curves.png", smooth=0.95, title=title)
    confusion = viz.draw_answers(test.labels, scores, test, args.out)
    viz.write_layers(model, F.cross_entropy, next(iter(train_loader)), args.out)
    card = viz.write_card(args.out)
    if history.stopped != "interrupted":
        shutil.rmtree(args.checkpoints)  # not before all that they protect is on the disk
    if not args.quiet:
        print_line(f"\n{history.table()}\n\n{confusion.table()}\n")
    print_line(f"test accuracy {accuracy:.2%} on {len(test):,} pictures after "
               f"{counted(trainer.epoch, 'epoch')}, {seconds:.0f} s ({history.stopped}); "
               f"look at {card}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before or after the training itself, whose weights are saved
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
