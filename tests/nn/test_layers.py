"""Layers: each computes its function with its parameters, checks its arguments, prints itself."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import functional as F, nn
from tinynet.backend import xp
from tinynet.functional import activation

FLAT, IMAGE = (4, 6), (2, 6, 8, 7)

# layer, input shape, the same by a function, the printed form
LAYERS: list[tuple[Any, tuple[int, ...], Any, str]] = [
    (lambda: nn.Linear(6, 3), FLAT, lambda m, x: x @ m.weight.T + m.bias,
     "Linear(in_features=6, out_features=3)"),
    (lambda: nn.Linear(6, 3, bias=False), (2, 5, 6), lambda m, x: x @ m.weight.T,
     "Linear(in_features=6, out_features=3, bias=False)"),
    (lambda: nn.Conv2d(6, 4, 3), IMAGE, lambda m, x: F.conv2d(x, m.weight, m.bias),
     "Conv2d(in_channels=6, out_channels=4, kernel_size=(3, 3))"),
    (lambda: nn.Conv2d(6, 4, (3, 2), (2, 1), (1, 0), (1, 2), 2, bias=False), IMAGE,
     lambda m, x: F.conv2d(x, m.weight, None, (2, 1), (1, 0), (1, 2), 2),
     "Conv2d(in_channels=6, out_channels=4, kernel_size=(3, 2), stride=(2, 1), padding=(1, 0), "
     "dilation=(1, 2), groups=2, bias=False)"),
    (lambda: nn.Conv2d(6, 4, 3, padding="same"), IMAGE,
     lambda m, x: F.conv2d(x, m.weight, m.bias, padding=1),
     "Conv2d(in_channels=6, out_channels=4, kernel_size=(3, 3), padding='same')"),
    (lambda: nn.BatchNorm1d(6, eps=1e-3).eval(), FLAT, lambda m, x: x / math.sqrt(1 + 1e-3),
     "BatchNorm1d(num_features=6, eps=0.001)"),
    (lambda: nn.BatchNorm2d(6, affine=False).eval(), IMAGE, lambda m, x: x / math.sqrt(1 + 1e-5),
     "BatchNorm2d(num_features=6, affine=False)"),
    (lambda: nn.LayerNorm((8, 7)), IMAGE,
     lambda m, x: (x - x.mean((2, 3), True)) / (x.var((2, 3), keepdims=True) + 1e-5) ** 0.5,
     "LayerNorm(normalized_shape=(8, 7))"),
    (lambda: nn.LayerNorm(6, elementwise_affine=False), FLAT,
     lambda m, x: (x - x.mean(1, True)) / (x.var(1, keepdims=True) + 1e-5) ** 0.5,
     "LayerNorm(normalized_shape=(6,), elementwise_affine=False, bias=False)"),
    (lambda: nn.GroupNorm(6, 6), IMAGE,
     lambda m, x: (x - x.mean((2, 3), True)) / (x.var((2, 3), keepdims=True) + 1e-5) ** 0.5,
     "GroupNorm(num_groups=6, num_channels=6)"),
    (lambda: nn.MaxPool2d(2), IMAGE,
     lambda m, x: x[:, :, :, :6].reshape(2, 6, 4, 2, 3, 2).max((3, 5)),
     "MaxPool2d(kernel_size=(2, 2), stride=(2, 2))"),
    (lambda: nn.MaxPool2d(3, 2, 1), IMAGE, lambda m, x: F.max_pool2d(x, 3, 2, 1),
     "MaxPool2d(kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))"),
    (lambda: nn.AvgPool2d((4, 7)), IMAGE,
     lambda m, x: x.reshape(2, 6, 2, 4, 1, 7).mean((3, 5)),
     "AvgPool2d(kernel_size=(4, 7), stride=(4, 7))"),
    (lambda: nn.AvgPool2d(3, 2, 1), IMAGE, lambda m, x: F.conv2d(
        x, xp.full((6, 1, 3, 3), 1 / 9, x.dtype), stride=2, padding=1, groups=6),
     "AvgPool2d(kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))"),
    (lambda: nn.AdaptiveAvgPool2d((2, 1)), IMAGE,
     lambda m, x: x.reshape(2, 6, 2, 4, 7).mean((3, 4)).reshape(2, 6, 2, 1),
     "AdaptiveAvgPool2d(output_size=(2, 1))"),
    (nn.GlobalAvgPool2d, IMAGE, lambda m, x: x.mean((2, 3)), "GlobalAvgPool2d()"),
    (nn.GlobalMaxPool2d, IMAGE, lambda m, x: x.max((2, 3)), "GlobalMaxPool2d()"),
    (nn.Flatten, IMAGE, lambda m, x: x.reshape(2, -1), "Flatten(start_axis=1)"),
    (lambda: nn.Flatten(0, 2), IMAGE, lambda m, x: x.reshape(-1, 7),
     "Flatten(start_axis=0, end_axis=2)"),
    (nn.Identity, FLAT, lambda m, x: x, "Identity()"),
    (nn.ReLU, FLAT, lambda m, x: tn.maximum(x, 0.0), "ReLU()"),
    (lambda: nn.LeakyReLU(0.2), FLAT, lambda m, x: tn.maximum(x, 0.2 * x),
     "LeakyReLU(negative_slope=0.2)"),
    (lambda: nn.ELU(0.5), FLAT, lambda m, x: tn.where(x > 0, x, 0.5 * (tn.exp(x) - 1.0)),
     "ELU(alpha=0.5)"),
    (nn.GELU, FLAT, lambda m, x: 0.5 * x * (1.0 + tn.erf(x / math.sqrt(2))),
     "GELU(approximate='none')"),
    (lambda: nn.GELU("tanh"), FLAT, lambda m, x: 0.5 * x * (1.0 + tn.tanh(
        math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))), "GELU(approximate='tanh')"),
    (lambda: nn.Softplus(2.0), FLAT, lambda m, x: tn.log(1.0 + tn.exp(2.0 * x)) / 2.0,
     "Softplus(beta=2.0)"),
    (nn.Sigmoid, FLAT, lambda m, x: 1.0 / (1.0 + tn.exp(-x)), "Sigmoid()"),
    (nn.Softmax, FLAT, lambda m, x: tn.exp(x) / tn.exp(x).sum(-1, True), "Softmax(axis=-1)"),
    (lambda: nn.LogSoftmax(0), FLAT, lambda m, x: x - tn.log(tn.exp(x).sum(0, True)),
     "LogSoftmax(axis=0)"),
]


def namesake(layer: type) -> Any:
    """The activation of the layer's name: `relu` of ReLU, `log_softmax` of LogSoftmax."""
    activations = {**vars(activation), "tanh": F.tanh, "sigmoid": F.sigmoid}
    return {name.replace("_", ""): f for name, f in activations.items()}.get(layer.__name__.lower())


