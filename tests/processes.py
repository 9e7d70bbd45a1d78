"""Processes that tests start."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def environment(**more: str) -> dict[str, str]:
    """This process's variables and `more`; Python finds the project, after what was found before
    (tests/emulator/plugin.py puts a folder there)."""
    variables = os.environ | more
    path = [variables.get("PYTHONPATH", ""), str(ROOT)]
    return variables | {"PYTHONPATH": os.pathsep.join(p for p in path if p)}
