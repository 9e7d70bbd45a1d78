"""From a trained net to one's own picture, by the command of the README."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinynet import data, models
from tinynet.train import save_model

FROM_THERE = """
import os, runpy, sys
script = os.path.abspath("examples/predict.py")
os.chdir(sys.argv[1])
sys.argv = [script, *sys.argv[2:]]
runpy.run_path(script, run_name="__main__")
"""
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    save_model(models.mlp([192, 2]), tmp_path / "run" / "model.safetensors",
               classes=["cat", "dog"], normalize=data.Normalize(100.0, 50.0), shape=(3, 8, 8))
    return tmp_path / "run"


def test_predict_prints_and_draws(trained: Path, tmp_path: Path, run_python: Run) -> None:
    for name in ("a.png", "b.jpg"):
        Image.fromarray(np.full((30, 40, 3), 90, np.uint8)).save(tmp_path / name)
    out = tmp_path / "seen.png"
    done = run_python("examples/predict.py", str(trained), str(tmp_path / "a.png"),
                      str(tmp_path), "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Classifier(2 classes: cat, dog; pictures 3x8x8")
    assert done.stdout.count("a.png: ") == 2 and done.stdout.count("b.jpg: ") == 1
    assert f"are in {out}" in done.stdout and out.stat().st_size > 1000


@pytest.mark.parametrize("arguments, message", [
    (["nowhere", "a.png"], "error: [Errno 2] No such file"),
    (["run", "none.png"], "error: there is no picture none.png"),
    (["run", "run"], "error: the folder run holds no pictures"),
    (["run"], "arguments are required: pictures"),
    (["run", "a.png", "--ot", "x"], "unrecognized arguments: --ot"),
])
def test_predict_says_what_is_wrong(trained: Path, run_python: Run, arguments: list[str],
                                    message: str) -> None:
    done = run_python("-c", FROM_THERE, str(trained.parent), *arguments)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
