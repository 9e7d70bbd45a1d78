"""choose_hyperparameters.py and random_vs_grid.py: tiny runs, cut off and resumed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from examples import choose_hyperparameters, random_vs_grid
from tinynet import data, models, random, to_numpy

pytestmark = pytest.mark.numpy_only("it trains for minutes where the device is emulated")


def test_H7_the_recipe_on_pictures_stops_and_goes_on(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
        ) -> None:
    def easy(which: str, n: int) -> data.Dataset:
        """Every class has a bright band in its place: no convolutions are needed for that."""
        labels = np.arange(n) % 10
        band = np.arange(32) // 3 == labels[:, None]
        noise = to_numpy(random.integers(random.key(0), 0, 100, (n, 3, 32, 32)))
        return data.from_arrays((noise + 100 * band[:, None, :, None]).astype("uint8"), labels,
                                name="shapes")

    monkeypatch.setattr(choose_hyperparameters, "pictures", easy)
    monkeypatch.setattr(models, "small_conv_net",
                        lambda num_classes: models.mlp([3072, 16, num_classes]))
    monkeypatch.setitem(choose_hyperparameters.PLANS, True, {
        "coarse_epochs": 1, "fine_epochs": 3, "fine_trials": 2, "rounds": 1})
    command = ["--data", "shapes", "--pictures", "700", "--quick", "--out", str(tmp_path)]
    assert choose_hyperparameters.main([*command, "--minutes", "0.001"]) == 0
    first = capsys.readouterr().out
    assert "shapes, 500 + 200 pictures; at most 0.001 minutes" in first
    assert "the budget was used up" in first
    assert choose_hyperparameters.main(command) == 0
    second = capsys.readouterr().out
    for step in range(1, 8):
        assert f"Step {step}, " in second
    ran = [line for line in second.splitlines() if line.endswith(" min left")]
    assert len(ran) == 11 + 2 and ran[0].startswith("    2/12  lr ")  # the first one was done
    assert ran[-1].startswith("    2/2  lr ") and ran[-1].endswith("about 0.0 min left")
    assert [line for line in first.splitlines() if line.startswith(("Step 2", "Step 3"))] == \
        [line for line in second.splitlines() if line.startswith(("Step 2", "Step 3"))]
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["fault"] == "" and result["stopped"] == "1 round is done"
    assert set(result["best"]) == {"lr", "weight_decay", "score"}
    report = (tmp_path / "report.html").read_text()
    assert report.count("<h2>") == 7 and "shapes, 500 + 200 pictures" in report
    assert choose_hyperparameters.main([*command, "--seed", "1"]) == 2
    assert "belongs to another run" in capsys.readouterr().err


def test_H8_random_against_grid_by_real_trainings(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
        ) -> None:
    short = random_vs_grid.QUICK._replace(validation=100, epochs=1)
    monkeypatch.setattr(random_vs_grid, "QUICK", short)
    command = ["--data", "shapes", "--quick", "--pictures", "100", "--sweep", "3",
               "--out", str(tmp_path)]
    assert random_vs_grid.main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == ("shapes: 100 pictures to train on, 100 to judge by; 21 trainings of 1 "
                        "epochs, 0 are done")
    ran = [line for line in lines if line.endswith(" min left")]
    assert [line[:6] for line in ran] == [f"{i:3}/21" for i in range(1, 22)]
    assert ran[-1].endswith("about 0.0 min left")
    assert any(line.startswith("grid    3 learning rates, best ") for line in lines)
    assert any(line.startswith("random  9 learning rates, best ") for line in lines)
    assert (tmp_path / "random_vs_grid.png").stat().st_size > 20_000
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["dataset"], result["pictures"]) == ("shapes", 100)
    assert f"best {result['random']['score']:.1%}" in lines[-3] and 0 <= result["random wins"] <= 1
    assert random_vs_grid.main(command) == 0
    again = capsys.readouterr().out.splitlines()
    assert again == [lines[0].replace("0 are done", "21 are done"), *lines[22:]]  # no training
    assert random_vs_grid.main([*command, "--pictures", "101"]) == 2
    assert "belongs to another run: pictures is 100 there and 101" in capsys.readouterr().err
    for wrong in (["--workers", "0"], ["--sweep", "1"], ["--pictures", "0"]):
        with pytest.raises(SystemExit):
            random_vs_grid.main([*command, *wrong])
        assert f"{wrong[0]} must be at least " in capsys.readouterr().err
