"""The contact sheet is written, shows every picture in its place, and names the rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from tinynet.backend import asarray
from tinynet.viz import contact_sheet

RNG = np.random.default_rng(0)
ROWS = {"bytes": RNG.integers(0, 256, (3, 3, 8, 10), np.uint8),
        "grey floats": np.linspace(-0.5, 1.5, 2 * 36).reshape(2, 1, 6, 6)}


def test_every_picture_stands_in_its_place(tmp_path: Path, figures: list[Figure]) -> None:
    path = tmp_path / "new" / "sheet.png"
    contact_sheet({name: asarray(row) for name, row in ROWS.items()}, path, title="two rows")
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    (panel,) = figures[0].axes
    assert [label.get_text() for label in panel.get_yticklabels()] == list(ROWS)
    assert panel.get_title(loc="left") == "two rows"
    sheet = np.asarray(panel.get_images()[0].get_array())
    assert sheet.shape == (8 + 6 + 4, 3 * 12, 3)
    for i, picture in enumerate(ROWS["bytes"]):
        assert (sheet[:8, 12 * i : 12 * i + 10] == picture.transpose(1, 2, 0)).all()
    for i, picture in enumerate(ROWS["grey floats"]):
        expected = (np.clip(picture[0], 0, 1) * 255).round()
        assert (sheet[10:16, 8 * i : 8 * i + 6] == expected[..., None]).all()
    assert (sheet[8:10] == 255).all() and (sheet[:, 34:] == 255).all()


@pytest.mark.parametrize(("mistake", "message"), [
    (lambda path: contact_sheet({}, path), "rows must hold at least one row of pictures"),
    (lambda path: contact_sheet({"a": np.zeros((3, 8, 8))}, path),
     r"row 'a' must be pictures \(n, C, H, W\) with 1 or 3 channels, got shape \(3, 8, 8\)"),
])
def test_mistakes_are_named(mistake: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        mistake(tmp_path / "sheet.png")
