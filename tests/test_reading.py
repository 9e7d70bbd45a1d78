"""One reading path: every file names the next, and READING.md's stops exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from tests.ledger import load
from tests.project import below
from tests.test_architecture import ROOT

LIBRARY = ROOT / "tinynet"
GUIDE = ROOT / "examples" / "READING.md"
NEXT = re.compile(r"Read next: `([\w/]+\.py)`\.\s*$")
LAST = "This is the last file."


@cache
def texts() -> dict[str, str]:
    """The first text of every file of the library, by its path."""
    found = {}
    for path in below(LIBRARY):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found[path.relative_to(LIBRARY).as_posix()] = ast.get_docstring(tree) or ""
    return found


def test_read_next_is_one_chain_over_all_files() -> None:
    follows = {}
    for name, text in texts().items():
        if text.rstrip().endswith(LAST):
            continue
        match = NEXT.search(text)
        assert match, f"{name} does not end with: Read next: `folder/file.py`."
        follows[name] = match[1]
    path = ["__init__.py"]
    while path[-1] in follows:
        following = follows[path[-1]]
        assert following in texts(), f"{path[-1]} points to {following}, which does not exist"
        assert following not in path, f"{path[-1]} points back to {following}"
        path.append(following)
    left_out = sorted(texts().keys() - set(path))
    assert not left_out, f"the path ends at {path[-1]}; nobody points to {left_out}"
    print(f"files in the chain: {len(path)} of {len(texts())}")


def test_read_next_is_said_once_in_a_file() -> None:
    for name, text in texts().items():
        assert len(re.findall(r"[Rr]ead\s+next", text)) <= 1, name


def stops() -> list[list[str]]:
    rows = [line for line in GUIDE.read_text(encoding="utf-8").splitlines()
            if re.match(r"\| \d+ \|", line)]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_the_guide_has_twelve_stops_in_the_order_of_the_path() -> None:
    assert [row[0] for row in stops()] == [str(n) for n in range(1, 13)]
    path = ["__init__.py"]
    while match := NEXT.search(texts()[path[-1]]):
        path.append(match[1])
    places = [path.index(row[1].strip("`")) for row in stops()]
    assert places[:10] == sorted(places[:10])


def test_what_a_stop_looks_at_exists() -> None:
    for _, file, names, question, _ in stops():
        tree = ast.parse((LIBRARY / file.strip("`")).read_text(encoding="utf-8"))
        defined = {node.name for node in ast.walk(tree)
                   if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        for name in re.findall(r"`(\w+)`", names):
            assert name in defined, f"{name} is not defined in {file}"
        assert question.endswith("?")


def test_what_a_stop_runs_exists() -> None:
    for *_, command in stops():
        words = command.strip("`").split()
        assert words[0] == "python"
        for word in words[1:]:
            if word.endswith(".py"):
                assert (ROOT / word).exists(), word
        if "-m" in words[2:]:
            assert words[words.index("-m", 2) + 1] in load()


def test_every_file_that_the_guide_names_exists() -> None:
    named = set(re.findall(r"`((?:\w+/)*\w+\.py)`", GUIDE.read_text(encoding="utf-8")))
    for name in named:
        places = [LIBRARY / name, ROOT / name, ROOT / "tinynet" / "optim" / name]
        assert any(map(Path.exists, places)), f"{name} does not exist"


def test_what_help_shows_of_a_name_needs_no_list_of_ids() -> None:
    """Ids of the lecture stand at the heads of files; `help(tinynet)` says where their list is."""
    known = re.compile(rf"\b(?:{'|'.join(load())})\b")
    found = []
    for path in below(LIBRARY):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                match = known.search(ast.get_docstring(node) or "")
                found += [f"{path.name}: {node.name}: {match[0]}"] if match else []
    assert not found
    assert "tests/ledger/ledger.toml" in texts()["__init__.py"]
