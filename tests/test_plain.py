"""The reading mode: plain twins, references and rules give what the fast paths give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.arrays import host
from tests.functional.test_fusions import IDS, ROWS, Row, draw
from tinynet import functional as F, grad, nn, optim, train
from tinynet.__main__ import small_training
from tinynet.random import Generator

FILES = 32  # that the walk of a batch enters, five of them of data


@pytest.mark.parametrize("row", ROWS, ids=IDS)
@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-11), ("float32", 5e-5)])
def test_every_fusion_and_its_gradients_are_the_same(row: Row, dtype: str, bound: float) -> None:
    operation, _, options = row

    def results() -> list[Any]:
        inputs = draw(row, dtype)
        y = operation(*inputs, **options)
        aux: tuple[Any, ...] = ()
        if isinstance(y, tuple):
            y, aux = y
        g = Generator(12).normal(y.shape, dtype="f8").astype(dtype)
        return [y, *grad(y, [x for x in inputs if x is not None], g), *aux]

    fast = results()
    with tn.plain():
        plain = results()
    for a, b in zip(fast, plain, strict=True):
        a, b = host(a), host(b)
        assert a.shape == b.shape
        assert np.abs(a - b).max() <= bound * max(1.0, np.abs(b).max())


def test_it_is_the_reference_that_runs() -> None:
    x = tn.randn(2, 3, 8, 8, requires_grad=True)
    with tn.plain():
        y = F.max_pool2d(x, 2)
    assert y.node.operation.name != "max_pool2d"
    assert F.max_pool2d(x, 2).node.operation.name == "max_pool2d"


def net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8, relu=True), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AvgPool2d(2), nn.Dropout(0.3), nn.Flatten(), nn.DropConnectLinear(16 * 64, 10))


OPTIMIZERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "SGD": lambda p: optim.SGD(p, 0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "Adam": lambda p: optim.Adam(p, 1e-2),
    "RMSprop": lambda p: optim.RMSprop(p, 1e-2),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_training_is_the_same(name: str, float64: None) -> None:
    rng = Generator(3)
    x = tn.tensor(rng.normal((8, 3, 32, 32), dtype="f8"))
    labels = rng.integers(0, 10, (8,))

    def trained() -> dict[str, Any]:
        tn.manual_seed(5)
        model = net()
        optimizer = OPTIMIZERS[name](model.named_parameters())
        found: dict[str, Any] = {}
        for step in range(3):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), labels)
            loss.backward()
            found[f"loss {step}"] = loss
            found |= {f"gradient of {k} {step}": p.grad for k, p in model.named_parameters()}
            optimizer.step()
        return found | {k: tn.tensor(v) for k, v in model.state_dict().items()}

    fast = trained()
    with tn.plain():
        plain = trained()
    assert any(key.endswith("running_var") for key in fast)
    assert fast.keys() == plain.keys()
    for key, value in fast.items():
        a, b = host(value), host(plain[key])
        assert np.abs(a - b).max() <= 1e-9 * max(1e-3, np.abs(b).max()), key


def test_dropout_masks_are_the_same() -> None:
    x = tn.ones((64, 300))
    with tn.plain():
        plain = host(F.dropout(x, 0.4, key=7))
        whole = host(F.dropout2d(x.reshape(8, 8, 20, 15), 0.4, key=7))
    assert (host(F.dropout(x, 0.4, key=7)) == plain).all()
    assert (host(F.dropout2d(x.reshape(8, 8, 20, 15), 0.4, key=7)) == whole).all()


@pytest.mark.parametrize("far", [0.0, 1e3])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_batch_norm_keeps_its_digits(dtype: str, far: float) -> None:
    x = tn.tensor((host(Generator(1).normal((16, 4, 9, 9), dtype="f8")) + far).astype(dtype))
    fast_mean, fast_var = tn.zeros(4), tn.ones(4)
    mean, var = tn.zeros(4), tn.ones(4)
    fast = host(F.batch_norm(x, fast_mean, fast_var, training=True))
    with tn.plain():
        plain = host(F.batch_norm(x, mean, var, training=True))
    assert fast.dtype == plain.dtype == dtype
    bound = 4e-3 if dtype == "float16" else 1e-5
    assert np.abs(fast.astype("f8") - plain).max() < bound
    assert np.allclose(host(mean), host(fast_mean), rtol=1e-6)
    assert np.allclose(host(var), host(fast_var), rtol=1e-5)


@pytest.mark.numpy_only("the fast bodies of a GPU are its plain ones")
def test_a_batch_s_walk_enters_few_files() -> None:
    """Loader, augmentation, convolution, norm, ReLU, pool, dropout, linear, loss, Adam."""
    with tn.plain():
        found = train.trace(*small_training(pictures=64), repeat=1)
    assert len(found.total.files) <= FILES, sorted(found.total.files)
