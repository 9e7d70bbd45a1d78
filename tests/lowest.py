"""The lowest versions that pyproject.toml allows of what the library and its tests need.

    python -m tests.lowest        prints them as pip takes them: numpy==2.0 ...

In an environment of their own (Python 3.11 or 3.12: for later ones there is no NumPy 2.0):

    python3.11 -m venv lowest
    lowest/bin/python -m pip install --only-binary :all: $(python3.11 -m tests.lowest)
    lowest/bin/python -m pytest
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

# What the lowest versions bring themselves, as far as its newest version is too new for them.
COMPANIONS = ["pyparsing==3.1"]  # later ones warn of what matplotlib 3.9 calls


def lowest() -> list[str]:
    """`name==version` of each dependency, and of those of the extra `test`."""
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    return [_lowest(line) for line in wanted] + COMPANIONS


def _lowest(requirement: str) -> str:
    found = re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement)
    if found is None:
        raise ValueError(f"{requirement!r} in pyproject.toml has no lowest version: "
                         "write name>=1.2")
    return f"{found[1]}=={found[2]}"


if __name__ == "__main__":
    print(" ".join(lowest()))
