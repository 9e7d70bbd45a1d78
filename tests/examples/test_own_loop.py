"""examples/own_loop.py: a loop of one's own goes on after kill -9, bit for bit."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.processes import environment, kill
from tinynet.train import load_checkpoint

OPTIONS = ("--epochs", "2", "--every", "7")


def start(root: Path, out: Path) -> Any:
    command = [sys.executable, str(root / "examples" / "own_loop.py"), *OPTIONS, "--out", str(out)]
    return subprocess.Popen(command, cwd=root, env=environment(), text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finished(process: Any) -> list[str]:
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    lines: list[str] = out.splitlines()
    return lines


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[name], b[name]) for name in a)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.tobytes() == b.tobytes()
    return bool(a == b)


def test_killed_twice_it_ends_bit_equal(root: Path, tmp_path: Path) -> None:
    whole = finished(start(root, tmp_path / "whole"))
    path = tmp_path / "killed" / "state.safetensors"
    for steps in (14, 70):  # in the first epoch, in the second
        process = start(root, path.parent)
        deadline = time.monotonic() + 120.0
        while not path.exists() or len(load_checkpoint(path)["losses"]) < steps:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
        kill(process)
        process.communicate()  # closes its pipes
    lines = finished(start(root, path.parent))
    assert lines[0].startswith(f"{path}: ") and lines[0].endswith(" steps are done")
    assert lines[-2] == whole[-2] and "weights" in whole[-2]
    assert equal(load_checkpoint(path),
                 load_checkpoint(tmp_path / "whole" / "state.safetensors"))
    assert finished(start(root, path.parent))[1:] == [whole[-2], lines[-1]]  # nothing is left to do
