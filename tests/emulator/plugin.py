"""A plugin for pytest: the test-suite on CuPy, without a GPU.

    TINYNET_BACKEND=cupy python -m pytest -p tests.emulator.plugin [--reverse-threads]

Processes that tests start are emulated, too: `site/sitecustomize.py` sees to it. At the end stands
what the run did to the device.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from . import KNOWN, counts, install

REVERSE = "--reverse-threads"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(REVERSE, action="store_true",
                     help="run blocks and threads of kernels in the opposite order")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    """Before anything imports tinynet."""
    if os.environ.get("TINYNET_BACKEND") != "cupy":
        raise pytest.UsageError("the emulator is for CuPy: set TINYNET_BACKEND=cupy")
    if REVERSE in args:
        os.environ["EMULATOR_REVERSE"] = "1"
    try:
        install(reverse="EMULATOR_REVERSE" in os.environ)
    except RuntimeError as error:
        raise pytest.UsageError(str(error)) from error
    root = Path(__file__).resolve().parents[2]
    path = [str(Path(__file__).parent / "site"), str(root), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, path))


def pytest_report_header(config: pytest.Config) -> str:
    import cupy

    order = "reversed" if "EMULATOR_REVERSE" in os.environ else "forward"
    return f"emulated: CuPy {cupy.__version__} (known: {', '.join(KNOWN)}), threads {order}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(
        f"emulated device: {counts.launches:,} launches of {len(counts.kernels)} kernels, "
        f"{counts.h2d:,} copies up, {counts.d2h:,} down")
