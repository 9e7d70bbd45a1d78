"""Trajectories that PyTorch and Keras made themselves (golden/make_optim.py), step for step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinynet import Tensor, tanh
from tinynet.kernels import update
from tinynet.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

GOLDEN = np.load(Path(__file__).parent.parent / "golden" / "optim.npz")


def lr(t: float) -> float:
    return float(GOLDEN["lr"][int(t)])


def replay(make: Any, **options: Any) -> np.ndarray:
    """100 steps of an optimizer on the recorded gradients."""
    x = Tensor(np.linspace(-1, 1, 6), requires_grad=True)
    optimizer, path = make([x], lr, **options), []
    for g in GOLDEN["gradients"]:
        x.grad = Tensor(g)
        optimizer.step()
        path.append(x.numpy().copy())
    return np.stack(path)


@pytest.mark.parametrize(("name", "make", "options"), [
    ("sgd", SGD, {}),
    ("momentum", SGD, {"momentum": 0.9}),
    ("nesterov", SGD, {"momentum": 0.9, "nesterov": True}),
    ("adagrad", Adagrad, {}),
    ("rmsprop", RMSprop, {"alpha": 0.9}),
    ("adam", Adam, {}),
    ("adam_l2", Adam, {"weight_decay": 0.1}),
    ("adamw", AdamW, {"weight_decay": 0.1}),
])
@pytest.mark.lecture("A1", "A7", "A11", "A14", "A17", "A19")
def test_compat_torch_is_pytorch_for_100_steps(name: str, make: Any,
                                               options: dict[str, Any]) -> None:
    path = replay(make, compat="torch", **options)
    assert np.abs(path - GOLDEN[f"torch/{name}"]).max() < 1e-10


@pytest.mark.parametrize(("name", "make", "options"), [
    ("sgd", SGD, {}),
    ("momentum", SGD, {"momentum": 0.9}),
    ("nesterov", SGD, {"momentum": 0.9, "nesterov": True}),
    ("adagrad", Adagrad, {}),
    ("rmsprop", RMSprop, {}),
    ("adam", Adam, {}),
    ("adamw", AdamW, {"weight_decay": 0.1}),
])
@pytest.mark.lecture("A8", "A11", "A14", "A17", "A19")
def test_compat_keras_is_keras_for_100_steps(name: str, make: Any, options: dict[str, Any]) -> None:
    path = replay(make, compat="keras", **options)
    assert np.abs(path - GOLDEN[f"keras/{name}"]).max() < 1e-10


@pytest.mark.parametrize(("name", "make"), [
    ("momentum", SGD), ("adagrad", Adagrad), ("rmsprop", RMSprop), ("adam", Adam)])
def test_the_conventions_do_differ(name: str, make: Any) -> None:
    """Else the tests above would prove nothing."""
    options = {"momentum": 0.9} if make is SGD else {}
    paths = [replay(make, compat=compat, **options) for compat in ("torch", "keras")]
    assert np.abs(paths[0] - paths[1]).max() > 1e-3


@pytest.mark.parametrize(("name", "make"), [
    ("sgd", lambda p: SGD(p, 0.1, momentum=0.9, weight_decay=0.01)),
    ("adagrad", lambda p: Adagrad(p, 0.1, weight_decay=0.01)),
    ("rmsprop", lambda p: RMSprop(p, 0.01, weight_decay=0.01)),
    ("adam", lambda p: Adam(p, 0.01, weight_decay=0.01)),
    ("adamw", lambda p: AdamW(p, 0.01, weight_decay=0.01)),
])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.lecture("A7", "A14", "A17", "A19")
def test_a_net_trains_as_in_pytorch_for_50_steps(name: str, make: Any, fused: bool,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update, "SMALL_BYTES", 0)
    golden = {key.removeprefix(f"net/{name}/"): GOLDEN[key] for key in GOLDEN.files
              if key.startswith(f"net/{name}/")}
    p = {n: Tensor(golden[f"start/{n}"].copy(), requires_grad=True)
         for n in ("w1", "b1", "w2", "b2")}
    x, y = Tensor(golden["x"]), Tensor(golden["y"])
    optimizer: Optimizer = make(p.items())
    optimizer.fused = fused
    for _ in range(50):
        optimizer.zero_grad()
        out = tanh(x @ p["w1"].T + p["b1"]) @ p["w2"].T + p["b2"]
        (out - y).square().mean().backward()
        optimizer.step()
    for n, tensor in p.items():
        assert np.abs(tensor.numpy() - golden[f"end/{n}"]).max() < 1e-12
