"""The lecture's protocol as an example: its switches, and the papers beside its result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.examples.test_cifar10 import loaded
from tinynet import data, nn

QUICK = ["--data", "shapes", "--limit", "150", "--depth", "8", "--epochs", "2"]


@pytest.fixture(scope="module")
def example() -> Any:
    return loaded("cifar10_resnet")


def test_a_run_with_every_switch(example: Any, tmp_path: Path,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    switches = ["--survival", "0.5", "--dropout", "0.2", "--cutout", "8", "--mixup", "1",
                "--snapshots", "2"]
    assert example.main([*QUICK, *switches, "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "ResNet-8, 78,042 parameters, 2 epochs of 1 steps of 128" in said
    papers = [line for line in said.splitlines() if line.startswith("paper")]
    assert len(papers) == 5 and all("epochs" in line for line in papers)
    result = json.loads((tmp_path / "result.json").read_text())
    assert f"here    {100 * result['test_accuracy']:6.2f} %     2 epochs  ResNet-8" in said
    assert result["settings"]["mixup"] == 1.0 and len(result["papers"]) == 5
    assert {path.name for path in tmp_path.glob("snapshot-*")} == {
        "snapshot-1.safetensors", "snapshot-2.safetensors"}
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    assert (tmp_path / "report.html").exists() and f"look at {tmp_path / 'report.html'}" in said
    card = (tmp_path / "report.md").read_text()
    assert "# ResNet-8 on shapes" in card and "right on 150 test pictures" in card
    assert "papers: 1 " in card and "accuracy 94.8, epochs 500" in card


def test_each_switch_does_what_it_says(example: Any) -> None:
    args = example.arguments(["--dropout", "0.3", "--survival", "0.8", "--cutout", "16",
                              "--mixup", "0.2"])
    model = example.make_model(args)
    blocks = [m for _, m in model.named_modules() if isinstance(m, nn.ResidualBlock)]
    assert len(blocks) == 9 and blocks[-1].p == pytest.approx(0.2)
    assert isinstance(model[-2], nn.Dropout) and isinstance(model[-1], nn.Linear)
    training, test = data.load_shapes(train=200, test=20)
    loader, watched, tested = example.make_loaders(args, training, test)
    assert isinstance(loader.batch_transform, data.Mixup)
    assert isinstance(loader.transform.transforms[-1], data.Cutout)
    assert (len(loader.images), len(watched.images), len(tested.images)) == (180, 20, 20)
    plain = example.arguments([])
    assert example.make_model(plain).num_parameters() == 272_474  # ResNet-20 of the paper


def test_the_rate_falls_by_steps_by_a_cosine_or_in_cycles(example: Any) -> None:
    def rates(*options: str) -> list[float]:
        schedule = example.make_schedule(example.arguments([*options]), 100)
        return [round(schedule(t), 4) for t in (0, 49, 50, 75, 99)]

    assert rates() == [0.1, 0.1, 0.01, 0.001, 0.001]
    assert rates("--schedule", "cosine") == [0.1, 0.0516, 0.05, 0.0146, 0.0]
    assert rates("--snapshots", "2") == [0.1, 0.0001, 0.1, 0.05, 0.0001]


def test_the_papers_figure_stands_beside_the_depth(example: Any) -> None:
    (paper,) = example.papers(example.arguments(["--depth", "20"]))
    assert paper == (91.25, 164, "ResNet-20 (He et al. 2016)")
    assert example.papers(example.arguments(["--depth", "8"])) == []


@pytest.mark.parametrize(("options", "message"), [
    (["--epochs", "0"], "--epochs must be at least 1, got 0"),
    (["--survival", "0"], "--survival is in (0, 1]"),
    (["--depth", "21"], "invalid choice: 21"),
])
def test_wrong_options_are_named(example: Any, options: list[str], message: str,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        example.main(options)
    assert message in capsys.readouterr().err


def test_an_interrupted_run_goes_on(example: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    command = [*QUICK, "--quiet", "--out", str(tmp_path)]

    class Cut(example.train.Checkpoints):  # type: ignore[misc, name-defined]
        def at_rest(self, trainer: Any) -> None:
            super().at_rest(trainer)
            if trainer.epoch == 1:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(example.train, "Checkpoints", Cut)
        assert example.main(command) == 130
    with pytest.raises(SystemExit):
        example.main(command)
    assert "holds an earlier run: go on with --resume" in capsys.readouterr().err
    assert example.main([*command, "--resume"]) == 0
    assert "2 epochs  ResNet-8" in capsys.readouterr().out
