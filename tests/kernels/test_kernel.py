"""Which body of a kernel runs, and that none lacks its twin."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.kernels import test_gpu, test_layouts
from tests.project import below
from tinynet.backend import xp
from tinynet.kernels import gpu, gpu_norm, gpu_update, gpu_windows, kernel as bodies
from tinynet.kernels.conv import force_algorithm, get_algorithm
from tinynet.kernels.kernel import kernel, kernels

LARGE = np.zeros(bodies.SERIAL_BYTES, np.uint8)
HAVE_BLOCKS = {  # functions that cut blocks and are no kernels, and why
    "elementwise.elementwise": "", "sums.sum_if": "sums what others compute",
    "sums.sum_blocks": "sums what others compute",
}


@pytest.fixture
def chosen() -> Any:
    """A kernel that says which of its bodies ran; its name leaves the table at the end."""
    before = dict(kernels)

    @kernel(plain=lambda x: "plain", gpu=lambda x: "gpu")
    def body(x: Any) -> str:
        return "fast"

    yield body
    kernels.clear()
    kernels.update(before)


@pytest.mark.numpy_only("on a GPU the choice is made once")
def test_the_twin_is_taken_for_small_arrays_and_in_the_reading_mode(chosen: Any) -> None:
    assert chosen(LARGE) == "fast"
    assert chosen(LARGE[1:]) == "plain"
    with tn.plain():
        assert chosen(LARGE) == "plain"
    with force_algorithm("plain"):
        assert chosen(LARGE) == "plain"
    with force_algorithm("winograd"):
        assert chosen(LARGE) == "fast"


@pytest.mark.cupy_only
def test_on_a_gpu_its_own_body_is_taken(chosen: Any) -> None:
    assert chosen(xp.zeros(3)) == "gpu"


def test_the_reading_mode_nests_and_ends_also_by_an_error() -> None:
    with pytest.raises(ZeroDivisionError), tn.plain():
        with tn.plain():
            pass
        assert bodies.reading and get_algorithm() == "plain"
        _ = 1 / 0
    assert not bodies.reading and get_algorithm() is None


@pytest.mark.numpy_only("starts a process")
def test_the_environment_sets_the_reading_mode_for_a_process() -> None:
    code = ("import tinynet as tn; from tinynet.kernels import kernel; "
            "print(kernel.reading, kernel.forced)")
    for value, wanted in (("1", "True plain"), ("0", "False None")):
        environment = {**os.environ, "TINYNET_PLAIN": value}
        done = subprocess.run([sys.executable, "-c", code], env=environment, text=True,
                              capture_output=True, check=True)
        assert done.stdout.strip() == wanted


def test_every_kernel_that_cuts_blocks_has_a_plain_twin() -> None:
    """`pmap` and the sums of blocks belong into fast bodies alone, each beside a twin."""
    folder = Path(inspect.getfile(bodies)).parent
    parts = {"im2col", "depthwise", "winograd", "threads", "update", "channels", "sums"}
    for path in below(folder):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.FunctionDef) or path.stem in parts:
                continue
            names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
            found = kernels.get(f"kernels.{path.stem}.{node.name}")
            if "pmap" in names and not node.name.startswith("_"):
                assert found is not None and found.plain is not None, f"{path.stem}.{node.name}"


def test_every_kernel_is_compared_with_plain_numpy() -> None:
    rows = {part for name in test_layouts.ROWS for part in name.split(", ")}
    with_twins = {name.removeprefix("kernels.") for name, found in kernels.items()
                  if found.plain and name.startswith("kernels.")}
    assert with_twins - rows == {"threads.pmap", "memory.empty", "memory.empty_like"}


def test_every_body_for_a_gpu_is_compared_with_its_twin() -> None:
    homes = (gpu, gpu_norm, gpu_update, gpu_windows)
    ours = {name for home in homes for name, f in vars(home).items()
            if inspect.isfunction(f) and f.__module__ == home.__name__
            and not name.startswith("_")}
    compared = inspect.getsource(test_gpu)
    with_twins = {found.gpu.__name__ for found in kernels.values() if found.gpu}
    assert {"sgd", "adam", "squares"} == ours - with_twins
    assert with_twins - ours <= {"_fresh", "describe"}
    assert all(name in compared for name in ours & with_twins - {"keep", "erf"})


def test_the_choice_is_written_in_one_place() -> None:
    """Bodies do not ask where they run, but for what is no choice between bodies."""
    allowed = {"kernel.py", "channels.py", "sums.py"}
    folder = Path(inspect.getfile(bodies)).parent
    asking = {path.name for path in below(folder)
              if "on_gpu" in path.read_text(encoding="utf-8")}
    assert asking == allowed
