"""The ledger is complete and tells the truth about the tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ledger import UNSORTED, Found, _scan_file, ids_in_name, listed_tests, load, page, scan
from tests.ledger.update import as_toml, status_of, updated

ROOT = Path(__file__).resolve().parent.parent

SECTIONS = {"A": range(22), "B": range(1, 8), "C": range(1, 9), "D": range(1, 6),
            "E": range(1, 13), "F": range(1, 8), "G": range(1, 6), "H": range(1, 11)}
IDS = [f"{letter}{number}" for letter, numbers in SECTIONS.items() for number in numbers]
FIX = "run: python tests/ledger/update.py"


def test_ledger_lists_every_id_once_in_order() -> None:
    assert list(load()) == IDS
    assert len(IDS) == 76


@pytest.mark.parametrize("name", IDS)
def test_ledger_entry_matches_the_tests(name: str) -> None:
    complaints = list(wrong_with(name, load()[name], scan()))
    assert not complaints, "\n".join(complaints)


def wrong_with(name: str, entry: dict[str, Any], found: list[Found]) -> Iterator[str]:
    """What an entry of the ledger says that the tests do not bear out."""
    slow = {f.test: f.slow for f in found if name in f.ids}
    if not (entry["title"] and entry["part"]):
        yield f"{name} needs a title and a part"
    if entry["status"] == "open" and slow:
        yield f"{name} is open, but {sorted(slow)} name it ({FIX})"
    if entry["status"] != "open" and not listed_tests(entry):
        yield f"{name} is {entry['status']}, but lists no test ({FIX})"
    gone = sorted(set(listed_tests(entry)) - set(slow))
    if gone:
        yield f"{name} lists tests that do not exist or do not name it: {gone} ({FIX})"
        return
    left = sorted(set(slow) - set(listed_tests(entry)))
    if left:
        yield f"{name} does not list {left} ({FIX})"
    clauses = entry.get("clauses", {})
    if any(slow.values()) and not clauses:
        yield f"{name} has slow tests, so it is listed clause by clause ({FIX})"
    if UNSORTED in clauses:
        yield f"{name}: move these to the clauses that they check: {clauses[UNSORTED]['tests']}"
    if clauses and entry["status"] != status_of(clauses, slow):
        yield f"{name} is {entry['status']}, its clauses are {status_of(clauses, slow)} ({FIX})"
    if not clauses and entry["status"] not in ("done", "open"):
        yield f"{name} is {entry['status']}, but has no clauses ({FIX})"
    for text, clause in clauses.items():
        is_slow = all(slow[test] for test in clause["tests"])
        result = clause.get("result", "")
        if is_slow and not (result and (ROOT / result).is_file()):
            yield f"{name}, {text!r}, is slow: `result` names the committed file its run wrote"
        if result and not is_slow:
            yield f"{name}, {text!r}, has a result, but also a test in the default run ({FIX})"


def test_the_map_of_the_lecture_is_up_to_date() -> None:
    for path, text in page.written().items():
        kept = path.read_text(encoding="utf-8") if path.exists() else ""
        assert kept == text, f"{path.relative_to(ROOT)} is stale ({FIX})"


QUICK, SLOW = (Found("t::test_A1_quick", frozenset(["A1"]), False),
               Found("t::test_A1_slow", frozenset(["A1"]), True))


@pytest.mark.parametrize(("said", "complaint"), [
    pytest.param({"status": "done", "tests": [QUICK.test, SLOW.test]},
                 "A1 has slow tests, so it is listed clause by clause", id="a slow half hidden"),
    pytest.param({"status": "done", "clauses": {"all": {"tests": [QUICK.test, SLOW.test]}}},
                 "", id="a slow test beside a quick one of the same clause"),
    pytest.param({"status": "done", "clauses": {"x": {"tests": [QUICK.test]},
                                                "y": {"tests": [SLOW.test]}}},
                 "A1 is done, its clauses are partly slow", id="a slow half called done"),
    pytest.param({"status": "partly slow", "clauses": {"x": {"tests": [QUICK.test]},
                                                       "y": {"tests": [SLOW.test]}}},
                 "A1, 'y', is slow: `result` names", id="no result"),
    pytest.param({"status": "partly slow", "clauses": {
        "x": {"tests": [QUICK.test], "result": "tests/results/A20.md"},
        "y": {"tests": [SLOW.test], "result": "tests/results/A20.md"}}},
                 "A1, 'x', has a result, but also a test in the default run", id="needless result"),
    pytest.param({"status": "done", "clauses": {"x": {"tests": [QUICK.test]}}},
                 "A1 does not list ['t::test_A1_slow']", id="a test left out"),
    pytest.param({"status": "done", "clauses": {UNSORTED: {"tests": [QUICK.test, SLOW.test]}}},
                 "A1: move these to the clauses that they check", id="unsorted"),
    pytest.param({"status": "open"}, "A1 is open, but", id="open"),
])
def test_an_entry_that_says_too_much_is_noticed(said: dict[str, Any], complaint: str) -> None:
    complaints = list(wrong_with("A1", {"title": "t", "part": "p"} | said, [QUICK, SLOW]))
    if complaint:
        assert any(text.startswith(complaint) for text in complaints), complaints
    else:
        assert not complaints


def test_ledger_knows_every_id_that_tests_name() -> None:
    unknown = {f.test: sorted(f.ids - set(IDS)) for f in scan() if f.ids - set(IDS)}
    assert not unknown, f"no such lecture ids (A0..A21, B1..B7, ..., H1..H10): {unknown}"


def test_collected_tests_carry_their_ids_as_markers(request: pytest.FixtureRequest) -> None:
    for item in request.session.items:
        for name in ids_in_name(getattr(item, "originalname", None) or item.name):
            assert item.get_closest_marker(name) is not None


def test_scan_reads_names_markers_classes_and_slow(tmp_path: Path) -> None:
    source = '''
import pytest

def test_A7_momentum(): ...
def test_B2_B4_end_at_zero(): ...
def test_E10(): ...
def test_A7b_is_not_an_id(): ...
def helper_A7(): ...
@pytest.mark.parametrize("x", [1])
@pytest.mark.lecture("C1", "C2")
def test_by_marker(x): ...
@pytest.mark.slow
class TestBoth:
    def test_D3_in_a_class(self): ...
    @pytest.mark.lecture("D5")
    def test_marked(self): ...
'''
    path = tmp_path / "test_x.py"
    path.write_text(source)
    found = {f.test.removeprefix("t/x.py::"): (sorted(f.ids), f.slow)
             for f in _scan_file(path, "t/x.py")}
    assert found == {
        "test_A7_momentum": (["A7"], False),
        "test_B2_B4_end_at_zero": (["B2", "B4"], False),
        "test_E10": (["E10"], False),
        "test_by_marker": (["C1", "C2"], False),
        "TestBoth::test_D3_in_a_class": (["D3"], True),
        "TestBoth::test_marked": (["D5"], True),
    }
    path = tmp_path / "test_y.py"
    path.write_text("import pytest\npytestmark = [pytest.mark.slow]\n\ndef test_H3_lr(): ...\n")
    assert _scan_file(path, "t/y.py") == [Found("t/y.py::test_H3_lr", frozenset(["H3"]), True)]


FOUND = [
    Found("t::test_A1_A3_x", frozenset(["A1", "A3"]), True),
    Found("t::test_A3_y", frozenset(["A3"]), False),
    Found("t::test_A4_x", frozenset(["A4"]), False),
    Found("t::test_A4_y", frozenset(["A4"]), True),
    Found("t::test_A5", frozenset(["A5"]), False),
]


def test_update_moves_ids_between_open_done_and_slow() -> None:
    entry = {"title": 'say "hi"', "part": "p", "status": "open"}
    clauses = {"x": {"tests": ["t::test_A4_x", "t::gone"]},
               "y": {"tests": ["t::test_A4_y"], "result": "r.md"}, "z": {"tests": ["t::gone"]}}
    ledger = {"A1": entry, "A2": entry | {"status": "done", "tests": ["t::gone"]}, "A3": entry,
              "A4": entry | {"clauses": clauses}, "A5": entry}
    new = updated(ledger, FOUND)
    assert {name: e["status"] for name, e in new.items()} == \
        {"A1": "slow", "A2": "open", "A3": "done", "A4": "partly slow", "A5": "done"}
    assert new["A1"]["clauses"] == {UNSORTED: {"tests": ["t::test_A1_A3_x"]}}
    assert new["A3"]["clauses"] == {UNSORTED: {"tests": ["t::test_A1_A3_x", "t::test_A3_y"]}}
    assert "tests" not in new["A2"]
    assert new["A4"]["clauses"] == {"x": {"tests": ["t::test_A4_x"]},
                                    "y": {"tests": ["t::test_A4_y"], "result": "r.md"}}
    assert new["A5"]["tests"] == ["t::test_A5"]
    assert updated(new, FOUND) == new


def test_ledger_file_is_as_the_update_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.toml"
    path.write_text(as_toml(load()), encoding="utf-8")
    assert load(path) == load()
