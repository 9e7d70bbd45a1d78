"""Five mistakes that go unnoticed on NumPy, planted in the library: each is caught by a check.

Every check passes first, so that it is the mistake which it catches.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.emulator.test_traffic import check_the_traffic_of_steps
from tests.emulator.training import adam, net
from tests.ops.test_indexing import test_an_index_that_comes_again_adds_up as check_repeated_index
from tinynet import Tensor, data, functional as F, grad, train
from tinynet.backend import asarray
from tinynet.kernels import elementwise
from tinynet.ops import indexing
from tinynet.optim import Adam

pytestmark = pytest.mark.emulated


def test_a_stray_np_on_a_device_array(monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy computes np.maximum on the device, so nothing else would tell."""
    x = Tensor([-1.0, 2.0])
    assert F.relu(x).tolist() == [0.0, 2.0]
    source = compile("def relu(x): return np.maximum(x, 0)", elementwise.__file__, "exec")
    space: dict[str, Any] = {"np": np}
    exec(source, space)
    monkeypatch.setattr(elementwise, "relu", space["relu"])
    with pytest.raises(TypeError, match=r"np\.maximum of a device array in .*elementwise.py"):
        F.relu(x)


def test_an_item_in_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    check_the_traffic_of_steps()
    in_place = Adam.in_place

    def curious(self: Adam, x: Any, g: Any, *rest: Any) -> Any:
        self.largest = g.max().item()
        return in_place(self, x, g, *rest)

    monkeypatch.setattr(Adam, "in_place", curious)
    with pytest.raises(AssertionError):
        check_the_traffic_of_steps()


def test_an_assignment_to_repeated_places(monkeypatch: pytest.MonkeyPatch) -> None:
    check_repeated_index()
    monkeypatch.setattr(indexing, "_may_repeat", lambda index: False)
    with pytest.raises(AssertionError):
        check_repeated_index()


@pytest.mark.parametrize("label", [-1, 10, 1 << 40])
@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss, F.hinge_loss])
def test_a_label_out_of_range(loss: Any, label: int) -> None:
    """On the host it is named; on the device, where CuPy would wrap it round, the loss is nan."""
    scores = Tensor(np.zeros((3, 10), "f4"), requires_grad=True)
    assert math.isfinite(loss(scores, asarray(np.array([1, 2, 3]))).item())
    labels = np.array([1, label, 2])
    with pytest.raises(ValueError, match=rf"labels must lie in 0..9, got {label} at position 1"):
        loss(scores, labels)
    assert math.isnan(loss(scores, asarray(labels)).item())
    losses = loss(scores, asarray(labels), reduction="none")
    assert np.isnan(losses.numpy()).tolist() == [False, True, False]


def test_a_label_out_of_range_in_mixup() -> None:
    """On the device already, so nobody has checked it: its target is nan, and so is the loss."""
    images, labels = asarray(np.ones((3, 3, 8, 8), "f4")), asarray(np.array([0, 9, 10]))
    _, targets = data.Mixup(10, p=0.0)(images, labels, 7)
    sums = targets.sum(axis=1).get()
    assert sums[:2].tolist() == [1.0, 1.0] and math.isnan(sums[2])


def test_a_label_out_of_range_ends_the_training() -> None:
    model = net()
    trainer = train.Trainer(model, adam(model), progress=False, log_every=1)
    batch = tn.xp.zeros((2, 3, 16, 16), "f4"), asarray(np.array([3, 10]))
    with pytest.raises(FloatingPointError, match="the loss became nan at step 0"):
        trainer.fit([batch])


def check_gradients_that_share_a_number() -> None:
    x, y = (Tensor(np.array(v), requires_grad=True) for v in (2.0, 3.0))
    dx, dy = grad((x + y) + x, [x, y])
    assert (dx.item(), dy.item()) == (2.0, 1.0)


def test_an_update_in_place_of_a_shared_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy's numbers cannot be changed in place; CuPy's are arrays without axes, and can."""

    def add_in_place(a: Any, b: Any) -> Any:
        a += b
        return a

    check_gradients_that_share_a_number()
    engine = importlib.import_module("tinynet.tensor")  # tinynet.tensor is a function, too
    monkeypatch.setattr(engine, "add_arrays", add_in_place)
    with pytest.raises(AssertionError):
        check_gradients_that_share_a_number()
