"""Nothing waits for the device inside a training step, and launches are few.

The numbers are those that the emulator counts on CuPy's own calls, so they are the same on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.emulator import counting, counts
from tests.emulator.training import BATCH, adam, loader, net
from tinynet import Tensor, functional as F, models, optim, train
from tinynet.backend import asarray
from tinynet.optim import Optimizer

pytestmark = pytest.mark.emulated


def check_the_traffic_of_steps() -> None:
    """Batch norm, dropout, Adam with a schedule, augmentation on the device."""
    model = net()
    optimizer = adam(model)
    batches = iter(loader(BATCH * 4))
    for step in range(4):
        with counting() as traffic:
            images, labels = next(batches)
            loss = F.cross_entropy(model(Tensor(images)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if step == 0:
            continue  # it makes the optimizer's slots
        assert (traffic.d2h, traffic.syncs) == (0, 0)
        assert traffic.h2d == 3  # images, labels, and the pictures' numbers for the augmentation
        assert traffic.allocations == 0 or step < 3  # from here on CuPy's pool has what is needed


def test_a_step_of_net_s_uploads_its_batch_and_nothing_else() -> None:
    check_the_traffic_of_steps()


class Between(train.Callback):
    """The traffic from the beginning of one step to that of the next."""

    def __init__(self) -> None:
        self.found: list[tuple[int, int, int]] = []

    def before_update(self, trainer: train.Trainer) -> None:
        self.found.append((counts.h2d, counts.d2h, counts.syncs))

    def steps(self) -> list[list[int]]:
        return np.diff(np.array(self.found), axis=0).tolist()  # type: ignore[no-any-return]


def test_the_trainer_reads_metrics_guards_and_ratios_once_in_a_log_interval() -> None:
    model, watch = net(), Between()
    trainer = train.Trainer(model, adam(model), callbacks=[watch], log_every=5, progress=False)
    trainer.fit(loader(BATCH * 20), epochs=1)
    assert len(trainer.history["update_ratio"]) == 4  # read with the metrics
    for step, (h2d, d2h, syncs) in enumerate(watch.steps(), 1):
        if step % 5 == 0:  # metrics and ratios are stacked (CuPy uploads a table of addresses) ...
            assert h2d <= 4 and d2h <= 2 and syncs <= 4  # ... and read
        else:  # the first step of an interval stacks the norms for the ratios
            assert (h2d, d2h, syncs) == (3 + (step % 5 == 1), 0, 0), f"step {step}"


@pytest.mark.parametrize("prefetch", [0, 2])
def test_pictures_on_the_device_are_not_uploaded_again(prefetch: int) -> None:
    images = tn.xp.zeros((BATCH * 2, 3, 16, 16), "uint8")
    batches = tn.data.DataLoader(images, np.zeros(len(images), int), batch_size=BATCH,
                                 prefetch=prefetch)
    list(batches)
    with counting() as traffic:
        list(batches)
    assert traffic.h2d == 2 * len(batches)  # labels, and which pictures
    assert traffic.d2h == 1  # the epoch's order
    # what a thread prepares ends with an event, for which the stream waits, not the host
    ahead = len(batches) if prefetch else 0
    assert traffic.waits == ahead
    assert traffic.records == ahead + traffic.h2d  # each upload ends with one of CuPy's


def test_on_streams_of_each_threads_own_no_batch_is_made_ahead() -> None:
    """Memory that is free again would go back to a stream that waits for no reader."""
    images = tn.xp.arange(12.0).reshape(12, 1)
    loader = tn.data.DataLoader(images, np.arange(12), batch_size=4, prefetch=2, seed=1)
    with tn.xp.cuda.Stream.ptds, counting() as traffic:
        found = [x.tolist() for x, _ in loader]
    assert traffic.waits == 0
    loader.set_epoch(0)
    with counting() as traffic:
        assert [x.tolist() for x, _ in loader] == found
    assert traffic.waits == 3


# Launches

def launches_of_a_step(model: Any, optimizer: Optimizer, x: Any, y: Any) -> tuple[Any, Any]:
    """Forward and backward; the optimizer; of the third step."""
    for _ in range(3):
        optimizer.zero_grad()
        with counting() as passes:
            F.cross_entropy(model(Tensor(x)), y).backward()
        with counting() as update:
            optimizer.step()
    return passes, update


@pytest.mark.parametrize(("make", "passes", "update"), [
    (lambda: models.net_s(widths=(4, 8, 8), image_size=16), 69, 1),
    (lambda: models.net_r(width=4), 90, 1),
])
def test_launches_of_a_training_step(make: Callable[[], Any], passes: int, update: int) -> None:
    model = make()
    optimizer = optim.Adam(model.named_parameters(), 1e-3)
    x = tn.xp.ones((2, 3, 16, 16), "float32")
    found = launches_of_a_step(model, optimizer, x, asarray(np.array([1, 2])))
    assert found[0].launches <= passes, found[0].kernels.most_common(12)
    assert found[1].launches <= update, found[1].kernels
    assert all((traffic.h2d, traffic.d2h, traffic.syncs) == (0, 0, 0) for traffic in found)
    assert found[0].kernels["cublas.gemmEx"] == 3 * len(
        [p for p in model.parameters() if p.ndim > 1]) - 1  # the pictures want no gradient
    assert not any("Batched" in name for name in found[0].kernels)


@pytest.mark.parametrize("make", [
    lambda p: optim.SGD(p, 0.1),
    lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    lambda p: optim.Adagrad(p, weight_decay=0.1),
    lambda p: optim.RMSprop(p, compat="keras"),
    lambda p: optim.Adam(p, weight_decay=0.1),
    lambda p: optim.AdamW(p),
])
def test_an_optimizer_launches_once_for_all_parameters(make: Any) -> None:
    params = [Tensor(np.ones(n, "f4"), requires_grad=True) for n in (3, 5, 7)]
    optimizer = make(params)
    for _ in range(2):
        for p in params:
            p.grad = Tensor(p.data * 0.5)
        with counting() as traffic:
            optimizer.step()
    assert (traffic.launches, traffic.h2d, traffic.d2h) == (1, 0, 0)


def test_a_clipped_step_stays_on_the_device() -> None:
    params = [Tensor(np.ones(n, "f4"), requires_grad=True) for n in range(1, 21)]
    optimizer = optim.Adam(params, clip_norm=1.0)
    for p in params:
        p.grad = Tensor(p.data)
    optimizer.step()
    with counting() as traffic:
        optimizer.step()
    assert (traffic.d2h, traffic.syncs) == (0, 0)
    assert traffic.h2d <= 1  # the addresses of the 20 norms, to stack them
    assert traffic.launches <= 3 * len(params) + 6  # square, stack, scale; update


def test_small_operations_launch_once_or_twice() -> None:
    x = Tensor(np.ones((4, 6), "f4"), requires_grad=True)
    labels = asarray(np.array([0, 1, 2, 5]))
    for call, most in ((lambda: F.cross_entropy(x, labels), 3), (lambda: F.relu(x), 1),
                       (lambda: F.dropout(x), 4), (lambda: tn.random.mask(3, 0.5, (9,)), 2),
                       (lambda: F.linear(x, x), 1)):
        call()
        with counting() as traffic:
            call()
        assert traffic.launches <= most and traffic.d2h == 0, traffic.kernels
