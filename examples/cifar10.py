"""94 % on CIFAR-10 in pure NumPy: one command, one knob.

    python examples/cifar10.py                       to 94 % (a quarter of an hour on two cores)
    python examples/cifar10.py --target 90           less, and sooner: 85, 90; or later: 95
    python examples/cifar10.py --seeds 5             several runs: their mean and spread
    python examples/cifar10.py --resume              go on with the run that was cut off
    python examples/cifar10.py --data shapes         no download: the same recipe in half a minute

All 50,000 pictures are trained on; nothing is chosen by the test set, which is looked at once
for each seed, at the end, in four views that are fixed here. The folder `--out` then holds
result.json, and of each seed a report card (open report.html), the curves and the weights.

The recipe is that of the speed records on this data set, brought to two cores. Each number
names where it is from:

    [A] Jordan 2024, "94 % on CIFAR-10 in 3.29 seconds on a single GPU" (airbench94)
    [M] Jordan et al. 2024, "Muon" (airbench94_muon)
    [H] the record after it, 7.6 epochs (hiverge): Muon, jitter, smoothing, all tuned anew
    [P] Page 2019, "How to train your ResNet", parts 4 to 8
    [T] this project's trials: bench/HEADLINE.md
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tinynet as tn
from tinynet import data, functional as F, nn, optim, train, viz
from tinynet.optim.schedule import linear
from tinynet.train.progress import print_line

SIDE = 33  # pixels [T]: the first layer, 2x2, leaves 32, which halves to 16, 8, 4 without a rest
SMALL = 17  # pixels of the first epochs [T]: 16, 8, 4, 2; an epoch takes a quarter of the time
PADDING = 2  # pixels mirrored on every side [A], so that a picture can shift
OTHERS = 0.05  # of the machine's time may be other programs' before times are provisional
PLACES = (1, 2)  # of the 4 x 4 places of a view: the two in the middle, on the diagonal [T]


class Recipe(NamedTuple):
    """What is done for a target."""

    widths: tuple[int, int, int]  # channels of the three groups
    small: float  # epochs with small pictures
    full: float  # epochs after them
    batch: int = 1536  # pictures in a step [H]: 33 steps an epoch
    chunk: int = 256  # of them at once [T]: they stay in the cache; batch norm sees them alone
    expect: str = ""


RECIPES = {
    "94": Recipe((64, 256, 256), 3, 6, expect="94 % of the test pictures"),  # widths: [A, H]
    "95": Recipe((128, 384, 384), 4, 14, expect="95 % (tried, not reached yet)"),  # widths: [A]
    "90": Recipe((64, 128, 128), 1, 3, expect="90 % of the test pictures"),  # [T]
    "85": Recipe((64, 128, 128), 2, 1, expect="87 % of the test pictures"),  # [T]
    "shapes": Recipe((16, 32, 32), 1, 3, 256, 128, "85 % of its test pictures"),  # [T]
}


class Net(nn.Module):
    """3 x 33 x 33 -> whitening, 32 x 32 -> three groups, each half as large -> 10 scores."""

    def __init__(self, recipe: Recipe, pictures: np.ndarray) -> None:
        # 12 directions of 2x2 patches with variance 1, and the same with the other sign [P, A];
        # a ReLU passes half of each. Only its bias learns, for a while: a net that need not
        # find out what pixels have in common reaches 94 % in 21 epochs in place of 34 [A].
        self.white = nn.Conv2d(3, 24, 2)
        nn.init.whitening_(self.white.weight, pictures, eps=5e-4)  # eps: [A]
        nn.init.zeros_(self.white.bias)
        self.white.weight.requires_grad = False
        # What batch norm keeps for the test moves by .44 with every batch [H], so by less with
        # every chunk: 1 - (1 - .44)^(chunk / batch).
        forget = 1 - (1 - 0.44) ** (recipe.chunk / recipe.batch)
        inputs = (24, *recipe.widths)
        self.groups = nn.Sequential(*(
            layer for i, o in zip(inputs, recipe.widths, strict=False)
            for layer in group(i, o, forget)))
        # No bias, scores / 256 [H]; the weights begin with a spread of 1 [H].
        self.head = nn.Linear(recipe.widths[-1], 10, bias=False)
        self.head.weight.copy_(self.head.weight / self.head.weight.std())

    def forward(self, x: tn.Tensor) -> tn.Tensor:
        x = self.groups(F.relu(self.white(x)))
        return self.head(x.max(axis=(2, 3))) * (1 / 256)


def group(inputs: int, outputs: int, forget: float) -> list[nn.Module]:
    """Half the size, `outputs` channels: conv, pool, norm, ReLU, conv, norm, ReLU [A].

    The record has GELU [A] or SiLU [H]; ReLU is the lecture's, reaches the same, and saves a
    third of the time [T].
    """
    made: list[nn.Module] = []
    for channels in (inputs, outputs):
        conv = nn.Conv2d(channels, outputs, 3, padding=1, bias=False)
        nn.init.identity_(conv.weight)  # loses nothing at the start: 21 epochs become 18 [A]
        norm = nn.BatchNorm2d(outputs, eps=1e-12, momentum=forget, relu=True)  # eps: [A]
        norm.weight.requires_grad = False  # the next layer can scale [P]
        made += [conv, norm]
    made.insert(1, nn.MaxPool2d(2))
    return made


class SmallAtFirst(data.Transform):
    """Pictures of `side` pixels in the first epochs: what is learned there keeps. [P, T]"""

    def __init__(self, side: int, epochs: float) -> None:
        self.side = side
        self.epochs = epochs

    def at(self, place: data.transform.Place, images: Any, keys: Any) -> Any:
        return data.resize(images, self.side) if place.epoch < self.epochs else images


class FreezeWhitening(train.Callback):
    """The first layer's bias has learned after so many steps: then its gradient is not needed."""

    only_watches = True

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_start(self, trainer: train.Run) -> None:
        self.on_step(trainer)

    def on_step(self, trainer: train.Run) -> None:
        trainer.model.white.bias.requires_grad = trainer.step < self.steps


