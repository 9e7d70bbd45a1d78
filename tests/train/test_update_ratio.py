"""H9: the ratio of the update's norm to the weights' norm."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest

from tests.train.toy import batches, net, trainer
from tinynet import Tensor, functional as F, to_numpy
from tinynet.train import History, ratio_advice, ratio_warnings


def test_H9_ratio_equals_the_snippet_of_the_notes(float64: None) -> None:
    learning_rate = 0.05
    data = [(x.astype("float64"), y) for x, y in batches()]
    model = net()
    expected: dict[str, list[float]] = {}
    for step in range(12):
        images, labels = data[step % 6]
        model.zero_grad()
        F.cross_entropy(model(Tensor(images)), labels).backward()
        for name, p in model.named_parameters():
            W, dW = to_numpy(p.data), to_numpy(p.grad.data)
            param_scale = np.linalg.norm(W.ravel())
            update = -learning_rate * dW
            update_scale = np.linalg.norm(update.ravel())
            p.copy_(W + update)
            if step % 5 == 0:
                expected.setdefault(name, []).append(update_scale / param_scale)
    from tinynet.optim import SGD
    from tinynet.train import Trainer

    model = net()
    t = Trainer(model, SGD(model.named_parameters(), lr=learning_rate), log_every=5,
                progress=False)
    ratios = t.fit(data, epochs=2).ratios
    assert ratios["step"] == [0, 5, 10]
    for name in expected:
        assert ratios[name] == pytest.approx(expected[name], rel=1e-12)
    weights = np.median([expected["0.weight"], expected["2.weight"]], axis=0)
    assert ratios["update_ratio"] == pytest.approx(weights, rel=1e-12)


def test_H9_is_linear_in_the_learning_rate_of_sgd() -> None:
    first = [trainer(lr=lr).fit(batches()).ratios["update_ratio"][0] for lr in (0.01, 0.02, 0.04)]
    assert first[1] / first[0] == pytest.approx(2.0, rel=1e-4)
    assert first[2] / first[0] == pytest.approx(4.0, rel=1e-4)


def test_H9_bands() -> None:
    assert ratio_advice(1e-3) == ratio_advice(1e-4) == ratio_advice(1e-2) == ""
    assert ratio_advice(0.9e-4) == "below 1e-04: if the loss hardly falls, raise the learning rate"
    assert ratio_advice(1.1e-2) == "above 1e-02: if the loss jumps about, lower the learning rate"
    assert ratio_advice(math.nan) == ""
    history = History()
    for ratio in (1e-5, 3e-5, 1e-3):
        history.add("ratios", update_ratio=ratio)
    assert ratio_advice(history) == ratio_advice(3e-5) != ""
    with pytest.raises(TypeError, match="ratio must be a number or a History, got NoneType"):
        ratio_advice(None)  # type: ignore[arg-type]
    assert ratio_warnings({"step": [0.0, 1.0], "a": [1e-3, 1.0, 1e-3], "b": [math.nan, 1e-6]}) == {
        "b": "below 1e-04: if the loss hardly falls, raise the learning rate"}


@pytest.mark.parametrize("lr, advice", [(3e-6, "raise the"), (0.5, "lower the"), (0.002, "")])
def test_H9_warns_once(lr: float, advice: str, capsys: pytest.CaptureFixture[str]) -> None:
    trainer(lr=lr, progress=True).fit(batches(), epochs=3)
    lines = [line for line in capsys.readouterr().out.splitlines() if "update ratio" in line]
    assert len(lines) == (1 if advice else 0)
    assert all(advice in line for line in lines)


def test_H9_a_schedule_that_has_decayed_is_no_reason_to_warn(
        capsys: pytest.CaptureFixture[str]) -> None:
    def schedule(t: int) -> float:
        return 0.002 if t < 6 else 1e-6

    trainer(lr=schedule, progress=True).fit(batches(), epochs=3)
    assert "update ratio" not in capsys.readouterr().out


def test_H9_weights_that_are_all_zero_have_no_ratio() -> None:
    model = net()
    for p in model.parameters():
        p.copy_(0.0)
    ratios = trainer(model).fit(batches(), epochs=1).ratios
    assert math.isnan(ratios["0.weight"][0]) and math.isnan(ratios["update_ratio"][0])


def test_H9_overhead_is_small() -> None:
    """Time inside the monitor, on a net large enough to measure."""
    model = net(hidden=2000)
    t = trainer(model)
    monitor: Any = t.callbacks[0]
    spent = 0.0

    def timed(hook: Any) -> Any:
        def call(trainer: Any) -> None:
            nonlocal spent
            start = time.perf_counter()
            hook(trainer)
            spent += time.perf_counter() - start
        return call

    for name in ("before_update", "on_step", "on_log"):
        setattr(monitor, name, timed(getattr(monitor, name)))
    data = batches(1280, size=128)
    shares = []
    for _ in range(4):  # the machine may be busy: the best of four counts
        spent, start = 0.0, time.perf_counter()
        t.fit(data, epochs=4)
        shares.append(spent / (time.perf_counter() - start))
    assert min(shares) < 0.03, f"{min(shares):.1%} of the time goes into update ratios"
