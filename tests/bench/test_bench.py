"""The benchmark: contenders take turns and are compared; results replace what they replace."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as command, nets, optimizers, report
from bench.drive import Contender, Line, Work, compare, with_ratios
from tinynet.kernels import update


def lines(tinynet: float, torch: float, run: int = 0) -> list[Line]:
    return with_ratios([
        {"contender": name, "label": name.title(), "version": f"{name} 1", "median": median,
         "seconds": [median] * 3, "peak_mb": 70.0 + run, "import_mb": 20.0, "run": run}
        for name, median in (("tinynet", tinynet), ("torch", torch), ("slow", 1.0))])


@pytest.mark.numpy_only("times processes on the CPU")
def test_contenders_take_turns(capsys: pytest.CaptureFixture[str]) -> None:
    contenders = [Contender("tinynet", "tinynet"), Contender("nobody", "Nobody")]
    (found,) = compare(contenders, Work("S", batch=2, cores=1), rounds=2, runs=1)
    assert "Nobody: left out (ModuleNotFoundError" in capsys.readouterr().err
    assert len(found["seconds"]) >= 2
    assert len(found["losses"]) == 3
    assert found["peak_mb"] > found["import_mb"] > 5
    assert found["ratio"] == found["tinynet_ratio"] == 1
    assert found["version"].startswith("tinynet ")


@pytest.mark.numpy_only("times processes on the CPU")
def test_updates_are_compared_by_all_weights() -> None:
    both = [c for c in optimizers.CONTENDERS if c.name.startswith("tinynet")]
    lines = optimizers.measure("SGD", 1, both)
    assert [line["contender"] for line in lines] == ["tinynet", "tinynet-plain"]
    assert all(len(line["seconds"]) >= 3 for line in lines)
    assert len(set(lines[0]["losses"])) == 3, "every step moves the weights"


@pytest.mark.numpy_only("updates on the CPU are what is timed")
@pytest.mark.parametrize("rule", ["SGD", "Adam"])
def test_every_weight_is_compared(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    both = [c for c in optimizers.CONTENDERS if c.name.startswith("tinynet")]
    shapes = [(16, 3, 3, 3), (16,), (508, 512)]  # enough to be cut into blocks
    monkeypatch.setattr(nets, "shapes", lambda: shapes)
    optimizers.agree(rule, both)
    run = update.run

    def without_one_number(updates: Sequence[update.Update]) -> None:
        """The last weight of each array that is updated in place is left as it is."""
        run([one._replace(rows=[row[:-1] for row in one.rows]) for one in updates])

    monkeypatch.setattr(update, "run", without_one_number)
    with pytest.raises(AssertionError, match=f"{rule}, tinynet, plain rule: weights differ by 0"):
        optimizers.agree(rule, both)


def test_updates_that_differ_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [{"label": label, "losses": [1.0, x], "peak_mb": 1.0} for label, x in (("a", 2.0),
                                                                                 ("b", 2.1))]
    monkeypatch.setattr(optimizers, "compare", lambda *_: found)
    with pytest.raises(AssertionError, match=r"SGD, b: the sums of all \|x\| are \[1.0, 2.1\]"):
        optimizers.measure("SGD")


def test_ratios() -> None:
    tinynet, torch, slow = lines(0.1, 0.2)
    assert (tinynet["ratio"], torch["ratio"], slow["ratio"]) == (0.5, 1, 5)
    assert (tinynet["tinynet_ratio"], torch["tinynet_ratio"], slow["tinynet_ratio"]) == (1, .5, .1)


def test_table_has_the_median_and_the_worst_of_the_runs() -> None:
    rows = report.table([*lines(0.1, 0.2), *lines(0.15, 0.2, 1), *lines(0.11, 0.2, 2)]).splitlines()
    assert "| tinynet takes | worst of 3 |" in rows[0]
    assert rows[2] == "| **Tinynet** | 110.0 | 100.0 - 150.0 | 9 | 0.55 | 1.00 | 1.00 | 72 | 52 |"
    assert rows[3] == "| Torch | 200.0 | 200.0 - 200.0 | 9 | 1.00 | 0.55 | 0.75 | 72 | 52 |"
    assert rows[4].startswith("| Slow | 1000.0 | 1000.0 - 1000.0 | 9 | 5.00 | 0.110 | 0.150 |")


def test_record_replaces_one_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, written = tmp_path / "page.md", tmp_path / "lines.jsonl"
    monkeypatch.setattr(report, "LINES", written)
    monkeypatch.setattr(sys, "orig_argv", ["/usr/bin/python3", "-m", "bench", "--write"])
    page.write_text("by hand\n\n<!-- a -->\n<!-- end -->\n\nmore by hand\n")
    for section, text in (("a", "first"), ("b", "other"), ("a", "second")):
        report.record(section, text, [{"text": text}], page)
    found = page.read_text()
    assert found.startswith("by hand\n\n<!-- a -->\nsecond\n\nMade by `python -m bench --write` on")
    assert "first" not in found
    assert found.index("<!-- end -->\n\nmore by hand\n\n<!-- b -->\nother\n") > 0
    rows: list[Any] = [json.loads(line) for line in written.read_text().splitlines()]
    assert [(row["section"], row["text"]) for row in rows] == [("b", "other"), ("a", "second")]
    assert {"cpu", "cores", "python", "numpy", "blas", "system"} <= rows[0]["machine"].keys()
    assert report.read_lines("a") == rows[1:]


def test_committed_results_have_a_place_for_every_section(root: Path) -> None:
    page = (root / "bench" / "RESULTS.md").read_text(encoding="utf-8")
    for work in (Work(net, task, batch) for net in "SR" for task, batch in (
            ("train", 128), ("infer", 128), ("infer", 1))):
        assert page.count(f"<!-- {work.section} -->") == 1
    assert page.count("<!-- end -->") == page.count("<!--") / 2
    for line in (root / "bench" / "results.jsonl").read_text(encoding="utf-8").splitlines():
        assert {"section", "version", "machine"} <= json.loads(line).keys()


def test_chart(tmp_path: Path) -> None:
    report.chart({"net S": lines(0.1, 0.2), "net R": lines(0.1, 0.3)}, tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("option", ["--rounds", "--repeat", "--batch"])
def test_wrong_numbers_are_refused(option: str, monkeypatch: pytest.MonkeyPatch,
                                   capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", option, "0"])
    with pytest.raises(SystemExit):
        command.main()
    assert f"{option} must be at least 1, got 0" in capsys.readouterr().err
