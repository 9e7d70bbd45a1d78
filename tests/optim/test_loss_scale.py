"""float16: nothing vanishes, what overflows is skipped, and a net learns as in float32."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.arrays import close
from tests.emulator import counting
from tinynet import Tensor, functional as F, models, random, xp
from tinynet.optim import SGD, Adam, LossScale


def half(*values: float) -> Tensor:
    return Tensor(np.array(values, "f2"), requires_grad=True)


def sgd(params: Any) -> SGD:
    return SGD(params, lr=1.0)


def test_small_gradients_do_not_vanish_and_small_steps_add_up() -> None:
    w, lost = half(0.0), half(0.0)
    scaled = LossScale([w], sgd, scale=2.0**14)
    for _ in range(1000):
        scaled.backward(w.sum().astype("float32") * 1e-8)
        assert scaled.step()
    lost.sum().astype("float32").backward(np.float32(1e-8))
    assert lost.grad.item() == 0.0  # without scaling
    assert scaled.masters[0][1].item() == pytest.approx(-1e-5, rel=1e-3)
    w = half(1.0)
    scaled = LossScale([w], sgd)
    for _ in range(100):  # 1 - 3e-4 is 1 in float16, again and again
        scaled.backward(w.sum().astype("float32") * 3e-4)
        scaled.step()
    assert w.dtype == np.float16 and w.item() == pytest.approx(0.97, abs=1e-3)


def test_what_overflows_is_skipped_and_the_scale_is_halved() -> None:
    w = half(2.0, 3.0)
    scaled = LossScale([w], sgd, scale=2.0**20, every=3)
    done = []
    while len(done) < 12:
        scaled.backward((w * w).sum() * 0.01)
        done.append(scaled.step())
        assert w.grad is None
    assert done[0] is False and all(done[-3:]) and scaled.skipped == done.count(False) >= 5
    assert scaled.scale < 2.0**20 and np.isfinite(w.numpy()).all() and w.data[0] < 2.0


@pytest.mark.parametrize("make", [lambda p: SGD(p, 0.1, momentum=0.9), lambda p: Adam(p, 0.01)])
def test_a_net_learns_as_in_float32(make: Any) -> None:
    x = random.normal(3, (64, 3, 8, 8))
    labels = (x[:, 0].mean((1, 2)) > x[:, 1].mean((1, 2))).astype(int)
    losses = {}
    for dtype in ("float16", "float32"):
        random.manual_seed(0)
        model = models.small_conv_net(num_classes=2, widths=(8, 16), image_size=8).astype(dtype)
        optimizer = (LossScale(model.named_parameters(), make) if dtype == "float16" else
                     make(model.named_parameters()))
        for _ in range(20):
            loss = F.cross_entropy(model(Tensor(x.astype(dtype))), labels)
            if isinstance(optimizer, LossScale):
                optimizer.backward(loss)
            else:
                optimizer.zero_grad()
                loss.backward()
            optimizer.step()
        losses[dtype] = loss.item()
        assert all(p.dtype == dtype for p in model.parameters())
    assert losses["float32"] < 0.3 and abs(losses["float16"] - losses["float32"]) < 0.1


def test_state_goes_on_where_it_was() -> None:
    runs = [LossScale([half(1.0, 2.0)], lambda p: Adam(p, 0.1), scale=8.0) for _ in range(2)]

    def step(run: LossScale) -> None:
        ((_, w),) = run.params
        run.backward((w * w).sum())
        run.step()

    for _ in range(3):
        step(runs[0])
    runs[1].load_state_dict(runs[0].state_dict())
    for run in runs:
        step(run)
    assert runs[0].scale == runs[1].scale == 8.0
    assert close(runs[0].params[0][1], runs[1].params[0][1], atol=0)
    assert close(runs[0].masters[0][1], runs[1].masters[0][1], atol=0)
    with pytest.raises(ValueError, match=r"no LossScale's state: it lacks \['masters', "):
        runs[1].load_state_dict({"scale": 2.0})


@pytest.mark.emulated
def test_a_step_reads_one_number() -> None:
    params = [half(*range(n)) for n in (1, 2, 3)]
    scaled = LossScale(params, lambda p: Adam(p, 0.1))
    for _ in range(2):
        scaled.backward(sum((p * p).sum() for p in params))
        with counting() as traffic:
            scaled.step()
    assert (traffic.d2h, traffic.h2d) == (1, 0)


@pytest.mark.emulated
@pytest.mark.parametrize("k", [8, 4096])
def test_products_of_float16_are_summed_in_float32(k: int) -> None:
    """In float16 a sum of ones would stop at 2048."""
    ones = xp.ones((2, k), "f2")
    assert (ones @ ones.T).tolist() == [[float(k)] * 2] * 2
    images = xp.ones((1, k // 4, 2, 2), "f2")
    y = F.conv2d(images, xp.ones((1, k // 4, 2, 2), "f2"))
    assert y.dtype == np.float16 and y.ravel().tolist() == [float(k)]


@pytest.mark.parametrize(("options", "words"), [
    ({"scale": 0.5}, "scale must be at least 1 and finite, got 0.5"),
    ({"scale": math.inf}, "and finite, got inf"), ({"every": 0}, "at least 1 update")])
def test_mistakes_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LossScale([half(1.0)], sgd, **options)
