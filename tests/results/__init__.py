"""Results of the slow tests, committed: what ``python -m pytest -m slow`` last found."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np


def save(name: str, title: str, text: str) -> None:
    """Write `name`.md beside this file, with the machine it was measured on."""
    about = (f"Python {platform.python_version()}, NumPy {np.__version__}, {platform.machine()}, "
             f"{os.cpu_count()} cores")
    path = Path(__file__).with_name(f"{name}.md")
    path.write_text(f"# {title}\n\n{about}.\n\n{text}\n", encoding="utf-8")
