"""The checks that every test gets do catch what they are there for."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.callables import source_of

Run = Callable[..., "subprocess.CompletedProcess[str]"]

INNER = '''
import numpy as np
import pytest
from tinynet import random
from tinynet.backend import get_default_dtype, set_default_dtype
from tinynet.kernels.threads import get_num_workers, set_num_workers
from tinynet.random import default_generator

def test_a_leaks_dtype_and_workers():
    set_default_dtype("float64")
    set_num_workers(get_num_workers() + 3)

def test_b_finds_them_restored_and_random_numbers_reseeded():
    assert get_default_dtype() == np.float32
    assert default_generator.get_state() == {"seed": 0, "counter": 0}
    default_generator.uniform(3)

def test_c_leaks_warning_settings():
    np.seterr(divide="ignore")

def test_d_may_draw_random_numbers():
    assert default_generator.get_state() == {"seed": 0, "counter": 0}
    assert np.geterr()["divide"] == "warn"

def test_A7_carries_its_id(request):
    assert request.node.get_closest_marker("A7")

def test_e_may_use_float64(float64):
    assert get_default_dtype() == np.float64
'''


def _run(tmp_path: Path, run_python: Run, *args: str) -> str:
    (tmp_path / "test_inner.py").write_text(INNER)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    lecture(*ids): ids\n")
    return run_python("-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-rA",
                      "--strict-markers", *args, str(tmp_path)).stdout


def test_leaked_state_fails_the_test_that_leaks_and_no_other(
        tmp_path: Path, run_python: Run) -> None:
    report = _run(tmp_path, run_python)
    assert "6 passed, 2 errors" in report, report
    assert "default dtype: float32 before, float64 after" in report
    assert "number of workers: " in report
    assert "NumPy's floating-point warnings: " in report
    assert "ERROR " in report and "test_a_leaks" in report and "test_c_leaks" in report


def test_lecture_ids_select_tests(tmp_path: Path, run_python: Run) -> None:
    assert "1 passed, 5 deselected" in _run(tmp_path, run_python, "-m", "A7 or A19")


def test_a_lambda_among_the_parameters_is_named_by_its_source() -> None:
    first, second = [lambda: 1 + 1, lambda x: (lambda y: x * y)]
    assert source_of(first) == "1 + 1"
    assert source_of(second) == "lambda y: x * y"
    assert source_of(second(2)) == "x * y"
    assert source_of(lambda: [
        1,
        2]) == "[1, 2]"
    cut = source_of(lambda: "-".join(["one", "two", "three", "four", "five", "six", "a", "b", "c"]))
    assert len(cut) == 70 and cut.startswith("'-'.join(['one', 'two', ") and cut.endswith("...")


def test_every_test_has_an_id_that_says_something(request: pytest.FixtureRequest) -> None:
    nameless = [item.nodeid for item in request.session.items if "<lambda>" in item.nodeid]
    assert not nameless, f"name these parameters by pytest.param(..., id=...): {nameless}"
