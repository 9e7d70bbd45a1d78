"""The slides' code, run beside the library for 100 steps."""

from __future__ import annotations

import inspect

import pytest
from lecture import snippets

TOLERANCE = 1e-12


@pytest.mark.parametrize("name", [
    pytest.param("gradient descent", marks=pytest.mark.lecture("A1")),
    pytest.param("momentum", marks=pytest.mark.lecture("A7")),
    pytest.param("Nesterov", marks=pytest.mark.lecture("A11")),
    pytest.param("AdaGrad", marks=pytest.mark.lecture("A14")),
    pytest.param("RMSProp", marks=pytest.mark.lecture("A17")),
    pytest.param("Adam, no correction", marks=pytest.mark.lecture("A18")),
    pytest.param("Adam", marks=pytest.mark.lecture("A19")),
])
def test_an_optimizer_as_on_the_slide_is_the_librarys(name: str) -> None:
    assert snippets.apart(name) < TOLERANCE


def test_every_optimizer_of_the_slides_is_followed() -> None:
    loops = {name for name, one in inspect.getmembers(snippets, inspect.isgeneratorfunction)}
    assert len(loops) == len(snippets.SIDES) == 7


@pytest.mark.lecture("E4", "E5", "E6")
@pytest.mark.parametrize("inverted", [False, True])
def test_a_net_with_the_slides_dropout_is_the_librarys(inverted: bool) -> None:
    """Weights after 100 steps with the same masks, and what both nets then predict."""
    assert snippets.dropout_apart(inverted) < TOLERANCE


def test_H9_the_slides_ratio_is_the_one_in_the_history() -> None:
    assert snippets.ratios_apart() < TOLERANCE


def test_a_difference_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adam without its correction is not Adam; a rate outside or inside v is the same."""
    mixed = snippets.SIDES["Adam"]._replace(snippet=snippets.SIDES["Adam, no correction"].snippet)
    monkeypatch.setitem(snippets.SIDES, "Adam", mixed)
    assert snippets.apart("Adam") > 0.01


def test_it_prints_how_far_and_what_was_mended(capsys: pytest.CaptureFixture[str]) -> None:
    assert snippets.main([]) == 0
    said = capsys.readouterr().out
    assert "inverted dropout and its prediction" in said
    for name, (printed, *_) in snippets.SLIPS.items():
        assert name in said and printed in said
