"""The command for a free-threaded Python asks for what there is, and its stand-in does its work."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from tests import free_threaded
from tests.lowest import lowest
from tests.stand_ins import safetensors as stand_in
from tests.stand_ins.safetensors import numpy as stand_in_numpy


def test_all_that_has_wheels_is_asked_for() -> None:
    wanted = {line.split(">=")[0] for line in free_threaded.requirements()}
    known = {line.split("==")[0] for line in lowest()}
    assert {"numpy", "pytest", "scipy"} <= wanted
    assert known - wanted >= set(free_threaded.NO_WHEELS)


def test_what_is_left_out_exists(root: Path) -> None:
    for test in free_threaded.LEFT_OUT:
        file, _, name = test.partition("::")
        assert f"def {name}(" in (root / file).read_text(encoding="utf-8")


def test_a_python_with_its_lock_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **options: Any) -> Any:
        assert "pip" not in command
        return type("Result", (), {"returncode": 1})

    monkeypatch.setattr(free_threaded.subprocess, "run", run)
    with pytest.raises(SystemExit, match="is no free-threaded Python, or PYTHON_GIL=1 is set"):
        free_threaded.main(sys.executable, str(tmp_path))


ARRAYS = {"a": np.arange(6, dtype="float32").reshape(2, 3), "b": np.array(True),
          "c": np.zeros((0, 4), "int64")}


def test_the_stand_in_reads_and_writes_the_format(tmp_path: Path) -> None:
    for write in (save, stand_in_numpy.save):
        (tmp_path / "x").write_bytes(write(ARRAYS, {"text": "é"}))
        found = stand_in_numpy.load_file(tmp_path / "x")
        assert found.keys() == ARRAYS.keys()
        for name, x in ARRAYS.items():
            assert found[name].dtype == x.dtype and found[name].shape == x.shape
            np.testing.assert_array_equal(found[name], x)


@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: d + b"\0", lambda d: d[:7],
                                    lambda d: d.replace(b"F32", b"F64")])
def test_the_stand_in_refuses_what_is_no_such_file(damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(stand_in.SafetensorError):
        stand_in.deserialize(damage(stand_in_numpy.save(ARRAYS)))
