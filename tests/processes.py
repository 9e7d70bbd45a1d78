"""Processes that tests start."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


def environment(**more: str) -> dict[str, str]:
    """This process's variables and `more`; Python finds the project, after what was found before
    (tests/emulator/plugin.py puts a folder there)."""
    variables = os.environ | more
    path = [variables.get("PYTHONPATH", ""), str(ROOT)]
    return variables | {"PYTHONPATH": os.pathsep.join(p for p in path if p)}


@contextlib.contextmanager
def starting() -> Iterator[Callable[..., Any]]:
    """Inside, the function that it gives starts Python with a script and waits for the first line
    that the script prints, its `first_line`; in the end all of them are killed."""
    processes = []

    def start(script: str, *args: object) -> Any:
        process: Any = subprocess.Popen([sys.executable, "-c", script, *map(str, args)], text=True,
                                        cwd=ROOT, env=environment(), stdout=subprocess.PIPE)
        processes.append(process)
        process.first_line = process.stdout.readline().strip()
        return process

    try:
        yield start
    finally:
        for process in processes:
            process.kill()
            process.wait()
            process.stdout.close()


def kill(process: Any) -> None:
    """SIGKILL: no clean-up, no exception."""
    process.send_signal(signal.SIGKILL)
    process.wait()


def mpiexec() -> str:
    """What starts ranks: the mpiexec beside the interpreter, or else the machine's."""
    pytest.importorskip("mpi4py", reason='needs pip install -e ".[mpi]"')
    beside = Path(sys.executable).parent / "mpiexec"
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        pytest.fail('mpi4py is here, and no mpiexec: pip install -e ".[mpi]" brings one')
    return found
