"""Text: tables with columns of one width, or as HTML for a notebook; values in errors.

Read next: `names.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape
from itertools import zip_longest

_GAP = "  "  # between two columns
_LONGEST = 200  # letters of a value in an error


def shown(value: object, most: int | None = _LONGEST) -> str:
    """`value` as an error shows it: its repr, of `most` letters, even if that fails.

    >>> shown("a"), shown(range(3))
    ("'a'", 'range(0, 3)')
    """
    try:
        text = repr(value)
    except Exception as error:
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    return text if most is None or len(text) <= most else f"{text[:most]}..."


def counted(n: float, what: str) -> str:
    """`n` of something.

    >>> counted(1, "epoch"), counted(1200, "step")
    ('1 epoch', '1,200 steps')
    """
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def table(rows: Sequence[Sequence[object]], align: str = "lr",
          rules: Collection[int] = (), starred: int | None = None) -> str:
    """The rows, the first one the head, each cell as wide as the widest of its column.

    align:   a letter for each column, l or r; the last letter counts for all that follow
    rules:   a line is drawn above these rows: 1 is below the head, -1 above the last row
    starred: this row gets a star behind it

    A row may be shorter than the others.

    >>> print(table([("k", "steps"), ("GD", 138), ("Adam", 67)], rules=[1], starred=2))
    k     steps
    -----------
    GD      138
    Adam     67 *
    """
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip_longest(*cells, fillvalue="")]
    lines = [line(row, widths, align) for row in cells]
    ruler = "-" * max(map(len, lines), default=0)
    if starred is not None:
        lines[starred] += " *"
    for place in sorted((rule % len(lines) for rule in rules), reverse=True):
        lines.insert(place, ruler)
    return "\n".join(lines)


def html(rows: Sequence[Sequence[object]], caption: str = "",
         starred: int | None = None) -> str:
    """The same as a table for a notebook; the starred row is bold.

    >>> html([("k",), ("<b>",)])
    '<table><tr><th>k</th></tr><tr><td>&lt;b&gt;</td></tr></table>'
    """
    lines = []
    if caption:
        style = ' style="text-align: left; caption-side: top"'
        lines.append(f"<caption{style}>{escape(caption)}</caption>")
    for place, row in enumerate(rows):
        tag = "td" if place else "th"
        bold = ' style="font-weight: bold"' if place == starred else ""
        cells = "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in row)
        lines.append(f"<tr{bold}>{cells}</tr>")
    return f"<table>{''.join(lines)}</table>"


def line(cells: Sequence[object], widths: Sequence[int], align: str = "lr") -> str:
    """One row of a table whose widths are known: for rows that are printed as they come.

    >>> line(["relu", 3, "1e-16"], [8, 4, 7], align="lrl")
    'relu         3  1e-16'
    """
    sides = align.ljust(len(cells), align[-1])
    parts = []
    for cell, width, side in zip(cells, widths, sides, strict=False):
        text = str(cell)
        parts.append(text.rjust(width) if side == "r" else text.ljust(width))
    return _GAP.join(parts).rstrip()
