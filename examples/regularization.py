"""Which regularizer to reach for first? A small net on 5,000 pictures, each alone. Lecture id E12.

    python examples/regularization.py                 CIFAR-10 if it can be had, else shapes
    python examples/regularization.py --data shapes   no download
    python examples/regularization.py --quick         500 pictures, 24 epochs, 2 seeds: 3 to 8 min

The same net is trained without a regularizer and with each of those that the lecture names: 10
epochs in batches of 50 (1,000 steps), SGD with Nesterov momentum 0.9, the learning rate rising to
0.05 for 100 steps and falling by a cosine, so that the plain net learns nearly all its pictures by
heart; three seeds, of weights, order and noise. Strengths were not searched for.

    net        3x3 convolution (stride 2), 16 channels; twice 3x3 convolution and 2x2 max pool, 32
               and 64 channels; linear to 256; linear to the classes; ReLU between
    residual   of the picture at half size: 4 residual blocks with batch norm, 16 and 32 channels;
               to compare stochastic depth with the same net kept whole

Accuracies are those at the end, of the training pictures as they are and of all test pictures.
1,000 further training pictures are for early stopping alone. Every finished run is a line of
`journal.jsonl` in --out: the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tinynet import data, functional as F, manual_seed, models, nn, optim, train, tune
from tinynet.optim.schedule import cosine, warmup
from tinynet.viz import canvas

HIDDEN = 256


class Size(NamedTuple):
    """How much is done."""

    pictures: int = 5000
    validation: int = 1000
    test: int = 10_000
    epochs: int = 10
    batch_size: int = 50
    lr: float = 0.05
    seeds: int = 3


QUICK = Size(pictures=500, validation=500, test=2000, epochs=24, seeds=2)


class Way(NamedTuple):
    """A net, and what is done so that it does not learn its pictures by heart."""

    net: Callable[[], nn.Module]
    augment: Sequence[Any] = ()  # on bytes
    mix: data.Mixup | None = None
    l2: float = 0.0
    l1: float = 0.0
    beside: str = "none"  # what it is compared with


def conv_net(norm: bool = False, pools: bool = False, dropout: float = 0.0,
             dropconnect: float = 0.0) -> nn.Module:
    """The net; each regularizer adds or replaces one kind of layer."""
    layers: list[nn.Module] = []
    for before, width, size in ((3, 16, 0), (16, 32, 9), (32, 64, 5)):
        layers += [nn.conv_bn_relu(before, width, 1 if size else 2)] if norm else [
            nn.Conv2d(before, width, 3, 1 if size else 2, padding=1), nn.ReLU()]
        if size:  # fractional: 16 to 9 to 5 pixels, in regions of 1 or 2; else 16 to 8 to 4
            layers.append(nn.FractionalMaxPool2d(size) if pools else nn.MaxPool2d(2))
    features = 64 * (5 if pools else 4) ** 2
    drop = [nn.Dropout(dropout)] if dropout else []
    hidden = [nn.DropConnectLinear(features, HIDDEN, dropconnect, relu=True, inference="gaussian")
              ] if dropconnect else [nn.Linear(features, HIDDEN), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), *drop, *hidden, *drop, nn.Linear(HIDDEN, 10))


def residual_net(survival: float = 1.0) -> nn.Module:
    return nn.Sequential(nn.AvgPool2d(2), models.resnet(4, widths=(16, 32), survival=survival))


FLIP_CROP = (data.RandomHorizontalFlip(), data.RandomCrop(32, padding=4))
COLOUR_AFFINE = (data.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3),
                 data.RandomAffine(degrees=10, translate=0.1, scale=0.1, shear=5, fill=120))
WAYS = {
    "none": Way(conv_net),
    "L2, 5e-3": Way(conv_net, l2=5e-3),
    "L1, 1e-4": Way(conv_net, l1=1e-4),
    "BatchNorm": Way(lambda: conv_net(norm=True)),
    "dropout, 0.5 (linear layers)": Way(lambda: conv_net(dropout=0.5)),
    "DropConnect, 0.5 (hidden layer)": Way(lambda: conv_net(dropconnect=0.5)),
    "fractional max pooling": Way(lambda: conv_net(pools=True)),
    "flip + crop": Way(conv_net, FLIP_CROP),
    "colour + affine": Way(conv_net, COLOUR_AFFINE),
    "cutout, 8 pixels": Way(conv_net, [data.Cutout(8, fill=120)]),
    "mixup, alpha 0.4": Way(conv_net, mix=data.Mixup(10, alpha=0.4)),
    "BatchNorm, flip + crop": Way(lambda: conv_net(norm=True), FLIP_CROP),
    "residual": Way(residual_net, beside="residual"),
    "residual, stochastic depth": Way(lambda: residual_net(survival=0.5), beside="residual"),
}
EARLY = "early stopping"  # needs no run of its own: the best epoch of "none"
Row = tuple[list[float], list[float]]  # training and test accuracy in percent, by seed


class Pictures(NamedTuple):
    """Three sets, and how their pictures are prepared for the net."""

    train: data.Dataset
    validation: data.Dataset
    test: data.Dataset
    normalize: data.Normalize

    def loader(self, part: data.Dataset) -> data.DataLoader:
        return data.DataLoader(part.images, part.labels, 500, shuffle=False,
                               transform=self.normalize)


def load(name: str, size: Size) -> Pictures:
    """Pictures of "cifar10" or "shapes"; "auto" is the first, if it can be had."""
    last = size.pictures + size.validation
    try:
        pictures, test = (data.load_cifar10() if name != "shapes" else
                          data.load_shapes(train=last, test=min(2000, size.test)))
    except data.DownloadError as error:
        if name == "cifar10":
            raise
        print(f"`shapes` instead of CIFAR-10: {error}\n")
        return load("shapes", size)
    small = pictures.take(slice(size.pictures))
    return Pictures(small, pictures.take(slice(size.pictures, last)), test.take(slice(size.test)),
                    data.Normalize(*data.channel_statistics(small.images)))


def run(way: Way, pictures: Pictures, size: Size, seed: int, early: bool = False,
        callbacks: Sequence[train.Callback] = ()) -> dict[str, list[float]]:
    """Accuracies (training, validation, test) at the end; with `early` at the best epoch, too."""
    manual_seed(seed)
    model = way.net()
    batches = data.DataLoader(pictures.train.images, pictures.train.labels, size.batch_size,
                              seed=seed, batch_transform=way.mix,
                              transform=data.Compose([*way.augment, pictures.normalize]))
    weights = [p for p in model.parameters() if p.ndim > 1]

    def loss(scores: Any, labels: Any) -> Any:
        value = F.cross_entropy(scores, labels)
        return value + way.l1 * F.l1_penalty(weights) if way.l1 else value

    steps = size.epochs * len(batches)
    schedule = warmup(cosine(size.lr, steps - steps // 10), steps // 10)
    optimizer = optim.SGD(optim.param_groups(model, way.l2), schedule, momentum=0.9, nesterov=True)
    trainer = train.Trainer(model, optimizer, loss, keep_best=False, progress=False,
                            callbacks=callbacks)
    points = []
    for epoch in range(size.epochs):
        trainer.fit(batches)
        if early or epoch == size.epochs - 1:
            points.append([trainer.evaluate(pictures.loader(part)).accuracy
                           for part in (pictures.train, pictures.validation, pictures.test)])
    return {"end": points[-1], "early": max(points, key=lambda accuracies: accuracies[1])}


def run_all(pictures: Pictures, size: Size, journal: tune.Journal, minutes: float,
            pace: train.Pace) -> None:
    """Every way that the journal lacks, seed by seed, until the minutes are over."""
    jobs = [(name, seed) for seed in range(size.seeds) for name in WAYS
            if f"{name} | {seed}" not in journal]
    start, total = time.perf_counter(), size.seeds * len(WAYS)
    pace.total = len(jobs) * size.epochs
    for done, (name, seed) in enumerate(jobs, 1):
        found = run(WAYS[name], pictures, size, seed, early=name == "none", callbacks=[pace])
        journal.add(f"{name} | {seed}", found)
        spent = (time.perf_counter() - start) / 60
        print(f"{total - len(jobs) + done:2}/{total}  {f'{name}, seed {seed}':40}"
              f"training {found['end'][0]:6.1%}  test {found['end'][2]:6.1%}"
              f"  {spent / done * (len(jobs) - done):5.1f} min left", flush=True)
        pace.said()
        if spent > minutes and done < len(jobs):
            return print("\nThe minutes are over: the same command goes on.")


def rows(journal: tune.Journal, size: Size) -> dict[str, Row]:
    """What the journal holds of the seeds that are complete; the best test accuracy first."""
    seeds = [s for s in range(size.seeds) if all(f"{name} | {s}" in journal for name in WAYS)]

    def found(name: str, point: str = "end") -> Row:
        values = [journal[f"{name} | {s}"][point] for s in seeds]
        return [100 * value[0] for value in values], [100 * value[2] for value in values]

    table = {name: found(name) for name in WAYS} | {EARLY: found("none", "early")}
    return dict(sorted(table.items(), key=lambda item: -sum(item[1][1]))) if seeds else {}


def gains(table: dict[str, Row], name: str) -> list[float]:
    """Test accuracy over that of the net it is compared with, seed by seed."""
    beside = table[WAYS[name].beside if name in WAYS else "none"]
    return [a - b for a, b in zip(table[name][1], beside[1], strict=True)]


def report(table: dict[str, Row]) -> str:
    """The table as Markdown: means over the seeds, in percent."""
    lines = ["| regularizer | training | test | lowest - highest | gap | gain, seed by seed |",
             "|---|---:|---:|---:|---:|---:|"]
    for name, (training, test) in table.items():
        mean, gain = statistics.mean(test), gains(table, name)
        compared = f"{statistics.mean(gain):+.1f} ({', '.join(f'{g:+.1f}' for g in gain)})"
        lines.append(f"| {name} | {statistics.mean(training):.1f} | {mean:.1f} | {min(test):.1f} - "
                     f"{max(test):.1f} | {statistics.mean(training) - mean:.1f} | "
                     f"{compared if any(gain) else ''} |")
    return "\n".join(lines)


def draw(table: dict[str, Row], path: Path, title: str) -> None:
    """Training and test accuracy of every run."""
    figure, (panel,) = canvas.new_figure(1, 1, (8, 0.34 * len(table) + 1.4))
    for part, label, colour in ((0, "training", canvas.TRAIN), (1, "test", canvas.VAL)):
        points = [(value, y) for y, row in enumerate(table.values()) for value in row[part]]
        panel.plot(*zip(*points, strict=True), "o", color=colour, alpha=0.6, label=label)
    panel.axvline(statistics.mean(table["none"][1]), color=canvas.VAL, linestyle="--",
                  label='test, mean of "none"')
    canvas.entitle(panel, f"Each regularizer alone: {title}\n"
                   "(stochastic depth is to be compared with the net it acts on, \"residual\")", "")
    panel.set(yticks=range(len(table)), yticklabels=list(table), xlabel="right answers (%)")
    panel.invert_yaxis()
    panel.legend(loc="lower right")
    canvas.save(figure, path)


def main(argv: list[str] | None = None) -> dict[str, Row]:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=["auto", "cifar10", "shapes"], default="auto")
    parser.add_argument("--quick", action="store_true", help="3 to 8 minutes")
    parser.add_argument("--epochs", type=int, help="more of them (needs an --out of its own)")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no run after so many")
    parser.add_argument("--out", type=Path, help="folder (default: runs/regularization[-quick])")
    args = parser.parse_args(argv)
    size = QUICK if args.quick else Size()
    size = size._replace(epochs=args.epochs or size.epochs)
    out = args.out or Path(f"runs/regularization{'-quick' if args.quick else ''}")
    pictures = load(args.data, size)
    about = {"data": pictures.train.name, **size._asdict()}
    journal = tune.Journal(out / "journal.jsonl", about)
    print(", ".join(f"{name} {value}" for name, value in about.items()), "\n", flush=True)
    with train.Pace(what="epochs of all trainings") as pace:
        run_all(pictures, size, journal, args.minutes, pace)
    if table := rows(journal, size):
        print(f"\n{report(table)}\n")
        if size.pictures < Size().pictures:
            print(f"With {size.pictures} pictures and {size.seeds} seeds this shows how it is done "
                  "and not what helps:\nseeds differ by more than regularizers do, and pictures "
                  "that change need more steps.\ntests/results/E12.md has the whole run.\n")
        print(f"The picture is {out / 'regularization.png'}")
        draw(table, out / "regularization.png", f"{size.pictures:,} pictures of {about['data']}")
    return table


if __name__ == "__main__":
    main()
