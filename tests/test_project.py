"""The tests belong to the project, not to the folder that it stands in."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.project import ROOT, below, files, texts

OWN = {
    "README.md": "# It\n", "pyproject.toml": "", "tinynet/__init__.py": "", "tinynet/nn/a.py": "",
    "tests/test_a.py": "x = 1\n", "examples/a.py": "y = 1\n", "bench/results.png": b"\x89PNG\xff",
}
JUNK = {
    "photo.jpg": b"\xff\xd8\xff\x00", "notes": b"\xff\xfe\x00", "half.py": "def f(:\n",
    "env/bin/python": b"\x7fELF\xff", "env/lib/site-packages/x.py": "def f(:\n",
    ".v/pyvenv.cfg": b"\xff\x00", "Untitled.ipynb": "{", "my data/grün.txt": b"\xff\xff",
    "examples/mine.py": "print(\n", "tinynet/scratch.py": "x = (\n", "tests/mine.txt": b"\xff\xff",
    "tests/test_mine.py": "def f(:\n", "runs/shapes/checkpoints/step-00000100.x": b"\xff",
    "tinynet/.ipynb_checkpoints/a-checkpoint.py": "x = 1\n",
}


def write(root: Path, contents: dict[str, str | bytes]) -> None:
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def names(root: Path) -> set[str]:
    files.cache_clear()
    return {path.relative_to(root).as_posix() for path in files(root)}


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "clone"
    write(root, OWN)
    git(root, "init", "-q")
    git(root, "add", ".")
    write(root, JUNK)
    return root


def test_in_a_checkout_it_is_what_git_tracks(checkout: Path) -> None:
    assert names(checkout) == set(OWN)
    assert dict(texts(checkout))[checkout / "README.md"] == "# It\n"
    (checkout / "examples" / "a.py").unlink()  # removed, and not yet told
    assert names(checkout) == set(OWN) - {"examples/a.py"}


def test_what_one_has_committed_of_ones_own_beside_it_is_not_the_projects(checkout: Path) -> None:
    git(checkout, "add", "photo.jpg", "half.py", "my data")
    assert names(checkout) == set(OWN)


@pytest.mark.parametrize("where", ["nowhere", "another repository"])
def test_elsewhere_it_is_what_can_be_read_in_its_own_folders(checkout: Path, where: str) -> None:
    """An unpacked archive; and one that was unpacked in a repository of the user's."""
    shutil.rmtree(checkout / ".git")
    if where == "another repository":
        git(checkout.parent, "init", "-q")
    assert names(checkout) == set(OWN)


def test_without_git_it_is_the_same(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert names(checkout) == set(OWN)


def test_a_folder_outside_the_project_is_taken_as_it_is(tmp_path: Path) -> None:
    write(tmp_path, {"b.py": "", "a/c.py": "", "d.txt": ""})
    assert below(tmp_path) == [tmp_path / "a" / "c.py", tmp_path / "b.py"]


def test_every_test_that_reads_the_project_asks_for_its_files() -> None:
    """A glob over a folder of the project would meet what else lies there."""
    glob = re.compile(r"\b(?:ROOT|LIBRARY|TESTS|FOLDER|root|library|package)\b[^\n]*\.r?glob\(")
    found = [f"{path.name}: {match[0]}" for path in below(ROOT / "tests", "*.py")
             if path.name not in ("project.py", "test_project.py")
             for match in glob.finditer(path.read_text(encoding="utf-8"))]
    assert not found


def test_the_projects_own_files_are_there() -> None:
    files.cache_clear()
    own = names(ROOT)
    assert {"README.md", "tinynet/tensor.py", "tests/test_tensor.py", "bench/results.png"} <= own
    assert len(own) > 300
