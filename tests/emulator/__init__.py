"""CuPy on a machine without a GPU: the real wheel, computing on the CPU.

`install` replaces what lies *below* CuPy: the functions of the CUDA runtime and driver (`device`),
cuBLAS and the sort of Thrust (`libraries`) and the kernel compiler (`compiler`). CuPy itself, its
checks, its generated kernels, its transfers and its synchronisations, is not touched, so what
passes here is what CuPy accepts; and the values are right, for the kernels are compiled by g++ and
run. `counts` says how many launches, transfers and synchronisations there were.

What this cannot show: speed, and mistakes in the order of streams. See README.md.
Read next: `device.py`, `compiler.py`, `plugin.py`.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys

from .counts import Counts, counting, counts

__all__ = ["KNOWN", "Counts", "counting", "counts", "install", "installed"]

_installed = False
KNOWN = ("14.2",)  # CuPy versions whose inner functions the emulator knows
WHEELS = ("cupy-cuda12x", "cupy-cuda13x", "cupy")


def found_version() -> str:
    """The version of the CuPy that is installed."""
    for wheel in WHEELS:
        try:
            return importlib.metadata.version(wheel)
        except importlib.metadata.PackageNotFoundError:
            continue
    raise RuntimeError('the emulator runs the real CuPy, which is not installed: `pip install -e '
                       '".[emulate,test]"`')


def check_version(version: str) -> None:
    """Refuse a CuPy whose inner functions may be others."""
    if not version.startswith(tuple(f"{known}." for known in KNOWN)):
        raise RuntimeError(
            f"the emulator knows CuPy {', '.join(KNOWN)}, but {version} is installed: run `pip "
            f'install "cupy-cuda12x=={KNOWN[-1]}.*"`, or check {__name__} against {version} and '
            "add it to KNOWN")


def installed() -> bool:
    """Whether this process computes on the emulated device."""
    return _installed


def install(reverse: bool = False) -> None:
    """Put the emulated device below CuPy; before anything imports cupy.

    `reverse` runs the blocks and threads of every kernel in the opposite order: a result that
    changes depends on the order, which on a GPU is random.
    """
    global _installed
    if _installed:
        return
    check_version(found_version())
    if not sys.platform.startswith("linux"):
        raise RuntimeError(f"the emulator runs on Linux, this is {sys.platform}")
    if "cupy" in sys.modules:
        raise RuntimeError("install() comes too late: cupy is imported already")
    if shutil.which("g++") is None:
        raise RuntimeError("the emulator compiles kernels with g++, which is not installed")
    os.environ["CUPY_ACCELERATORS"] = ""  # CUB calls the CUDA runtime without asking CuPy
    from . import compiler, device, libraries, strict

    device.patch(reverse)
    libraries.patch()  # imports cupy, which now finds a device
    compiler.patch()
    strict.patch()
    _installed = True
