"""The page of mistakes: its pieces of code, run, and what they print, put back into it.

    python -m tests.examples.mistakes_page      writes the outputs anew
"""

from __future__ import annotations

import contextlib
import io
import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

PAGE = Path(__file__).resolve().parents[2] / "examples" / "MISTAKES.md"
WIDTH = 96
# a piece of code and what it prints; the setup prints nothing
_PIECE = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<said>.*?)```\n)?", re.DOTALL)


def output(code: str, names: dict[str, Any]) -> str:
    """What `code` prints; an error that ends it is the last line, as Python tells it."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), np.errstate(all="ignore"):  # the error comes after
        try:
            exec(compile(code, PAGE.name, "exec"), names)
        except Exception as error:
            print(textwrap.fill(f"{type(error).__name__}: {error}", WIDTH))
    return said.getvalue()


def pieces(text: str) -> list[tuple[str, str, str]]:
    """(heading, code, what the page says that it prints), the setup first."""
    found = []
    for match in _PIECE.finditer(text):
        headings = re.findall(r"^## (.+)$", text[: match.start()], re.MULTILINE)
        found.append((headings[-1], match["code"], match["said"] or ""))
    return found


def rewritten(text: str) -> str:
    """The page with what its code prints now; each entry begins with the setup's names."""
    (_, setup, _), *_ = pieces(text)
    names: dict[str, Any] = {}

    def anew(match: re.Match[str]) -> str:
        nonlocal names
        if match["code"] == setup:
            return match[0]
        names = {}
        exec(compile(setup, PAGE.name, "exec"), names)
        said = output(match["code"], names)
        return f"```python\n{match['code']}```\n\n```text\n{said}```\n"

    return _PIECE.sub(anew, text)


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
