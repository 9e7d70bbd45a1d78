"""The lecture's figures as their tests need them: drawn once, in the short form."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest


@pytest.fixture(scope="session")
def numbers() -> Callable[[int], dict[str, Any]]:
    """The numbers behind figure n, with --quick's settings."""
    from lecture.figures import FIGURES

    @cache
    def of(number: int) -> dict[str, Any]:
        (figure,) = (figure for figure in FIGURES if figure.number == number)
        return figure.draw(True).numbers

    return of