def make_optimizer(net: Net, recipe: Recipe, steps: int, whitening: int) -> optim.Optimizer:
    """Muon for the six convolutions, SGD with Nesterov's momentum for all else. [M, H]

    Every rate falls in one straight line to 0, also from small pictures to full ones.
    """
    named = dict(net.named_parameters())
    convolutions = [(n, p) for n, p in named.items() if p.ndim == 4 and p is not net.white.weight]
    biases = [(n, p) for n, p in named.items() if n.startswith("groups") and n.endswith("bias")]
    # Momentum .655, 3 turns of Newton-Schulz, weights brought back to |w| = sqrt(filters) [H].
    # Muon takes no notice of how long a gradient is, so the sum over a batch needs no scale.
    muon = optim.Muon(convolutions, linear(0.205, steps), momentum=0.655, steps=3, norm=1.0)
    # Of biases .057, of the head .54 [H]: both of a loss that is summed over the batch. What
    # decay takes from a weight is lr times decay, and shall not depend on lr [H].
    decay = 1.04e-6 * recipe.batch
    rest = optim.SGD([
        {"params": [("white.bias", net.white.bias)], "lr": linear(0.057, whitening),
         "weight_decay": decay / 0.057},
        {"params": biases, "lr": linear(0.057, steps), "weight_decay": decay / 0.057},
        {"params": [("head.weight", net.head.weight)], "lr": linear(0.54, steps),
         "weight_decay": decay / 0.54},
    ], lr=0.057, momentum=0.825, nesterov=True)  # .825: [H]
    return optim.Together(muon, rest)


