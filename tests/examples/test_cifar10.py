"""The headline's example: what it says and leaves, its seeds, its resume, its recipe."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinynet import data, manual_seed, nn
from tinynet.train import History

ROOT = Path(__file__).resolve().parents[2]
QUICK = ["--data", "shapes", "--limit", "100"]


def loaded(name: str) -> Any:
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def example() -> Any:
    return loaded("cifar10")


@pytest.fixture(scope="module")
def finished(example: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of two seeds."""
    out = tmp_path_factory.mktemp("cifar10") / "out"
    assert example.main([*QUICK, "--seeds", "2", "--quiet", "--out", str(out)]) == 0
    return out


def test_two_seeds_leave_their_results(example: Any, finished: Path) -> None:
    result = json.loads((finished / "result.json").read_text())
    accuracies = [one["test_accuracy"] for one in result["runs"]]
    assert [one["seed"] for one in result["runs"]] == [0, 1] and result["n"] == 2
    assert result["mean"] == pytest.approx(np.mean(accuracies))
    assert result["spread"] == pytest.approx(np.std(accuracies, ddof=1))
    assert result["worst"] == min(accuracies) and result["dataset"] == "shapes"
    assert result["recipe"]["widths"] == [16, 32, 32] and result["views"] == 4
    assert set(result["machine"]) >= {"cpu", "cores", "python", "numpy", "tinynet"}
    for one in result["runs"]:
        folder = finished / f"seed-{one['seed']}"
        assert {path.name for path in folder.iterdir()} >= {
            "curves.png", "epochs.csv", "history.json", "model.safetensors", "report.md",
            "report.html", "result.json", "layers.json", "confusion.png"}
        card = (folder / "report.md").read_text()
        assert f"{one['test_accuracy']:.2%} right on 100 test pictures" in card
        assert "recipe: widths" in card and "machine: cores" in card and "groups.0" in card
        assert not (folder / "checkpoints").exists() and one["resumed"] is False
        history = History.load(folder / "history.json")
        assert [row["train_accuracy"] for row in one["epochs"]] == history["train_accuracy"]
        assert len(one["epochs"]) == 4 and one["stopped"] == "finished"
        assert one["seconds"] > 0 and one["cpu_seconds"] > 0 and "others" in one


def test_results_are_not_overwritten_and_seeds_are_added(
        example: Any, finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        example.main([*QUICK, "--out", str(finished)])
    assert "holds results: another --out, or --resume to add seeds" in capsys.readouterr().err
    before = (finished / "result.json").read_bytes()
    assert example.main([*QUICK, "--seeds", "2", "--resume", "--quiet", "--out",
                         str(finished)]) == 0  # both are there: nothing is done again
    assert (finished / "result.json").read_bytes() == before
    assert "(n = 2)" in capsys.readouterr().out


def test_a_run_that_was_cut_off_goes_on_bit_for_bit(
        example: Any, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    command = [*QUICK, "--seeds", "1", "--out", str(tmp_path)]

    def cut_off(self: Any, trainer: Any) -> None:
        if trainer.step == 3:  # in epoch 3; the checkpoint is of the end of epoch 2
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(example.FreezeWhitening, "on_step", cut_off)
        assert example.main(command) == 130
    said = capsys.readouterr().out
    assert "interrupted: the same command with --resume goes on; 0 seeds are done" in said
    assert "channels 16, 32, 32" in said and "expect less than with all pictures" in said
    with pytest.raises(SystemExit):
        example.main(command)
    assert "holds a run that was cut off: go on with --resume" in capsys.readouterr().err
    assert example.main([*command, "--resume"]) == 0
    assert "resumed from" in capsys.readouterr().out
    name = "seed-0/model.safetensors"
    assert (tmp_path / name).read_bytes() == (finished / name).read_bytes()
    assert json.loads((tmp_path / "result.json").read_text())["runs"][0]["resumed"] is True


def test_the_recipe_to_94_is_what_its_comments_say(example: Any) -> None:
    recipe = example.RECIPES["94"]
    manual_seed(0)
    pictures = np.random.default_rng(0).normal(size=(50, 3, 32, 32)).astype("float32")
    net = example.Net(recipe, pictures)
    assert sum(p.size for p in net.parameters()) == 1_972_792
    norms = [m for _, m in net.named_modules() if isinstance(m, nn.BatchNorm2d)]
    kept = (1 - norms[0].momentum) ** (recipe.batch / recipe.chunk)
    assert len(norms) == 6 and kept == pytest.approx(1 - 0.44)
    loader = example.make_loader(
        data.Dataset(np.zeros((50_000, 3, 2, 2), "uint8"), np.zeros(50_000, int),
                     tuple("0123456789"), "cifar10"), data.Normalize(0.0, 1.0), recipe, 0)
    steps = round((recipe.small + recipe.full) * len(loader))
    optimizer = example.make_optimizer(net, recipe, steps, 3 * len(loader))
    trained = {name for name, p in net.named_parameters() if p.requires_grad}
    held = [name for group in optimizer.param_groups for name in group["names"]]
    assert len(loader) == 33 and steps == 297
    assert set(held) == trained and len(held) == 6 + 1 + 6 + 1
    for group in optimizer.param_groups:  # lines that end at 0
        assert group["lr"](group["lr"].length) == 0.0
    assert net(example.tn.tensor(pictures[:2, :, :17, :17])).shape == (2, 10)


def test_small_pictures_come_first_and_views_are_four(example: Any) -> None:
    small = example.SmallAtFirst(17, epochs=2)
    pictures = np.zeros((3, 3, 33, 33), "float32")
    keys = np.zeros(3, "uint64")
    sides = [small.at(data.transform.Place(epoch, keys), pictures, keys).shape[-1]
             for epoch in range(4)]
    assert sides == [17, 17, 33, 33]
    rows = np.arange(36.0)[None, None, :, None] + np.zeros((1, 1, 36, 36))
    assert [float(view[0, 0, 0, 0]) for view in example.views(rows)] == [1, 1, 2, 2]
    columns = rows.swapaxes(2, 3)
    assert [float(view[0, 0, 0, 0]) for view in example.views(columns)] == [1, 33, 2, 34]


@pytest.mark.parametrize(("options", "message"), [
    (["--seeds", "0"], "--seeds must be at least 1, got 0"),
    (["--target", "93"], "invalid choice: '93'"),
    (["--data-dir", "nowhere"], "--data-dir nowhere is no folder"),
])
def test_wrong_options_are_named(example: Any, options: list[str], message: str,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        example.main(options)
    assert message in capsys.readouterr().err
