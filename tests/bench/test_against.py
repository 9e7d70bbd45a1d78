"""tinynet against itself elsewhere: the other process is the one that was asked for."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from bench import against
from bench.drive import Work

pytestmark = pytest.mark.numpy_only("times processes on the CPU")


def test_here_and_elsewhere_take_turns_and_their_losses_are_compared() -> None:
    both = against.contenders(sys.executable, None)
    assert all(c.label.startswith(f"Python {platform.python_version()}") for c in both)
    lines = against.measure(Work("S", batch=2, cores=1), both, rounds=1)
    assert [line["contender"] for line in lines] == ["tinynet", "tinynet-elsewhere"]
    assert all(line["equal"] and line["cpu"][0] > 0 for line in lines)
    here, elsewhere = against.table(lines).splitlines()[2:]
    assert " | 1.00 | 1.00 | 1.00 | 1.00 | yes | " in here
    assert " | yes | " in elsewhere
    lines[1]["equal"] = False
    assert " | **no** | " in against.table(lines)


def test_another_checkout_is_named_by_its_commit_and_runs_its_own_files(tmp_path: Path) -> None:
    peers = tmp_path / "bench" / "peers"
    peers.mkdir(parents=True)
    for file in (tmp_path / "bench" / "__init__.py", peers / "__init__.py"):
        file.write_text("")
    (tmp_path / "bench" / "worker.py").write_text(
        'import json, sys\n'
        'print(json.dumps({"losses": [7.0], "seconds": 9.0, "version": "9", "import_mb": 1.0}))\n'
        'sys.stdout.flush()\n'
        'for line in sys.stdin:\n'
        '    print(json.dumps({"seconds": [9.0], "peak_mb": 2.0}), flush=True)\n')
    git = ["git", "-C", str(tmp_path), "-c", "user.name=A", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "before"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    commit = subprocess.run([*git, "log", "-1", "--format=%h"], check=True, capture_output=True,
                            text=True).stdout.strip()
    here, there = against.contenders(sys.executable, str(tmp_path))
    assert there.label == f"{here.label}, commit {commit}"
    _, other = against.measure(Work("S", batch=2, cores=1), [here, there], rounds=1)
    assert other["losses"] == [7.0] and not other["equal"] and other["median"] == 9.0
