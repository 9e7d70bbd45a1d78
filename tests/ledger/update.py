"""Bring the ledger up to date with the tests:  python tests/ledger/update.py

An id that tests name becomes done (or slow, if all of them are marked slow) and lists them; an id
that no test names any more becomes open. Titles, parts and the `result` files of slow ids stay:
write those by hand. With --check nothing is written; the exit status is 1 if something would be.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
from tests.ledger import LEDGER, Found, load, scan

HEADER = """\
# The lecture's ids, and the tests that check them. Read tests/ledger/__init__.py first.
# `status` and `tests` are written by: python tests/ledger/update.py
"""


def updated(ledger: dict[str, dict[str, Any]], found: list[Found]) -> dict[str, dict[str, Any]]:
    """The ledger as the tests found want it."""
    new = {}
    for name, entry in ledger.items():
        tests = [f for f in found if name in f.ids]
        status = "open" if not tests else "slow" if all(f.slow for f in tests) else "done"
        new[name] = {"title": entry["title"], "part": entry["part"], "status": status}
        if tests:
            new[name]["tests"] = sorted({f.test for f in tests})
        if status == "slow":
            new[name]["result"] = entry.get("result", "")
    return new


def as_toml(ledger: dict[str, dict[str, Any]]) -> str:
    """The text of `ledger.toml`."""
    lines = [HEADER]
    for name, entry in ledger.items():
        lines.append(f"[{name}]")
        for field, value in entry.items():
            if isinstance(value, list):
                lines += [f"{field} = [", *(f"    {json.dumps(item)}," for item in value), "]"]
            else:
                lines.append(f"{field} = {json.dumps(value)}")
        lines.append("")
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    before = load()
    after = updated(before, scan())
    changed = [name for name in before if before[name] != after[name]]
    for name in changed:
        print(f"{name}: {before[name]['status']} -> {after[name]['status']}, "
              f"{len(after[name].get('tests', []))} tests")
    if changed and "--check" not in argv:
        LEDGER.write_text(as_toml(after), encoding="utf-8")
    count = [sum(e["status"] == s for e in after.values()) for s in ("done", "slow", "open")]
    print("{} done, {} slow, {} open, of {} ids".format(*count, len(after)))
    return 1 if changed and "--check" in argv else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
