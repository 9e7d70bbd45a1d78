"""How quick augmentation is, and what it costs beside the training: ``python -m bench.augment``.

Pictures are CIFAR's: 3x32x32 uint8, 512 in a batch; mixup works on normalised float32. The last
table asks how long the loader takes for a batch of 128, with flip, crop, normalisation and cutout,
and with mixup besides, as a part of a training step of net S; they take turns in one process.
``--write`` replaces the results in ``bench/RESULTS-augment.md`` and ``results.jsonl``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np

import tinynet as tn
from bench import report
from bench.drive import Line, take_turns
from tinynet import data, functional as F, models, optim, random

MEAN, STD = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)
STANDARD = data.Compose([data.RandomHorizontalFlip(), data.RandomCrop(32, padding=4),
                         data.Normalize(MEAN, STD), data.Cutout(8)])


def seconds(work: Callable[[int], object], budget: float) -> list[float]:
    """Times of single calls, which get their number, after three to warm up."""
    for k in range(3):
        work(k)
    times: list[float] = []
    while sum(times) < budget or len(times) < 5:
        start = time.perf_counter()
        work(len(times))
        times.append(time.perf_counter() - start)
    return times


def line(name: str, batch: int, times: list[float]) -> Line:
    return {"label": name, "batch": batch, "version": f"tinynet {tn.__version__}",
            "median": statistics.median(times), "seconds": times}


def throughput(budget: float) -> list[Line]:
    pictures = np.random.default_rng(0).integers(0, 256, (512, 3, 32, 32), np.uint8)
    floats, labels = data.Normalize(MEAN, STD)(pictures), np.arange(512) % 10
    light = data.PCALighting.fit(pictures)

    def keyed(transform: data.Transform) -> Callable[[int], object]:
        return lambda k: transform(pictures, random.key(0, k, np.arange(512)))

    works = {
        "flip + crop + normalise + cutout": keyed(STANDARD),
        "mixup (float32)": lambda k: data.Mixup(10)(floats, labels, k),
        "CutMix (float32)": lambda k: data.CutMix(10)(floats, labels, k),
        "horizontal flip": keyed(data.RandomHorizontalFlip()),
        "crop, padding 4": keyed(data.RandomCrop(32, padding=4)),
        "cutout": keyed(data.Cutout(8, fill=MEAN)),
        "random erasing": keyed(data.RandomErasing(fill=MEAN)),
        "normalise": keyed(data.Normalize(MEAN, STD)),
        "brightness, contrast, saturation": keyed(data.ColorJitter(0.4, 0.4, 0.4)),
        "PCA lighting": keyed(light),
        "affine": keyed(data.RandomAffine(15, 0.1, 0.1, 0.1, 10)),
        "lens distortion": keyed(data.LensDistortion()),
        "Inception crop to 32": keyed(data.RandomResizedCrop(32)),
        "ResNet crop, 36 .. 68 to 32": keyed(data.ResNetCrop(32, (36, 68))),
    }
    return [line(name, 512, seconds(work, budget)) for name, work in works.items()]


def loader_share(steps: int) -> list[Line]:
    """A training step of net S without loader, and the loader's time per batch of 128."""
    pictures = np.random.default_rng(0).integers(0, 256, (12_800, 3, 32, 32), np.uint8)
    labels = np.arange(12_800) % 10
    model = models.net_s()
    optimizer = optim.SGD(model.named_parameters(), lr=0.005, momentum=0.9, nesterov=True)
    x, y = tn.tensor(data.Normalize(MEAN, STD)(pictures[:128])), labels[:128]

    def step(images: tn.Tensor, targets: np.ndarray) -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(images), targets).backward()
        optimizer.step()

    loaders = {"flip, crop, normalise, cutout": None, "the same and mixup": data.Mixup(10)}
    streams = {name: endless(data.DataLoader(pictures, labels, 128, transform=STANDARD,
                                             batch_transform=mix)) for name, mix in loaders.items()}
    works: dict[str, Callable[[], object]] = {"training step of net S": lambda: step(x, y)}
    works |= {name: lambda stream=stream: next(stream) for name, stream in streams.items()}
    return [line(name, 128, times[2:]) for name, times in take_turns(works, steps + 2).items()]


def endless(loader: data.DataLoader) -> Iterator[object]:
    while True:
        yield from loader


def page(works: list[Line], step: Line, loaders: list[Line]) -> str:
    """Both tables, as Markdown."""
    first = report.markdown(["batch of 512", "ms", "quartiles ms", "pictures a second"], [
        [row["label"], f"{row['median'] * 1e3:.2f}", " - ".join(
            f"{q * 1e3:.2f}" for q in statistics.quantiles(row["seconds"], n=4)[::2]),
         f"{round(512 / row['median'], -3):,.0f}"] for row in works])
    second = report.markdown(["loader, batch 128", "ms", "part of the step"], [
        [row["label"], f"{row['median'] * 1e3:.2f}", f"{row['median'] / step['median']:.1%}"]
        for row in loaders])
    return (f"{first}\n\nA training step of net S, batch 128: {step['median'] * 1e3:.1f} ms "
            f"(median of {len(step['seconds'])}).\n\n{second}")


def main() -> None:
    parser = report.parser("bench.augment", __doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each row (default: 1)")
    parser.add_argument("--steps", type=int, default=40, help="training steps (default: 40)")
    args = parser.parse_args()
    works, (step, *loaders) = throughput(args.seconds), loader_share(args.steps)
    text = page(works, step, loaders)
    print(text)
    if args.write:
        report.record("augmentation", text, [*works, step, *loaders],
                      report.HERE / "RESULTS-augment.md")


if __name__ == "__main__":
    main()