def make_loader(training: data.Dataset, normalise: data.Normalize, recipe: Recipe, seed: int
                ) -> data.DataLoader:
    """All the pictures, shifted, mirrored, lighter or darker; made while the last step runs."""
    steps = data.Compose([
        data.RandomCrop(SIDE, PADDING, mode="reflect"),  # any of 4 x 4 places [A, T]
        data.RandomHorizontalFlip(alternate=True),  # one way in even epochs, the other in odd [A]
        normalise,
        SmallAtFirst(SMALL, recipe.small),
        data.LightJitter(brightness=0.14, contrast=0.13),  # in units of the spread [H]
    ])
    return data.DataLoader(training.images, training.labels, recipe.batch, seed=seed,
                           transform=steps, num_workers=1, num_classes=10)


def views(images: Any) -> Iterator[Any]:
    """Two places, and their mirror images, of pictures with their margins. [A, T]"""
    for place in PLACES:
        view = images[:, :, place : place + SIDE, place : place + SIDE]
        yield view
        yield view[..., ::-1]


def run(seed: int, recipe: Recipe, sets: tuple[data.Dataset, data.Dataset],
        args: argparse.Namespace) -> dict[str, Any] | None:
    """Train and test once; None if it was interrupted."""
    began = time.perf_counter()
    cpu = time.process_time()
    busy = busy_seconds()
    folder = args.out / f"seed-{seed}"
    resumed = any(folder.glob("checkpoints/step-*"))
    training, test = sets
    tn.manual_seed(seed)
    normalise = data.Normalize(*data.channel_statistics(training.images))
    net = Net(recipe, normalise(training.images[:5000]))  # patches of 5,000 pictures [P, A]
    loader = make_loader(training, normalise, recipe, seed)
    epochs = recipe.small + recipe.full
    steps = round(epochs * len(loader))
    whitening = round(min(3, epochs) * len(loader))  # its bias learns for 3 epochs [A]
    # Smoothed by .09 [H]: a picture is taken for its class at most by .91 and a bit.
    loss = partial(F.cross_entropy, label_smoothing=0.09, reduction="sum")
    trainer = train.Trainer(
        net, make_optimizer(net, recipe, steps, whitening), loss, chunk=recipe.chunk, log_every=4,
        keep_best=False, progress=not args.quiet, callbacks=[
            FreezeWhitening(whitening), train.LogFile(folder / "epochs.csv", "epochs"),
            train.Checkpoints(folder / "checkpoints", every=16)])
    ready = time.perf_counter()
    history = trainer.fit(loader, epochs=epochs, resume=folder / "checkpoints")
    if history.stopped == "interrupted":
        return None
    trained = time.perf_counter()
    pictures = np.pad(normalise(test.images), [(0, 0), (0, 0), (PADDING, PADDING),
                                               (PADDING, PADDING)], mode="reflect")
    scores = train.predict_views(net, pictures, views, batch_size=250, average="score")
    accuracy = float((scores.argmax(axis=1) == test.labels).mean())
    tested = time.perf_counter() - trained
    train.save_model(net, folder / "model.safetensors", {"data": training.name})
    history.save(folder / "history.json")
    title = f"{training.name}, seed {seed}: {accuracy:.2%} on {len(test):,} test pictures"
    viz.plot_history(history, folder / "curves.png", smooth=0.9, title=title)
    shutil.rmtree(folder / "checkpoints")
    own = time.process_time() - cpu
    there = (time.perf_counter() - began) * (os.cpu_count() or 1)  # seconds of all cores
    others = (busy_seconds() - busy - own) / there  # nan where that is not told
    found = {
        "seed": seed, "test_accuracy": accuracy, "stopped": history.stopped,
        # from the pictures in memory to the result, also what was spent before a resume
        "seconds": round(ready - began + trainer.seconds + tested, 1),
        "seconds_of_the_test": round(tested, 1),
        "cpu_seconds": None if resumed else round(own, 1), "resumed": resumed,
        # the share of the machine that other programs took meanwhile
        "others": None if math.isnan(others) else round(others, 3),
        "epochs": [{name: column[i] for name, column in history.epochs.items()}
                   for i in range(trainer.epoch)],
    }
    train.write_atomic(folder / "result.json", json.dumps(settings(found, recipe, sets), indent=1))
    step = (next(views(pictures[:recipe.chunk])), test.labels[:recipe.chunk])
    viz.draw_answers(test.labels, scores, test, folder)
    viz.write_layers(net, loss, step, folder)
    viz.write_card(folder)
    return found


