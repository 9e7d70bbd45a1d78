"""Results of the slow tests and of long commands, committed, each with a hash of its code.

A result ends with a line that names what made it, and the hash of that file and of all that it
imports from the project (comments, docstrings and blank lines do not count):

    Code `0123456789ab`: examples/adam_or_sgd.py and what it imports.

Where the code has changed since, the result is stale: it may still hold, but nobody has looked.
Results take minutes to hours, so none is made anew with every change, and no test fails for a
stale one; tests/test_results.py fails for one without its line. Which are stale:

    python -m tests.results

Slow tests write their results with `save`. One that is written by hand ends with what
`python -m tests.results examples/random_vs_grid.py` prints, right after the run.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np

from tests.results.code import line

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent


def save(name: str, title: str, text: str, script: str) -> None:
    """Write `name`.md beside this file, with the machine and the code it was measured on."""
    about = (f"Python {platform.python_version()}, NumPy {np.__version__}, {platform.machine()}, "
             f"{os.cpu_count()} cores")
    content = f"# {title}\n\n{about}.\n\n{text}\n\n{line(script, ROOT)}\n"
    (FOLDER / f"{name}.md").write_text(content, encoding="utf-8")
