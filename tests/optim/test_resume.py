"""10 steps, save, load into a fresh object, 10 more: bit-equal to 20 steps, for all there is."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.optim.problems import FLAT, OPTIMIZERS
from tests.optim.test_schedule import SCHEDULES
from tinynet import Tensor, optim, to_numpy
from tinynet.optim import EMA, SGD, SWA, Adam, Lookahead, Optimizer
from tinynet.optim.averaging import Average

AVERAGES: dict[str, Callable[[Any], Average]] = {
    "ema": lambda p: EMA(p, 0.9),
    "ema-debiased": lambda p: EMA(p, 0.9, "zero", debias=True),
    "swa": SWA,
    "lookahead": lambda p: Lookahead(p, every=3, alpha=0.4),
}


def start() -> dict[str, Tensor]:
    rng = np.random.default_rng(3)
    return {"w": Tensor(rng.normal(size=(3, 4)).astype("f4"), requires_grad=True),
            "b": Tensor(rng.normal(size=4).astype("f4"), requires_grad=True)}


def run(optimizer: Optimizer, params: dict[str, Tensor], steps: int,
        average: Average | None = None) -> None:
    """A loss with a valley and several minima; the schedule hears of it in coarse steps."""
    def closure() -> Tensor:
        return ((params["w"].sin() @ params["b"]).square().sum()
                + (params["w"] * params["w"]).sum() + params["b"].cos().sum())

    for _ in range(steps):
        loss = optimizer.step(closure)
        if callable(lr := optimizer.param_groups[0]["lr"]):
            lr.observe(round(float(loss), 1))
        if average is not None:
            average.update()


def copies(params: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n: Tensor(p.data.copy(), requires_grad=True) for n, p in params.items()}


def check(make: Callable[[Any], Optimizer], reorder: bool = True) -> None:
    """`reorder`: state is found by name, so the parameters may come in another order."""
    whole, first = start(), start()
    run(make(whole.items()), whole, 20)
    optimizer = make(first.items())
    run(optimizer, first, 10)
    state, second = optimizer.state_dict(), copies(first)
    run(optimizer, first, 3)  # going on does not touch what was saved
    resumed = make(reversed(second.items()) if reorder else second.items())
    resumed.load_state_dict(state)
    assert resumed.t == 10
    run(resumed, second, 10)
    for n in whole:
        assert (to_numpy(second[n].data) == to_numpy(whole[n].data)).all(), n
        assert (to_numpy(second[n].data) != to_numpy(start()[n].data)).all(), n


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_resumes_bit_equal(name: str) -> None:
    check(OPTIMIZERS[name], reorder=name not in FLAT)


@pytest.mark.parametrize("name", ["bfgs", "lbfgs"])
def test_a_flat_memory_refuses_parameters_in_another_order(name: str) -> None:
    params = start()
    optimizer = OPTIMIZERS[name](params.items())
    run(optimizer, params, 3)
    with pytest.raises(ValueError, match="in the order in which they were"):
        OPTIMIZERS[name](reversed(params.items())).load_state_dict(optimizer.state_dict())


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_resumes_bit_equal(name: str) -> None:
    check(lambda p: SGD(p, SCHEDULES[name](), momentum=0.9))


@pytest.mark.parametrize("name", AVERAGES)
def test_D5_average_resumes_bit_equal(name: str) -> None:
    whole, first = start(), start()
    expected, average = AVERAGES[name](whole.items()), AVERAGES[name](first.items())
    run(Adam(whole.items()), whole, 20, expected)
    optimizer = Adam(first.items())
    run(optimizer, first, 10, average)
    second = copies(first)
    other, resumed = Adam(second.items()), AVERAGES[name](reversed(second.items()))
    other.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(average.state_dict())
    run(other, second, 10, resumed)
    assert resumed.n == 20
    for n, a in expected.result().items():
        assert (to_numpy(resumed.result()[n]) == to_numpy(a)).all(), n


def test_nothing_public_is_missing_here() -> None:
    kinds = {kind for kind in vars(optim).values() if inspect.isclass(kind)}
    tried: set[Any] = {type(make(start().items())) for make in OPTIMIZERS.values()}
    tried |= {type(make(start().items())) for make in AVERAGES.values()}
    tried.add(optim.Muon)  # by "together"
    assert kinds - tried == {Optimizer, optim.LossScale}  # which has its own test


@pytest.mark.parametrize("make", [lambda p: Adam(p, SCHEDULES["composed"]()), OPTIMIZERS["lbfgs"]])
def test_state_dict_is_plain_arrays_and_numbers(make: Callable[[Any], Optimizer]) -> None:
    params = start()
    optimizer = make(params.items())
    run(optimizer, params, 2)

    def plain(value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                assert isinstance(key, str)
                plain(inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                plain(inner)
        else:
            known = int | float | str | type(params["w"].data)
            assert value is None or isinstance(value, known), value

    plain(optimizer.state_dict())
