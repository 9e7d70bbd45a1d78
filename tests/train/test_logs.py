"""Logs: every row once, in order, exact numbers, cut back by a resume."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import json
import math
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.train.toy import batches, trainer
from tinynet.optim.schedule import cosine
from tinynet.train import Callback, Checkpoints, LogFile, TensorBoard, Trainer


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_json_lines_hold_the_whole_history_in_order(tmp_path: Path) -> None:
    log = tmp_path / "runs" / "log.jsonl"
    t = trainer(lr=cosine(0.1, 18), log_every=4, callbacks=[LogFile(log)])
    history = t.fit(batches(), batches(32, seed=1), 3)
    rows = lines(log)
    assert [row["loss"] for row in rows if row["table"] == "steps"] == history["loss"]
    assert [row["lr"] for row in rows if row["table"] == "steps"] == history.steps["lr"]
    epochs = [row for row in rows if row["table"] == "epochs"]
    assert [row["val_loss"] for row in epochs] == history["val_loss"]
    assert [type(row["epoch"]) for row in epochs] == [int] * 3
    ratios = [row["0.weight"] for row in rows if row["table"] == "ratios"]
    assert ratios == history["0.weight"]
    assert [row["step"] for row in rows] == sorted(row["step"] for row in rows)
    assert [row["table"] for row in rows][:6] == ["steps", "ratios", *["steps"] * 4]


def test_csv_holds_one_table_and_grows_a_column(tmp_path: Path) -> None:
    steps, epochs = LogFile(tmp_path / "s.csv", "steps"), LogFile(tmp_path / "e.csv", "epochs")
    t = trainer(callbacks=[steps, epochs])
    t.fit(batches(), epochs=2)
    t.fit(batches(), batches(32, seed=1), epochs=1)  # now there is a validation
    with open(epochs.path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(t.history.epochs)
    assert [row["val_loss"] for row in rows] == ["", "", str(t.history["val_loss"][2])]
    with open(steps.path, newline="") as file:
        assert [float(row["loss"]) for row in csv.DictReader(file)] == t.history["loss"]
    assert steps.path.read_text().startswith("step,loss,accuracy,lr\n0,")


class Look(Callback):
    """What is in a file while the run goes on."""

    def __init__(self, path: Path) -> None:
        self.path, self.seen = path, []  # type: Path, list[int]

    def on_log(self, trainer: Trainer) -> None:
        self.seen.append(len(self.path.read_text().splitlines()))


def test_lines_can_be_read_at_once(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    look = Look(log)
    trainer(log_every=3, callbacks=[LogFile(log, "steps"), look]).fit(batches(), epochs=2)
    assert look.seen == [3, 6, 9, 12]


def test_nan_is_null_and_a_new_run_replaces_the_file(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    for _ in range(2):
        t = trainer(lr=0.0, callbacks=[LogFile(log, "ratios")])
        for p in t.model.parameters():
            p.copy_(0.0)
        t.fit(batches(), epochs=1)
    assert len(lines(log)) == 1 and lines(log)[0]["update_ratio"] is None


def test_a_resume_cuts_the_log_back(tmp_path: Path) -> None:
    """Also if the file was lost, or ends in half a line."""
    log = tmp_path / "log.jsonl"

    def fit(epochs: int) -> None:
        saver = Checkpoints(tmp_path / "c", every=4)
        t = trainer(lr=cosine(0.1, 24), callbacks=[LogFile(log), saver])
        t.fit(batches(), batches(32, seed=1), epochs, resume=tmp_path / "c")

    def stripped() -> list[dict[str, Any]]:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in lines(log)]

    fit(2)
    half = stripped()
    fit(4)
    whole = stripped()
    assert whole[: len(half)] == half and len(whole) > len(half)
    for spoil in (lambda: log.unlink(), lambda: log.write_text('{"table": "st')):
        spoil()
        fit(4)
        assert stripped() == whole


def test_a_run_that_is_refused_leaves_the_older_log_alone(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    for _ in range(2):
        t = trainer(callbacks=[LogFile(log), Checkpoints(tmp_path / "c")])
        if not log.exists():
            t.fit(batches())
        else:
            before = log.read_text()
            with pytest.raises(FileExistsError, match="an earlier run"):
                t.fit(batches())
    assert log.read_text() == before


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    for path, table, message in (
            ("log.txt", None, r"must end in \.jsonl or \.csv"),
            ("log.csv", None, r"holds one table: say which"),
            ("log.csv", "loss", "table must be 'steps', 'epochs' or 'ratios', got 'loss'")):
        with pytest.raises(ValueError, match=message):
            LogFile(tmp_path / path, table)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="part of that path is a file: choose a folder"):
        trainer(callbacks=[LogFile(tmp_path / "file" / "log.jsonl")]).fit(batches())


# A log that others touch while the run goes on

class Harm(Callback):
    """Does something to a file after some steps of the run, between two flushes."""

    def __init__(self, path: Path, harm: Callable[[Path], object], step: int = 5) -> None:
        self.path, self.harm, self.step = path, harm, step

    def on_step(self, trainer: Trainer) -> None:
        if trainer.step == self.step:
            self.harm(self.path)


def replace(path: Path) -> None:
    path.rename(path.with_suffix(".1"))
    path.write_text("rotated\n")


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:10])


def write_into(path: Path) -> None:
    with open(path, "a") as file:
        file.write("a note\n")


HARMS = [
    pytest.param(Path.unlink, "was removed", id="removed"),
    pytest.param(lambda path: shutil.rmtree(path.parent), "was removed", id="folder-removed"),
    pytest.param(lambda path: path.write_text(""), "was cut", id="emptied"),
    pytest.param(shorten, "was cut", id="cut"), pytest.param(replace, "was replaced", id="rotated"),
    pytest.param(write_into, "was written to by somebody else", id="written-to")]


@pytest.mark.parametrize("harm, said", HARMS)
@pytest.mark.parametrize("name", ["log.jsonl", "log.csv"])
def test_a_log_that_others_change_is_written_anew_and_the_run_says_so(
        tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str,
        harm: Callable[[Path], object], said: str) -> None:
    log, whole = tmp_path / "logs" / name, tmp_path / "whole" / name
    callbacks = [LogFile(log, "steps"), LogFile(whole, "steps"), Harm(log, harm)]
    trainer(log_every=2, callbacks=callbacks, progress=True).fit(batches(), epochs=2)
    assert log.read_text() == whole.read_text()
    out = capsys.readouterr().out
    assert out.count(f"{log} {said} while the run went on: it is written anew") == 1
    assert "whole" not in out


def test_a_silent_run_warns_of_a_log_that_was_removed(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    t = trainer(callbacks=[LogFile(log), Harm(log, Path.unlink, step=7)])
    with pytest.warns(RuntimeWarning, match=r"log\.jsonl was removed while the run went on"):
        t.fit(batches(), epochs=2)
    assert len([row for row in lines(log) if row["table"] == "steps"]) == 12


@pytest.mark.parametrize("harm, said", HARMS)
@pytest.mark.parametrize("name", ["log.jsonl", "log.csv"])
def test_a_log_that_others_change_after_its_last_flush_is_written_anew_at_the_end(
        name: str, harm: Any, said: str, tmp_path: Path) -> None:
    log = tmp_path / "logs" / name
    log.parent.mkdir()

    class AtTheLastEpoch(Callback):
        def on_epoch(self, trainer: Any) -> None:
            if trainer.epoch == 2:
                harm(log)

    table = "steps" if log.suffix == ".csv" else None
    t = trainer(callbacks=[LogFile(log, table), AtTheLastEpoch()])
    with pytest.warns(RuntimeWarning, match=said):
        t.fit(batches(), epochs=2)
    other = tmp_path / f"other{log.suffix}"
    trainer(callbacks=[LogFile(other, table)]).fit(batches(), epochs=2)
    columns = ("step", "loss")
    texts = []
    for path in (log, other):
        if table is None:
            texts.append([[row.get(c) for c in columns] for row in lines(path)])
        else:
            texts.append(path.read_text())
    assert texts[0] == texts[1]


def test_two_runs_cannot_write_one_log(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log.jsonl")
    t = trainer(callbacks=[log, LogFile(tmp_path / "log.jsonl")])
    with pytest.raises(BlockingIOError, match=r"log\.jsonl is in use by another run"):
        t.fit(batches())
    trainer(callbacks=[log]).fit(batches())
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


# TensorBoard: the real package where it is installed, and always a stand-in with its interface

class Record(types.SimpleNamespace):
    """A protocol buffer: what it was made with."""

    START = 1


def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Record]]:
    """The package replaced; the result gives the events of the files that are there."""
    files: dict[Path, list[Record]] = {}

    class EventFileWriter:
        def __init__(self, logdir: str) -> None:
            self.open = True
            Path(logdir).mkdir(parents=True, exist_ok=True)
            number = len(list(Path(logdir).iterdir()))
            self.path = Path(logdir) / f"events.out.tfevents.{number}"
            files[self.path] = []
            self.path.touch()

        def add_event(self, event: Record) -> None:
            assert self.open
            files[self.path].append(event)

        def flush(self) -> None:
            assert self.open

        def close(self) -> None:
            self.open = False

    class Summary(Record):
        Value = Record

    modules = {
        "tensorboard.compat.proto": {"event_pb2": types.SimpleNamespace(
            Event=Record, SessionLog=Record), "summary_pb2": types.SimpleNamespace(
            Summary=Summary)},
        "tensorboard.summary.writer": {"event_file_writer": types.SimpleNamespace(
            EventFileWriter=EventFileWriter)},
    }
    for name in ("tensorboard", "tensorboard.compat", "tensorboard.summary"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    for name, members in modules.items():
        module = types.ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    return lambda: [event for path, events in files.items() if path.exists() for event in events]


def scalars(events: Any) -> dict[str, list[tuple[int, float]]]:
    """tag -> (step, value), as a reader that honours the session events shows them."""
    found: dict[str, list[tuple[int, float]]] = {}
    for event in events:
        if getattr(event, "session_log", None) is not None and event.session_log.status == 1:
            found = {tag: [p for p in points if p[0] < event.step]
                     for tag, points in found.items()}
        summary = getattr(event, "summary", None)
        for value in summary.value if summary is not None else []:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def both_parts(folder: Path) -> Trainer:
    """A run that breaks off at step 8 and is resumed from step 6."""

    class Break(Callback):
        def on_log(self, trainer: Trainer) -> None:
            if trainer.step == 8:
                raise KeyError("gone")

    def part(*more: Callback) -> Trainer:
        t = trainer(lr=cosine(0.1, 12), log_every=2,
                    callbacks=[TensorBoard(folder / "tb"), *more, Checkpoints(folder / "c")])
        t.fit(batches(), batches(32, seed=1), 2, resume=folder / "c")
        return t

    with pytest.raises(KeyError):
        part(Break())
    return part()


def check(points: dict[str, list[tuple[int, float]]], t: Trainer) -> None:
    for table, column in (("steps", "loss"), ("steps", "lr"), ("epochs", "val_accuracy"),
                          ("ratios", "0.weight")):
        columns = getattr(t.history, table)
        steps = [step - (table == "epochs") for step in columns["step"]]
        want = list(zip(steps, columns[column], strict=True))
        got = points[f"{table}/{column}"]
        assert [s for s, _ in got] == [s for s, _ in want]
        assert [v for _, v in got] == pytest.approx([v for _, v in want], rel=1e-6)


def test_tensorboard_gets_every_row_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = stand_in(monkeypatch)
    t = both_parts(tmp_path)
    check(scalars(events()), t)
    assert all(event.wall_time > 1e9 for event in events())
    assert not any(math.isnan(v) for points in scalars(events()).values() for _, v in points)


@pytest.mark.parametrize("hook", ["on_step", "on_log", "on_epoch", "at_rest"])
@pytest.mark.parametrize("step", [3, 4, 6, 7, 11, 12])
def test_tensorboard_shows_each_epoch_once_wherever_the_run_broke_off(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hook: str, step: int) -> None:
    """Also between the end of an epoch and its checkpoint: the last one is of the same step."""
    events = stand_in(monkeypatch)

    def call(self: Callback, trainer: Trainer) -> None:
        if trainer.step == step:
            raise KeyError("gone")

    breaks = type("Break", (Callback,), {hook: call})()

    def part(*more: Callback) -> Trainer:
        callbacks = [TensorBoard(tmp_path / "tb"), *more, Checkpoints(tmp_path / "c", every=3)]
        t = trainer(log_every=2, callbacks=callbacks)
        t.fit(batches(), batches(32, seed=1), 2, resume=tmp_path / "c")
        return t

    with contextlib.suppress(KeyError):  # not every hook is called at every step
        part(breaks)
    whole = part()
    check(scalars(events()), whole)


def test_tensorboard_files_that_are_removed_are_written_anew(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = stand_in(monkeypatch)
    harm = Harm(tmp_path / "tb", shutil.rmtree)
    t = trainer(log_every=2, callbacks=[TensorBoard(tmp_path / "tb"), harm])
    with pytest.warns(RuntimeWarning, match=r"tfevents.* was removed while the run went on"):
        t.fit(batches(), batches(32, seed=1), 2)
    check(scalars(events()), t)
    shutil.rmtree(tmp_path / "tb")
    t.fit(batches(), batches(32, seed=1), 1)  # a second run finds none of the first one's
    check(scalars(events()), t)


def test_tensorboard_reads_the_files_or_the_error_names_the_package(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("tensorboard") is None:
        with pytest.raises(ImportError, match=r"needs the package tensorboard .*pip inst"):
            TensorBoard(tmp_path)
        return
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    t = both_parts(tmp_path)
    events = [event for path in sorted((tmp_path / "tb").iterdir())
              for event in LegacyEventFileLoader(str(path)).Load()]
    check(scalars([types.SimpleNamespace(
        step=e.step, summary=e.summary if e.HasField("summary") else None,
        session_log=e.session_log if e.HasField("session_log") else None) for e in events]), t)
