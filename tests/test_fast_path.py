"""Whole training on the fast path: it is the plain path's, and the same whoever does the work.

Free-running float32 trainings part within a few steps even between two plain versions: one ReLU of
millions whose input is 1e-7 decides otherwise. So each step is compared from the same weights, with
the same decisions of ReLU and pool; in float64 trainings run freely.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.arrays import host
from tinynet import data, functional as F, models, nn, optim, random
from tinynet.kernels import kernel, threads as kernel_threads, winograd
from tinynet.kernels.conv import force_algorithm

SIZE, BATCH = 32, 16


def net(dropout: float = 0.0) -> nn.Sequential:
    """Net S at half the width: its arrays are cut into blocks and its convolutions go fast."""
    return models.net_s(widths=(16, 32, 64), dropout=dropout)


def pictures(n: int = BATCH, dtype: str = "f4", seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    rng = random.Generator(seed)
    x = host(rng.normal((n, 3, SIZE, SIZE))).astype(dtype)
    return x, host(rng.integers(0, 10, (n,)))


def weights(model: nn.Module) -> dict[str, Any]:
    return {name: host(p.data).copy() for name, p in model.named_parameters()}


@pytest.fixture
def workers() -> Iterator[Callable[[int], None]]:
    """Sets the number of workers, which is put back at the end."""
    before = kernel_threads.get_num_workers()
    yield kernel_threads.set_num_workers
    kernel_threads.set_num_workers(before)


def step(model: nn.Module, optimizer: optim.Optimizer, x: Any, labels: Any) -> float:
    optimizer.zero_grad()
    loss = nn.CrossEntropyLoss()(model(x), labels)
    loss.backward()
    optimizer.step()
    return float(loss.item())


def one_hot_of_first_largest(x: Any) -> Any:
    """(N, C, H, W): 1 where a 2x2 window has its first largest value."""
    n, c, h, w = x.shape
    windows = x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(-1, 4)
    hot = np.zeros_like(windows)
    hot[np.arange(len(hot)), windows.argmax(axis=1)] = 1
    hot = hot.reshape(n, c, h // 2, w // 2, 2, 2).transpose(0, 1, 2, 4, 3, 5)
    return hot.reshape(x.shape)


def plain_loss(model: nn.Module, x: np.ndarray, labels: Any, calls: dict[str, nn.module.Call]
               ) -> tuple[tn.Tensor, dict[str, tn.Tensor]]:
    """The loss by primitives in float64, with the decisions that the recorded calls made."""
    parameters = {name: tn.tensor(host(p.data).astype("f8"), requires_grad=True)
                  for name, p in model.named_parameters()}
    y = tn.tensor(x.astype("f8"))
    for path, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            y = F.conv2d(y, parameters[f"{path}.weight"], padding=module.padding)
        elif isinstance(module, nn.BatchNorm2d):
            axes, shape = (0, 2, 3), (1, -1, 1, 1)
            centred = y - y.mean(axis=axes, keepdims=True)
            y = centred / tn.sqrt((centred * centred).mean(axis=axes, keepdims=True) + module.eps)
            y = y * parameters[f"{path}.weight"].reshape(shape)
            y = y + parameters[f"{path}.bias"].reshape(shape)
            y = y * (host(calls[path].output.data) > 0)
        elif isinstance(module, nn.MaxPool2d):
            n, c, h, w = y.shape
            chosen = y * one_hot_of_first_largest(host(calls[path].args[0].data).astype("f8"))
            y = chosen.reshape(n, c, h // 2, 2, w // 2, 2).sum(axis=(3, 5))
        elif isinstance(module, nn.Linear):
            y = y.reshape(len(y), -1) @ parameters[f"{path}.weight"].T + parameters[f"{path}.bias"]
    return F.cross_entropy(y, labels), parameters


FEW_STEPS_OR_MANY = pytest.mark.parametrize("steps", [
    4, pytest.param(20, marks=pytest.mark.slow)])


@FEW_STEPS_OR_MANY
@pytest.mark.numpy_only("compares with NumPy's plain twins")
def test_steps_from_the_plain_paths_weights(steps: int) -> None:
    tn.manual_seed(3)
    model = net()
    optimizer = optim.SGD(model.named_parameters(), lr=0.01, momentum=0.9)
    worst_loss, worst_gradient = 0.0, 0.0
    for seed in range(steps):
        x, labels = pictures(seed=seed)
        calls: dict[str, nn.module.Call] = {}
        optimizer.zero_grad()
        with nn.module.observe(lambda call, calls=calls: calls.__setitem__(call.path, call)):
            loss = nn.CrossEntropyLoss()(model(tn.tensor(x)), labels)
        loss.backward()
        with force_algorithm("plain"):
            wanted, parameters = plain_loss(model, x, labels, calls)
            wanted.backward()
        worst_loss = max(worst_loss, abs(loss.item() / wanted.item() - 1))
        for name, p in model.named_parameters():
            exact = host(parameters[name].grad)
            difference = np.abs(host(p.grad) - exact).max() / np.abs(exact).max()
            worst_gradient = max(worst_gradient, float(difference))
            p.grad = tn.tensor(exact.astype("f4"))  # the plain path goes on
        optimizer.step()
    assert worst_loss < 1e-6
    assert worst_gradient < 2e-5


@FEW_STEPS_OR_MANY
@pytest.mark.numpy_only("compares with NumPy's plain twins")
def test_steps_run_freely_in_float64(monkeypatch: pytest.MonkeyPatch, float64: None,
                                     steps: int) -> None:
    x, labels = pictures(8, "f8")

    def train() -> tuple[list[float], dict[str, Any]]:
        tn.manual_seed(3)
        model = net(dropout=0.5)
        optimizer = optim.SGD(model.named_parameters(), lr=0.05, momentum=0.9)
        return [step(model, optimizer, tn.tensor(x), labels) for _ in range(steps)], weights(model)

    used = []
    conv2d = winograd.conv2d
    monkeypatch.setattr(winograd, "conv2d", lambda *a: used.append(1) or conv2d(*a))
    fast = train()
    assert len(used) == steps * 5
    with force_algorithm("plain"):
        slow = train()
    assert np.allclose(fast[0], slow[0], rtol=1e-10, atol=0)
    for name, w in slow[1].items():
        assert np.abs(fast[1][name] - w).max() < 1e-10 * np.abs(w).max(), name


def test_forced_to_be_plain_no_kernel_cuts_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(job: Any) -> None:
        raise AssertionError(job.work.__qualname__)

    x, labels = pictures()
    model = net(dropout=0.5)
    with monkeypatch.context() as patch, force_algorithm("plain"):
        patch.setattr(kernel_threads._Job, "run", refuse)
        nn.CrossEntropyLoss()(model(tn.tensor(x)), labels).backward()
    assert kernel.forced is None


@pytest.mark.numpy_only("threads are NumPy's")
def test_the_same_bits_with_any_workers_and_neighbours(workers: Callable[[int], None]) -> None:
    x, labels = pictures(4 * BATCH)
    images = (255 * (x - x.min()) / np.ptp(x)).astype("u1")

    def train(loader_threads: bool) -> list[bytes]:
        tn.manual_seed(5)
        model = net(dropout=0.5)
        optimizer = optim.Adam(model.named_parameters())
        augment = data.Compose([data.RandomHorizontalFlip(), data.RandomCrop(SIZE, padding=4)])
        loader = data.DataLoader(images, labels, BATCH, shuffle=True, seed=1, transform=augment,
                                 prefetch=2 if loader_threads else 0)
        losses = [step(model, optimizer, tn.tensor(batch.astype("f4") / 255), y)
                  for batch, y in loader]
        return [np.array(losses).tobytes(), *(w.tobytes() for w in weights(model).values())]

    workers(2)
    wanted = train(False)
    workers(1)
    assert train(False) == wanted
    workers(2)
    stop = threading.Event()

    def neighbour(model: nn.Module) -> None:
        optimizer = optim.SGD(model.named_parameters(), lr=0.01)
        while not stop.is_set():
            step(model, optimizer, tn.tensor(x[:BATCH]), labels[:BATCH])

    threads = [threading.Thread(target=neighbour, args=(net(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        assert train(True) == wanted
    finally:
        stop.set()
        for thread in threads:
            thread.join()
