"""What the lecture says about costs and choices: C4, C7, C8, each on real runs.

The long ones are slow tests; they write what they found to `tests/results/`.
"""

from __future__ import annotations

import os
import re
import sys

import numpy as np
import pytest

import tinynet as tn
from bench import second_order as cost
from examples import adam_or_sgd, lbfgs_batches
from tests.results import save
from tinynet import data, functional as F, models, optim

ON_THE_HOST = "NumPy's memory is traced, and its solver timed"


@pytest.mark.numpy_only(ON_THE_HOST)
def test_C4_a_hessian_has_N_squared_numbers() -> None:
    nets = [cost.net_cost(hidden, repeat=1) for hidden in (8, 15, 31)]
    found = cost.Found(nets, {})
    assert [c.stored for c in nets] == [cost.hessian_bytes(c.n) for c in nets]
    assert found.slope_of("stored") == pytest.approx(2) and found.slope_of("peak") > 1.8
    assert round(cost.hessian_bytes(10**6) / 2**30) == 3725
    n, m = nets[-1].n, 10
    assert 2 * m * n * 4 < nets[-1].stored / 20  # the 2 m N floats of L-BFGS


@pytest.mark.slow
@pytest.mark.numpy_only(ON_THE_HOST)
def test_C4_solving_takes_N_cubed_operations() -> None:
    found = cost.measure()
    assert found.slope_of("solve") == pytest.approx(3, abs=0.5)
    assert found.slope_of("stored") == pytest.approx(2)
    assert found.slope_of("peak") == pytest.approx(2, abs=0.1)
    assert 1 < found.slope_of("hessian") < 2.5
    assert found.slope_of("product") < 1.2 and found.nets[-1].product < 10 * found.nets[-1].gradient
    save("C4", "What a Hessian costs: storage N^2, solving N^3",
         f"Made by `python -m bench.second_order`.\n\n{found.report()}", "bench/second_order.py")


def check_C7(rows: dict[str, list[lbfgs_batches.Result]]) -> None:
    """L-BFGS against the best of four Adams: far ahead on all pictures, far behind on batches."""
    def losses(optimizer: str, batch: str) -> list[float]:
        """The worst of L-BFGS's seeds, or the best that Adam reached with any rate."""
        return [r.loss for name, results in rows.items() for r in results
                if name.startswith(optimizer) and f"| {batch} |" in name]

    assert max(losses("L-BFGS", "all 500")) < min(losses("Adam", "all 500")) / 100
    assert min(losses("L-BFGS", "50")) > 5 * min(losses("Adam", "50"))
    for name, results in rows.items():
        for r in results:
            on_batches = name.startswith("L-BFGS | 50")
            assert r.warned > 0.9 * r.steps if on_batches else r.warned == 0


def test_C7_lbfgs_wins_on_the_full_batch_and_stalls_on_minibatches(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lbfgs_batches, "ADAM_RATES", (1e-2,))  # the best of the four
    check_C7(lbfgs_batches.compare("mlp", seeds=1))


@pytest.mark.slow
def test_C7_on_a_conv_net() -> None:
    rows = lbfgs_batches.compare("conv", seeds=3)
    check_C7(rows)
    save("C7", "L-BFGS on the full batch and on mini-batches, beside Adam",
         "Made by `python examples/lbfgs_batches.py`.\n\n" + lbfgs_batches.table(rows),
         "examples/lbfgs_batches.py")


@pytest.mark.parametrize("make", [optim.LBFGS, optim.NewtonCG])
def test_C7_a_batch_drawn_inside_the_closure_is_noticed(make: type[optim.LBFGS]) -> None:
    """One long step: as soon as the line search fails, the loss is looked at once more."""
    x, y = lbfgs_batches.pictures()
    rng = np.random.default_rng(0)
    model = models.mlp([768, 16, 10])
    optimizer = make(model.named_parameters(), max_iter=60)

    def closure() -> tn.Tensor:
        rows = rng.integers(0, len(y), 50)
        return F.cross_entropy(model(tn.tensor(x.data[rows])), y[rows])

    with pytest.warns(RuntimeWarning, match="at the same weights"):
        optimizer.step(closure)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shapes", *(["cifar10"] if "TINYNET_DATA" in os.environ else [])])
def test_C8_adam_is_good_at_once_and_tuned_sgd_may_be_better(name: str) -> None:
    task = adam_or_sgd.load(name, 2000)
    found = adam_or_sgd.search(task, epochs=8)
    rows = adam_or_sgd.compare(task, found, seeds=3, epochs=8)
    check_C8(found, rows)
    suffix = "" if name == "shapes" else f"-{name}"
    command = f"python examples/adam_or_sgd.py{'' if name == 'shapes' else f' --data {name}'}"
    save(f"C8{suffix}", f"Adam as it comes, or tuned SGD with momentum? 2,000 pictures of {name}",
         f"Made by `{command}`.\n\n{adam_or_sgd.report(found, rows)}", "examples/adam_or_sgd.py")


def check_C8(found: adam_or_sgd.Found, rows: dict[str, list[float]]) -> None:
    """SGD is better than Adam as it comes once it is tuned, and worse if it is not."""
    mean = {name: float(np.mean(np.nan_to_num(a))) for name, a in rows.items()}
    adam, tuned, tenth, tenfold = (
        next(value for name, value in mean.items() if name.startswith(start)) for start in (
            "Adam, defaults", "SGD + momentum, tuned", "SGD + momentum, a tenth",
            "SGD + momentum, ten times"))
    assert tuned > adam + 0.01 and min(tenth, tenfold) < adam - 0.01
    assert max(found.values()) > min(found.values()) + 0.3  # so much hangs on rate and schedule


def test_adam_or_sgd_prints_its_tables(monkeypatch: pytest.MonkeyPatch,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    pictures, held_out = data.load_shapes(train=200, test=50)
    monkeypatch.setattr(adam_or_sgd, "load",
                        lambda name, n: adam_or_sgd.Task(pictures, held_out, held_out))
    monkeypatch.setattr(adam_or_sgd, "RATES", (0.01, 1e3))
    monkeypatch.setattr(sys, "argv", ["", "--epochs", "1", "--seeds", "1"])
    adam_or_sgd.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| search: lr | 0.01 | 1000 |"
    assert [line.split(" | ")[0] for line in lines[2:5]] == [
        "| constant", "| cosine", "| warm-up, cosine"]
    assert all(re.fullmatch(r"\| .+ \| (nan|[\d.]+)% \| .+ \| 1 \|", line) for line in lines[8:])