TRIED = {text.partition("(")[0] for *_, text in LAYERS}
LAYERS += [(layer, FLAT, lambda m, x: namesake(type(m))(x), f"{name}()")
           for name, layer in vars(nn).items()
           if isinstance(layer, type) and name not in TRIED and namesake(layer)]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("make", "shape", "function", "text"), LAYERS, ids=[c[3] for c in LAYERS])
def test_layer(make: Any, shape: tuple[int, ...], function: Any, text: str) -> None:
    layer = make()
    x = tn.randn(*shape, requires_grad=True)
    y = layer(x)
    np.testing.assert_allclose(y.numpy(), function(layer, x).numpy(), rtol=1e-12, atol=1e-12)
    assert repr(layer) == text
    assert layer(x.data).shape == y.shape  # raw arrays go in as well
    y.sum().backward()
    assert x.grad is not None and all(p.grad is not None for p in layer.parameters())


@pytest.mark.parametrize("make", [case[0] for case in LAYERS], ids=[c[3] for c in LAYERS])
def test_float32_stays_float32(make: Any) -> None:
    layer, shape = make(), next(case[1] for case in LAYERS if case[0] is make)
    x = tn.randn(*shape, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == np.float32
    assert all(p.grad.dtype == np.float32 for p in layer.parameters())


@pytest.mark.parametrize(("make", "text"), [
    (lambda: nn.Linear(0, 3), "in_features must be an integer of at least 1, got 0"),
    (lambda: nn.Linear(3, 2.0), "out_features must be an integer of at least 1, got 2.0"),
    (lambda: nn.Conv2d(3, -1, 3), "out_channels must be an integer of at least 1, got -1"),
    (lambda: nn.Conv2d(3, 4, 0), "kernel_size must be an integer of at least 1"),
    (lambda: nn.Conv2d(3, 4, (3, 3, 3)), r"kernel_size must be .* got \(3, 3, 3\)"),
    (lambda: nn.Conv2d(3, 4, 3, stride=0), "stride must be an integer of at least 1"),
    (lambda: nn.Conv2d(3, 4, 3, padding=-1), "padding must be an integer of at least 0"),
    (lambda: nn.Conv2d(3, 4, 3, padding="full"), "padding must be 'same', 'valid' or numbers, go"),
    (lambda: nn.Conv2d(3, 4, 3, stride=2, padding="same"), "padding='same' needs stride 1, got"),
    (lambda: nn.Conv2d(3, 4, 3, groups=2), "groups=2 must divide in_channels=3 and out_channels=4"),
    (lambda: nn.BatchNorm2d(4, momentum=1.5), "momentum must lie between 0 and 1, got 1.5"),
    (lambda: nn.BatchNorm2d(4, eps=0.0), "eps must be a number > 0, got 0.0"),
    (lambda: nn.LayerNorm((4, 0)), "normalized_shape must be an integer of at least 1, got 0"),
    (lambda: nn.GroupNorm(3, 4), "num_groups=3 must divide num_channels=4"),
    (lambda: nn.MaxPool2d(2, padding=2), "padding=2 must be at most half of kernel_size=2"),
    (lambda: nn.AdaptiveAvgPool2d(0), "output_size must be an integer of at least 1"),
    (lambda: nn.Dropout(1.5), r"p \(of zeroing\) must be a probability between 0 and 1, got 1.5"),
    (lambda: nn.GELU("erf"), "approximate must be 'none' or 'tanh', got 'erf'"),
    (lambda: nn.Softplus(0.0), "beta must be a number > 0, got 0.0"),
    (lambda: nn.CrossEntropyLoss(label_smoothing=2), "label_smoothing must be a probability"),
    (lambda: nn.MSELoss("avg"), "reduction must be 'mean', 'sum' or 'none', got 'avg'"),
])
def test_arguments_are_checked_when_the_layer_is_made(make: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()


@pytest.mark.parametrize(("layer", "shape", "text"), [
    (nn.Linear(4, 2), (3, 5), r"linear: x of shape \(3, 5\) does not fit weight of shape \(2, 4\)"),
    (nn.Conv2d(3, 4, 3), (2, 4, 8, 8), "channels"),
    (nn.Conv2d(3, 4, 3), (3, 8, 8), r"x must have shape \(N, C, H, W\), got \(3, 8, 8\): add the"),
    (nn.BatchNorm2d(3), (2, 4, 8, 8), r"BatchNorm2d\(3\) takes .* C = 3, got \(2, 4, 8, 8\)"),
    (nn.BatchNorm2d(3), (2, 3), r"BatchNorm2d\(3\) takes inputs of shape \(N, C, H, W\)"),
    (nn.BatchNorm1d(3), (2, 3, 4, 4), r"BatchNorm1d\(3\) takes inputs of shape \(N, C\) or \(N"),
    (nn.GroupNorm(2, 4), (2, 6), r"GroupNorm takes inputs of shape \(N, C, ...\) with C = 4, got"),
    (nn.LayerNorm(4), (2, 6), r"the last axes of x must be normalized_shape \(4,\)"),
    (nn.MaxPool2d(4), (1, 1, 3, 3), "use a smaller kernel, more padding or larger images"),
    (nn.Flatten(3), (2, 3), r"Flatten\(start_axis=3, end_axis=-1\) does not fit"),
])
def test_inputs_of_a_wrong_shape_are_refused(layer: nn.Module, shape: tuple[int, ...], text: str
                                             ) -> None:
    with pytest.raises(ValueError, match=text):
        layer(tn.ones(shape))


def test_A0_linear_layers_without_activation_are_one_linear_layer(float64: None) -> None:
    sizes = [5, 7, 4, 6, 3]
    stack = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    one = nn.Linear(5, 3)
    w, b = np.eye(5), np.zeros(5)
    for layer in stack:  # W = W_L ... W_1
        w, b = layer.weight.numpy() @ w, layer.weight.numpy() @ b + layer.bias.numpy()
    one.load_state_dict({"weight": w, "bias": b})
    x = tn.randn(50, 5)
    assert abs((nn.Sequential(*stack)(x) - one(x)).numpy()).max() < 1e-12
    bent = nn.Sequential(*(f for layer in stack for f in (layer, nn.ReLU())))[:-1]
    assert abs((bent(x) - one(x)).numpy()).max() > 0.01
    # linear: f(x1 + x2) - f(x1) - f(x2) + f(0) = 0, for the stack only
    u, v, zero = x[:20], x[20:40], x[:20] * 0.0
    for net, low, high in ((nn.Sequential(*stack), 0.0, 1e-12), (bent, 1e-3, 10.0)):
        bend = abs((net(u + v) - net(u) - net(v) + net(zero)).numpy()).max()
        assert low <= bend < high


def test_sizes_may_be_numpys_integers() -> None:
    layer = nn.Linear(np.int64(3), np.int32(2))
    assert repr(layer) == "Linear(in_features=3, out_features=2)"


# Losses

def test_losses_are_their_functions(float64: None) -> None:
    scores, target = tn.randn(6, 4), np.array([0, 3, 1, 1, 2, 0])
    weight = np.array([1.0, 2.0, 0.5, 3.0])
    loss = nn.CrossEntropyLoss(weight=weight, label_smoothing=0.1, reduction="sum")
    assert list(loss.state_dict()) == ["weight"] and loss.parameters() == []
    assert loss(scores, target).item() == F.cross_entropy(
        scores, target, weight=weight, label_smoothing=0.1, reduction="sum").item()
    assert nn.HingeLoss(0.5)(scores, target).item() == F.hinge_loss(scores, target, 0.5).item()
    assert nn.MSELoss()(scores, scores + 2.0).item() == pytest.approx(4.0)
    assert nn.MSELoss("none")(scores, scores).shape == (6, 4)
    assert repr(nn.Sequential(nn.HingeLoss())) == "Sequential(\n  (0): HingeLoss(margin=1.0)\n)"


def test_the_gradient_of_a_whole_network_is_its_slope(float64: None) -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.Tanh(),
                        nn.AvgPool2d(2), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(16, 3))
    x, target = tn.randn(4, 2, 4, 4), np.array([0, 2, 1, 1])
    start = {name: p.data.copy() for name, p in net.named_parameters()}
    direction = {name: tn.randn(*p.shape).data for name, p in net.named_parameters()}

    def loss(step: float) -> Any:
        net.load_state_dict({n: start[n] + step * direction[n] for n in start}, strict=False)
        return nn.CrossEntropyLoss()(net(x), target)

    loss(0.0).backward()
    slope = sum((p.grad.data * direction[n]).sum() for n, p in net.named_parameters())
    h = 1e-5
    measured = (loss(h).item() - loss(-h).item()) / (2 * h)
    assert measured == pytest.approx(float(slope), rel=1e-7)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_with_relu_is_batch_norm_and_then_relu(training: bool) -> None:
    x = tn.randn(4, 3, 5, 5)
    apart, together = nn.BatchNorm2d(3).train(training), nn.BatchNorm2d(3, relu=True)
    together.train(training)
    np.testing.assert_array_equal(together(x).numpy(), nn.ReLU()(apart(x)).numpy())
    np.testing.assert_array_equal(together.running_var.numpy(), apart.running_var.numpy())
    assert repr(together).endswith("(num_features=3, relu=True)")
