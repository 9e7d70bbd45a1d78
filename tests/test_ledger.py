"""The ledger is complete and tells the truth about the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ledger import Found, _scan_file, ids_in_name, load, scan
from tests.ledger.update import as_toml, updated

SECTIONS = {"A": range(22), "B": range(1, 8), "C": range(1, 9), "D": range(1, 6),
            "E": range(1, 13), "F": range(1, 8), "G": range(1, 6), "H": range(1, 11)}
IDS = [f"{letter}{number}" for letter, numbers in SECTIONS.items() for number in numbers]
FIX = "run: python tests/ledger/update.py"


def test_ledger_lists_every_id_once_in_order() -> None:
    assert list(load()) == IDS
    assert len(IDS) == 76


@pytest.mark.parametrize("name", IDS)
def test_ledger_entry_matches_the_tests(name: str, root: Path) -> None:
    entry = load()[name]
    found = {f.test: f for f in scan() if name in f.ids}
    assert entry["title"] and entry["part"], f"{name} needs a title and a part"
    if entry["status"] == "open":
        assert not found, f"{name} is open, but {sorted(found)} name it: mark it done ({FIX})"
        return
    assert entry["status"] in ("done", "slow"), f"{name}: status is done, slow or open"
    gone = sorted(set(entry["tests"]) - set(found))
    assert not gone, f"{name} lists tests that do not exist or do not name it: {gone} ({FIX})"
    assert entry["tests"], f"{name} is {entry['status']}, but lists no test ({FIX})"
    all_slow = all(found[test].slow for test in entry["tests"])
    if entry["status"] == "done":
        assert not all_slow, f"{name} is done, but all its tests are slow: status is slow ({FIX})"
    else:
        assert all_slow, f"{name} is slow, but has a test in the default run ({FIX})"
        result = root / entry["result"]
        assert entry["result"] and result.is_file(), \
            f"{name} is slow: `result` must name the committed file its run wrote"


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


def test_update_moves_ids_between_open_done_and_slow() -> None:
    entry = {"title": 'say "hi"', "part": "p", "status": "open"}
    ledger = {"A1": entry, "A2": entry | {"status": "done", "tests": ["t::gone"]}, "A3": entry}
    new = updated(ledger, [Found("t::test_A1_A3_x", frozenset(["A1", "A3"]), True),
                           Found("t::test_A3_y", frozenset(["A3"]), False)])
    assert {name: e["status"] for name, e in new.items()} == \
        {"A1": "slow", "A2": "open", "A3": "done"}
    assert new["A1"]["tests"] == ["t::test_A1_A3_x"] and new["A1"]["result"] == ""
    assert new["A3"]["tests"] == ["t::test_A1_A3_x", "t::test_A3_y"]
    assert "tests" not in new["A2"]


def test_ledger_file_is_as_the_update_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.toml"
    path.write_text(as_toml(load()), encoding="utf-8")
    assert load(path) == load()
