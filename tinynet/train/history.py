r"""What happened during training: three small tables of numbers, and how to smooth
them.

    steps    one row per optimizer step: step, loss, accuracy, lr
    epochs   one row per epoch: epoch, step, train_loss, train_accuracy, val_loss, ..., seconds
             (mixed_accuracy in place of train_accuracy where labels are mixed: lecture id G5)
    ratios   one row per measurement: step, update_ratio, and one column per parameter

Steps count from 0, as schedules do: row t holds the loss *before* step t and the lr it
used. The first epoch is epoch 1, and its `step` is the number of steps done when it
ended. Accuracies are fractions, losses are means over the pictures, times are seconds.
A number that was not measured is nan (null in the file). Read next: `callbacks.py`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import text
from ..files import write_atomic

Columns = dict[str, list[float]]
TABLES = ("steps", "epochs", "ratios")
_VERSION = 1


def smooth(values: Sequence[float], beta: float = 0.9) -> list[float]:
    r"""The exponential moving average without its start-up bias.

        m_t = beta m_{t-1} + (1 - beta) x_t,  m_0 = 0;   result_t = m_t / (1 - beta^t)

    About the mean of the last 1 / (1 - beta) values; beta = 0 changes nothing. A value
    that is not finite is passed over: the average before it stands in. The same
    correction as Adam's (lecture id A19).

    >>> smooth([4.0, 4.0, 4.0]), smooth([0.0, 1.0], beta=0.5)
    ([4.0, 4.0, 4.0], [0.0, 0.6666666666666666])
    """
    if not 0.0 <= beta < 1.0:
        raise ValueError(f"beta must be at least 0 and less than 1, got {beta}: 0.9 averages "
                         "about 10 values, 0.98 about 50")
    out, m, weight = [], 0.0, 0.0
    for x in values:
        if math.isfinite(x):
            m = beta * m + (1.0 - beta) * x
            weight = beta * weight + (1.0 - beta)
        out.append(m / weight if weight else math.nan)
    return out


def finite_or_none(value: Any) -> Any:
    """`value` as JSON can hold it: nan and inf become None."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


@dataclass
class _Best:
    """The best of the first `seen` values of a column; row -1: none of them counts."""

    values: list[float]
    seen: int = 0
    row: int = -1
    value: float = math.nan

    def holds(self, values: list[float]) -> bool:
        """Whether it is still true: the column has only grown."""
        return (values is self.values and len(values) >= self.seen
                and (self.row < 0 or values[self.row] == self.value))


