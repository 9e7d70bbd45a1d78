"""Every operation gives PyTorch's values and gradients (float64; the file names its version)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.arrays import host
from tests.golden.make_functional import GOLDEN, constants, draw
from tinynet import Tensor, functional as F, grad
from tinynet.backend import asarray

FILE = np.load(GOLDEN)
CASES = {case["name"]: case for case in json.loads(str(FILE["cases"]))}


def run(case: dict[str, Any], dtype: str) -> dict[str, Any]:
    """The output, the gradients and the changed buffers of a case, computed by tinynet."""
    arguments = {name: Tensor(draw(case, name, shape).astype(dtype), requires_grad=True)
                 for name, shape in case["inputs"].items()}
    others = {name: asarray(value.astype(dtype) if value.dtype.kind == "f" else value)
              for name, value in constants(case).items()}
    y = getattr(F, case["function"])(**arguments, **others, **case["options"])
    g = draw(case, "cotangent", list(y.shape)).astype(dtype)
    found = grad(y, list(arguments.values()), g)
    results = {"y": y} | {f"d{name}": dx for name, dx in zip(arguments, found, strict=True)}
    return {name: host(value) for name, value in (results | others).items()}


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-11), ("float32", 2e-5)])
@pytest.mark.parametrize("name", CASES)
def test_golden(name: str, dtype: str, bound: float) -> None:
    results = run(CASES[name], dtype)
    wanted = {key.removeprefix(f"{name}/"): FILE[key] for key in FILE if key.startswith(f"{name}/")}
    assert "y" in wanted and len(wanted) > 1
    for what, value in wanted.items():
        got = results[what]
        assert got.dtype == dtype, what
        assert got.shape == value.shape, what
        error = np.abs(got - value).max() / max(1.0, np.abs(value).max())
        assert error <= bound, f"{what} is off by {error}"
