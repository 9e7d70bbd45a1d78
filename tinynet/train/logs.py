r"""Logs of a run while it runs: JSON lines, CSV, TensorBoard.

A log is the history in another form, row by row in the order of the steps. So there is
nothing to save of it: when a run goes on from a checkpoint, a file is written anew from
the checkpoint's history, and what a killed process wrote after that moment is gone from
it. TensorBoard's event files cannot be rewritten; there an event tells the reader to
drop the later steps. A file that is removed, cut or replaced while the run goes on is
written anew at the next flush, or at the end, and the run says so. Two runs cannot
write one file.

Read next: `train/averaging.py`.
"""

from __future__ import annotations

import csv
import json
import math
import os
import time
from io import FileIO, StringIO
from pathlib import Path
from typing import Any

from ..checks import check_choice
from ..files import append, explained, write_atomic
from ..locks import Lock
from .callbacks import Callback, Run
from .history import TABLES, Columns, History, finite_or_none

Row = dict[str, float]
# An epoch that has done t steps comes before step t.
_ORDER = {"epochs": 0, "steps": 1, "ratios": 2}


class _Rows(Callback):
    """Hands every new row of the history to `write`, in an order that stays the same.

    The file is opened when there is something to write: a run that is refused at its
    start leaves an older file alone.
    """

    only_watches = True
    writes_files = True

    def __init__(self, tables: tuple[str, ...]) -> None:
        self.tables = tables
        self._seen: dict[str, int] = {}
        self._file: Any = None

    def open(self, trainer: Run) -> None:
        """Make `_file`, and write what must stand there before the new rows."""
        raise TypeError(f"{type(self).__name__} has no open(self, trainer)")

    def write(self, rows: list[tuple[str, Row]]) -> None:
        """Rows, each with the name of its table; subclasses define it."""
        raise TypeError(f"{type(self).__name__} has no write(self, rows)")

    def change(self) -> str:
        """What others have done to the file since it was written; "" if nothing."""
        return ""

    def on_log(self, trainer: Run) -> None:
        """Write the new steps and ratios; all, if the file is no longer what it was."""
        if self._file is not None and (change := self.change()):
            trainer.tell(f"{change} while the run went on: it is written anew")
            self._close()
        if self._file is None:
            self.open(trainer)
        self.write(self._new_rows(trainer.history))

    def on_epoch(self, trainer: Run) -> None:
        """Write the new epoch."""
        self.on_log(trainer)

    def on_end(self, trainer: Run) -> None:
        """Close the file; write it first if it is gone, or the run was over when resumed."""
        missing = self._file is None and trainer.history.steps
        try:
            if missing or (self._file is not None and self.change()):
                self.on_log(trainer)
        finally:
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _new_rows(self, history: History) -> list[tuple[str, Row]]:
        found = []
        for table in self.tables:
            columns: Columns = getattr(history, table)
            seen = self._seen.get(table, 0)
            new = [column[seen:] for column in columns.values()]
            for row in zip(*new, strict=True):
                found.append((table, dict(zip(columns, row, strict=True))))
                seen += 1
            self._seen[table] = seen
        return sorted(found, key=lambda item: (item[1]["step"], _ORDER[item[0]]))


def _plain(column: str, value: float) -> Any:
    if column in ("step", "epoch"):
        return int(value)
    return finite_or_none(value)


