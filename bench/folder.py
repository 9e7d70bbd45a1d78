"""A folder of pictures that is larger than memory: ``python -m bench.folder [FOLDER]``.

How many pictures a second Pillow alone decodes and resizes on a thread for each core, a
`DataLoader` hands out (as they are; flipped and normalised), and a training of a small net uses,
whose steps share the cores with the decoders; in turns, a tenth of the folder at a time, medians of
ten. The time of the processor is told as well, which other programs hardly change, and by how much
memory grows. Without a FOLDER of one subfolder for each class, 500 JPEGs of 500x375 are written,
each under 20 names: 10,000 pictures.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, __version__ as pillow_version

import tinynet as tn
from tinynet import data, nn, optim, train

WIDTH, HEIGHT = 500, 375
DISTINCT, NAMES, CLASSES = 500, 20, 10
TURNS = 10


def write(folder: Path) -> None:
    """Smooth noise as JPEGs of some 50 kB, as photos of this size have."""
    rng = np.random.default_rng(0)
    for i in range(DISTINCT):
        place = folder / f"class{i % CLASSES}"
        place.mkdir(exist_ok=True)
        small = Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8))
        path = place / f"{i:03}.jpg"
        small.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(path, quality=90)
        for k in range(1, NAMES):
            os.link(path, place / f"{i:03}-{k:02}.jpg")


def decode(paths: Iterable[Path], size: tuple[int, int]) -> None:
    def one(path: Path) -> int:
        with Image.open(path) as picture:
            small = picture.convert("RGB").resize(size, Image.Resampling.BILINEAR)
            return np.asarray(small).nbytes

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for _ in pool.map(one, paths):
            pass


def net() -> nn.Sequential:
    """Light beside the decoder: a stride of 4 at once."""
    return nn.Sequential(nn.Conv2d(3, 16, 4, stride=4), nn.BatchNorm2d(16), nn.ReLU(),
                         nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(32, CLASSES))


def megabytes() -> float:
    """The highest memory of this process so far."""
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest / 2**20 if sys.platform == "darwin" else highest / 2**10


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="your own pictures")
    parser.add_argument("--size", type=int, default=64,
                        help="resize to this side (64)")
    args = parser.parse_args(argv)
    if args.folder:
        measure(args.folder, args.size)
    else:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder))
            measure(Path(folder), args.size)
    return 0


def measure(folder: Path, size: int) -> None:
    start = time.perf_counter()
    pictures = data.from_folder(folder, size, lazy=True)
    count = len(pictures)
    on_disk = sum((folder / name).stat().st_size for name in pictures.images.names)
    print(f"{pictures!r}, {on_disk / 2**20:,.0f} MB of files, listed in "
          f"{time.perf_counter() - start:.2f} s; {os.cpu_count()} cores, Pillow "
          f"{pillow_version}\n", flush=True)
    tn.manual_seed(0)
    prepare = data.Compose([data.RandomHorizontalFlip(),
                            data.Normalize((127.5,) * 3, (60.0,) * 3)])
    model = net()
    trainer = train.Trainer(model, optim.SGD(model.named_parameters(), lr=0.01), progress=False)

    def loader(part: data.Dataset, transform: data.Transform | None = None) -> data.DataLoader:
        return data.DataLoader(part, batch_size=64, transform=transform)

    works: dict[str, Callable[[data.Dataset], object]] = {
        "Pillow alone": lambda part: decode([folder / name for name in part.images.names],
                                            (size, size)),
        "DataLoader": lambda part: exhaust(loader(part)),
        "flipped, normalised": lambda part: exhaust(loader(part, prepare)),
        "training": lambda part: trainer.fit(loader(part, prepare)),
    }
    order = np.random.default_rng(0).permutation(count)
    rates: dict[str, list[float]] = {name: [] for name in works}
    busy: dict[str, list[float]] = {name: [] for name in works}
    highest = [megabytes()]
    for places in np.array_split(order, TURNS):
        part = pictures.take(places)
        for name, work in works.items():
            start = time.perf_counter()
            cpu = time.process_time()
            work(part)
            busy[name].append((time.process_time() - cpu) / len(part))
            rates[name].append(len(part) / (time.perf_counter() - start))
        highest.append(megabytes())
    for name, found in rates.items():
        shares = [rate / alone for rate, alone in zip(found, rates["Pillow alone"], strict=True)]
        print(f"{name:20} {statistics.median(found):7.0f} pictures/s   "
              f"{statistics.median(shares):4.0%} of Pillow alone   "
              f"{1000 * statistics.median(busy[name]):.2f} ms of CPU for a picture")
    print(f"\nhighest memory: {highest[0]:.0f} MB before, {highest[1]:.0f} MB after a tenth of the "
          f"pictures, {highest[-1]:.0f} MB after all")


def exhaust(batches: Iterable[object]) -> None:
    for _ in batches:
        pass


if __name__ == "__main__":
    sys.exit(main())
