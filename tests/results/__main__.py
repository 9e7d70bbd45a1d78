"""Which results are stale:  python -m tests.results

With the path of a script, the line that ends a result which the script has just made.
"""

from __future__ import annotations

import sys

from tests.project import below
from tests.results import FOLDER, ROOT
from tests.results.code import LINE, digest, line
from tinynet import text


def main(scripts: list[str]) -> None:
    for script in scripts:
        print(line(script, ROOT))
    if not scripts:
        print(text.table([("result", "made by", "code", "state"), *map(row, results())], "llll"))


def results() -> list[str]:
    """The names of all results."""
    return sorted(path.stem for path in below(FOLDER, "*.md"))


def row(name: str) -> tuple[str, str, str, str]:
    """A result, its script, the hash of its code, and whether that is today's."""
    if complaint := malformed(name):
        return name, "?", "?", complaint
    code, script = LINE.fullmatch(last_line(name)).groups()  # type: ignore[union-attr]
    state = "current" if digest(script, ROOT) == code else "stale"
    return name, script, code, state


def malformed(name: str) -> str:
    """What is wrong with the last line of a result, or nothing."""
    match = LINE.fullmatch(last_line(name))
    if match is None:
        return f"ends with {last_line(name)!r}, not with a line `Code ...`"
    if not (ROOT / match[2]).is_file():
        return f"its script {match[2]} is gone"
    return ""


def last_line(name: str) -> str:
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8").splitlines()[-1]


if __name__ == "__main__":
    main(sys.argv[1:])
