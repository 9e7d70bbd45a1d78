"""What a gradcheck found: comparisons, and the words for their errors.

    relative error of two numbers a and n:    |a - n| / max(|a|, |n|)

    above 1e-2      wrong                          1e-4 to 1e-7    fine with kinks
    1e-2 to 1e-4    uncomfortable                  below 1e-7      good

Source: CS231n notes, neural networks part 3.

Read next: `gradcheck/table.py`.
"""

from __future__ import annotations

from typing import NamedTuple

BANDS = ((1e-2, "wrong"), (1e-4, "uncomfortable"), (1e-7, "fine with kinks"))
_MOST_NOTES = 3  # of a report that passed


class GradcheckError(AssertionError):
    """A gradient that is not what differences say; the message is the report."""


class Comparison(NamedTuple):
    """One comparison: along a random direction, or for one element of an input.

    The error is relative; if it is mere rounding, relative to the terms that were
    summed; 0 if the note says why the two sides may differ.
    """

    order: int
    where: str
    analytic: float
    numeric: float
    error: float
    passed: bool
    note: str = ""
    resolved: bool = True

    @property
    def band(self) -> str:
        """The band of the notes that the error falls in; unresolved if no step can tell."""
        if not self.resolved:
            return "unresolved"
        return next((name for bound, name in BANDS if self.error > bound), "good")

    @property
    def miss(self) -> float:
        """By how much the two sides differ."""
        return abs(self.analytic - self.numeric)

    def excused(self, note: str) -> Comparison:
        """The same, passed for the reason that the note gives."""
        return self._replace(passed=True, error=0.0, note=note)

    def __str__(self) -> str:
        text = (f"order {self.order}, {self.where}: analytic {self.analytic:.6g}, "
                f"numeric {self.numeric:.6g}, relative error {self.error:.1e}: "
                f"{self.band}")
        return f"{text}\n    {self.note}" if self.note else text


class Report(list[Comparison]):
    """The comparisons of a gradcheck; true if all passed."""

    def __bool__(self) -> bool:
        return all(c.passed for c in self)

    @property
    def worst(self) -> Comparison:
        """The comparison with the largest error; failed ones come first."""
        return max(self, key=lambda c: (not c.passed, c.error))

    def order(self, order: int) -> Report:
        """The comparisons of one order."""
        return Report(c for c in self if c.order == order)

    def __repr__(self) -> str:
        if not self:
            return "\n  ".join(["gradcheck FAILED", *(str(c) for c in self if not c.passed)])
        lines = ["gradcheck passed"]
        for k in sorted({c.order for c in self}):
            worst = self.order(k).worst
            lines.append(f"order {k}: {len(self.order(k))} comparisons, largest "
                         f"relative error {worst.error:.1e}: {worst.band}")
        notes = list(dict.fromkeys(c.note for c in self if c.note))
        lines += notes[:_MOST_NOTES]
        if len(notes) > _MOST_NOTES:
            lines.append(f"and {len(notes) - _MOST_NOTES} more notes")
        return "\n  ".join(lines)
