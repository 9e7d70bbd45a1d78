"""Every command that README.md and examples/README.md show: its script is there, its options too.

Nothing is trained: scripts are asked for `--help`, and modules for their source.
"""

from __future__ import annotations

import importlib.util
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

import tinynet

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "examples/README.md")
# of code spans and code blocks: `NAME=value` and `mpiexec -n 2` may stand before it
_COMMAND = re.compile(r"\bpython (?:-m [\w.]+|examples/[\w/]+\.py)[^`\n]*")
OTHERS = {"venv", "pip", "pytest"}  # their options are not this project's
YOURS = {"mpi4py.futures"}  # runs a script of the reader


def commands() -> list[str]:
    found = set()
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        # a span may go over the end of a line
        spans = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        blocks = re.findall(r"```\n(.*?)```", text, re.DOTALL)
        for piece in [*(" ".join(span.split()) for span in spans), *blocks]:
            for command in _COMMAND.findall(piece):
                found |= {part.strip() for part in command.split("&&") if "python" in part}
    return sorted(found)


def options(words: list[str]) -> list[str]:
    return [word.partition("=")[0] for word in words if word.startswith("-")]


def known(script: Path, monkeypatch: pytest.MonkeyPatch,
          capsys: pytest.CaptureFixture[str]) -> set[str]:
    """The options that a script's parser tells."""
    monkeypatch.setattr(sys, "argv", [script.name, "--help"])
    monkeypatch.syspath_prepend(str(script.parent))
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(script), run_name="__main__")
    assert caught.value.code == 0
    return set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", capsys.readouterr().out))


def test_the_pages_show_many_commands() -> None:
    found = commands()
    assert len(found) > 40
    assert "python examples/cifar10.py --target 85" in found
    assert any("-m mpi4py examples/train_cifar10.py --distributed" in one for one in found)


@pytest.mark.parametrize("command", commands())
def test_a_command_names_what_is_there(command: str, monkeypatch: pytest.MonkeyPatch,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(command)[1:]
    if words[0] == "-m" and words[1] != "mpi4py":
        module, rest = words[1], words[2:]
        if module in OTHERS | YOURS:
            return
        spec = importlib.util.find_spec(module)
        assert spec is not None and spec.origin is not None, f"there is no module {module}"
        file = Path(spec.origin)
        main = file.with_name("__main__.py") if file.name == "__init__.py" else file
        source = main.read_text(encoding="utf-8")
        if module == "tinynet" and rest:
            assert f'add_parser("{rest[0]}"' in source, f"there is no command {rest[0]}"
        missing = [option for option in options(rest) if option not in source]
        assert not missing, f"{module} does not know {missing}"
        return
    words = words[2:] if words[0] == "-m" else words
    script = ROOT / words[0]
    assert script.is_file(), f"there is no {words[0]}"
    if script.stem == "sklearn_estimator":
        pytest.importorskip("sklearn", reason="needs scikit-learn: pip install scikit-learn")
    told = known(script, monkeypatch, capsys)
    missing = [option for option in options(words[1:]) if option not in told]
    assert not missing, f"{words[0]} does not know {missing}"


def test_the_names_that_readme_compares_are_tinynets() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.partition("## Coming from elsewhere")[2].partition("\n\nWhat goes")[0]
    named = set(re.findall(r"\btn\.([\w.]+)", table))
    assert {"tensor", "grad", "calculus.hessian", "calculus.jvp", "gradcheck"} <= named
    for name in named:
        owner, _, inner = name.rpartition(".")
        assert inner in dir(getattr(tinynet, owner) if owner else tinynet), name


def test_the_derivatives_that_readme_promises_are_exact() -> None:
    x = tinynet.tensor(2.0, dtype="float64", requires_grad=True)
    y, orders = x**5, []
    for _ in range(5):
        y = tinynet.grad(y, x, create_graph=True)
        orders.append(y.item())
    assert orders == [80.0, 160.0, 240.0, 240.0, 120.0]
    hessian = tinynet.calculus.hessian(lambda z: (z**3).sum(), [2.0, 3.0])
    assert hessian.numpy().tolist() == [[12.0, 0.0], [0.0, 18.0]]
