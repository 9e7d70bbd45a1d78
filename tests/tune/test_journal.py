"""Journals: whole lines or none, and clear words about files that are something else."""

from __future__ import annotations

import gc
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.files import write_anew
from tests.processes import environment
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
        write_anew(path, data[:n])
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


def test_a_second_process_is_refused_by_name_before_it_runs_a_trial(
        tmp_path: Path, root: Path) -> None:
    path = tmp_path / "run.jsonl"
    script = ("from tinynet.tune import Uniform, random_search\n"
              "random_search(lambda config: print('ran') or 1.0, {'x': Uniform(0, 1)}, 2, "
              f"journal={str(path)!r})")

    def other() -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", script], cwd=root, env=environment(),
                              capture_output=True, text=True, timeout=100)

    with Journal(path, {"seed": 0}) as journal:
        journal.add("trial 0", {"score": 1})
        whole = path.read_bytes()
        refused = other()
        assert re.search(rf"BlockingIOError: .*run.jsonl is in use by process {os.getpid()} on",
                         refused.stderr)
        assert refused.stdout == "" and path.read_bytes() == whole
    path.unlink()
    assert other().stdout == "ran\nran\n"
    assert [file.name for file in tmp_path.iterdir()] == ["run.jsonl"]  # and no lock
    with Journal(path, {"seed": 0}) as again:
        assert len(again) == 2


@pytest.mark.parametrize("change", ["removed", "changed"])
def test_a_file_that_others_touch_is_written_anew_and_that_is_said(
        tmp_path: Path, change: str) -> None:
    path = tmp_path / "run.jsonl"
    journal = Journal(path, {"seed": 1})
    journal.add("a", 1)
    if change == "removed":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-30])
    with pytest.warns(UserWarning, match=f"run.jsonl was {change} while the run went on: it is"):
        journal.add("b", 2)
    journal.add("c", 3)  # in silence
    journal.close()
    again = Journal(path, {"seed": 1})
    assert [again[key] for key in "abc"] == [1, 2, 3]


def test_a_file_that_is_opened_anew_belongs_to_the_newest_journal(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    journal = Journal(path)
    journal.add("a", 1)
    newest = Journal(path)
    newest.add("b", 2)
    with pytest.raises(ValueError, match=r"run.jsonl is closed, or was opened anew: add to the"):
        journal.add("c", 3)
    assert "a" in journal and "c" not in journal
    newest.close()
    with pytest.raises(ValueError, match="is closed"):
        newest.add("c", 3)
    assert len(Journal(path)) == 2


def test_a_journal_that_nobody_needs_any_more_is_closed(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run.jsonl")
    lock = tmp_path / ".run.jsonl.lock"
    assert lock.exists()
    del journal
    gc.collect()
    assert not lock.exists()


@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60), st.integers(0, 150), st.booleans())
def test_malformed_files_give_value_errors_only(tmp_path: Path, data: bytes, at: int,
                                                alone: bool) -> None:
    path = tmp_path / "run.jsonl"
    good = (b'{"format": "tinynet journal", "version": 1, "head": {"seed": 1}}\n'
            b'{"key": "trial 0", "value": {"score": 0.5}}\n')
    write_anew(path, data if alone else good[:at] + data + good[at + len(data) :])
    try:
        Journal(path, {"seed": 1})
    except ValueError as error:
        assert str(path) in str(error)
