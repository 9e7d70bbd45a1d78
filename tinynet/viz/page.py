"""An HTML page with everything inside: pictures as base64 PNG, nothing loaded from anywhere.

The page around its body is `report.html`. Texts that a user gave are escaped by those
who call; what stands in a table is escaped here.

Read next: `viz/report.py`.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEADS = {"ratio": "loss ratio", "new": "loss on new pictures", "weight_decay": "weight decay"}


def write_page(path: str | os.PathLike[str], title: str, body: Sequence[str]) -> None:
    """Write the page to `path`, at once or not at all."""
    page = Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    page = page.replace("{{TITLE}}", escape(title))
    write_atomic(path, page.replace("{{BODY}}", "\n".join(body)))


def tag(name: str, content: str, kind: str = "") -> str:
    start = f"{name} class='{kind}'" if kind else name
    return f"<{start}>{content}</{name}>"


def picture(what: str, figure: Figure, width: float = 4.6, height: float = 3.4) -> str:
    """A figure of one panel, so narrow that its text is legible on a phone."""
    figure.set_size_inches(width, height)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=180)
    return image(what, file.getvalue())


def image(what: str, png: bytes) -> str:
    """A PNG's bytes as a part of the page."""
    data = base64.b64encode(png).decode()
    return f"<img alt='{escape(what, quote=True)}' src='data:image/png;base64,{data}'>"


def table(rows: Sequence[Mapping[str, Any]], kind: str = "") -> str:
    lines = ["".join(tag("th", escape(_HEADS.get(name, name))) for name in rows[0])]
    lines += ["".join(tag("td", cell(x)) for x in row.values()) for row in rows]
    return tag("table", "".join(tag("tr", line) for line in lines), kind)


def cell(value: Any) -> str:
    if value is None:
        return "nan"
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))
