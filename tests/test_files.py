"""Atomic writes: the old file or the new one, and no rubbish left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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
