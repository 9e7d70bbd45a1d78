"""`python -m tinynet`: what runs here. `python -m tinynet gradcheck`: are its gradients right?

The first prints the versions, the backend, the device and the threads: the lines to paste into a
bug report. The second differentiates every operation numerically and prints the comparison.
Read next: `gradcheck.py`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys
from collections.abc import Sequence

import numpy as np

from .backend import get_default_dtype, name, on_gpu, xp
from .kernels.blocks import get_num_workers


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
        f"{lib['internal_api']} {lib['version']}, kernel {lib.get('architecture') or 'unknown'}, "
        f"{lib['num_threads']} threads"
        for lib in found
    ) or f"{blas}, threads unknown"


def _device() -> str:
    if on_gpu:
        properties = xp.cuda.runtime.getDeviceProperties(0)
        return f"{properties['name'].decode()}, {properties['totalGlobalMem'] / 2**30:.0f} GiB"
    return f"cpu ({platform.machine()}, {os.cpu_count()} cores)"


def info() -> str:
    """The facts about this installation, one a line."""
    facts = {
        "tinynet": _version("tinynet"),
        "python": f"{platform.python_version()} ({platform.system()})",
        "numpy": np.__version__,
        "blas": _blas(),
        "backend": name + (f" {xp.__version__}" if on_gpu else ""),
        "device": _device(),
        "workers": str(get_num_workers()),
        "default dtype": str(get_default_dtype()),
    }
    return "\n".join(f"{fact:14}{value}" for fact, value in facts.items())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; the exit status is 0 if all is well."""
    parser = argparse.ArgumentParser(
        prog="python -m tinynet", description="What runs here, and whether its gradients are right."
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("info", help="versions, backend, device and threads (the default)")
    commands.add_parser("gradcheck", help="check the gradients of all operations", add_help=False)
    chosen, rest = parser.parse_known_args(argv)
    if chosen.command == "gradcheck":
        from .gradcheck_cases import main as gradcheck

        return gradcheck(rest)
    if rest:
        parser.error(f"unknown option {rest[0]!r}: `info` takes none")
    print(info())
    return 0


if __name__ == "__main__":
    sys.exit(main())
