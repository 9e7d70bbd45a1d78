"""The lecture as a page: every id beside its formula, code, test, figure, lesson and measurement.

    python tests/ledger/page.py              writes examples/lecture/README.md, tinynet/lecture.json
    python tests/ledger/page.py claims       measures first: tests/results/claims.md (2 minutes)
    python tests/ledger/page.py claims_nets  or tests/results/claims_nets.md (10 minutes)

`python tests/ledger/update.py` does the first as well. The page comes from ledger.toml, map.toml
and claims.toml beside this file, the table of figures, the lessons and the committed results;
`python -m tinynet map A11` prints a row of it.
"""

from __future__ import annotations

import functools
import importlib
import json
import re
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
from tests.ledger import LEDGER, listed_tests, load
from tests.project import ROOT, below
from tests.results import save

FOLDER = Path(__file__).parent
PAGE = ROOT / "examples" / "lecture" / "README.md"
JSON = ROOT / "tinynet" / "lecture.json"
RESULTS = ROOT / "tests" / "results"
SCRIPTS = ("claims", "claims_nets")  # in examples/lecture/; their results have these names
PENDING = "not yet measured"
VERDICTS = ("holds", "holds under", "does not hold here", PENDING)
NOTHING = "-"  # a cell that is not due: map.toml says why

INTRO = """\
# The lecture, line by line

CS231n, lecture 8, "Training Neural Networks, Part 2": what it says, where tinynet computes it,
which test checks it, its figure, the lesson in which you write it yourself, and what came out when
it was measured. `python -m tinynet map A11` prints a row; `python -m pytest -m A11` runs its
tests. The optimizers run live in [optimizers.html](optimizers.html) (open the file in a browser);
`python examples/lecture/figures.py` draws all figures; `python examples/lecture/landscape.py`
draws the loss of a real net by its exact curvature, with batches of 16 and of 512.

![The loss around two ends of SGD, in the plane of the two steepest axes](landscape.png)

Written by `python tests/ledger/page.py`; a test fails where it is stale.
"""

CLAIMS = """\
## What the lecture claims, and what we found

{counts}. Each answer names its command; n is the number of runs, in brackets the lowest and the
highest. Answers of long runs stand in `tests/results/`, each with the hash of its code:
`python -m tests.results` says which were measured with code that has changed since.

| claim | verdict | our answer | command |
|---|---|---|---|
"""


@functools.cache
def parts() -> dict[str, Any]:
    """map.toml."""
    return tomllib.loads((FOLDER / "map.toml").read_text(encoding="utf-8"))


@functools.cache
def claims() -> list[dict[str, Any]]:
    """claims.toml, each claim with its answer and its command."""
    found = tomllib.loads((FOLDER / "claims.toml").read_text(encoding="utf-8"))["claim"]
    answers = measured()
    for claim in found:
        if "measured" in claim:
            claim["answer"] = answers.get(claim["measured"], PENDING)
            script = claim.get("script", "claims")
            claim["command"] = f"python examples/lecture/{script}.py --only {claim['measured']}"
        claim["answer"] = claim.get("answer") or claim["shown"]
    return list(found)


def measured() -> dict[str, str]:
    """The answers of both scripts, as they were measured and committed."""
    text = "".join((RESULTS / f"{name}.md").read_text(encoding="utf-8") for name in SCRIPTS
                   if (RESULTS / f"{name}.md").is_file())
    rows = re.findall(r"^\| (\w+) \| (.*) \|$", text, re.MULTILINE)
    return {name: answer for name, answer in rows if name != "claim"}


@functools.cache
def figures() -> dict[str, list[int]]:
    """The numbers of the figures of each id, from the table of figures.py."""
    text = (ROOT / "examples" / "lecture" / "figures.py").read_text(encoding="utf-8")
    found: dict[str, list[int]] = {}
    for number, ids in re.findall(r"Figure\((\d+), \(([^)]*)\)", text):
        for name in re.findall(r"\w\d+", ids):
            found.setdefault(name, []).append(int(number))
    return found


def lessons() -> dict[int, str]:
    """The file of each lesson."""
    return {int(path.name[:2]): path.name for path in below(ROOT / "examples" / "lessons")
            if re.match(r"\d\d_", path.name)}


