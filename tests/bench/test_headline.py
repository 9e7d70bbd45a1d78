"""What README says of the headline is what the committed result files hold."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path
from typing import Any

import pytest

from tests.examples.test_cifar10 import loaded
from tests.project import below

ROOT = Path(__file__).resolve().parents[2]
FILES = below(ROOT / "bench" / "headline", "*.json")


def rows() -> dict[str, str]:
    """The lines of README's tables that name a result file, by its name."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    found = {}
    for line in lines:
        for name in re.findall(r"`bench/headline/([\w-]+\.json)`", line):
            found[name] = line
    return found


def test_every_file_stands_in_readme_and_readme_names_no_other() -> None:
    assert FILES and set(rows()) == {file.name for file in FILES}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_readme_says_what_the_file_holds(file: Path) -> None:
    result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    row = rows()[file.name]
    assert re.findall(r"([\d.]+) % of the 10,000 test pictures", row) == [
        f"{100 * result['mean']:.2f}"]
    assert re.findall(r"n = (\d+)", row) == [str(result["n"])]
    command = f"python examples/cifar10.py --target {result['target']}"
    assert command in row and result["command"].startswith(command)
    times = {int(text.replace(",", "")) for text in re.findall(r"([\d,]+) s\b", row)}
    left_alone = loaded("cifar10").left_alone
    quiet = {round(one["seconds"]) for one in result["runs"] if left_alone(one)}
    assert times <= quiet, "README tells a time that is in no run of a machine left alone"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_result_file_agrees_with_itself_and_with_the_recipe(file: Path) -> None:
    result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    accuracies = [one["test_accuracy"] for one in result["runs"]]
    assert result["dataset"] == "cifar10" and result["test_pictures"] == 10_000
    assert result["train_pictures"] == 50_000 and result["n"] == len(accuracies)
    assert result["mean"] == pytest.approx(statistics.fmean(accuracies))
    assert result["worst"] == min(accuracies)
    recipe = loaded("cifar10").RECIPES[result["target"]]._asdict()
    del recipe["expect"]
    recipe["widths"] = list(recipe["widths"])
    assert recipe == {name: result["recipe"][name] for name in recipe}
    for one in result["runs"]:
        assert one["stopped"] == "finished"
        assert sum(row["seconds"] for row in one["epochs"]) <= one["seconds"]
        assert len(one["epochs"]) == -(-(recipe["small"] + recipe["full"]) // 1)
    notebook = (ROOT / "bench" / "HEADLINE.md").read_text(encoding="utf-8")
    assert f"`bench/headline/{file.name}`" in notebook
    assert all(f"{100 * accuracy:.2f} %" in notebook for accuracy in accuracies)
