"""`python -m tinynet` as a user meets it."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_info_names_versions_backend_and_threads(run_python: Run) -> None:
    result = run_python("-m", "tinynet", env={"TINYNET_BACKEND": "numpy"})
    assert result.returncode == 0, result.stderr
    facts = {line[:14].strip(): line[14:] for line in result.stdout.splitlines()}
    assert list(facts) == ["tinynet", "python", "numpy", "blas", "backend", "device", "workers",
                           "default dtype"]
    assert facts["python"].startswith(platform.python_version())
    assert facts["numpy"] == np.__version__
    assert "threads" in facts["blas"]
    assert facts["backend"] == "numpy" and facts["device"].startswith("cpu")
    assert int(facts["workers"]) >= 1
    assert facts["default dtype"] == "float32"
    numpys = {"TINYNET_BACKEND": "numpy"}
    assert run_python("-m", "tinynet", "info", env=numpys).stdout == result.stdout


@pytest.mark.emulated
def test_info_tells_whether_the_gpu_can_be_used(run_python: Run) -> None:
    lines = run_python("-m", "tinynet").stdout.splitlines()
    facts = {line[:14].strip(): line[14:] for line in lines}
    assert facts["backend"] == "cupy 14.2.0"
    assert facts["device"] == "Emulated GPU, compute capability 8.0"
    assert facts["memory"] == "8.0 of 8.0 GiB free" and facts["driver"] == "CUDA 12.9"
    assert facts["compiler"].startswith("NVRTC")
    assert facts["kernel"] == facts["product"] == "runs"


def test_trace_follows_a_step_and_draws_it(run_python: Run, tmp_path: Path) -> None:
    picture = tmp_path / "step.png"
    result = run_python("-m", "tinynet", "trace", "--list", "--picture", str(picture))
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    layers = [line.split()[1] for line in lines if line[:1].isdigit()]
    assert layers == ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d", "Dropout", "Flatten", "Linear"]
    assert any(line.startswith("tensor.py: ") and "_walk" in line for line in lines)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_unknown_subcommand_lists_the_valid_ones(run_python: Run) -> None:
    result = run_python("-m", "tinynet", "gradchek")
    assert result.returncode == 2 and "Traceback" not in result.stderr
    last = result.stderr.splitlines()[-1]
    choices = last.replace("'", "")  # newer versions of Python quote none of them
    assert "invalid choice: gradchek (choose from info, gradcheck, " in choices


def test_unknown_option_is_named(run_python: Run) -> None:
    result = run_python("-m", "tinynet", "info", "--jason")
    assert result.returncode == 2
    assert "--jason" in result.stderr.splitlines()[-1]
