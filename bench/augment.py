"""How quick augmentation is, and what it costs beside the training: ``python -m bench.augment``.

Pictures are CIFAR's: 3x32x32 uint8, 512 in a batch; mixup works on normalised float32. The last
table asks how long the loader takes for a batch of 128, with flip, crop, normalisation and cutout,
and with mixup besides, as a part of a training step of net S; they take turns in one process.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    if name in os.environ:
        del os.environ[name]
        os.execv(sys.executable, [sys.executable, "-m", "bench.augment", *sys.argv[1:]])

import numpy as np  # noqa: E402  (after the variables that it reads)

import tinynet as tn  # noqa: E402
from tinynet import data, models, optim, random  # noqa: E402
from tinynet import functional as F  # noqa: E402

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


def throughput(budget: float) -> None:
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
    print("| batch of 512 | ms | quartiles ms | pictures a second |\n|---|---:|---:|---:|")
    for name, work in works.items():
        low, middle, high = statistics.quantiles(seconds(work, budget), n=4)
        print(f"| {name} | {middle * 1e3:.2f} | {low * 1e3:.2f} - {high * 1e3:.2f} | "
              f"{round(512 / middle, -3):,.0f} |")


def loader_share(steps: int) -> None:
    """The loader's time per batch of 128, and that of a training step without it."""
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
    times: dict[str, list[float]] = {name: [] for name in ("", *streams)}
    for _ in range(steps + 2):  # in turns
        for name, values in times.items():
            start = time.perf_counter()
            next(streams[name]) if name else step(x, y)
            values.append(time.perf_counter() - start)
    base, *parts = (statistics.median(values[2:]) for values in times.values())
    print(f"\nA training step of net S, batch 128: {base * 1e3:.1f} ms (median of {steps}).\n")
    print("| loader, batch 128 | ms | part of the step |\n|---|---:|---:|")
    for name, middle in zip(loaders, parts, strict=True):
        print(f"| {name} | {middle * 1e3:.2f} | {middle / base:.1%} |")


def endless(loader: data.DataLoader) -> Iterator[object]:
    while True:
        yield from loader


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="for each row (default: 1)")
    parser.add_argument("--steps", type=int, default=40, help="training steps (default: 40)")
    args = parser.parse_args()
    throughput(args.seconds)
    loader_share(args.steps)


if __name__ == "__main__":
    main()
