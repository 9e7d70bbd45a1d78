"""Where the numbers of a claim stand in its result file: a place for each, no search.

A claim of claims.toml with a `result` lists in `at`, in the order of its answer's numbers, either

    "BatchNorm > gain #1-4"      a table's cell: the first cells of its row, the beginning of its
                                 column's name; its numbers 1 to 4 (without #: the first)
    "in {} passes at lr"         a sentence that stands once in the file, {} where the number is

A number may be said with fewer digits than the file holds; it is then that number, rounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

NUMBER = re.compile(r"(?<![\w.])[+-]?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")


def numbers(text: str) -> list[str]:
    """All numbers of a text.

    >>> numbers("n = 3: +2.8 points (67.2%), 92 % of 1,000, N^2.00")
    ['3', '+2.8', '67.2', '92', '1,000', '2.00']
    """
    return [found.rstrip(",") for found in NUMBER.findall(text)]


def wrong(answer: str, places: list[str], text: str) -> list[str]:
    """What an answer says otherwise than the places of the result file's text hold.

    >>> wrong("1.5 of 3", ["took {} s", "n = {}"], "It took 1.52 s, n = 3.")
    []
    >>> wrong("1.5 of 3", ["took {} s", "n = {}"], "It took 1.58 s, n = 3.")
    ['says 1.5, but took {} s is 1.58']
    """
    said = numbers(answer)
    held = [(place, number) for place in places for number in numbers_at(place, text)]
    if len(said) != len(held):
        return [f"says {len(said)} numbers, {said}, but names places of {len(held)}"]
    return [f"says {one}, but {place} is {other}"
            for one, (place, other) in zip(said, held, strict=True) if not same(one, other)]


def numbers_at(place: str, text: str) -> list[str]:
    """The numbers at a place of a result file."""
    if "{}" in place:
        return in_sentence(place, text)
    path, _, which = place.partition(" #")
    *row, column = path.split(" > ")
    found = [cells[i] for names, cells in table_rows(text) if cells[: len(row)] == row
             for i, name in enumerate(names) if name.startswith(column)]
    if len(found) != 1:
        raise LookupError(f"{len(found)} cells of the result are at {place!r}, not one")
    first, _, last = (which or "1").partition("-")
    return numbers(found[0])[int(first) - 1 : int(last or first)]


def in_sentence(place: str, text: str) -> list[str]:
    """The numbers in the gaps of a sentence, which may run over two lines."""
    pattern = re.escape(place).replace(r"\{\}", f"({NUMBER.pattern})").replace(r"\ ", r"\s+")
    found = list(re.finditer(pattern, text))
    if len(found) != 1:
        raise LookupError(f"the result says {place!r} {len(found)} times, not once")
    return [number.rstrip(",") for number in found[0].groups()]


def table_rows(text: str) -> Iterator[tuple[list[str], list[str]]]:
    """The rows of a text's tables: names of the columns, and cells."""
    names: list[str] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            names = []
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if names:
            yield names, cells
        else:
            names = cells


def same(said: str, held: str) -> bool:
    """Whether a number is another, with fewer digits perhaps; a sign that is said must be there.

    >>> same("84.2", "84.16"), same("+5.2", "5.2"), same("3.8", "+3.78"), same("5.2", "5.26")
    (True, False, True, False)
    """
    if said[0] in "+-" and held[0] != said[0]:
        return False
    first, second = (number.lstrip("+-").replace(",", "") for number in (said, held))
    if "e" in first + second:
        return float(first) == float(second)
    digits = len(first.partition(".")[2])
    return f"{float(second):.{digits}f}" == first
