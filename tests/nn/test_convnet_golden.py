"""A PyTorch state_dict of the small conv net: same outputs, loss, gradients, and training.

The numbers were written by tests/golden/make_convnet.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tests.arrays import host
from tests.golden.make_convnet import GOLDEN, LR, MOMENTUM, SIZE, STEPS, WEIGHT_DECAY, WIDTHS
from tinynet import functional as F, models, nn, optim
from tinynet.backend import asarray


@pytest.fixture(scope="module")
def golden() -> Mapping[str, np.ndarray]:
    with np.load(GOLDEN) as file:
        return dict(file)


def part(golden: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): value for name, value in golden.items()
            if name.startswith(prefix)}


def close(found: Any, expected: np.ndarray, dtype: str, what: str) -> None:
    """To 1e-10 in float64; in float32 to 1e-4 of the largest value."""
    tolerance = 1e-10 if dtype == "float64" else 1e-4
    error = abs(host(found).astype("float64") - expected).max()
    assert error <= tolerance * max(1e-3, abs(expected).max()), f"{what}: off by {error:.3g}"


def build(golden: Mapping[str, np.ndarray], dtype: str) -> nn.Sequential:
    net = models.small_conv_net(widths=WIDTHS, image_size=SIZE).astype(dtype)
    state = part(golden, "start/")
    assert "1.num_batches_tracked" in state  # PyTorch's own, accepted
    assert net.load_state_dict(state, strict=True) == nn.Unmatched([], [])
    return net


@pytest.mark.lecture("E10")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_outputs_loss_and_gradients(golden: Mapping[str, np.ndarray], dtype: str) -> None:
    net = build(golden, dtype)
    logits = net(asarray(golden["x"].astype(dtype)))
    loss = F.cross_entropy(logits, golden["y"])
    loss.backward()
    close(logits, golden["logits"], dtype, "logits")
    close(loss, golden["loss"], dtype, "loss")
    gradients = part(golden, "grad/")
    assert list(gradients) == [name for name, _ in net.named_parameters()]
    for name, p in net.named_parameters():
        close(p.grad, gradients[name], dtype, f"gradient of {name}")


@pytest.mark.lecture("A7")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_three_steps_of_sgd_with_momentum(golden: Mapping[str, np.ndarray], dtype: str) -> None:
    net = build(golden, dtype)
    optimizer = optim.SGD(net.named_parameters(), lr=LR, momentum=MOMENTUM,
                          weight_decay=WEIGHT_DECAY)
    x, losses = asarray(golden["x"].astype(dtype)), []
    for _ in range(STEPS):
        loss = F.cross_entropy(net(x), golden["y"])
        net.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    close(losses, golden["losses"], dtype, "losses")
    end = part(golden, "end/")
    for name, value in net.state_dict().items():  # weights and running statistics
        assert value.dtype == dtype
        close(value, end[name], dtype, name)
    close(net.eval()(x), golden["eval"], dtype, "logits in evaluation")