def settings(found: dict[str, Any], recipe: Recipe, sets: tuple[data.Dataset, data.Dataset]
             ) -> dict[str, Any]:
    """What the card of a seed says of it; its epochs are in history.json."""
    return {"model": "a net of {}, {} and {} channels".format(*recipe.widths),
            "dataset": sets[0].name, "train_pictures": len(sets[0]),
            "test_pictures": len(sets[1]), "views": 2 * len(PLACES),
            "recipe": {name: str(value) for name, value in recipe._asdict().items()},
            **{name: value for name, value in found.items() if name != "epochs"},
            "machine": machine()}


def busy_seconds() -> float:
    """How long the cores of this machine have worked so far, together; nan if it is not told."""
    counters = Path("/proc/stat")
    if not counters.exists():
        return math.nan
    # ticks since the start, of: user, nice, system, idle, iowait, irq, softirq, steal
    ticks = [int(word) for word in counters.read_text().split()[1:9]]
    return (sum(ticks) - sum(ticks[3:5])) / os.sysconf("SC_CLK_TCK")


def left_alone(one: dict[str, Any]) -> bool:
    """Whether a run is known to have had the machine to itself."""
    others = one.get("others")
    return others is not None and others <= OTHERS


def machine() -> dict[str, Any]:
    """What belongs beside every time."""
    name = platform.processor() or platform.machine()
    cpus = Path("/proc/cpuinfo")
    if cpus.exists():
        name = next((line.partition(":")[2].strip() for line in cpus.read_text().splitlines()
                     if line.startswith("model name")), name)
    return {"cpu": name, "cores": os.cpu_count(), "workers": tn.get_num_workers(),
            "backend": tn.xp.__name__, "tinynet": tn.__version__,
            "python": platform.python_version(), "numpy": np.__version__}


def summary(args: argparse.Namespace, recipe: Recipe, runs: list[dict[str, Any]],
            sets: tuple[data.Dataset, data.Dataset], parameters: int) -> dict[str, Any]:
    """What result.json holds."""
    found = [one["test_accuracy"] for one in runs]
    return {
        "target": args.target, "dataset": sets[0].name, "recipe": recipe._asdict(),
        "parameters": parameters, "train_pictures": len(sets[0]), "test_pictures": len(sets[1]),
        "views": 2 * len(PLACES), "n": len(runs), "mean": statistics.fmean(found),
        "spread": statistics.stdev(found) if len(found) > 1 else None, "worst": min(found),
        # of a machine that did other work as well, times say little; accuracies count
        "times_are_provisional": not all(left_alone(one) for one in runs),
        "command": " ".join(["python", *sys.argv]), "machine": machine(), "runs": runs,
    }


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--target", choices=["85", "90", "94", "95"], default="94",
        help="percent of the test pictures to aim at (default: 94)")
    add("--seeds", type=int, default=1, help="runs, with the seeds 0, 1 ... (default: 1)")
    add("--first-seed", type=int, default=0, help="the first of the seeds (default: 0)")
    add("--data", choices=["cifar10", "shapes"], default="cifar10", help="(default: cifar10)")
    add("--data-dir", type=Path, help="folder with CIFAR-10 (default: TINYNET_DATA, or the cache)")
    add("--limit", type=int, help="use this many training pictures only, for a quick look")
    add("--threads", type=int, help="worker threads (default: all cores)")
    add("--out", type=Path, help="folder for the results (default: runs/cifar10-TARGET)")
    add("--resume", action="store_true", help="go on with the runs that are in --out")
    add("--quiet", action="store_true", help="print the result only")
    args = parser.parse_args(argv)
    for name in ("seeds", "limit", "threads"):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f"--{name} must be at least 1, got {value}")
    if args.data_dir and not args.data_dir.is_dir():
        parser.error(f"--data-dir {args.data_dir} is no folder")
    what = "shapes" if args.data == "shapes" else f"cifar10-{args.target}"
    args.out = args.out or Path("runs") / what
    if not args.resume and (args.out / "result.json").exists():
        parser.error(f"{args.out} holds results: another --out, or --resume to add seeds to them")
    if not args.resume and any(args.out.glob("seed-*/checkpoints/step-*")):
        parser.error(f"{args.out} holds a run that was cut off: go on with --resume, or remove "
                     "that folder")
    return args


