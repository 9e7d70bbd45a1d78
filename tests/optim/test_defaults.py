"""Adam as it comes, on three different tasks, beside others whose rate is tuned for each (A20)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinynet as tn
from tests.results import save
from tinynet import functional as F, models, nn, optim
from tinynet.data import load_shapes


class Task(NamedTuple):
    """A net, its loss, how many steps it gets and the loss it is to reach."""

    model: nn.Module
    loss: Callable[[nn.Module], Any]
    steps: int
    target: float


def regression() -> Task:
    """A noisy linear map of 10 features, squared loss; the noise alone leaves 0.01."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((256, 10)).astype("f4")
    y = x @ rng.standard_normal((10, 1)).astype("f4") + 0.1 * rng.standard_normal((256, 1))
    x, y = tn.Tensor(x), tn.Tensor(y.astype("f4"))
    return Task(nn.Linear(10, 1), lambda net: F.mse_loss(net(x), y), 6000, 0.012)


def spirals() -> Task:
    """The notes' three spiral arms, two layers, cross-entropy; a linear net stays at 0.78."""
    rng = np.random.default_rng(0)
    r, arm = np.tile(np.linspace(0, 1, 100), 3), np.repeat(np.arange(3), 100)
    angle = 4 * (arm + r) + 0.2 * rng.standard_normal(300)
    x = tn.Tensor(np.stack([r * np.sin(angle), r * np.cos(angle)], 1).astype("f4"))
    return Task(models.mlp([2, 100, 3]), lambda net: F.cross_entropy(net(x), arm), 1200, 0.4)


def pictures() -> Task:
    """A small conv net with batch norm on 200 pictures of shapes."""
    train, _ = load_shapes(train=200, test=10)
    x = tn.Tensor(train.images[:, :, ::2, ::2].astype("f4") / np.float32(64) - np.float32(2))
    net = models.small_conv_net(image_size=16, widths=(8, 16))
    return Task(net, lambda net: F.cross_entropy(net(x), train.labels), 200, 0.5)


def last_loss(task: Task, optimizer: optim.Optimizer) -> float:
    loss = None
    for _ in range(task.steps):
        loss = optimizer.step(lambda: task.loss(task.model))
    assert loss is not None
    return float(loss.item())


TUNED: dict[str, Callable[[Any, float], optim.Optimizer]] = {
    "SGD + momentum": lambda params, lr: optim.SGD(params, lr, momentum=0.9),
    "AdaGrad": optim.Adagrad, "RMSProp": optim.RMSprop}
RATES = (1e-1, 1e-2, 1e-3)


def adam(make: Callable[[], Task], lr: float) -> float:
    """Adam's last loss with nothing chosen but the rate; half the rate gets twice the steps."""
    tn.manual_seed(0)
    task = make()
    return last_loss(task._replace(steps=round(task.steps * 1e-3 / lr)),
                     optim.Adam(task.model.named_parameters(), lr))


def other(make: Callable[[], Task], name: str, lr: float) -> float:
    tn.manual_seed(0)
    task = make()
    with np.errstate(all="ignore"):
        return last_loss(task, TUNED[name](task.model.named_parameters(), lr))


@pytest.mark.slow
def test_A20_adam_reaches_the_target_without_tuning() -> None:
    """On three tasks with either rate of the lecture; the rate of others has to be found."""
    head = ["task", "target", "Adam, 0.001", "Adam, 0.0005",
            *(f"{name}, {' / '.join(f'{lr:g}' for lr in RATES)}" for name in TUNED)]
    lines = [head, ["---"] * len(head)]
    for make in (regression, spirals, pictures):
        target, adams = make().target, [adam(make, lr) for lr in (1e-3, 5e-4)]
        others = {name: [other(make, name, lr) for lr in RATES] for name in TUNED}
        check_A20(target, adams, others)
        cells = [" / ".join(f"{loss:.4f}" for loss in losses)
                 for losses in ([adams[0]], [adams[1]], *others.values())]
        lines.append([make.__name__, str(target), *cells])
    save("A20", "Adam as it comes on three tasks, beside others at three rates: training losses",
         "\n".join(f"| {' | '.join(line)} |" for line in lines), "tests/optim/test_defaults.py")


def check_A20(target: float, adams: list[float], others: dict[str, list[float]]) -> None:
    """On one task: Adam reaches the target with either rate, others with the right one only."""
    assert max(adams) < target
    assert all(min(losses) < target for losses in others.values())  # with the right rate
    assert any(max(losses) > target for losses in others.values())  # with a wrong one


def test_the_committed_table_of_A20_says_so_of_every_task(root: Path) -> None:
    text = (root / "tests/results/A20.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")][2:]
    assert [task for task, *_ in rows] == ["regression", "spirals", "pictures"]
    for _, target, first, second, *others in rows:
        losses = {name: [float(loss) for loss in cell.split(" / ")]
                  for name, cell in zip(TUNED, others, strict=True)}
        check_A20(float(target), [float(first), float(second)], losses)


@pytest.mark.parametrize("target", [make().target for make in (regression, spirals, pictures)])
@pytest.mark.parametrize(("adams", "others"), [  # losses as multiples of the target
    pytest.param([0.2, 1.2], {"SGD": [0.2, 4.0]}, id="Adam misses with half the rate"),
    pytest.param([0.2, 0.2], {"SGD": [1.2, 4.0], "RMSProp": [0.2, 4.0]}, id="SGD never arrives"),
    pytest.param([0.2, 0.2], {"SGD": [0.2, 0.4], "RMSProp": [0.2, 0.4]}, id="any rate will do"),
])
def test_a_task_that_does_not_show_it_is_noticed(
        target: float, adams: list[float], others: dict[str, list[float]]) -> None:
    with pytest.raises(AssertionError):
        check_A20(target, [target * loss for loss in adams],
                  {name: [target * loss for loss in losses] for name, losses in others.items()})


def test_every_row_of_the_committed_table_is_judged(
        root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[float] = []
    monkeypatch.setitem(globals(), "check_A20", lambda target, *losses: judged.append(target))
    test_the_committed_table_of_A20_says_so_of_every_task(root)
    assert len(judged) == 3
