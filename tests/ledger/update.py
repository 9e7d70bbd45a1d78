"""Bring the ledger up to date with the tests:  python tests/ledger/update.py

An id that tests name becomes done and lists them; an id that no test names any more becomes open.
One with a slow test is listed by clauses: tests that are new there come under "to be sorted into a
clause", and a test fails until they are. Titles, parts, clauses and the `result` files of slow
ones stay: write those by hand. Then the lecture's map, which shows the tests, is written anew by
page.py. With --check nothing is written; the exit status is 1 if something
would be.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
from tests.ledger import LEDGER, UNSORTED, Found, listed_tests, load, scan

HEADER = """\
# The lecture's ids, and the tests that check them. Read tests/ledger/__init__.py first.
# `status` and `tests` are written by: python tests/ledger/update.py
"""


def updated(ledger: dict[str, dict[str, Any]], found: list[Found]) -> dict[str, dict[str, Any]]:
    """The ledger as the tests found want it."""
    new = {}
    for name, entry in ledger.items():
        slow = {f.test: f.slow for f in found if name in f.ids}
        clauses = entry.get("clauses", {})
        new[name] = {"title": entry["title"], "part": entry["part"], "status": "open"}
        if clauses or any(slow.values()):
            new[name]["clauses"] = sorted_in(clauses, slow)
            new[name]["status"] = status_of(new[name]["clauses"], slow)
        elif slow:
            new[name]["tests"] = sorted(slow)
            new[name]["status"] = "done"
    return new


def sorted_in(clauses: dict[str, Any], slow: dict[str, bool]) -> dict[str, Any]:
    """The clauses with those of their tests that exist; tests in none of them are unsorted."""
    new = {}
    listed = set()
    for text, clause in clauses.items():
        if text == UNSORTED:
            continue
        tests = sorted(set(clause["tests"]) & set(slow))
        listed.update(tests)
        if tests:
            new[text] = {"tests": tests}
            if all(slow[test] for test in tests):
                new[text]["result"] = clause.get("result", "")
    unsorted = sorted(set(slow) - listed)
    if unsorted:
        new[UNSORTED] = {"tests": unsorted}
    return new


def status_of(clauses: dict[str, Any], slow: dict[str, bool]) -> str:
    """Open without clauses; else done, partly slow or slow."""
    are_slow = [all(slow[test] for test in clause["tests"]) for clause in clauses.values()]
    if not are_slow:
        return "open"
    if all(are_slow):
        return "slow"
    return "partly slow" if any(are_slow) else "done"


def as_toml(ledger: dict[str, dict[str, Any]]) -> str:
    """The text of `ledger.toml`."""
    lines = [HEADER]
    for name, entry in ledger.items():
        lines.append(f"[{name}]")
        for field, value in entry.items():
            if field == "clauses":
                for text, clause in value.items():
                    lines += ["", f"[{name}.clauses.{json.dumps(text)}]"]
                    for inner, content in clause.items():
                        lines += _field(inner, content)
            else:
                lines += _field(field, value)
        lines.append("")
    return "\n".join(lines)


def _field(name: str, value: str | list[str]) -> list[str]:
    if isinstance(value, list):
        return [f"{name} = [", *(f"    {json.dumps(item)}," for item in value), "]"]
    return [f"{name} = {json.dumps(value)}"]


def main(argv: list[str]) -> int:
    before = load()
    after = updated(before, scan())
    changed = [name for name in before if before[name] != after[name]]
    for name in changed:
        print(f"{name}: {before[name]['status']} -> {after[name]['status']}, "
              f"{len(listed_tests(after[name]))} tests")
    if changed and "--check" not in argv:
        LEDGER.write_text(as_toml(after), encoding="utf-8")
    if "--check" not in argv:
        from tests.ledger import page

        page.write()
    states = Counter(entry["status"] for entry in after.values())
    said = [f"{states[state]} {state}" for state in ("done", "partly slow", "slow", "open")]
    print(f"{', '.join(said)}, of {len(after)} ids")
    return 1 if changed and "--check" in argv else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