class History:
    """Curves of a run, by column name.

    >>> h = History()
    >>> h.add("epochs", epoch=1, val_accuracy=0.5); h.add("epochs", epoch=2, val_accuracy=0.7)
    >>> h["val_accuracy"], h.best("val_accuracy"), History.from_dict(h.to_dict()) == h
    ([0.5, 0.7], (2, 0.7), True)
    """

    def __init__(self) -> None:
        self.steps: Columns = {}
        self.epochs: Columns = {}
        self.ratios: Columns = {}
        self.stopped = ""  # why the last run ended: "finished", "interrupted", ...
        self._bests: dict[str, _Best] = {}  # what `best` found, not to walk all rows again

    def add(self, table: str, **values: float) -> None:
        """Add a row to `table`; a column that it lacks, or that is new, is filled with nan."""
        if table not in TABLES:
            raise ValueError(f"table must be one of {', '.join(TABLES)}, got {table!r}")
        columns: Columns = getattr(self, table)
        rows = len(next(iter(columns.values()), []))
        for name in values:
            columns.setdefault(name, [math.nan] * rows)
        for name, column in columns.items():
            column.append(float(values.get(name, math.nan)))

    def __getitem__(self, column: str) -> list[float]:
        """A column of whichever table has it (of `step`: the one of the steps)."""
        for table in TABLES:
            columns: Columns = getattr(self, table)
            if column in columns:
                return columns[column]
        known = sorted({name for table in TABLES for name in getattr(self, table)})
        raise KeyError(f"no column {column!r}: this history has {', '.join(known) or 'none yet'}")

    def __contains__(self, column: str) -> bool:
        return any(column in getattr(self, table) for table in TABLES)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, History) and self._text() == other._text()

    __hash__ = None  # type: ignore[assignment]  # it grows

    def __repr__(self) -> str:
        rows = {table: max(map(len, getattr(self, table).values()), default=0) for table in TABLES}
        return f"History({', '.join(f'{n} {table}' for table, n in rows.items())})"

    def smooth(self, column: str, beta: float = 0.9) -> list[float]:
        """The column's moving average, without start-up bias; see `smooth`."""
        return smooth(self[column], beta)

    def best(self, column: str = "val_accuracy") -> tuple[int, float]:
        """(epoch, value) of the best row of an epochs column: the first of equal ones.

        The smallest value of a column whose name ends in "loss" or "seconds", else the
        largest. A row whose value or training loss is not finite is never the best,
        nor, for a column of the validation, one whose validation loss is not; (0, nan)
        if there is no other.
        """
        row = self._best_row(column)
        if row < 0:
            return 0, math.nan
        number = self.epochs.get("epoch", [math.nan] * (row + 1))[row]
        epoch = int(number) if math.isfinite(number) else row + 1
        return epoch, self.epochs[column][row]

    def _best_row(self, column: str) -> int:
        """The row of `best`, or -1: only rows that are new since the last call are looked at."""
        if column not in self.epochs:
            raise KeyError(f"no epochs column {column!r}: there is "
                           f"{', '.join(self.epochs) or 'none yet'}")
        values = self.epochs[column]
        known = self._bests.get(column)
        if known is None or not known.holds(values):
            known = self._bests[column] = _Best(values)
        losses = ["train_loss", "val_loss"] if column.startswith("val_") else ["train_loss"]
        judges = [self.epochs[name] for name in losses if name in self.epochs]
        sign = -1.0 if column.endswith(("loss", "seconds")) else 1.0
        for row in range(known.seen, len(values)):
            sound = all(math.isfinite(judge[row]) for judge in (values, *judges))
            if sound and (known.row < 0 or sign * values[row] > sign * known.value):
                known.row = row
                known.value = values[row]
        known.seen = len(values)
        return known.row

    def table(self) -> str:
        """The epochs as text, one a line, the best validation marked with a star."""
        if not self.epochs:
            return "no epoch has ended yet"
        columns = [name for name in self.epochs if name != "step"]
        score = next((c for c in ("val_accuracy", "val_loss") if c in columns), None)
        rows = [[name.replace("_", " ") for name in columns]]
        for values in zip(*(self.epochs[name] for name in columns), strict=True):
            rows.append([_cell(name, v) for name, v in zip(columns, values, strict=True)])
        best = self._best_row(score) if score else -1
        if best < 0:
            return text.table(rows, align="r")
        found = text.table(rows, align="r", starred=1 + best)  # row 0 is the head
        return f"{found}\n* best {str(score).replace('_', ' ')}"

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint: every column an array, bit for bit; `from_dict` reads it, too."""
        tables = {table: {name: np.array(column) for name, column in getattr(self, table).items()}
                  for table in TABLES}
        return {"version": _VERSION, "stopped": self.stopped, **tables}

    def to_dict(self) -> dict[str, Any]:
        """The tables as plain lists and dicts; not-finite numbers become None."""
        tables = {table: {name: [*map(finite_or_none, column)]
                          for name, column in getattr(self, table).items()} for table in TABLES}
        return {"version": _VERSION, "stopped": self.stopped, **tables}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> History:
        """The history that `to_dict` wrote; ValueError for anything else."""
        history = cls()
        try:
            if values["version"] > _VERSION:
                raise ValueError(f"version {values['version']} is newer than this tinynet knows "
                                 f"({_VERSION}): update tinynet")
            history.stopped = str(values["stopped"])
            for table in TABLES:
                columns = {str(name): [math.nan if v is None else float(v) for v in column]
                           for name, column in values[table].items()}
                if len({len(column) for column in columns.values()}) > 1:
                    raise ValueError(f"the columns of {table} differ in length")
                setattr(history, table, columns)
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"no history of tinynet: {error!r}") from error
        return history

    def _text(self) -> str:
        return json.dumps(self.to_dict(), allow_nan=False)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a JSON file, atomically."""
        write_atomic(path, self._text() + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> History:
        """Read what `save` wrote; ValueError names the file if it holds something else."""
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except (ValueError, RecursionError) as error:  # JSON and UTF-8 errors are ValueErrors
            raise ValueError(f"{path}: {error}") from error


def _cell(column: str, value: float) -> str:
    if not math.isfinite(value):
        return "-"
    if column == "epoch":
        return str(int(value))
    if column.endswith("accuracy"):
        return f"{value:.2%}"
    return f"{value:.1f}" if column == "seconds" else f"{value:.4g}"