def load(args: argparse.Namespace) -> tuple[data.Dataset, data.Dataset]:
    if args.data == "cifar10":
        sets = data.load_cifar10(args.data_dir)
    else:
        sets = data.load_shapes(train=args.limit or 6000, test=1000)
    if args.limit:
        sets = (sets[0].take(slice(args.limit)), sets[1].take(slice(args.limit)))
    return sets


def describe(args: argparse.Namespace, recipe: Recipe,
             sets: tuple[data.Dataset, data.Dataset]) -> None:
    """What will be done, before it is done."""
    steps = -(-len(sets[0]) // recipe.batch)
    print_line(
        f"{sets[0].name}: {len(sets[0]):,} pictures to train on, {len(sets[1]):,} for the test, "
        "which comes once, at the end\n"
        f"epochs: {recipe.small:g} at {SMALL} pixels, then {recipe.full:g} at {SIDE}: "
        f"{round((recipe.small + recipe.full) * steps)} steps of {recipe.batch} pictures in "
        f"chunks of {recipe.chunk}; channels {', '.join(map(str, recipe.widths))}\n"
        f"expect {recipe.expect if not args.limit else 'less than with all pictures'}; "
        "how long it takes is said after the first steps, of small pictures; the full ones take "
        "three to four times as long\n"
        f"{args.seeds} seed{'s' * (args.seeds > 1)}; Ctrl-C stops, --resume goes on; results "
        f"will be in {args.out}\n")


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    if args.threads:
        tn.set_num_workers(args.threads)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        sets = load(args)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    recipe = RECIPES["shapes" if args.data == "shapes" else args.target]
    if not args.quiet:
        describe(args, recipe, sets)
    file = args.out / "result.json"
    runs = json.loads(file.read_text())["runs"] if file.exists() else []
    done = {one["seed"] for one in runs}
    for seed in sorted({*range(args.first_seed, args.first_seed + args.seeds)} - done):
        found = run(seed, recipe, sets, args)
        if found is None:
            print_line(f"interrupted: the same command with --resume goes on; {len(runs)} "
                       "seeds are done")
            return 130
        runs.append(found)
        net = train.read_model(args.out / f"seed-{seed}" / "model.safetensors")[0]
        parameters = sum(x.size for name, x in net.items() if "running" not in name)
        result = summary(args, recipe, runs, sets, parameters)
        train.write_atomic(file, json.dumps(result, indent=1) + "\n")
        print_line(f"seed {seed}: {found['test_accuracy']:.2%} on {len(sets[1]):,} test pictures, "
                   f"{found['seconds']:.0f} s")
    accuracies = [one["test_accuracy"] for one in runs]
    if len(runs) > 1:
        print_line(f"mean {statistics.fmean(accuracies):.2%}, standard deviation "
                   f"{100 * statistics.stdev(accuracies):.2f}, worst {min(accuracies):.2%} "
                   f"(n = {len(runs)})")
    print_line(f"results are in {args.out}; look at {args.out}/seed-{runs[-1]['seed']}/report.html")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before or after the training itself
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
