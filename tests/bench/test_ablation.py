"""The ablation: every change is made, runs go on where they stopped, sentences say no more."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import ablation
from tinynet import data, functional as F, nn, optim, tune

QUICK = ["--data", "shapes", "--limit", "64", "--seeds", "2"]


@pytest.fixture(scope="module")
def pictures() -> data.Dataset:
    return data.load_shapes(train=64, test=8)[0]


def assembled(name: str, pictures: data.Dataset) -> Any:
    change = ablation.changes()[name]
    return ablation.assemble(change, ablation.example().RECIPES["shapes"], pictures, seed=0)


@pytest.mark.parametrize("name", ablation.changes())
def test_every_change_can_be_trained(name: str, pictures: data.Dataset) -> None:
    parts = assembled(name, pictures)
    batch, labels = next(iter(parts.loader))
    outputs = parts.net(ablation.tn.tensor(np.asarray(batch)))
    F.cross_entropy(outputs, labels).backward()
    held = {n for group in parts.trainer.optimizer.param_groups for n in group["names"]}
    trained = {n for n, p in parts.net.named_parameters() if p.requires_grad}
    assert held == trained and outputs.shape == (64, 10)


def test_changes_do_what_they_say(pictures: data.Dataset) -> None:
    usual = assembled("recipe", pictures)
    white = usual.net.white.weight.numpy()
    assert not usual.net.white.weight.requires_grad
    other = assembled("no whitening", pictures).net.white.weight
    assert other.requires_grad and np.abs(other.numpy()).max() <= 12 ** -0.5
    assert not np.array_equal(white, other.numpy())
    convolution = usual.net.groups[0].weight.numpy()
    assert convolution[0, 0, 1, 1] == 1.0 and convolution[0].sum() == 1.0
    plain = assembled("no identity", pictures).net
    assert plain.groups[0].weight.numpy()[0, 0, 1, 1] != 1.0
    assert np.array_equal(plain.white.weight.numpy(), white)
    assert isinstance(assembled("no muon", pictures).trainer.optimizer.optimizers[0], optim.SGD)
    kinds = [type(step).__name__ for step in
             assembled("no jitter", pictures).loader.transform.transforms]
    assert "LightJitter" not in kinds and "RandomCrop" in kinds
    assert isinstance(assembled("dropout .1", pictures).net.groups[-1], nn.Dropout)
    assert assembled("batch norm of 512", pictures).trainer.chunk == 512
    assert assembled("no small pictures", pictures).epochs == 3.3


def test_runs_go_on_and_leave_table_figure_and_sentences(
        tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
        ) -> None:
    seen: list[Any] = []
    accuracies = {"recipe": (0.90, 0.92), "one view": (0.88, 0.90)}

    def run(change: Any, recipe: Any, sets: Any, seed: int, callbacks: Any = ()) -> Any:
        name = "one view" if change.views == 1 else "recipe"
        seen.append((name, seed))
        return {"accuracy": accuracies[name][seed], "train_loss": 1.0, "seconds": 1.0,
                "cpu_seconds": 2.0}

    monkeypatch.setattr(ablation, "run", run)
    command = [*QUICK, "--only", "view", "--out", str(tmp_path)]
    ablation.main([*command, "--minutes", "0"])
    assert seen == [("recipe", 0)] and "The minutes are over" in capsys.readouterr().out
    rows = ablation.main(command)
    assert seen == [("recipe", 0), ("one view", 0), ("recipe", 1), ("one view", 1)]
    assert [row.name for row in rows] == ["recipe", "one view"]
    assert rows[1].difference == pytest.approx(-2.0) and rows[1].n == 2
    said = capsys.readouterr().out
    assert "The recipe reaches 91.00 % (n = 2)." in said
    with (tmp_path / "ablation.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["name"] for row in table] == ["recipe", "one view"]
    assert table[1]["difference"] == "-2" and table[1]["sentence"] == rows[1].sentence
    assert (tmp_path / "ablation.png").stat().st_size > 5_000


def test_a_real_run_of_a_change_ends_in_numbers() -> None:
    sets = data.load_shapes(train=64, test=20)
    found = ablation.run(ablation.changes()["averaged weights"],
                         ablation.example().RECIPES["shapes"], sets, seed=0)
    assert 0.0 <= found["accuracy"] <= 1.0 and math.isfinite(found["train_loss"])


@pytest.mark.parametrize(("difference", "error", "says"), [
    (-0.8, 0.1, "costs 0.80 points"), (0.8, 0.1, "gains 0.80 points"),
    (-0.8, 0.5, "a difference was not seen"), (-0.8, math.nan, "in one seed, which says little"),
])
def test_a_sentence_says_what_the_seeds_allow(difference: float, error: float, says: str) -> None:
    row = ablation.Row("no muon", 3, 90.0, 0.2, difference, error, 100.0)
    assert says in row.sentence


def test_a_change_without_the_recipes_seed_has_no_row() -> None:
    journal = tune.Journal(None)
    journal.add("no muon | 0", {"accuracy": 0.5, "cpu_seconds": 1.0})
    journal.add("recipe | 1", {"accuracy": 0.5, "cpu_seconds": 1.0})
    assert [row.name for row in ablation.table(journal, ["recipe", "no muon"], 3)] == ["recipe"]
