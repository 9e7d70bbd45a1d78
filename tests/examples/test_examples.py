"""The examples run as their texts say, from the command line, on little data."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.project import below
from tinynet import data, models
from tinynet.train import load_model

Run = Callable[..., "subprocess.CompletedProcess[str]"]
QUICK = ("examples/train_cifar10.py", "--data", "shapes", "--limit", "300", "--epochs", "2")
LONG = "takes minutes on the emulated device; test_the_same_code_runs_on_cupy is short"


def test_hello_autograd_prints_what_its_readme_says(run_python: Run, root: Path) -> None:
    result = run_python("examples/hello_autograd.py")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    # g and its gradient are the numbers of micrograd's README; d2g/da2 is PyTorch's
    assert lines == ["g = 24.7041   dg/da = 138.8338   dg/db = 645.5773", "d2g/da2 = 409.9958"]
    for readme in ("README.md", "examples/README.md"):
        text = (root / readme).read_text(encoding="utf-8")
        assert all(line in text for line in lines), f"{readme} lacks the output of hello_autograd"


def test_hello_autograd_is_short(root: Path) -> None:
    text = (root / "examples" / "hello_autograd.py").read_text()
    code = [line for line in text.splitlines() if line and not line.startswith(('"""', "import",
                                                                                "from"))]
    assert len(code) <= 15


@pytest.mark.numpy_only(LONG)
def test_plain_loop_learns(root: Path, monkeypatch: pytest.MonkeyPatch,
                           capsys: pytest.CaptureFixture[str]) -> None:
    small = data.load_shapes(train=640, test=250)
    monkeypatch.setattr(data, "load_shapes", lambda train, test: small)
    monkeypatch.setattr(sys, "argv", ["plain_loop.py"])
    runpy.run_path(str(root / "examples" / "plain_loop.py"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["epoch", str(i)] for i in range(1, 5)]
    losses = [float(line.split()[3]) for line in lines]
    assert losses[-1] < losses[0]


def test_the_blocks_of_the_readme_run_as_they_stand(
        root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(20):
        path = tmp_path / "pictures" / ("cat", "dog")[i % 2] / f"{i + 1}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (200 * (i % 2), 9 * (i % 7), 10 * i)).save(path)
    monkeypatch.chdir(tmp_path)
    text = (root / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 6
    for block in blocks:  # each is whole: it runs when it alone is pasted
        space: dict[str, object] = {}
        exec(compile(block, "README.md", "exec"), space)
        if "loss" in space:
            loss = space["loss"]
        if "history" in space:
            losses = space["history"].epochs["val_loss"]  # type: ignore[attr-defined]
            assert losses[-1] < losses[0]
    said = capsys.readouterr().out
    assert "g = 24.7041" in said and "cat" in said
    assert 0.0 < loss.item() < 10.0  # type: ignore[attr-defined]


def test_the_readme_lists_every_example_and_no_other(root: Path) -> None:
    text = (root / "examples" / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"python examples/(\w+\.py)", text))
    folder = root / "examples"
    assert named == {path.name for path in below(folder) if path.parent == folder}


@pytest.mark.emulated
def test_the_same_code_runs_on_cupy(run_python: Run, tmp_path: Path) -> None:
    result = run_python(*QUICK[:3], "--limit", "24", "--epochs", "1", "--out", str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert "epoch   1/1" in result.stdout
    model = models.small_conv_net()
    load_model(tmp_path / "model.safetensors", model)


@pytest.mark.parametrize("options, message", [
    (["--data", "cifar"], "invalid choice: 'cifar'"),
    (["--data", "cifar10", "--data-dir", "not/there"], "--data-dir not/there is no folder"),
    (["--epochs", "0"], "must be at least 1, got 0"),
    (["--lr", "-1"], "--lr must be positive, got -1.0"),
])
def test_train_cifar10_refuses_wrong_options(run_python: Run, tmp_path: Path, options: list[str],
                                             message: str) -> None:
    result = run_python("examples/train_cifar10.py", "--out", str(tmp_path), *options)
    assert result.returncode == 2 and message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("content, message", [
    (None, "is no folder"), (b"x", "has 1 bytes instead")])
def test_train_cifar10_names_data_that_cannot_be_used(
        run_python: Run, tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "cifar").mkdir()
        for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
            (tmp_path / "cifar" / f"{name}.bin").write_bytes(content)
    result = run_python("examples/train_cifar10.py", "--out", str(tmp_path / "run"),
                        env={"TINYNET_DATA": str(tmp_path / "cifar")})
    assert result.returncode == 2 and str(tmp_path / "cifar") in result.stderr
    assert message in result.stderr and "Traceback" not in result.stderr


def test_without_data_and_network_auto_falls_back_and_says_so(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[Any],
        root: Path) -> None:
    import importlib.util

    spec = importlib.util.spec_from_file_location("example", root / "examples/train_cifar10.py")
    assert spec is not None and spec.loader is not None
    example: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)

    def no_network(root: Path | None = None) -> None:
        raise data.DownloadError("no connection to example.org: no answer within 5 s")

    monkeypatch.setattr(data, "load_cifar10", no_network)
    train, test = example.load(example.arguments(["--limit", "20", "--out", str(tmp_path)]))
    assert train.name == "shapes" and len(train) == len(test) == 20
    said = capsys.readouterr().out
    assert "no answer within 5 s\nUsing the built-in set `shapes` instead" in said
    assert example.main(["--data", "cifar10", "--out", str(tmp_path)]) == 2
    assert "error: no connection" in capsys.readouterr().err


def test_a_cache_that_cannot_be_written_is_no_reason_not_to_train(
        run_python: Run, tmp_path: Path) -> None:
    """As in a container with a read-only home; said before any network is asked."""
    (tmp_path / "file").touch()
    closed = str(tmp_path / "file" / "cache")
    done = run_python("examples/train_cifar10.py", "--limit", "40", "--epochs", "1", "--out",
                      str(tmp_path / "out"),
                      env={"HOME": closed, "XDG_CACHE_HOME": closed, "TINYNET_DATA": ""})
    assert done.returncode == 0, done.stderr
    assert "cannot be written" in done.stdout and "set TINYNET_DATA to the folder" in done.stdout
    assert "Using the built-in set `shapes` instead" in done.stdout
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert result["dataset"] == "shapes"


def test_a_folder_that_cannot_be_is_refused_before_training(
        run_python: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run_python("examples/train_cifar10.py", "--data", "shapes", "--limit", "200",
                      "--out", str(tmp_path / "file"))
    assert done.returncode == 2 and "error:" in done.stderr and "expect" not in done.stdout


SCRIPTS = sorted(path.name for path in (Path(__file__).parents[2] / "examples").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("option", ["--help", "--hlep"])
def test_every_script_explains_itself_and_refuses_a_misspelled_option(
        script: str, option: str, root: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    if script == "sklearn_estimator.py":
        pytest.importorskip("sklearn", reason="needs scikit-learn: pip install scikit-learn")
    needed = ["runs/x", "my.png"] if script == "predict.py" else []
    monkeypatch.setattr(sys, "argv", [script, *needed, option])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(root / "examples" / script), run_name="__main__")
    said = capsys.readouterr()
    if option == "--help":
        assert caught.value.code == 0 and said.out.startswith("usage: ")
    else:
        assert caught.value.code == 2 and "--hlep" in said.err and not said.out
