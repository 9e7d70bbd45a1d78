"""Atomic writes: the old file or the new one, and no rubbish left."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes import kill, starting
from tinynet.files import write_atomic


@pytest.fixture
def start() -> Iterator[Callable[..., Any]]:
    with starting() as start:
        yield start


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


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    path = write_atomic(tmp_path / ("n" * 255), "x")
    assert path.read_text() == "x" and len(os.listdir(tmp_path)) == 1


# What killed processes left

STUCK = """
import os, sys, time
from tinynet import files
def wait(*args):
    print("writing", flush=True)
    time.sleep(60)
os.fsync = wait
files.write_atomic(sys.argv[1], b"half")
"""


def test_what_a_killed_write_left_is_removed_by_the_next_one_and_a_live_one_is_not(
        tmp_path: Path, start: Callable[..., Any]) -> None:
    dead, live = start(STUCK, tmp_path / "a.bin"), start(STUCK, tmp_path / "b.bin")
    assert len(os.listdir(tmp_path)) == 2
    kill(dead)
    write_atomic(tmp_path / "c.bin", b"new")
    left = [p.name for p in tmp_path.iterdir() if p.name != "c.bin"]
    assert len(left) == 1 and left[0].startswith(f".b.bin.{live.pid}-")
    kill(live)
    write_atomic(tmp_path / "c.bin", b"new")
    assert os.listdir(tmp_path) == ["c.bin"]


@pytest.mark.parametrize("name, young, old", [
    ("PID", True, False),  # of this process, or of one before it that had its number
    ("PARENT", True, True), ("DEAD", False, False), ("DEAD-3@HERE", False, False),
    ("DEAD-3@elsewhere", True, False), ("PID-0@HERE", True, False)])
def test_which_temporary_files_are_leftovers(
        tmp_path: Path, start: Callable[..., Any], name: str, young: bool, old: bool) -> None:
    dead = start("print()")
    kill(dead)
    here = platform.node().replace(".", "-")[:40]
    for what, value in (("PID", os.getpid()), ("PARENT", os.getppid()), ("DEAD", dead.pid),
                        ("HERE", here)):
        name = name.replace(what, str(value))
    file = tmp_path / f".step-00000004.safetensors.{name}.tmp"
    for age, stays in ((0, young), (7200, old)):
        file.write_bytes(b"half")
        then = time.time() - age
        os.utime(file, (then, then))
        write_atomic(tmp_path / "step-00000004.safetensors", b"")
        assert file.exists() == stays


def test_files_of_others_stay(tmp_path: Path) -> None:
    for name in ("data.tmp", ".x.tmp", ".x.12a.tmp", "x.1.tmp", ".notes.4194399.tmp"):
        (tmp_path / name).write_text("mine")
        then = time.time() - 1e6
        os.utime(tmp_path / name, (then, then))
    write_atomic(tmp_path / "new", b"")
    assert len(os.listdir(tmp_path)) == 6
