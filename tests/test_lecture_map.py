"""The map of the lecture: no cell is empty, no page is stale, no number is its own invention."""

from __future__ import annotations

import ast
import functools
import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lecture.claims import CLAIMS

from tests.ledger import held, listed_tests, load, page
from tests.project import ROOT, files
from tests.results.code import LINE
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


def undue(rows: dict[str, dict[str, str]], part: str) -> list[str]:
    """The ids whose cell is empty without leave, or has leave and is not empty."""
    allowed = page.parts()["not_due"][part]
    return [name for name, row in rows.items()
            if (row[part] == page.NOTHING) != (name in allowed)]


def test_no_cell_that_is_due_is_empty() -> None:
    """Only map.toml's [not_due] allows an empty cell; all thirty figures are there."""
    rows = page.rows()
    drawn = {number for numbers in page.figures().values() for number in numbers}
    assert drawn == set(range(1, 31))
    assert set(page.parts()["not_due"]) == {"figure", "lesson"}
    assert undue(rows, "figure") == undue(rows, "lesson") == []
    for name, row in rows.items():
        full = [part for part in row if part not in ("figure", "lesson")]
        assert page.NOTHING not in [row[part] for part in full], name


def test_a_cell_that_is_emptied_is_noticed() -> None:
    rows = page.rows()
    planted = rows | {"A7": rows["A7"] | {"figure": page.NOTHING, "lesson": page.NOTHING}}
    assert undue(planted, "figure") == undue(planted, "lesson") == ["A7"]


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


def claims_nets() -> dict[str, Any]:
    """The claims of claims_nets.py."""
    return dict(importlib.import_module("lecture.claims_nets").CLAIMS)


def test_a_claim_has_a_verdict_and_one_source() -> None:
    assert len(page.claims()) >= 40
    ids = load().keys()
    for claim in page.claims():
        assert claim["verdict"] in page.VERDICTS and claim["command"], claim
        assert ("when" in claim) == (claim["verdict"] == "holds under"), claim["says"]
        sources = [key for key in ("measured", "result", "shown") if key in claim]
        assert len(sources) == 1, claim
        assert set(claim["ids"]) <= ids
        assert ("at" in claim) == ("result" in claim), claim["says"]
        assert (claim["verdict"] == page.PENDING) == (claim["answer"] == page.PENDING), \
            f"{claim['says']} has its answer now: write the verdict"
    said = [claim["measured"] for claim in page.claims() if "measured" in claim]
    assert sorted(said) == sorted({**CLAIMS, **claims_nets()}), "each answers one claim"


def test_five_claims_that_do_not_hold_are_said_plainly() -> None:
    """Snapshots, early stopping, stochastic depth, Nesterov's rates; dropout on enough pictures."""
    fallen = [claim for claim in page.claims() if claim["verdict"] == "does not hold here"]
    assert {name for claim in fallen for name in claim["ids"]} >= {"A12", "D2", "D4", "G3"}
    (dropout,) = [claim for claim in page.claims() if "Dropout for large" in claim["says"]]
    assert "it loses" in dropout["when"]


def result(name: str) -> str:
    """A result file without the line of its hash."""
    text = (page.RESULTS / f"{name}.md").read_text(encoding="utf-8")
    return "\n".join(row for row in text.splitlines() if not LINE.fullmatch(row))


RESULTING = [claim for claim in page.claims() if "result" in claim]
by_words = pytest.mark.parametrize("claim", RESULTING, ids=lambda claim: claim["answer"][:30])


@by_words
def test_the_numbers_of_a_claim_are_those_at_their_places(claim: dict[str, Any]) -> None:
    assert held.numbers(claim["answer"])
    assert not held.wrong(claim["answer"], claim["at"], result(claim["result"]))


def other(number: str) -> str:
    """The number with another first digit."""
    return re.sub(r"\d", lambda digit: str((int(digit[0]) + 1) % 10), number, count=1)


@by_words
def test_each_number_planted_in_an_answer_is_noticed(claim: dict[str, Any]) -> None:
    answer, text = claim["answer"], result(claim["result"])
    for found in held.NUMBER.finditer(answer):
        planted = answer[: found.start()] + other(found[0]) + answer[found.end() :]
        assert held.wrong(planted, claim["at"], text), found[0]


@pytest.mark.parametrize(("name", "row", "planted"), [
    pytest.param("E12", "+5.2 (+5.5, +4.6, +5.6)", "+5.2 (+5.5, +4.9, +5.6)", id="a cell"),
    pytest.param("E12", "| none | 98.6 | 55.6 | 54.7 - 56.3 | 43.0 |",
                 "| none | 98.6 | 55.6 | 54.7 - 56.3 | 5.0 |", id="a number of another row"),
    pytest.param("E12", "dropout +4.1 (+2.5", "dropout -4.1 (+2.5", id="a sign in a sentence"),
    pytest.param("C4", "one solve, 276 days", "one solve, 275 days", id="a sentence"),
    pytest.param("C7", "597 of 600", "595 of 600", id="a count"),
    pytest.param("ensembles", "n = 3)", "n = 2)", id="the number of runs"),
])
def test_a_number_planted_in_a_result_is_noticed(name: str, row: str, planted: str) -> None:
    text = result(name)
    assert text.count(row) == 1
    changed = text.replace(row, planted)
    assert any(held.wrong(claim["answer"], claim["at"], changed)
               for claim in RESULTING if claim["result"] == name)


def test_a_place_that_is_not_there_or_twice_is_an_error() -> None:
    for place, text in (("x > y", "| a | y |\n|---|---|\n| z | 1 |"), ("n = {}", "n = 1, n = 2")):
        with pytest.raises(LookupError, match="not on"):
            held.numbers_at(place, text)


def test_the_answers_on_the_page_are_those_of_the_result(monkeypatch: pytest.MonkeyPatch,
                                                         tmp_path: Path) -> None:
    """A number changed in claims.md changes the page: the committed one is stale then."""
    text = (page.RESULTS / "claims.md").read_text(encoding="utf-8")
    (tmp_path / "claims.md").write_text(text.replace("GD 349", "GD 350"), encoding="utf-8")
    kept = page.measured()["saddle"]
    assert kept in page.PAGE.read_text(encoding="utf-8")
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    assert page.measured()["saddle"] == kept.replace("349", "350")


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
        there = held.numbers(result(name))
        exact = [found[0] for found in re.finditer(rf"{held.NUMBER.pattern}(?: ?%)?", said)
                 if re.search(r"[.,+%-]", found[0])]
        wrong = [number for number in held.numbers(" ".join(exact))
                 if not any(held.same(number, one) for one in there)]
        assert not wrong, f"README says {wrong}, which tests/results/{name}.md does not"


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
