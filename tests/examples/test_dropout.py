"""examples/dropout.py prints its three parts; tests/nn/test_noise.py checks what they show."""

from __future__ import annotations

import pytest

from examples import dropout as example


def test_the_table_of_cues_the_masks_and_the_passes(capsys: pytest.CaptureFixture[str],
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"both cues": 1.0, "no ear": 0.75, "no tail": 0.5}
    monkeypatch.setattr(example, "accuracy_by_cues", lambda p, seed: found)
    example.main([])
    lines = capsys.readouterr().out.splitlines()
    assert "dropout, 0.5      100.0%  100%     75.0%   75%     50.0%   50%" in lines
    numbers = {" ".join(words[:-1]): float(words[-1]) for line in lines
               if line.startswith("  ") and len(words := line.split()) in (3, 4, 5)}
    one, ten, hundred, scaled = (numbers[name] for name in (
        "mean of 1 passes", "mean of 10 passes", "mean of 100 passes", "one scaled pass"))
    assert hundred < scaled < ten < one
