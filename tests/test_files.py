"""Atomic writes: the old file or the new one, and no rubbish left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.processes import environment
from tinynet.files import locked
from tinynet.train import write_atomic


def test_writes_text_and_bytes_and_makes_folders(tmp_path: Path) -> None:
    path = write_atomic(tmp_path / "a" / "b.txt", "grün\n")
    assert path.read_bytes() == "grün\n".encode()
    write_atomic(path, b"\x00\x01")
    assert path.read_bytes() == b"\x00\x01"
    assert [p.name for p in path.parent.iterdir()] == ["b.txt"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_no_temporary(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = write_atomic(tmp_path / "x.bin", b"old")

    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, b"new and longer")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.bin"]


HOLD = """
import sys
from pathlib import Path
from tinynet.files import locked
with locked(Path(sys.argv[1])):
    print("inside", flush=True)
    sys.stdin.read()
"""


def hold(path: Path) -> subprocess.Popen[str]:
    """A process that is inside the lock until it is killed or its input ends."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], env=environment(),
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "inside\n"
    return process


@pytest.mark.parametrize("end", ["killed", "done"])
def test_a_lock_keeps_other_processes_out_until_its_own_ends(tmp_path: Path, end: str) -> None:
    path = tmp_path / "lock"
    other = hold(path)
    with pytest.raises(BlockingIOError), locked(path):
        raise AssertionError("two are inside")
    if end == "killed":
        other.send_signal(signal.SIGKILL)
    other.communicate()
    with locked(path):
        assert path.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_lets_one_thread_in_at_a_time(tmp_path: Path) -> None:
    """It is removed and made again by each: nobody may be left with a removed one."""
    inside = 0
    most = 0
    rounds = 0

    def work() -> None:
        nonlocal inside, most, rounds
        for _ in range(50):
            with locked(tmp_path / "lock", wait=True):
                inside += 1
                most = max(most, inside)
                rounds += 1
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1 and rounds == 200 and list(tmp_path.iterdir()) == []


def test_an_error_inside_a_lock_lets_the_next_one_in(tmp_path: Path) -> None:
    with pytest.raises(KeyError), locked(tmp_path / "lock"):
        raise KeyError
    with locked(tmp_path / "lock"), pytest.raises(BlockingIOError), locked(tmp_path / "lock"):
        pass
    assert list(tmp_path.iterdir()) == []
