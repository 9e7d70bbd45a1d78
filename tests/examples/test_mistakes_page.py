"""examples/MISTAKES.md prints what it says, and its table of contents is whole."""

from __future__ import annotations

import re

import pytest

from tests.examples.mistakes_page import PAGE, output, pieces

TEXT = PAGE.read_text(encoding="utf-8")
(_, SETUP, _), *PIECES = pieces(TEXT)


def alike(said: str, now: str) -> bool:
    """The same words; numbers to 2 %, which another machine's rounding may move."""
    number = r"-?\d+\.\d+(?:e[+-]\d+)?"
    if re.sub(number, "#", " ".join(said.split())) != re.sub(number, "#", " ".join(now.split())):
        return False
    pairs = zip(re.findall(number, said), re.findall(number, now), strict=True)
    return all(float(a) == pytest.approx(float(b), rel=0.02, abs=0.011) for a, b in pairs)


@pytest.mark.parametrize("place", range(len(PIECES)),
                         ids=lambda place: f"{place}-{PIECES[place][0]}")
def test_a_piece_prints_what_the_page_says(place: int) -> None:
    _, code, said = PIECES[place]
    names: dict[str, object] = {}
    exec(compile(SETUP, PAGE.name, "exec"), names)
    now = output(code, names)
    assert said and alike(said, now), (
        f"python -m tests.examples.mistakes_page writes the page anew; now:\n{now}")


def test_every_mistake_has_a_wrong_and_a_right_piece_and_stands_in_the_contents() -> None:
    headings = re.findall(r"^## (.+)$", TEXT, re.MULTILINE)
    assert headings[0] == "What all pieces share" and 12 <= len(headings[1:]) <= 16
    assert [heading for heading, _, _ in PIECES] == [h for h in headings[1:] for _ in range(2)]
    contents = re.findall(r"^\d+\. \[(.+)\]\(#(.+)\)$", TEXT, re.MULTILINE)
    assert [name for name, _ in contents] == headings[1:]
    for name, anchor in contents:
        assert anchor == re.sub(r"[^\w\- ]", "", name.lower()).replace(" ", "-")


def test_numbers_are_compared_and_words_are_exact() -> None:
    assert alike("loss 0.50", "loss 0.505") and not alike("loss 0.50", "loss 0.60")
    assert not alike("lose 0.50", "loss 0.50")
