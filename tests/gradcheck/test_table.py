"""Every operation of the library, at orders 1 and 2, in float64 and float32."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.arrays import close, equal
from tinynet import Tensor, grad, operation, primitive, random
from tinynet.backend import xp
from tinynet.gradcheck import gradcheck
from tinynet.gradcheck.table import TABLES, Case, main, missing
from tinynet.random import Generator

ROWS = [pytest.param(case, id=f"{table}-{case.name.lstrip('_')}-{i}")
        for table, cases in TABLES.items() for i, case in enumerate(cases)]
rows = pytest.mark.parametrize("case", ROWS)


@primitive(lambda g: g * 1.001)
def bent(x: Any) -> Any:
    """The identity, with a derivative that is wrong by a thousandth."""
    return x


@rows
def test_gradients_of_order_1_and_2_equal_differences(case: Case) -> None:
    report = gradcheck(case.f, *case.inputs(), order=2)
    assert {c.order for c in report} == {1, 2}
    assert report.worst.error < 1e-9
    assert not any(c.note for c in report), "a row should stay away from kinks"


@rows
def test_a_slightly_wrong_gradient_is_found(case: Case) -> None:
    inputs = case.inputs()
    report = gradcheck(lambda x, *others: case.f(bent(x), *others), *inputs, directions=1,
                       check=False)
    if report.worst.analytic == report.worst.numeric == 0.0:
        return  # the derivative of x ** 0: a thousandth of nothing
    assert not report
    assert 2e-6 < report.worst.error < 2e-1 and "input 0 (x)" in report.worst.where


@rows
def test_float32_stays_float32_and_raw_arrays_stay_raw(case: Case) -> None:
    arrays = [x.astype("f4") for x in case.inputs()]
    tensors = [Tensor(x, requires_grad=True) for x in arrays]
    random.manual_seed(3)
    y = case.f(*tensors)
    assert y.dtype == np.float32 and y.requires_grad
    g = Generator(5).normal(y.shape)
    plain, recorded = grad(y, tensors, g), grad(y, tensors, g, create_graph=True)
    for x, a, b in zip(tensors, plain, recorded, strict=True):
        assert a.dtype == b.dtype == np.float32 and a.shape == b.shape == x.shape
        assert type(a.data) is type(b.data) is xp.ndarray
        assert close(a.data, b.data, rtol=1e-4, atol=1e-5)
    random.manual_seed(3)
    raw = case.f(*arrays)
    assert not isinstance(raw, Tensor) and raw.dtype == np.float32
    assert equal(raw, y.data)
    random.manual_seed(3)
    exact = case.f(*[x.astype("f8") for x in arrays])
    assert close(y.data, exact, rtol=1e-4, atol=1e-5)


def test_every_operation_has_a_row() -> None:
    assert missing() == []


def test_an_operation_without_a_row_is_named(monkeypatch: pytest.MonkeyPatch,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(operation.primitives, "cube_root", bent)
    assert missing() == ["cube_root"]
    for table in list(TABLES):
        monkeypatch.setitem(TABLES, table, TABLES[table][:1])
    assert main([]) == 1
    assert "the operation cube_root has no row" in capsys.readouterr().out


def test_the_table_shows_what_fails(monkeypatch: pytest.MonkeyPatch,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(TABLES, "linear", [Case("_linear", lambda x: bent(x) * 2.0, ((3,),))])
    assert main(["linear"]) == 1
    out = capsys.readouterr().out
    assert "fine" not in out and "uncomfortable, FAILED" in out and "not tried" in out
    assert "gradcheck FAILED" in out and "1 rows" in out and "1 failed" in out


def test_one_operation_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["exp", "matmul"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[1:-1]] == ["exp", "matmul"]
    with pytest.raises(SystemExit):
        main(["expp"])
    assert "no operation or table is called expp" in capsys.readouterr().err


def test_the_command_prints_the_whole_table(
        run_python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    result = run_python("-m", "tinynet", "gradcheck")
    assert result.returncode == 0, result.stdout + result.stderr
    printed = {line.split()[1] for line in result.stdout.splitlines()[1:-1]}
    assert printed >= {name.lstrip("_") for name in operation.primitives | operation.fusions}
    assert result.stdout.splitlines()[-1].endswith("all right")
    assert "wrong" not in result.stdout and "FAILED" not in result.stdout
