"""The lessons, solved, and examples/first_run.ipynb in a Jupyter kernel, with what they show.

    python -m pip install -e ".[notebook]"
    python -m tests.examples.notebooks                    what CI does, about a minute
    python -m tests.examples.notebooks --out executed     and keeps the notebooks, to look at

Each lesson has to end with its picture, and the first run to show its tables and pictures.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.project import ROOT, below

LESSONS = ROOT / "examples" / "lessons"
FIRST = ROOT / "examples" / "first_run.ipynb"
SMALLER = {"train=5000, test=500": "train=800, test=100", "split(500)": "split(100)",
           "epochs = 5": "epochs = 2"}


def texts() -> dict[str, str]:
    """Each notebook by its name; the first run with fewer pictures."""
    sys.path.insert(0, str(LESSONS))
    cells: Any = importlib.import_module("cells")
    grading: Any = importlib.import_module("grading")
    first = FIRST.read_text(encoding="utf-8")
    for wanted, smaller in SMALLER.items():
        assert first.count(wanted) == 1, wanted
        first = first.replace(wanted, smaller)
    found = {FIRST.stem: first}
    for path in below(LESSONS):
        if path.parent == LESSONS and path.name[:2].isdigit():
            whole = grading.solved(grading.read(path), grading.solution_of(path))
            found[path.stem] = cells.notebook(whole)
    return found


def kinds(book: Any) -> list[str]:
    """What the cells have shown, in order: "picture", "table" or "text"."""
    found = []
    for cell in book.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                found.append("picture")
            elif "text/html" in data:
                found.append("table")
            elif output.output_type != "stream":
                found.append("text")
    return found


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="a folder for the executed notebooks")
    out = parser.parse_args(argv).out
    import nbformat
    from jupyter_client import KernelManager
    from nbclient import NotebookClient

    path = os.pathsep.join([str(LESSONS), str(ROOT), os.environ.get("PYTHONPATH", "")])
    kernel = KernelManager(kernel_name="python3")  # one for all: its start takes the longest
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        kernel.start_kernel(cwd=folder, env={**os.environ, "PYTHONPATH": path})
        try:
            for name, text in texts().items():
                book = nbformat.reads(text, 4)
                nbformat.validate(book)
                forget = nbformat.v4.new_code_cell("%reset -f")
                book.cells.insert(0, forget)
                NotebookClient(book, km=kernel, timeout=600).execute(reset_kc=True)
                book.cells.remove(forget)
                shown = kinds(book)
                wanted = ["picture"]
                if name == FIRST.stem:
                    wanted = ["table", "picture", "table", "table", "picture", "table", "picture"]
                wrong += shown != wanted
                verdict = "as it should" if shown == wanted else f"and should {wanted}"
                print(f"{name:32} shows {', '.join(shown)}: {verdict}", flush=True)
                if out is not None:
                    out.mkdir(parents=True, exist_ok=True)
                    nbformat.write(book, out / f"{name}.ipynb")
        finally:
            kernel.shutdown_kernel(now=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
