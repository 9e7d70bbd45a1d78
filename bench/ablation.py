"""What each part of the recipe is worth: one taken out, or one of the lecture's put in.

    python -m bench.ablation                           3 seeds of every change, on CIFAR-10
    python -m bench.ablation --minutes 30              begin no run after so many; the same
                                                       command goes on where it stopped
    python -m bench.ablation --only whitening muon     these changes, and the recipe itself

The recipe is `examples/cifar10.py --target 90`. Every finished run is a line of journal.jsonl in
`--out`; the table (ablation.csv), the figure (ablation.png) and a sentence for each change are
made of what is there, and say of how many seeds. A change counts as seen where the seeds' mean
moves by more than twice its standard error; else the sentence says that it was not.
"""

from __future__ import annotations

import argparse
import csv
import functools
import importlib.util
import io
import math
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

import tinynet as tn
from bench import report
from tinynet import data, functional as F, nn, optim, train, tune
from tinynet.optim.schedule import linear
from tinynet.viz import canvas

ROOT = Path(__file__).resolve().parents[1]
Transforms = list[Any]


@functools.cache
def example() -> ModuleType:
    """`examples/cifar10.py` as a module."""
    spec = importlib.util.spec_from_file_location("cifar10", ROOT / "examples" / "cifar10.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def as_it_is(given: Any) -> Any:
    return given


class Change(NamedTuple):
    """What a run does otherwise than the recipe."""

    net: Callable[[Any], Any] = as_it_is
    augment: Callable[[Transforms], Transforms] = as_it_is
    optimizer: Callable[[Any, Any, int, int], optim.Optimizer] | None = None
    recipe: tuple[tuple[str, Any], ...] = ()
    smoothing: float = 0.09
    mix: data.BatchTransform | None = None
    views: int = 4  # of a test picture
    callback: Callable[[Any], train.Callback] | None = None
    lecture: bool = False  # put in, not taken out


def default_layers(net: Any, kind: type[nn.Module], least: int = 0) -> Any:
    """Convolutions of more than `least` channels begin as new layers do."""
    for _, module in net.named_modules():
        if isinstance(module, kind) and module.weight.shape[1] > least:
            nn.init.default_(module.weight, nn.init.fans(module.weight.shape)[0])
    return net


def without_whitening(net: Any) -> Any:
    nn.init.default_(net.white.weight, 12)
    net.white.weight.requires_grad = True
    return net


def all_trained(net: Any, recipe: Any, steps: int, whitening: int) -> optim.Optimizer:
    """The recipe's optimizer, and the first layer's weights beside the biases."""
    usual = example().make_optimizer(net, recipe, steps, whitening)
    first = optim.SGD([("white.weight", net.white.weight)], linear(0.057, steps), momentum=0.825,
                      nesterov=True)
    return optim.Together(*usual.optimizers, first)


def sgd_alone(net: Any, recipe: Any, steps: int, whitening: int) -> optim.Optimizer:
    """SGD in Muon's place, at airbench94's rate: 11.5 / (1024 (1 + 1 / .15)) of a sum."""
    usual = example().make_optimizer(net, recipe, steps, whitening)
    group = usual.optimizers[0].param_groups[0]
    pairs = list(zip(group["names"], group["params"], strict=True))
    rate = linear(11.5 / (1024 * (1 + 1 / 0.15)), steps)
    return optim.Together(optim.SGD(pairs, rate, momentum=0.85, nesterov=True),
                          usual.optimizers[1])


def with_dropout(net: Any) -> Any:
    net.groups = nn.Sequential(*net.groups, nn.Dropout(0.1))
    return net


class Averaged(train.Callback):
    """A running mean of the weights takes their place at the end; batch norms are measured anew."""

    def __init__(self, run: Any) -> None:
        self.average = optim.EMA(run.net.named_parameters(), decay=0.9)
        self.run = run

    def on_step(self, trainer: train.Run) -> None:
        self.average.update()

    def on_end(self, trainer: train.Run) -> None:
        self.average.copy_to()
        train.recompute_batch_norm(self.run.net, self.run.loader)


def without(kind: type) -> Callable[[Transforms], Transforms]:
    return lambda steps: [step for step in steps if not isinstance(step, kind)]


def replaced(kind: type, other: Any) -> Callable[[Transforms], Transforms]:
    return lambda steps: [other if isinstance(step, kind) else step for step in steps]


def changes() -> dict[str, Change]:
    """Every change by name; the recipe itself first."""
    side = example().SIDE
    return {
        "recipe": Change(),
        "no whitening": Change(net=without_whitening, optimizer=all_trained),
        "no identity": Change(net=lambda net: default_layers(net, nn.Conv2d, least=3)),
        "no muon": Change(optimizer=sgd_alone),
        "no smoothing": Change(smoothing=0.0),
        "no jitter": Change(augment=without(data.LightJitter)),
        "no crop": Change(augment=replaced(data.RandomCrop, Middle(side))),
        "no reflection": Change(augment=replaced(data.RandomCrop, data.RandomCrop(side, 2))),
        "no flip": Change(augment=without(data.RandomHorizontalFlip)),
        "independent flips": Change(augment=replaced(
            data.RandomHorizontalFlip, data.RandomHorizontalFlip())),
        "no small pictures": Change(recipe=(("small", 0), ("full", 3.3))),  # as much time
        "one view": Change(views=1),
        "batch norm of 512": Change(recipe=(("chunk", 512),)),
        "dropout .1": Change(net=with_dropout, lecture=True),
        "cutout 8": Change(augment=lambda steps: [*steps, data.Cutout(8)], lecture=True),
        "mixup .2": Change(mix=data.Mixup(10, 0.2), lecture=True),
        "averaged weights": Change(callback=Averaged, lecture=True),
    }


class Middle(data.Transform):
    """The patch in the middle of the padded picture, whatever the keys."""

    def __init__(self, side: int) -> None:
        self.side = side
        self.crop = data.RandomCrop(side, 2, mode="reflect")

    def __call__(self, images: Any, keys: Any = None) -> Any:
        return self.crop(images, None)


class Parts(NamedTuple):
    """What a run is made of, once a change is made."""

    net: Any
    loader: data.DataLoader
    trainer: train.Trainer
    epochs: float


def assemble(change: Change, recipe: Any, training: data.Dataset, seed: int,
             callbacks: Sequence[train.Callback] = ()) -> Parts:
    """The example's parts with the change."""
    module = example()
    recipe = recipe._replace(**dict(change.recipe))
    tn.manual_seed(seed)
    normalise = data.Normalize(*data.channel_statistics(training.images))
    net = change.net(module.Net(recipe, normalise(training.images[:5000])))
    loader = module.make_loader(training, normalise, recipe, seed)
    loader.transform = data.Compose(change.augment(loader.transform.transforms))
    loader.batch_transform = change.mix
    epochs = recipe.small + recipe.full
    steps = max(1, round(epochs * len(loader)))
    whitening = max(1, round(min(3, epochs) * len(loader)))
    make = change.optimizer or module.make_optimizer
    loss = functools.partial(F.cross_entropy, label_smoothing=change.smoothing, reduction="sum")
    parts = Parts(net, loader, None, epochs)  # type: ignore[arg-type]
    more = [change.callback(parts)] if change.callback else []
    trainer = train.Trainer(
        net, make(net, recipe, steps, whitening), loss, chunk=recipe.chunk, keep_best=False,
        progress=False, callbacks=[module.FreezeWhitening(whitening), *more, *callbacks])
    return parts._replace(trainer=trainer)


def run(change: Change, recipe: Any, sets: tuple[data.Dataset, data.Dataset], seed: int,
        callbacks: Sequence[train.Callback] = ()) -> dict[str, float]:
    """Train and test once."""
    training, test = sets
    module = example()
    began = time.perf_counter()
    cpu = time.process_time()
    parts = assemble(change, recipe, training, seed, callbacks)
    history = parts.trainer.fit(parts.loader, epochs=parts.epochs)
    normalise = next(step for step in parts.loader.transform.transforms
                     if isinstance(step, data.Normalize))
    margin = module.PADDING
    pictures = np.pad(normalise(test.images), [(0, 0), (0, 0), (margin, margin),
                                               (margin, margin)], mode="reflect")

    def views(images: Any) -> Any:
        return list(module.views(images))[: change.views]

    scores = train.predict_views(parts.net, pictures, views, batch_size=250, average="score")
    return {"accuracy": float((scores.argmax(axis=1) == test.labels).mean()),
            "train_loss": history["train_loss"][-1],
            "seconds": round(time.perf_counter() - began, 1),
            "cpu_seconds": round(time.process_time() - cpu, 1)}


class Row(NamedTuple):
    """What is known of a change: percent of the test pictures, and points of difference."""

    name: str
    n: int
    accuracy: float
    spread: float
    difference: float  # to the recipe, over the seeds that both have
    error: float  # its standard error; nan of one seed
    cpu_seconds: float

    @property
    def sentence(self) -> str:
        """What the row allows to say."""
        if self.name == "recipe":
            return f"The recipe reaches {self.accuracy:.2f} % (n = {self.n})."
        gain = f"{abs(self.difference):.2f} points"
        if math.isnan(self.error):
            return (f"{self.name}: {self.difference:+.2f} points in one seed, which says little "
                    "more than that it runs.")
        if abs(self.difference) <= 2 * self.error:
            return (f"{self.name}: a difference was not seen ({self.difference:+.2f} +- "
                    f"{self.error:.2f} points, n = {self.n}).")
        verb = "gains" if self.difference > 0 else "costs"
        return f"{self.name}: {verb} {gain} (+- {self.error:.2f}, n = {self.n})."


def table(journal: tune.Journal, names: Sequence[str], seeds: int) -> list[Row]:
    """A row for each change that has a seed in common with the recipe."""
    found = {(name, seed): journal[f"{name} | {seed}"] for name in names for seed in range(seeds)
             if f"{name} | {seed}" in journal}
    rows = []
    for name in names:
        own = [seed for seed in range(seeds) if (name, seed) in found]
        both = [seed for seed in own if ("recipe", seed) in found]
        if not both:
            continue
        accuracies = [100 * found[name, seed]["accuracy"] for seed in own]
        gains = [100 * (found[name, seed]["accuracy"] - found["recipe", seed]["accuracy"])
                 for seed in both]
        error = math.nan
        if len(gains) > 1:
            error = statistics.stdev(gains) / math.sqrt(len(gains))
        rows.append(Row(name, len(own), statistics.fmean(accuracies),
                        statistics.stdev(accuracies) if len(own) > 1 else math.nan,
                        statistics.fmean(gains), error,
                        statistics.fmean(found[name, seed]["cpu_seconds"] for seed in own)))
    return rows


def write(rows: Sequence[Row], out: Path, title: str) -> None:
    """The table as CSV, the figure, the sentences."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*Row._fields, "sentence"])
    for row in rows:
        numbers = [f"{value:.4g}" if isinstance(value, float) else value for value in row]
        writer.writerow([*numbers, row.sentence])
    train.write_atomic(out / "ablation.csv", text.getvalue())
    figure, (panel,) = canvas.new_figure(1, 1, (8, 0.36 * len(rows) + 1.6))
    for y, row in enumerate(rows):
        colour = canvas.TRAIN if row.difference >= 0 else canvas.VAL
        panel.barh(y, row.difference, color=colour, alpha=0.6)
        if not math.isnan(row.error):
            panel.errorbar(row.difference, y, xerr=2 * row.error, color="black", capsize=3)
    panel.axvline(0.0, color="black", linewidth=0.8)
    canvas.entitle(panel, title, "")
    panel.set(yticks=range(len(rows)), yticklabels=[f"{row.name} ({row.n})" for row in rows],
              xlabel="points of test accuracy against the recipe (bars: 2 standard errors)")
    panel.invert_yaxis()
    canvas.save(figure, out / "ablation.png")


def main(argv: list[str] | None = None) -> list[Row]:
    parser = argparse.ArgumentParser(prog="python -m bench.ablation", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", choices=["cifar10", "shapes"], default="cifar10")
    add("--target", choices=["85", "90", "94"], default="90", help="the recipe (90)")
    add("--seeds", type=int, default=3, help="of each change (3)")
    add("--only", nargs="+", default=[""], metavar="WORD", help="changes with such a word (all)")
    add("--limit", type=int, help="training pictures, for a quick look (all)")
    add("--minutes", type=float, default=1e9, help="begin no run after so many")
    add("--out", type=Path, default=Path("runs/ablation"), help="folder (runs/ablation)")
    args = parser.parse_args(argv)
    module = example()
    name = "shapes" if args.data == "shapes" else args.target
    recipe = module.RECIPES[name]
    sets = module.load(argparse.Namespace(data=args.data, data_dir=None, limit=args.limit))
    made = changes()
    names = ["recipe", *(each for each in made if each != "recipe"
                         and any(word in each for word in args.only))]
    about = {"data": sets[0].name, "pictures": len(sets[0]), **recipe._asdict()}
    journal = tune.Journal(args.out / "journal.jsonl", about)
    jobs = [(each, seed) for seed in range(args.seeds) for each in names
            if f"{each} | {seed}" not in journal]
    start = time.perf_counter()
    with train.Pace(what="epochs of all trainings") as pace:
        pace.total = len(jobs) * math.ceil(recipe.small + recipe.full)
        for done, (each, seed) in enumerate(jobs, 1):
            found = run(made[each], recipe, sets, seed, [pace])
            journal.add(f"{each} | {seed}", {**found, "machine": report.machine()})
            spent = (time.perf_counter() - start) / 60
            print(f"{done:3} of {len(jobs)}  {f'{each}, seed {seed}':30} {found['accuracy']:.2%}  "
                  f"{spent / done * (len(jobs) - done):5.1f} min left", flush=True)
            pace.said()
            if spent > args.minutes and done < len(jobs):
                print("\nThe minutes are over: the same command goes on.")
                break
    rows = table(journal, names, args.seeds)
    write(rows, args.out, f"{sets[0].name}, the recipe to {name}")
    for row in rows:
        print(row.sentence)
    return rows


if __name__ == "__main__":
    main()
