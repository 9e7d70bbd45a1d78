"""A training step rarely copies images from one memory layout to another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.arrays import close
from tinynet import Generator, Tensor, flatten, functional as F, grad
from tinynet.backend import xp
from tinynet.kernels import memory

CHANNELS = {
    "S": [(3, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128)],
    "R": [(3, 64), (64, 128), (128, 128), (128, 128), (128, 256), (256, 256), (256, 256),
          (256, 256)],
}


class Net:
    """The benchmark nets: S, a small VGG; R, a small ResNet."""

    def __init__(self, name: str) -> None:
        rng = Generator(0)
        self.name, self.units = name, []
        for i, o in CHANNELS[name]:
            w = Tensor(rng.normal((o, i, 3, 3), std=(2 / (9 * i)) ** 0.5), requires_grad=True)
            scale, shift = (Tensor(np.full(o, v, "f4"), requires_grad=True) for v in (1, 0))
            self.units.append((w, scale, shift, np.zeros(o, "f4"), np.ones(o, "f4")))
        features = 2048 if name == "S" else 256
        self.head = Tensor(rng.normal((10, features), std=features**-0.5), requires_grad=True)

    def unit(self, k: int, x: Any) -> Any:
        w, scale, shift, mean, var = self.units[k]
        y = F.conv2d(x, w, padding=1)
        return F.relu(F.batch_norm(y, mean, var, scale, shift, training=True))

    def __call__(self, x: Any) -> Any:
        unit = self.unit
        if self.name == "S":
            for k in (0, 2, 4):
                x = F.max_pool2d(unit(k + 1, unit(k, x)), 2)
            return F.linear(flatten(F.dropout(x, 0.5), 1), self.head)
        x = F.max_pool2d(unit(1, unit(0, x)), 2)
        x = x + unit(3, unit(2, x))
        x = F.max_pool2d(unit(5, F.max_pool2d(unit(4, x), 2)), 2)
        x = x + unit(7, unit(6, x))
        return F.linear(F.global_max_pool2d(x), self.head)


@pytest.mark.numpy_only("channels-last memory is the layout of the kernels on the CPU")
@pytest.mark.parametrize("name", ["S", "R"])
def test_a_training_step_copies_layouts_twice_at_most(name: str) -> None:
    net = Net(name)
    x, labels = Generator(1).normal((4, 3, 32, 32)), [1, 5, 0, 9]
    before = memory.layout_copies
    loss = F.cross_entropy(net(x), labels)
    loss.backward()
    assert memory.layout_copies - before <= 2
    assert loss.dtype == np.float32 and np.isfinite(loss.item())
    for tensors in net.units:
        for t in tensors[:3]:
            assert t.grad.dtype == np.float32 and np.abs(t.grad.data).sum() > 0


def conv_output() -> Tensor:
    """What a convolution leaves: large, and channels last in memory."""
    x, w = Generator(0).normal((8, 3, 32, 32)), Generator(1).normal((16, 3, 3, 3))
    return F.conv2d(Tensor(x), Tensor(w), padding=1).detach()


def ones(*shape: int) -> Tensor:
    return Tensor(xp.ones(shape, "f4"))


AFTER_A_CONVOLUTION = {
    "group norm": lambda x: F.group_norm(x, 4, ones(16), ones(16)),
    "layer norm of pixels": lambda x: F.layer_norm(x.transpose(0, 2, 3, 1), 16, ones(16), ones(16)),
    "layer norm of pictures": lambda x: F.layer_norm(x, (16, 32, 32), ones(16, 32, 32)),
    "a value for each channel": lambda x: x + ones(16, 1, 1),
    "a tensor that is one number": lambda x: x + ones(),
    "a row": lambda x: x + ones(32),
    "one axis more": lambda x: x + ones(1, 1, 16, 1, 1),
    "transposed": lambda x: x.T + ones(8),
}


@pytest.mark.parametrize("name", AFTER_A_CONVOLUTION)
def test_after_a_convolution_everything_is_as_in_plain_memory(name: str) -> None:
    f, x = AFTER_A_CONVOLUTION[name], conv_output()
    results = []
    for data in (x.data, xp.ascontiguousarray(x.data)):
        leaf = Tensor(data, requires_grad=True)
        y = f(leaf)
        results.append((y.data, grad((y * y).sum(), leaf).data))
    for found, wanted in zip(*results, strict=True):
        assert close(found, wanted, atol=1e-4, rtol=1e-4)
