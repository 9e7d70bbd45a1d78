r"""Logs of a run while it runs: JSON lines, CSV, TensorBoard.

A log is the history in another form, row by row in the order of the steps. So there is nothing to
save of it: when a run goes on from a checkpoint, a file is written anew from the checkpoint's
history, and what a killed process wrote after that moment is gone from it. TensorBoard's event
files cannot be rewritten; there an event tells the reader to drop the later steps.
Read next: `ensemble.py`.
"""

from __future__ import annotations

import csv
import json
import math
import os
import time
from io import FileIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import append, explained, write_atomic
from .callbacks import Callback
from .history import TABLES, Columns, History, finite_or_none

if TYPE_CHECKING:
    from .trainer import Trainer

Row = dict[str, float]
_ORDER = {"epochs": 0, "steps": 1, "ratios": 2}  # an epoch that has done t steps, then step t


class _Rows(Callback):
    """Hands every new row of the history to `write`, in an order that does not depend on when.

    The file is opened when there is something to write: a run that is refused at its start leaves
    an older file alone.
    """

    def __init__(self, tables: tuple[str, ...]) -> None:
        self.tables = tables
        self._seen: dict[str, int] = {}
        self._file: Any = None

    def open(self, trainer: Trainer) -> None:
        """Make `_file`, and write what must stand there before the new rows."""
        raise TypeError(f"{type(self).__name__} has no open(self, trainer)")

    def write(self, rows: list[tuple[str, Row]]) -> None:
        """Rows, each with the name of its table; subclasses define it."""
        raise TypeError(f"{type(self).__name__} has no write(self, rows)")

    def on_log(self, trainer: Trainer) -> None:
        """Write the new steps and ratios."""
        if self._file is None:
            self.open(trainer)
        self.write(self._new_rows(trainer.history))

    def on_epoch(self, trainer: Trainer) -> None:
        """Write the new epoch."""
        self.on_log(trainer)

    def on_end(self, trainer: Trainer) -> None:
        """Close the file; of a run that was over when it was resumed, write it first."""
        if self._file is None and trainer.history.steps:
            self.on_log(trainer)
        if self._file is not None:
            self._file.close()
            self._file = None

    def _new_rows(self, history: History) -> list[tuple[str, Row]]:
        found = []
        for table in self.tables:
            columns: Columns = getattr(history, table)
            new = [column[self._seen.get(table, 0):] for column in columns.values()]
            rows = [dict(zip(columns, row, strict=True)) for row in zip(*new, strict=True)]
            found += [(table, row) for row in rows]
            self._seen[table] = self._seen.get(table, 0) + len(rows)
        return sorted(found, key=lambda item: (item[1]["step"], _ORDER[item[0]]))


def _plain(column: str, value: float) -> Any:
    return int(value) if column in ("step", "epoch") else finite_or_none(value)


class LogFile(_Rows):
    r"""Writes the curves to a text file that other programs can follow.

    path.jsonl    one JSON object a line: {"table": "steps", "step": 0, "loss": 2.31, ...}
    path.csv      one table, named: LogFile("steps.csv", "steps"); "epochs" or "ratios" as well

    A number that was not measured is null, or an empty cell. A new run replaces an
    older file, when it has its first numbers. OSError ends the run when the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], table: str | None = None) -> None:
        self.path = Path(path)
        if table is not None and table not in TABLES:
            raise ValueError(f"table must be one of {', '.join(TABLES)}, got {table!r}")
        if self.path.suffix not in (".jsonl", ".csv"):
            raise ValueError(f"{path} must end in .jsonl or .csv: that chooses the format")
        if self.path.suffix == ".csv" and table is None:
            raise ValueError(f"{path} holds one table: say which, LogFile(path, {TABLES[0]!r}); "
                             "a .jsonl file holds them all")
        super().__init__((table,) if table else TABLES)
        self._columns: list[str] = []  # of the CSV file's first line

    def open(self, trainer: Trainer) -> None:
        """Write the file anew from the history: all there is, up to the checkpoint's step."""
        self._seen = {}
        write_atomic(self.path, self._text(self._new_rows(trainer.history), head=True))
        self._file = FileIO(self.path, "a")

    def on_log(self, trainer: Trainer) -> None:
        """Append the new rows; start anew if a CSV's table has got a column more."""
        if self._file is not None and self.path.suffix == ".csv" \
                and list(getattr(trainer.history, self.tables[0])) != self._columns:
            self._file.close()
            self._file = None
        super().on_log(trainer)

    def write(self, rows: list[tuple[str, Row]]) -> None:
        """Append, and hand the lines to the system at once: they outlive a killed process."""
        with explained(self.path):
            append(self._file, self._text(rows).encode())

    def _text(self, rows: list[tuple[str, Row]], head: bool = False) -> str:
        plain = [{name: _plain(name, v) for name, v in row.items()} for _, row in rows]
        if self.path.suffix == ".jsonl":
            return "".join(json.dumps({"table": table, **row}) + "\n"
                           for (table, _), row in zip(rows, plain, strict=True))
        text = StringIO()
        lines = csv.writer(text, lineterminator="\n")
        if head:
            self._columns = list(plain[0]) if plain else []
            lines.writerows([self._columns] if plain else [])
        lines.writerows(row.values() for row in plain)
        return text.getvalue()


class TensorBoard(_Rows):
    """Writes the curves as event files, for ``tensorboard --logdir folder``.

    Needs the package `tensorboard` (pip install tensorboard), without TensorFlow; ImportError says
    so at once. Tags are table/column: steps/loss, epochs/val_accuracy, ratios/0.weight ... After a
    resume, later steps of the killed process are dropped from the curves.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        super().__init__(TABLES)
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer import event_file_writer
        except ImportError as error:
            raise ImportError(f"TensorBoard({str(folder)!r}) needs the package tensorboard ({error}"
                              "): pip install tensorboard, or use LogFile") from error
        self.folder = Path(folder)
        self._events, self._summaries, self._writer = event_pb2, summary_pb2, event_file_writer

    def on_start(self, trainer: Trainer) -> None:
        """What the history of a resumed run holds is in an older file."""
        self._start = trainer.step
        self._new_rows(trainer.history)

    def open(self, trainer: Trainer) -> None:
        """Open a new event file; TensorBoard forgets what others hold from this run's start on."""
        self._file = self._writer.EventFileWriter(str(self.folder))
        log = self._events.SessionLog(status=self._events.SessionLog.START)
        self._file.add_event(self._event(self._start, session_log=log))

    def write(self, rows: list[tuple[str, Row]]) -> None:
        """One event for each row."""
        for table, row in rows:
            values = [self._summaries.Summary.Value(tag=f"{table}/{name}", simple_value=value)
                      for name, value in row.items() if name != "step" and math.isfinite(value)]
            summary = self._summaries.Summary(value=values)
            step = int(row["step"]) - (table == "epochs")  # the epoch's last step, not the next one
            self._file.add_event(self._event(step, summary=summary))
        self._file.flush()

    def _event(self, step: int, **content: Any) -> Any:
        return self._events.Event(step=step, wall_time=time.time(), **content)
