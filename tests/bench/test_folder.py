"""bench/folder.py on a handful of pictures: it measures, and says what."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench import folder


def test_it_tells_rates_shares_and_memory(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(folder, "DISTINCT", 10)
    monkeypatch.setattr(folder, "NAMES", 2)
    monkeypatch.setattr(folder, "TURNS", 2)
    folder.write(tmp_path)
    assert folder.main([str(tmp_path), "--size", "32"]) == 0
    said = capsys.readouterr().out
    assert "20 pictures 3x32x32 uint8, 10 classes" in said
    rows = re.findall(r"^(\S.*?) +\d+ pictures/s +\d+% of Pillow alone +[\d.]+ ms of CPU", said,
                      re.MULTILINE)
    assert rows == ["Pillow alone", "DataLoader", "flipped, normalised", "training"]
    assert re.search(r"highest memory: \d+ MB before, \d+ MB after a tenth", said)
