"""The map of the lecture: no cell is empty, no page is stale, no number is its own invention."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lecture.claims import CLAIMS

from tests.ledger import listed_tests, load, page
from tests.project import ROOT, files
from tinynet.__main__ import main

QUICK = ("saddle", "two_faces", "mixup_of_three", "first_steps", "longer")


def test_every_id_stands_in_one_section_and_has_its_cells() -> None:
    placed = [name for names in page.parts()["sections"].values() for name in names]
    ledger = load()
    assert sorted(placed) == sorted(ledger) and len(placed) == len(set(placed))
    assert list(page.parts()["ids"]) == list(ledger)
    for name, row in page.rows().items():
        empty = [part for part, content in row.items() if not content.strip()]
        assert not empty, f"{name} has no {empty}"
        assert row["test"] in listed_tests(ledger[name])


def test_what_is_due_is_there() -> None:
    """A figure where figures.py draws one, a lesson where the map names one."""
    pictures = page.figures()
    assert len(pictures) > 20
    for name, row in page.rows().items():
        assert (row["figure"] == page.NOTHING) == (name not in pictures)
        lesson = page.parts()["ids"][name][2]
        assert (row["lesson"] == page.NOTHING) == (lesson == 0), name


@functools.cache
def defined(file: str) -> set[str]:
    """The functions and classes of a file."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def test_the_code_of_an_id_is_where_the_map_says() -> None:
    for name, row in page.rows().items():
        file, thing = row["code"].split(":")
        assert thing in defined(file), f"{name}: {file} has no {thing}"


def test_every_link_of_the_page_leads_to_a_file_of_the_project() -> None:
    links = set(re.findall(r"\]\(([^)#]+)\)", page.page()))
    assert len(links) > 60
    gone = [link for link in links if (page.PAGE.parent / link).resolve() not in files()]
    assert not gone


def test_a_claim_has_a_verdict_and_one_source() -> None:
    assert len(page.claims()) >= 40
    ids = load().keys()
    for claim in page.claims():
        assert claim["verdict"] in page.VERDICTS and claim["command"], claim
        assert ("when" in claim) == (claim["verdict"] == "holds under"), claim["says"]
        sources = [key for key in ("measured", "result", "shown") if key in claim]
        assert len(sources) == 1, claim
        assert set(claim["ids"]) <= ids
    said = [claim["measured"] for claim in page.claims() if "measured" in claim]
    assert sorted(said) == sorted(CLAIMS), "each measurement answers one claim"


def test_five_claims_that_do_not_hold_are_said_plainly() -> None:
    """Snapshots, early stopping, stochastic depth, Nesterov's rates; dropout on enough pictures."""
    fallen = [claim for claim in page.claims() if claim["verdict"] == "does not hold here"]
    assert {name for claim in fallen for name in claim["ids"]} >= {"A12", "D2", "D4", "G3"}
    (dropout,) = [claim for claim in page.claims() if "Dropout for large" in claim["says"]]
    assert "it loses" in dropout["when"]


def test_the_numbers_of_a_claim_stand_in_its_result() -> None:
    for claim in page.claims():
        if "result" in claim:
            assert page.numbers(claim["answer"]), claim
            assert not page.missing(claim["answer"], claim["result"]), claim["says"]


def measured_rows() -> list[tuple[str, str]]:
    """What the README says of accuracies, and the result file that it names."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.partition("## Measured")[2].partition("\n## ")[0]
    return [(row.split("|")[2], match[1]) for row in table.splitlines()
            if (match := re.search(r"tests/results/(\w+)\.md", row))]


def test_the_numbers_of_the_readme_stand_in_the_results_that_it_names() -> None:
    rows = measured_rows()
    assert {name for _, name in rows} >= {"ensembles", "E12", "train_cifar10"}
    for said, name in rows:
        said = said.partition("(seeds" if "seeds" in said else "(n =")[0]
        wrong = page.missing(said, name)
        assert not wrong, f"README says {wrong}, which tests/results/{name}.md does not"


@pytest.mark.parametrize(("answer", "planted"), [
    pytest.param("+5.2 points (+5.5, +4.6, +5.6)", "+5.2 points (+5.5, +4.9, +5.6)", id="a point"),
    pytest.param("-7.2 points", "+7.2 points", id="a sign"),
    pytest.param("gap 43.0", "gap 43.5", id="another row"),
])
def test_a_planted_number_is_noticed(answer: str, planted: str) -> None:
    assert not page.missing(answer, "E12")
    assert page.missing(planted, "E12")


@pytest.mark.parametrize("name", QUICK)
def test_a_quick_claim_still_measures_what_is_written(name: str) -> None:
    """Counts and three digits to the letter; rounding errors by their power of ten."""
    tiny = re.compile(r"\d+e[+-]\d+")
    kept, now = page.measured()[name], CLAIMS[name]()
    assert tiny.sub("tiny", kept) == tiny.sub("tiny", now)
    for error in tiny.findall(now):
        assert float(error) < 1e-12


def test_map_prints_a_row_and_names_what_it_does_not_know(
        capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["map", "a11", "E10"]) == 0
    said = capsys.readouterr().out
    assert "A11  Nesterov by change of variables" in said and "E10  BatchNorm" in said
    assert "    code      tinynet/optim/first_order.py:SGD" in said
    assert main(["map"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 76
    with pytest.raises(SystemExit):
        main(["map", "Z1"])
    assert "no id 'Z1': there are A0, A1" in capsys.readouterr().err


def test_the_page_is_written_by_its_command(tmp_path: Path,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PAGE", "JSON"):
        monkeypatch.setattr(page, name, tmp_path / name)
    texts: Callable[[], dict[Path, Any]] = page.written
    monkeypatch.setattr(page, "page", lambda: "a page")
    page.write()
    assert {path.name: path.read_text(encoding="utf-8")[:6] for path in texts()} == \
        {"PAGE": "a page", "JSON": '{\n "A0'}