@functools.cache
def rows() -> dict[str, dict[str, str]]:
    """Every id's cells, as plain text."""
    pictures = figures()
    files = lessons()
    ledger = load(LEDGER)
    found = {}
    for section, names in parts()["sections"].items():
        for name in names:
            tests = listed_tests(ledger[name])
            named = [test for test in tests if f"_{name}_" in test]
            formula, code, lesson = parts()["ids"][name]
            mine = [claim for claim in claims() if name in claim["ids"]]
            found[name] = {
                "section": section,
                "says": ledger[name]["title"],
                "formula": formula,
                "code": f"tinynet/{code}",
                "test": (named or tests)[0],
                "figure": ", ".join(f"image{n:02}" for n in pictures.get(name, [])) or NOTHING,
                "lesson": f"examples/lessons/{files[lesson]}" if lesson in files else NOTHING,
                "measured": "; ".join(said(claim) for claim in mine) or "exact, by its tests",
            }
    return found


def said(claim: dict[str, Any]) -> str:
    """The verdict, and what was measured."""
    return f"{verdict(claim)}: {claim['answer']}"


def verdict(claim: dict[str, Any]) -> str:
    if claim["verdict"] == "holds under":
        return f"holds under {claim['when']}"
    return str(claim["verdict"])


def cell(text: str) -> str:
    """A text as a cell of a table can hold it."""
    return text.replace("|", "\\|")


def line(name: str, row: dict[str, str]) -> str:
    """A row of the page, with links."""
    file, _, thing = row["code"].partition(":")
    test, _, function = row["test"].partition("::")
    lesson = row["lesson"]
    if lesson != NOTHING:
        lesson = f"[{Path(lesson).name[:2]}](../../{lesson})"
    mine = [f"**{claim['verdict']}** ([below](#c{claims().index(claim) + 1}))"
            for claim in claims() if name in claim["ids"]]
    cells = [f"**{name}**", cell(row["says"]), f"`{cell(row['formula'])}`".replace("\\|", "|")
             if "|" not in row["formula"] else cell(row["formula"]),
             f"[`{file.removeprefix('tinynet/')}`](../../{file}): `{thing}`",
             f"[`{Path(test).name}`](../../{test}): `{function.split('::')[-1]}`",
             linked(row["figure"]), lesson, "; ".join(mine) or row["measured"]]
    return f"| {' | '.join(cells)} |"


def linked(names: str) -> str:
    """Figures with a link to the picture, or, where it is not kept, to what draws it."""
    links = []
    for name in names.split(", "):
        path = PAGE.parent / "images" / f"{name}.png"
        target = f"images/{name}.png" if path in below(PAGE.parent, "*.png") else "figures.py"
        links.append(name if name == NOTHING else f"[{name}]({target})")
    return ", ".join(links)


def page() -> str:
    """The whole text."""
    found = rows()
    text = [INTRO]
    for section, names in parts()["sections"].items():
        text += [f"## {section.replace(' | ', ' · ')}\n",
                 "| id | what | formula | code | test | figure | lesson | measured |",
                 "|---|---|---|---|---|---|---|---|",
                 *(line(name, found[name]) for name in names), ""]
    counted = Counter(claim["verdict"] for claim in claims())
    counts = f"Of {len(claims())} claims " + ", ".join(
        f"{counted[word]} {text}" for word, text in zip(VERDICTS, (
            "hold", "hold under a condition", "do not hold here", "are not yet measured"),
            strict=True))
    text.append(CLAIMS.format(counts=counts) + "\n".join(
        f"| <a id=\"c{i}\"></a>{cell(claim['says'])} ({', '.join(claim['ids'])}) | "
        f"**{cell(verdict(claim))}** | {cell(claim['answer'])} | `{claim['command']}` |"
        for i, claim in enumerate(claims(), 1)))
    return "\n".join(text) + "\n"


def as_json() -> str:
    return json.dumps(rows(), indent=1, ensure_ascii=False) + "\n"


def written() -> dict[Path, str]:
    """The files that this module writes, and what belongs in them."""
    return {PAGE: page(), JSON: as_json()}


def write() -> None:
    for path, text in written().items():
        path.write_text(text, encoding="utf-8")


def measure(script: str) -> None:
    """Answer all claims of a script anew."""
    sys.path.insert(0, str(ROOT / "examples"))
    functions = importlib.import_module(f"lecture.{script}").CLAIMS
    answers = []
    for name, function in functions.items():
        answers.append(f"| {name} | {function()} |")
        print(answers[-1], flush=True)
    table = "\n".join(["| claim | answer |", "|---|---|", *answers])
    save(script, f"Claims of the lecture, answered by {script}.py", table,
         f"examples/lecture/{script}.py")


if __name__ == "__main__":
    for script in sys.argv[1:]:
        measure(script)
    write()
