"""Each committed result names the code that it was measured with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import results
from tests.results import ROOT
from tests.results.__main__ import main, malformed, results as names
from tests.results.code import LINE, code_of, digest, files_of, line


def test_every_result_ends_with_the_hash_of_its_code() -> None:
    wrong = [f"{name}: {complaint}" for name in names() if (complaint := malformed(name))]
    assert names() and not wrong, "\n".join(wrong)


def test_comments_docstrings_and_blank_lines_do_not_count() -> None:
    plain = 'x = "#1"\ndef f(a):\n    return a\nclass C:\n    y = 2\n'
    text = '"""What."""\n\nx = "#1"  # why\n# so\ndef f(a):\n    """How.\n\n    Long."""\n' \
           '    return a  \n\nclass C:\n    """It."""\n    y = 2\n'
    assert code_of(text) == code_of(plain) == plain.rstrip("\n")
    assert code_of(plain.replace("#1", "#2")) != code_of(plain)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project: a script, what it imports, and what it does not."""
    texts = {
        "examples/run.py": "import tinynet as tn\nfrom tinynet import nn\nimport numpy\n",
        "tinynet/__init__.py": "from . import nn, viz\n",
        "tinynet/nn/__init__.py": "from .layers import Linear as Linear\n",
        "tinynet/nn/layers.py": "def f():\n    from ..kernels import conv\n",
        "tinynet/kernels/__init__.py": "",
        "tinynet/kernels/conv.py": "from .. import backend\n",
        "tinynet/backend.py": "x = 1\n",
        "tinynet/viz.py": "x = 1\n",
    }
    for name, text in texts.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_result_depends_on_all_that_its_script_imports_and_on_no_more(project: Path) -> None:
    found = {path.relative_to(project).as_posix()
             for path in files_of(project / "examples" / "run.py", project)}
    everything = {path.relative_to(project).as_posix() for path in project.rglob("*.py")}
    assert found == everything - {"tinynet/viz.py"}


@pytest.mark.parametrize(("changed", "text", "same"), [
    ("tinynet/backend.py", "x = 2\n", False),
    ("tinynet/backend.py", "x = 1  # one\n", True),
    ("examples/run.py", "import tinynet as tn\n", False),
    ("tinynet/viz.py", "x = 2\n", True),
])
def test_the_hash_changes_with_the_code(project: Path, changed: str, text: str,
                                        same: bool) -> None:
    before = line("examples/run.py", project)
    assert LINE.fullmatch(before)
    (project / changed).write_text(text)
    assert (line("examples/run.py", project) == before) is same


def test_a_saved_result_is_current_and_a_changed_one_stale(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    for module in (results, results.__main__):
        monkeypatch.setattr(module, "FOLDER", tmp_path)
    script = "bench/second_order.py"
    results.save("new", "A title", "A text.", script)
    text = (tmp_path / "new.md").read_text(encoding="utf-8")
    assert text.startswith("# A title\n\nPython ") and "\n\nA text.\n\nCode `" in text
    code = digest(script, ROOT)
    (tmp_path / "old.md").write_text(text.replace(code, "0123456789ab"))
    (tmp_path / "bare.md").write_text("# A title\n")
    (tmp_path / "lost.md").write_text(text.replace(script, "bench/gone.py"))
    main([])
    said = [line.split(maxsplit=3) for line in capsys.readouterr().out.splitlines()[1:]]
    assert said == [
        ["bare", "?", "?", "ends with '# A title', not with a line `Code ...`"],
        ["lost", "?", "?", "its script bench/gone.py is gone"],
        ["new", script, code, "current"],
        ["old", script, "0123456789ab", "stale"],
    ]
    main([script])
    assert capsys.readouterr().out == line(script, ROOT) + "\n"
