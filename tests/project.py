"""The project's own files, whatever else lies in the folder that it stands in.

People work in their clone: with photos, notebooks, environments, runs and half-finished scripts.
In a git checkout the project is what git tracks; elsewhere its own folders, without what cannot
be read as text or, of Python files, parsed. A new file is the project's after `git add`.
"""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("tinynet", "tests", "examples", "bench", ".ci")
ABOVE = ("README.md", "LICENSE", "pyproject.toml", ".gitignore")  # beside the folders
_PICTURES = {".png", ".gif", ".npz", ".npy"}


@cache
def files(root: Path = ROOT) -> frozenset[Path]:
    """All files of the project in `root`."""
    tracked = _tracked(root)
    if tracked is None:
        return frozenset(filter(_is_whole, _in_own_folders(root)))
    own = (root / name for name in tracked
           if name in ABOVE or name.partition("/")[0] in FOLDERS)
    return frozenset(path for path in own if path.is_file())


def texts(root: Path = ROOT) -> Iterator[tuple[Path, str]]:
    """Every file of the project that is text, and what it says; in order of their names."""
    for path in sorted(files(root)):
        if path.suffix not in _PICTURES:
            yield path, path.read_text(encoding="utf-8")


def below(folder: Path, pattern: str = "*.py") -> list[Path]:
    """The files of the project below `folder`, in order; all of a folder outside the project."""
    found = sorted(folder.rglob(pattern))
    if folder.is_relative_to(ROOT) and not _is_installed(folder):
        return [path for path in found if path in files()]
    return found


def _is_installed(folder: Path) -> bool:
    """Whether it is the library in an environment that lies in the project's folder."""
    return "site-packages" in folder.relative_to(ROOT).parts


def _tracked(root: Path) -> list[str] | None:
    """What git tracks; None where `root` is no checkout of its own, or there is no git."""
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=True,
                              text=True, encoding="utf-8").stdout
    try:
        if git("rev-parse", "--show-cdup").strip():  # a folder in another repository
            return None
        return [name for name in git("ls-files", "-z").split("\0") if name]
    except (OSError, subprocess.CalledProcessError, UnicodeDecodeError):
        return None


def _in_own_folders(root: Path) -> Iterator[Path]:
    for name in ABOVE:
        if (root / name).is_file():
            yield root / name
    for folder in FOLDERS:
        for path in (root / folder).rglob("*"):
            hidden = any(part.startswith(".") or part == "__pycache__"
                         for part in path.relative_to(root / folder).parts)
            if path.is_file() and not hidden:
                yield path


def _is_whole(path: Path) -> bool:
    if path.suffix in _PICTURES:
        return True
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".py":
            ast.parse(text)
    except (UnicodeDecodeError, SyntaxError, ValueError):
        return False
    return True