class LogFile(_Rows):
    r"""Writes the curves to a text file that other programs can follow.

    path.jsonl    one JSON object a line: {"table": "steps", "step": 0, "loss": ...}
    path.csv      one table, named: LogFile("steps.csv", "steps"), "epochs" or "ratios"

    A number that was not measured is null, or an empty cell. A new run replaces an
    older file, when it has its first numbers. OSError ends the run when the file cannot
    be written, or when another run writes it (BlockingIOError).
    """

    def __init__(self, path: str | os.PathLike[str], table: str | None = None) -> None:
        self.path = Path(path)
        if table is not None:
            check_choice("table", table, TABLES)
        if self.path.suffix not in (".jsonl", ".csv"):
            raise ValueError(f"{path} must end in .jsonl or .csv: that chooses the "
                             "format")
        if self.path.suffix == ".csv" and table is None:
            raise ValueError(f"{path} holds one table: say which, LogFile(path, "
                             f"{TABLES[0]!r}); a .jsonl file holds them all")
        super().__init__((table,) if table else TABLES)
        self._lock = Lock(self.path.with_name(f".{self.path.name}.lock"), self.path)
        self._size = 0  # bytes that this run has written
        self._columns: list[str] = []  # of the CSV file's first line

    def open(self, trainer: Run) -> None:
        """Write the file anew: all of the history, up to the checkpoint's step."""
        with explained(self.path):
            self._lock.acquire()
        self._seen = {}
        text = self._text(self._new_rows(trainer.history), head=True).encode()
        write_atomic(self.path, text)
        self._file = FileIO(self.path, "a")
        self._size = len(text)

    def change(self) -> str:
        """Whether the name still leads to the open file, with all that was written."""
        try:
            found = os.stat(self.path)
        except OSError:
            return f"{self.path} was removed"
        if not os.path.samestat(found, os.fstat(self._file.fileno())):
            return f"{self.path} was replaced"
        if found.st_size < self._size:
            return f"{self.path} was cut"
        if found.st_size > self._size:
            return f"{self.path} was written to by somebody else"
        return ""

    def on_log(self, trainer: Run) -> None:
        """Append the new rows; start anew if a CSV's table has got a column more."""
        columns = getattr(trainer.history, self.tables[0])
        if self.path.suffix == ".csv" and list(columns) != self._columns:
            self._close()
        super().on_log(trainer)

    def on_end(self, trainer: Run) -> None:
        """Close the file, and let other runs write it."""
        try:
            super().on_end(trainer)
        finally:
            self._lock.release()

    def write(self, rows: list[tuple[str, Row]]) -> None:
        """Append, and hand the lines to the system: they outlive a killed process."""
        text = self._text(rows).encode()
        with explained(self.path):
            append(self._file, text)
        self._size += len(text)

    def _text(self, rows: list[tuple[str, Row]], head: bool = False) -> str:
        plain = [(table, {name: _plain(name, v) for name, v in row.items()})
                 for table, row in rows]
        if self.path.suffix == ".jsonl":
            return "".join(json.dumps({"table": table, **row}) + "\n"
                           for table, row in plain)
        text = StringIO()
        lines = csv.writer(text, lineterminator="\n")
        if head:
            self._columns = [name for _, row in plain[:1] for name in row]
            lines.writerows([self._columns] * (plain != []))
        lines.writerows(row.values() for _, row in plain)
        return text.getvalue()


class TensorBoard(_Rows):
    """Writes the curves as event files, for ``tensorboard --logdir folder``.

    Needs the package `tensorboard` (pip install tensorboard), without TensorFlow;
    ImportError says so at once. Tags are table/column: steps/loss, epochs/val_accuracy,
    ratios/0.weight ... After a resume, later steps of the killed process are dropped
    from the curves.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        super().__init__(TABLES)
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer import event_file_writer
        except ImportError as error:
            raise ImportError(
                f"TensorBoard({str(folder)!r}) needs the package tensorboard "
                f"({error}): pip install tensorboard, or use LogFile") from error
        self.folder = Path(folder)
        self._own: set[Path] = set()  # the event file of this run
        self._again: list[tuple[str, Row]] = []
        self._start = 0
        self._events = event_pb2
        self._summaries = summary_pb2
        self._writer = event_file_writer

    def on_start(self, trainer: Run) -> None:
        """What the history of a resumed run holds is in an older file, but for the last
        step's rows: there the killed process may have written the end of an epoch as
        well."""
        self._seen = {}
        rows = self._new_rows(trainer.history)
        self._start = max(0, trainer.step - 1) if self._files() else 0
        self._again = [row for row in rows if _place(*row) >= self._start]

    def open(self, trainer: Run) -> None:
        """Open a new event file; TensorBoard forgets what others hold from here on."""
        before = self._files()
        self._file = self._writer.EventFileWriter(str(self.folder))
        self._own = self._files() - before
        log = self._events.SessionLog(status=self._events.SessionLog.START)
        self._file.add_event(self._event(self._start, session_log=log))
        self.write(self._again)

    def change(self) -> str:
        """Whether the event file is still there; then nobody else has written to it."""
        lost = sorted(self._own - self._files())
        if not lost:
            return ""
        self._start = 0
        self._seen = {}  # all rows are new
        self._again = []
        return f"{lost[0]} was removed"

    def _files(self) -> set[Path]:
        return set(self.folder.glob("*tfevents*"))

    def write(self, rows: list[tuple[str, Row]]) -> None:
        """One event for each row."""
        protocol = self._summaries.Summary
        for table, row in rows:
            values = [protocol.Value(tag=f"{table}/{name}", simple_value=value)
                      for name, value in row.items()
                      if name != "step" and math.isfinite(value)]
            summary = protocol(value=values)
            self._file.add_event(self._event(_place(table, row), summary=summary))
        self._file.flush()

    def _event(self, step: int, **content: Any) -> Any:
        return self._events.Event(step=step, wall_time=time.time(), **content)


def _place(table: str, row: Row) -> int:
    """The step that TensorBoard shows a row at: of an epoch its last one."""
    return int(row["step"]) - (table == "epochs")
