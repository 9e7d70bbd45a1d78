"""Journals: whole lines or none, and clear words about files that are something else."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tinynet.tune import Journal


def test_values_come_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "run.jsonl"
    journal = Journal(path, {"seed": 1})
    journal.add("a", {"x": [1, 2.5, None, "é"]})
    journal.add("b", np.float32(0.5))
    again = Journal(path, {"seed": 1})
    assert (again["a"], again["b"], len(again)) == ({"x": [1, 2.5, None, "é"]}, 0.5, 2)
    assert "a" in again and "c" not in again
    with pytest.raises(ValueError, match="not JSON compliant"):
        again.add("c", float("nan"))
    assert "c" not in Journal(path, {"seed": 1})


def test_H7_a_file_cut_anywhere_gives_its_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    journal = Journal(path, {"seed": 1})
    for i in range(3):
        journal.add(f"trial {i}", {"score": i / 7})
    data = path.read_bytes()
    for n in range(len(data) + 1):
        path.write_bytes(data[:n])
        found = Journal(path, {"seed": 1})
        assert len(found) == max(0, data[:n].count(b"\n") - 1)
        for i in range(len(found), 3):
            found.add(f"trial {i}", {"score": i / 7})
        assert path.read_bytes() == data


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_leaves_whole_lines_and_the_journal_goes_on(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = tmp_path / "run.jsonl"
    journal = Journal(path, {"seed": 1})
    journal.add("a", 1)
    whole = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if call == "write":  # after half of the line
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 9, limits[1]))
    else:
        monkeypatch.setattr(os, "fsync", lambda descriptor: os.stat(path / "no such file"))
    try:
        with pytest.raises(OSError, match=r"run.jsonl was not written, .* To mend it, ") as found:
            journal.add("b", 2)
        assert str(found.value).count("was not written") == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        monkeypatch.undo()
    assert path.read_bytes() == whole and "b" not in journal
    journal.add("b", 2)
    assert Journal(path, {"seed": 1})["b"] == 2


def test_other_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    for text, message in [
            ("notes\n", "line 1, is no line of a journal"), ("notes", "is no journal of tinynet"),
            ('{"a": 1}\n', "is no journal of tinynet"), ("[]\n", "is no journal of tinynet"),
            ('{"format": "tinynet journal", "version": 2, "head": {}}\n', "of version 2, this"),
            ('{"format": "tinynet journal", "version": 1, "head": {}}\n7\n', "line 2, is no line")]:
        path.write_text(text)
        with pytest.raises(ValueError, match=message) as error:
            Journal(path)
        assert str(path) in str(error.value) and path.read_text() == text


@settings(max_examples=1000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60), st.integers(0, 150), st.booleans())
def test_malformed_files_give_value_errors_only(tmp_path: Path, data: bytes, at: int,
                                                alone: bool) -> None:
    path = tmp_path / "run.jsonl"
    good = (b'{"format": "tinynet journal", "version": 1, "head": {"seed": 1}}\n'
            b'{"key": "trial 0", "value": {"score": 0.5}}\n')
    path.write_bytes(data if alone else good[:at] + data + good[at + len(data) :])
    try:
        Journal(path, {"seed": 1})
    except ValueError as error:
        assert str(path) in str(error)
