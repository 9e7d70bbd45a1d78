"""A search on a cluster gives the trials of one process: Dask's workers, MPI's ranks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.processes import mpiexec

pytestmark = pytest.mark.numpy_only("searches run in other processes")
ROOT = Path(__file__).parents[2]
PROGRAM = str(ROOT / "tests" / "tune" / "cluster_program.py")


def run(command: list[str]) -> dict[str, Any]:
    """Run a command; what its last line says."""
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_dask_gives_the_same_trials_also_after_a_worker_was_killed(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason='needs pip install -e ".[cluster]"')
    told = run([sys.executable, PROGRAM, "dask", str(tmp_path)])
    assert told["dask"]["scores"] == told["alone"]
    assert told["dask"]["pids"] == 2 and told["dask"]["threads"] == [1]
    assert told["seconds again"] == [True] * 6  # from the journal
    assert told["closure"] == 3
    assert told["killed"]["scores"] == told["twelve alone"]


def test_ranks_of_mpi_give_the_same_trials(tmp_path: Path) -> None:
    told = run([mpiexec(), "-n", "3", sys.executable, "-m", "mpi4py.futures", PROGRAM, "mpi",
                str(tmp_path)])
    assert told["mpi"]["scores"] == told["alone"]
    assert told["mpi"]["pids"] == 2  # one rank leads
