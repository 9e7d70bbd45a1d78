"""`python -m tinynet`: what runs here. Also `... gradcheck`, `trace`, `twins`, `report`, `map`.

The first prints the versions, the backend, the device and the threads: the lines to
paste into a bug report. The second differentiates every operation numerically and
prints the comparison. The third follows a training step of a small net through the
files of the library, with plain kernels. The fourth times every fast kernel beside its
plain twin, the fifth writes the report card of a run into its folder, and the last
prints where an id of the lecture is computed, tested and drawn.

This is the last file.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .backend import get_default_dtype, name, on_gpu, to_numpy, xp
from .kernels.kernel import plain
from .kernels.threads import get_num_workers


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed (running from a source folder)"


def _blas() -> str:
    """Name, version, kernel and threads of the BLAS that NumPy uses, as far as they are known."""
    build = np.show_config(mode="dicts")
    blas = build["Build Dependencies"]["blas"]["name"] if isinstance(build, dict) else "unknown"
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return f"{blas}, threads unknown (threadpoolctl is not installed)"
    found = [lib for lib in threadpool_info() if lib["user_api"] == "blas"]
    return "; ".join(
        f"{lib['internal_api']} {lib['version']}, kernel "
        f"{lib.get('architecture') or 'unknown'}, {lib['num_threads']} threads"
        for lib in found
    ) or f"{blas}, threads unknown"


def _attempt(work: Callable[[], object]) -> str:
    """What `work` returns, or "runs" if that is nothing, or its error in one line."""
    try:
        return str(work() or "runs")
    except Exception as error:
        return f"FAILS: {(str(error) or type(error).__name__).splitlines()[0]}"


def _device() -> dict[str, str]:
    """What the arrays live on; of a GPU all that must work for a net to run there."""
    if not on_gpu:
        return {"device": f"cpu ({platform.machine()}, {os.cpu_count()} cores)"}
    cuda = xp.cuda
    properties = cuda.runtime.getDeviceProperties(0)
    free, total = (n / 2**30 for n in cuda.runtime.memGetInfo())
    driver = cuda.runtime.driverGetVersion()
    ones = xp.ones((2, 2), "float32")
    return {
        "device": f"{properties['name'].decode()}, compute capability "
                  f"{properties['major']}.{properties['minor']}",
        "memory": f"{free:.1f} of {total:.1f} GiB free",
        "driver": f"CUDA {driver // 1000}.{driver % 1000 // 10}",
        "compiler": "NVRTC " + _attempt(lambda: ".".join(map(str, cuda.nvrtc.getVersion()))),
        "kernel": _attempt(lambda: to_numpy(ones + ones) is None),
        "product": _attempt(lambda: to_numpy(ones @ ones) is None),
    }


def info() -> str:
    """The facts about this installation, one a line."""
    facts = {
        "tinynet": _version("tinynet"),
        "python": f"{platform.python_version()} ({platform.system()})",
        "numpy": np.__version__,
        "blas": _blas(),
        "backend": name + (f" {xp.__version__}" if on_gpu else ""),
        **_device(),
        "workers": str(get_num_workers()),
        "default dtype": str(get_default_dtype()),
    }
    return "\n".join(f"{fact:14}{value}" for fact, value in facts.items())


def small_training(pictures: int) -> tuple[Any, Any, Any, Any]:
    """What `train.trace` is to follow: model, optimizer, loss, and a loader that augments."""
    from . import data, functional, nn, optim

    training, _ = data.load_shapes(train=pictures, test=10)
    mean, deviation = data.channel_statistics(training.images)
    augment = data.Compose([data.RandomHorizontalFlip(), data.RandomCrop(32, 4),
                            data.Normalize(mean, deviation)])
    loader = data.DataLoader(training, batch_size=64, transform=augment)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
                          nn.MaxPool2d(2), nn.Dropout(0.2), nn.Flatten(), nn.Linear(8 * 256, 10))
    optimizer = optim.Adam(model.named_parameters(), lr=1e-3)
    return model, optimizer, functional.cross_entropy, loader


def trace(argv: Sequence[str]) -> int:
    """Print, and draw if asked, what a training step of a small net enters, keeps and takes."""
    from . import train, viz

    parser = argparse.ArgumentParser(
        prog="python -m tinynet trace", description="Follow one training step of a "
        "small net: the files and functions it enters, the bytes it keeps, and the "
        "time of each layer.")
    parser.add_argument("--picture", metavar="FILE", help="also draw it, for example step.png")
    parser.add_argument("--list", action="store_true", help="also list the functions of each file")
    parser.add_argument("--fast", action="store_true", help="with the fast kernels, "
                        "which enter more files than their plain twins")
    options = parser.parse_args(argv)
    small = small_training(pictures=512)
    with contextlib.nullcontext() if options.fast else plain():
        found = train.trace(*small)
    print(found)
    if options.list:
        print(found.listing())
    if options.picture:
        viz.plot_anatomy(found, options.picture)
        print(f"drawn: {options.picture}")
    return 0


def report(argv: Sequence[str]) -> int:
    """Write the report card of the run that is in a folder."""
    from . import viz

    parser = argparse.ArgumentParser(
        prog="python -m tinynet report", description="Write report.html and report.md into "
        "a run's folder, from its history.json and what else a script has left there.")
    parser.add_argument("folder", help="for example runs/cifar10")
    parser.add_argument("--title", default="", help="of the page")
    options = parser.parse_args(argv)
    try:
        print(f"written: {viz.write_card(options.folder, options.title)}")
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def lecture_map(argv: Sequence[str]) -> int:
    """Print what the project has on an id of the lecture, or the list of ids."""
    text = Path(__file__).with_name("lecture.json").read_text(encoding="utf-8")
    rows: dict[str, dict[str, str]] = json.loads(text)
    parser = argparse.ArgumentParser(
        prog="python -m tinynet map", description="Where an id of the lecture is computed, "
        "tested, drawn and measured. The whole map: examples/lecture/README.md.")
    parser.add_argument("id", nargs="*", help="such as A11; without any, the list of all")
    wanted = [asked.upper() for asked in parser.parse_args(argv).id]
    for asked in wanted:
        if asked not in rows:
            parser.error(f"no id {asked!r}: there are {', '.join(rows)}")
    for asked in wanted:
        print(f"{asked}  {rows[asked]['says']}")
        for part, content in rows[asked].items():
            if part != "says":
                print(f"    {part:10}{content}")
    if not wanted:
        print("\n".join(f"{each:4} {row['says']}" for each, row in rows.items()))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; the exit status is 0 if all is well."""
    parser = argparse.ArgumentParser(
        prog="python -m tinynet", description="What runs here, and whether its gradients are right."
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("info", help="versions, backend, device and threads (the default)")
    commands.add_parser("gradcheck", help="check the gradients of all operations", add_help=False)
    commands.add_parser("trace", help="follow a training step through the library", add_help=False)
    commands.add_parser("twins", help="time fast kernels beside their plain twins",
                        add_help=False)
    commands.add_parser("report", help="the report card of a run, from its folder",
                        add_help=False)
    commands.add_parser("map", help="an id of the lecture: its formula, code, test, figure",
                        add_help=False)
    chosen, rest = parser.parse_known_args(argv)
    if chosen.command == "gradcheck":
        from .gradcheck.table import main as gradcheck

        return gradcheck(rest)
    if chosen.command == "trace":
        return trace(rest)
    if chosen.command == "twins":
        from .twins import main as twins

        return twins(rest)
    if chosen.command == "report":
        return report(rest)
    if chosen.command == "map":
        return lecture_map(rest)
    if rest:
        parser.error(f"unknown option {rest[0]!r}: `info` takes none")
    print(info())
    return 0


if __name__ == "__main__":
    sys.exit(main())
