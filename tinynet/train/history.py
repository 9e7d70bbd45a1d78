r"""What happened during training: three small tables, and how to smooth a column.

    steps    one row per optimizer step: step, loss, accuracy, lr
    epochs   one row per epoch: epoch, step, train_loss, train_accuracy, val_loss, ...
             (where labels are mixed, lecture id G5: mixed_accuracy, no train_accuracy)
    ratios   one row per measurement: step, update_ratio, and one column per parameter

Steps count from 0, as schedules do: row t holds the loss *before* step t and the lr it
used. The first epoch is epoch 1, and its `step` is the number of steps done when it
ended. Accuracies are fractions, losses are means over the pictures, times are seconds.
A number that was not measured is nan (null in the file).

Read next: `train/predict.py`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import text
from ..checks import check_choice
from ..files import write_atomic
from ..foreign import of_class

Columns = dict[str, list[float]]
TABLES = ("steps", "epochs", "ratios")
_VERSION = 1


def smooth(values: Sequence[float], beta: float = 0.9) -> list[float]:
    r"""The exponential moving average without its start-up bias.

        m_t = beta m_{t-1} + (1 - beta) x_t,  m_0 = 0;   result_t = m_t / (1 - beta^t)

    About the mean of the last 1 / (1 - beta) values; beta = 0 changes nothing. A value
    that is not finite is passed over: the average before it stands in. The same
    correction as Adam's.

    >>> smooth([4.0, 4.0, 4.0]), smooth([0.0, 1.0], beta=0.5)
    ([4.0, 4.0, 4.0], [0.0, 0.6666666666666666])
    """
    if not 0.0 <= beta < 1.0:
        raise ValueError(f"beta must be at least 0 and less than 1, got {beta}: 0.9 "
                         "averages about 10 values, 0.98 about 50")
    out = []
    m = 0.0
    weight = 0.0
    for x in values:
        if math.isfinite(x):
            m = beta * m + (1.0 - beta) * x
            weight = beta * weight + (1.0 - beta)
        out.append(m / weight if weight else math.nan)
    return out


def finite_or_none(value: Any) -> Any:
    """`value` as JSON can hold it: nan and inf become None."""
    odd = isinstance(value, float) and not math.isfinite(value)
    return None if odd else value


@dataclass
class _Best:
    """The best of the first `seen` values of a column; row -1: none of them counts."""

    values: list[float]
    seen: int = 0
    row: int = -1
    value: float = math.nan
    rank: tuple[float, float] = (math.inf, math.inf)  # the smallest one is the best

    def holds(self, values: list[float]) -> bool:
        """Whether it is still true: the column has only grown."""
        return (values is self.values and len(values) >= self.seen
                and (self.row < 0 or values[self.row] == self.value))


class History:
    """Curves of a run, by column name.

    >>> h = History()
    >>> h.add("epochs", epoch=1, val_accuracy=0.5)
    >>> h.add("epochs", epoch=2, val_accuracy=0.7)
    >>> h["val_accuracy"], h.best("val_accuracy"), History.from_dict(h.to_dict()) == h
    ([0.5, 0.7], (2, 0.7), True)
    """

    if not TYPE_CHECKING:  # a type checker would take any name for right
        __getattr__ = of_class("History")

    def __init__(self) -> None:
        self.steps: Columns = {}
        self.epochs: Columns = {}
        self.ratios: Columns = {}
        self.stopped = ""  # why the last run ended: "finished", "interrupted", ...
        self._bests: dict[str, _Best] = {}  # so that `best` walks no row twice

    def add(self, table: str, **values: float) -> None:
        """Add a row to `table`; what a column lacks is filled with nan."""
        check_choice("table", table, TABLES)
        columns: Columns = getattr(self, table)
        rows = len(next(iter(columns.values()), []))
        for name in values:
            if name not in columns:
                columns[name] = [math.nan] * rows
        for name, column in columns.items():
            column.append(float(values.get(name, math.nan)))

    def __getitem__(self, column: str) -> list[float]:
        """A column of whichever table has it (of `step`: the one of the steps)."""
        for table in TABLES:
            columns: Columns = getattr(self, table)
            if column in columns:
                return columns[column]
        known = sorted({name for table in TABLES for name in getattr(self, table)})
        raise KeyError(
            f"no column {column!r}: this history has {', '.join(known) or 'none yet'}")

    def __contains__(self, column: str) -> bool:
        return any(column in getattr(self, table) for table in TABLES)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, History) and self._text() == other._text()

    __hash__ = None  # type: ignore[assignment]  # it grows

    def __repr__(self) -> str:
        parts = []
        for table in TABLES:
            rows = max(map(len, getattr(self, table).values()), default=0)
            parts.append(text.counted(rows, table.removesuffix("s")))
        return f"History({', '.join(parts)})"

    def smooth(self, column: str, beta: float = 0.9) -> list[float]:
        """The column's moving average, without start-up bias; see `smooth`."""
        return smooth(self[column], beta)

    def best(self, column: str = "val_accuracy") -> tuple[int, float]:
        """(epoch, value) of the best row of an epochs column.

        The smallest value of a column whose name ends in "loss" or "seconds", else the
        largest; of equal ones that of the smaller loss, then the first: few pictures
        are soon all answered right, long before the net is sure of it. A row whose
        value or training loss is not finite is never the best, nor, for a column of the
        validation, one whose validation loss is not; (0, nan) if there is no other.
        """
        row = self._best_row(column)
        if row < 0:
            return 0, math.nan
        epoch = row + 1.0
        if "epoch" in self.epochs and math.isfinite(self.epochs["epoch"][row]):
            epoch = self.epochs["epoch"][row]
        return int(epoch), self.epochs[column][row]

    def is_best(self, column: str, epoch: int) -> bool:
        """Whether `epoch` is the best one of a column; not if that was not measured."""
        return column in self.epochs and self.best(column)[0] == epoch

    def _best_row(self, column: str) -> int:
        """The row of `best`, or -1; only rows since the last call are looked at."""
        if column not in self.epochs:
            raise KeyError(f"no epochs column {column!r}: there is "
                           f"{', '.join(self.epochs) or 'none yet'}")
        values = self.epochs[column]
        known = self._bests.setdefault(column, _Best(values))
        if not known.holds(values):
            known = self._bests[column] = _Best(values)
        judges = [values, self.epochs.get("train_loss", values)]
        if column.startswith("val_"):
            judges.append(self.epochs.get("val_loss", values))
        sign = 1.0 if column.endswith(("loss", "seconds")) else -1.0
        for row in range(known.seen, len(values)):
            sound = all(math.isfinite(judge[row]) for judge in judges)
            rank = (sign * values[row], judges[-1][row])
            if sound and rank < known.rank:
                known.row = row
                known.value = values[row]
                known.rank = rank
        known.seen = len(values)
        return known.row

    def table(self) -> str:
        """The epochs as text, one a line, the best validation marked with a star."""
        if not self.epochs:
            return "no epoch has ended yet"
        rows, best, score = self._rows()
        if best is None:
            return text.table(rows, align="r")
        return f"{text.table(rows, align='r', starred=best)}\n* best {score}"

    def _rows(self) -> tuple[list[list[str]], int | None, str]:
        """The epochs as rows below a head, the best row (None: there is no best), of what."""
        columns = {**self.epochs}
        columns.pop("step", None)
        rows = [[name.replace("_", " ") for name in columns]]
        for values in zip(*columns.values(), strict=True):
            rows.append([_cell(*pair) for pair in zip(columns, values, strict=True)])
        score = "val_accuracy" if "val_accuracy" in columns else "val_loss"
        best = None
        if score in columns and self._best_row(score) >= 0:
            best = 1 + self._best_row(score)  # row 0 is the head
        return rows, best, score.replace("_", " ")

    def _repr_html_(self) -> str:
        rows, best, score = self._rows()
        caption = repr(self)
        if best is not None:
            caption += f", bold: best {score}"
        return text.html(rows if self.epochs else [], caption, best)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint: columns as arrays, bit for bit; `from_dict` reads it."""
        return self._tree(np.array)

    def to_dict(self) -> dict[str, Any]:
        """The tables as plain lists and dicts; not-finite numbers become None."""
        return self._tree(lambda column: [*map(finite_or_none, column)])

    def _tree(self, converted: Callable[[list[float]], Any]) -> dict[str, Any]:
        tree: dict[str, Any] = {"version": _VERSION, "stopped": self.stopped}
        for table in TABLES:
            columns: Columns = getattr(self, table)
            tree[table] = {name: converted(column) for name, column in columns.items()}
        return tree

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> History:
        """The history that `to_dict` wrote; ValueError for anything else."""
        history = cls()
        if not isinstance(values, Mapping) or "version" not in values:
            found = "no names"
            if isinstance(values, Mapping):
                found = f"{', '.join(map(str, values)):.100}"
            raise ValueError(f"no history of tinynet, which has a version; there is {found}. "
                             "The curves of a run are in its history.json")
        try:
            if values["version"] > _VERSION:
                raise ValueError(f"version {values['version']} is newer than this "
                                 f"tinynet knows ({_VERSION}): update tinynet")
            history.stopped = str(values["stopped"])
            for table in TABLES:
                columns = {str(name): [*map(_number, column)]
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
        """Read what `save` wrote; ValueError names a file that holds something else."""
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except (ValueError, RecursionError) as error:  # of JSON, of UTF-8: ValueErrors
            raise ValueError(f"{path}: {error}") from error


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _cell(column: str, value: float) -> str:
    if not math.isfinite(value):
        return "-"
    if column == "epoch":
        return str(int(value))
    if column.endswith("accuracy"):
        return f"{value:.2%}"
    if column == "seconds":
        return f"{value:.1f}"
    return f"{value:.4g}"
