"""The NaN detective: it names the first operation, and changes no number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.train.toy import batches, net, trainer
from tinynet import Tensor, functional as F, nn, operation, optim, to_numpy, xp
from tinynet.gradcheck.table import TABLES
from tinynet.train import Callback, NanGuard, Trainer, find_nonfinite


class Log(nn.Module):
    """log(relu(x)): the usual way to make -inf."""

    def forward(self, x: Any) -> Any:
        return tn.log(F.relu(x))


@pytest.fixture(autouse=True)
def no_warnings() -> Any:
    with np.errstate(all="ignore"):
        yield


def leaf(*values: float) -> Tensor:
    return Tensor([*values], requires_grad=True)


@pytest.mark.parametrize("make, made, range_of_input", [
    (lambda x: tn.log(x - 1.0), "log made 1 inf of finite numbers", "x: float32 (3,), from 0 to 2"),
    (lambda x: tn.exp(x * 50.0), "exp made 2 inf of finite numbers", "from 50 to 150"),
    (lambda x: tn.sqrt(x - 2.0), "sqrt made 1 nan of finite numbers", "from -1 to 1"),
    (lambda x: x / xp.zeros(3, "float32"), "divide made 3 inf of finite numbers",
     "b: float32 (3,), from 0 to 0"),
    (lambda x: F.softmax(x * math.inf), "multiply made 3 inf", "never raised"),
    (lambda x: (x - 1.0).sqrt() * 1e-3, "the backward pass of sqrt made 1 inf of finite numbers",
     "y: float32 (3,), from 0 to 1.414"),
    (lambda x: F.conv2d((x * 1e38).reshape((1, 1, 1, 3)), xp.ones((1, 1, 1, 3), "float32")),
     "conv2d made 1 inf of finite numbers", "weight: float32 (1, 1, 1, 3), from 1 to 1"),
])
def test_the_first_operation_is_named(make: Any, made: str, range_of_input: str) -> None:
    if range_of_input == "never raised":  # inf came in as a constant: softmax makes nan of it
        made, range_of_input = "softmax made 3 nan of numbers with inf among them", "and 3 inf of 3"
    with pytest.raises(FloatingPointError) as error, find_nonfinite():
        (make(leaf(1.0, 2.0, 3.0)) * 2.0 + 1.0).sum().backward()
    text = str(error.value)
    assert text.lstrip("_").startswith(made), text
    assert range_of_input in text


def test_a_mask_of_infinities_is_no_culprit() -> None:
    mask = xp.array([True, False, True])
    with find_nonfinite() as passed_on:
        y = F.softmax(tn.where(mask, leaf(1.0, 2.0, 3.0), -math.inf))
        (y * y).sum().backward()
    assert y.numpy()[1] == 0.0
    assert len(passed_on) == 1 and passed_on[0].startswith("where was given numbers that are not")


def test_the_layer_is_named_and_the_traceback_leads_there() -> None:
    model = nn.Sequential(nn.Linear(2, 4), nn.Sequential(nn.ReLU(), Log()))
    with pytest.raises(FloatingPointError, match=r"^log in layer '1.1' \(Log\) made") as error, \
            find_nonfinite():
        model(tn.zeros((3, 2)))
    assert any("forward" in str(entry) for entry in error.traceback)
    with find_nonfinite():  # and the patch is gone after an error
        pass
    assert operation.record.__module__ == "tinynet.tensor"


@pytest.mark.parametrize("case", [case for cases in TABLES.values() for case in cases])
def test_every_operation_can_be_watched_and_keeps_its_numbers(case: Any) -> None:
    def run() -> list[Any]:
        tensors = [Tensor(x, requires_grad=True) for x in case.inputs()]
        tn.manual_seed(0)
        y = case.f(*tensors)
        (y * y).sum().backward()
        return [y.data, *(x.grad.data for x in tensors if x.grad is not None)]

    plain = run()
    with find_nonfinite() as passed_on:
        watched = run()
    assert not passed_on
    for a, b in zip(plain, watched, strict=True):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))


def test_guard_names_operation_layer_ranges_lr_and_ratio() -> None:
    """The same dropout masks again, so the repeated step is the one that failed."""
    tn.manual_seed(2)
    model = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 3))

    class Spoil(Callback):
        def on_step(self, trainer: Trainer) -> None:
            if trainer.step == 4:
                trainer.model.parameters()[2].copy_(1e38)

    t = Trainer(model, optim.SGD(model.named_parameters(), lr=0.25), progress=False, log_every=2,
                callbacks=[Spoil(), NanGuard()])
    with pytest.raises(FloatingPointError) as error:
        t.fit(batches(), epochs=2)
    text = str(error.value)
    assert text.startswith("step 4 (epoch 1), lr 0.25, last update ratio "), text
    assert f"last update ratio {t.history.ratios['update_ratio'][-1]:.1e}:" in text
    assert "linear in layer '2' (Linear) made" in text
    assert "weight: float32 (3, 8), from 1e+38 to 1e+38" in text
    assert t.step == 4 and t.history.steps["step"] == [0, 1, 2, 3]
    assert all(math.isfinite(v) for v in t.history["loss"])


def test_guard_stops_before_the_weights_are_spoilt() -> None:
    t = trainer(nn.Sequential(nn.Linear(2, 8), Log(), nn.Linear(8, 3)), keep_best=False,
                callbacks=[NanGuard()])
    before = [to_numpy(p.data).copy() for p in t.model.parameters()]
    with pytest.raises(FloatingPointError, match=r"step 0 .* not measured yet: log in layer '1'"):
        t.fit(batches())
    assert all(np.array_equal(b, to_numpy(p.data))
               for b, p in zip(before, t.model.parameters(), strict=True))


def test_guard_names_pictures_and_parameters() -> None:
    data = batches()
    data[3] = (xp.where(xp.arange(2) == 1, xp.nan, data[3][0]).astype("float32"), data[3][1])
    with pytest.raises(FloatingPointError, match=r"the inputs of the batch: float32 \(16, 2\), "
                       r"from \S+ to \S+, and 16 nan of 32, before the first operation"):
        trainer(callbacks=[NanGuard()]).fit(data)
    model = net()
    model.parameters()[2].copy_(math.inf)
    with pytest.raises(FloatingPointError, match=r"2.weight: float32 \(3, 8\), and 24 inf of 24"):
        trainer(model, callbacks=[NanGuard()]).fit(batches())


def test_guard_finds_a_learning_rate_that_is_too_high() -> None:
    with pytest.raises(FloatingPointError, match=r"step \d+ .*, lr 1e\+20, .* made \d+ (inf|nan)"):
        trainer(lr=1e20, callbacks=[NanGuard()]).fit(batches(), epochs=5)


def test_guard_changes_no_number_and_lets_large_gradients_pass() -> None:
    def loss(outputs: Any, labels: Any) -> Any:
        return F.cross_entropy(outputs, labels) * 1e25  # the square of the norm overflows

    runs = []
    for guards in ([], [NanGuard()]):
        tn.manual_seed(0)
        model = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 3))
        t = Trainer(model, optim.SGD(model.named_parameters(), 1e-26), loss, progress=False,
                    callbacks=guards)
        t.fit(batches(), epochs=2)
        runs.append((t.history["loss"], [to_numpy(p.data).tobytes() for p in model.parameters()]))
    assert runs[0] == runs[1]


def test_without_the_guard_the_message_names_it() -> None:
    with pytest.raises(FloatingPointError, match="NanGuard finds the operation"):
        trainer(lr=1e30).fit(batches(), epochs=5)
