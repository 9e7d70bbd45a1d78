"""examples/augmentations.py writes a sheet of every transform."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from tests.data.test_every_transform import random_classes
from tinynet import data


def test_every_transform_is_on_the_sheet(root: Path, tmp_path: Path,
                                         monkeypatch: pytest.MonkeyPatch,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    small = data.load_shapes(train=60, test=10)
    monkeypatch.setattr(data, "load_shapes", lambda train, test: small)
    example: dict[str, Any] = runpy.run_path(str(root / "examples" / "augmentations.py"))
    transforms = example["transforms"](small[0]).values()
    shown = {type(t).__name__ for t in transforms}
    assert shown == random_classes(data.Transform) - {"Transform", "Normalize"}
    path = tmp_path / "sheet.png"
    assert example["main"](["--data", "shapes", "--out", str(path)]) == 0
    assert path.stat().st_size > 50_000
    rows = len(transforms) + 5  # the picture, its ten crops, several pictures, mixup, CutMix
    assert f"{rows} rows are in {path}" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        example["main"](["--data", "shapes", "--picture", "55"])
