"""What every test gets: fixed random numbers, a check that it leaves no global state behind,
and its lecture ids as markers, so that `python -m pytest -m A7` runs what checks A7.
A parameter that is a lambda is named by its source.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest

from tests import emulator
from tests.callables import source_of
from tests.ledger import ids_in_name, load
from tinynet import random
from tinynet.backend import get_default_dtype, on_gpu, set_default_dtype
from tinynet.kernels import threads as kernel_threads

ROOT = Path(__file__).resolve().parent.parent

# What CI also runs on CuPy, emulated, as `-m device`: at most five minutes.
DEVICE = {"emulator", "ops", "functional", "kernels", "nn", "test_tensor.py", "test_operation.py",
          "test_soundness.py", "test_random.py", "test_main.py"}

# The same examples in every run, and no time limit for one of them: the machine may be busy.
hypothesis.settings.register_profile("tinynet", derandomize=True, deadline=None)
hypothesis.settings.load_profile("tinynet")


def _leave_in_memory(descriptor: int) -> None:
    """In place of `os.fsync`, which waits for the disk: no test cuts the power."""


def pytest_configure(config: pytest.Config) -> None:
    os.fsync = _leave_in_memory
    # Else each of the processes that tests start would compile the library anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell's background job: no ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name, entry in load().items():
        config.addinivalue_line("markers", f"{name}: {entry['title']}")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at its options
def pytest_cmdline_main(config: pytest.Config) -> None:
    """A run of the whole suite takes all cores, if pytest-xdist is there; ``-n 0`` takes one.

    A run of files that were named, or under a debugger, stays in one process.
    """
    options = config.option
    if hasattr(config, "workerinput") or "PYTEST_XDIST_WORKER" in os.environ:
        return  # this is one of these processes, or of one: it starts none
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    watched = options.usepdb or options.capture == "no" or options.collectonly
    if whole and not watched and not on_gpu and getattr(options, "numprocesses", 0) is None:
        options.numprocesses = "auto"
        options.dist = "worksteal"


def _on_device(path: Path) -> bool:
    return bool(DEVICE & {*path.parts}) and path.is_relative_to(ROOT / "tests")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With ``-m "device and ..."`` only files of that mark are read: the others take a while."""
    asked = config.option.markexpr.split()
    left_out = asked[:1] == ["device"] and "or" not in asked
    if left_out and collection_path.suffix == ".py" and not _on_device(collection_path):
        return True
    return None


def pytest_collection_finish() -> None:
    gc.freeze()  # what was imported and collected stays: no collection looks at it again


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    others = {"numpy_only"} if on_gpu else {"cupy_only", "emulated"}  # of the backend not in use
    if not emulator.installed():
        others.add("emulated")
    left_out = [item for item in items if any(map(item.get_closest_marker, others))]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
    known = load()
    for item in items:
        if _on_device(item.path):
            item.add_marker("device")
        ids = set(ids_in_name(getattr(item, "originalname", None) or item.name))
        ids.update(*(mark.args for mark in item.iter_markers("lecture")))
        for name in sorted(ids & known.keys()):  # tests/test_ledger.py complains about the others
            item.add_marker(name)


def pytest_make_parametrize_id(val: object) -> str | None:
    """A test's id shows what its lambda says: `test_errors[conv(x, -1)]`, not `[<lambda>]`."""
    return source_of(val) if getattr(val, "__name__", "") == "<lambda>" else None


UNKNOWN = "unknown: the module is not imported yet"


def _loaded(module: str, name: str) -> Callable[[], Any]:
    """A reader of a setting of a module that most tests need not import."""

    def read() -> Any:
        found = getattr(sys.modules.get(module), name, UNKNOWN)
        return found() if callable(found) else found

    return read


# Global settings a test may change only if it puts them back.
SETTINGS: dict[str, Callable[[], Any]] = {
    "default dtype": get_default_dtype,
    "number of workers": kernel_threads.get_num_workers,
    "single_threaded_blas users": lambda: len(kernel_threads._blas_users),
    "NumPy's floating-point warnings": np.geterr,
    "grad mode": _loaded("tinynet.graph", "is_grad_enabled"),
    "forced body of kernels": _loaded("tinynet.kernels.kernel", "forced"),
    "reading mode": _loaded("tinynet.kernels.kernel", "reading"),
}


def _settings() -> dict[str, Any]:
    return {name: read() for name, read in SETTINGS.items()}


def _restore(before: dict[str, Any]) -> None:
    """Put back what can be put back, so that one leak does not fail the tests after it."""
    set_default_dtype(before["default dtype"])
    np.seterr(**before["NumPy's floating-point warnings"])
    if kernel_threads.get_num_workers() != before["number of workers"]:
        kernel_threads.set_num_workers(before["number of workers"])


@pytest.fixture(autouse=True)
def fresh_state() -> Iterator[None]:
    """Reseed before the test; fail it if a global setting is not what it was before."""
    random.manual_seed(0)
    before = _settings()
    yield
    after = _settings()
    leaked = [f"{name}: {before[name]} before, {after[name]} after"
              for name in before if before[name] not in (UNKNOWN, after[name])]
    if leaked:
        _restore(before)
        pytest.fail("the test leaves global state changed: " + "; ".join(leaked), pytrace=False)


@pytest.fixture
def float64() -> Iterator[None]:
    """New tensors are float64 inside the test."""
    before = get_default_dtype()
    set_default_dtype(np.float64)
    yield
    set_default_dtype(before)


@pytest.fixture
def rng() -> random.Generator:
    """A generator of the test's own, seeded with 0."""
    return random.Generator(0)


@pytest.fixture
def root() -> Path:
    """The folder that holds pyproject.toml."""
    return ROOT


@pytest.fixture
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `python *args` in the project's root in a fresh process; `env` adds variables."""

    def run(*args: str, env: dict[str, str] | None = None,
            timeout: float = 600) -> subprocess.CompletedProcess[str]:
        variables = os.environ | (env or {})
        path = [variables.get("PYTHONPATH", ""), str(ROOT)]
        variables["PYTHONPATH"] = os.pathsep.join(p for p in path if p)
        return subprocess.run([sys.executable, *args], env=variables, cwd=ROOT, text=True,
                              capture_output=True, timeout=timeout, check=False)

    return run
