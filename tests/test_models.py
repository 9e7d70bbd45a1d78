"""The reference networks: the sizes their texts promise, shapes, and that they learn."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import functional as F, models, nn

# factory, parameters, multiply-adds of one 3x32x32 picture
NETS: list[tuple[Any, int, int]] = [
    (models.small_conv_net, 113_962, 10_342_400), (models.net_s, 307_946, 38_653_952),
    (models.net_r, 2_440_266, 284_887_552), (models.resnet_small, 272_474, 40_813_184),
    (models.resnet, 1_730_714, 253_149_824),
]


@pytest.mark.parametrize(("factory", "parameters", "multiply_adds"), NETS)
def test_sizes_are_those_of_the_docstring(factory: Any, parameters: int, multiply_adds: int
                                          ) -> None:
    found = nn.summary(factory(), (3, 32, 32))
    assert (found.parameters, found.multiply_adds) == (parameters, multiply_adds)
    text = " ".join(factory.__doc__.split())
    assert f"{parameters:,} parameters" in text
    (millions,) = re.findall(r"([\d.]+) million multiply-adds", text)
    assert float(millions) == pytest.approx(multiply_adds / 1e6, rel=0.005)


def test_net_s_is_the_one_that_the_benchmarks_time() -> None:
    """32,32,P, 64,64,P, 128,128,P, dropout, linear; 29 GFLOP for a step of 128 pictures."""
    found = nn.summary(models.net_s(), (3, 32, 32))
    plan = ["P" if row.layer == "MaxPool2d" else row.output_shape[0] for row in found.rows
            if row.layer in ("Conv2d", "MaxPool2d")]
    assert plan == [32, 32, "P", 64, 64, "P", 128, 128, "P"]
    assert [row.layer for row in found.rows[:3]] == ["Conv2d", "BatchNorm2d", "Conv2d"]
    norms = [m for _, m in models.net_s().named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 6 and all(norm.relu for norm in norms)
    assert [row.layer for row in found.rows[-3:]] == ["Flatten", "Dropout", "Linear"]
    convs = [m for _, m in models.net_s().named_modules() if isinstance(m, nn.Conv2d)]
    assert all(m.kernel_size == (3, 3) and m.padding == (1, 1) and m.bias is None for m in convs)
    # forward, and twice as much backward; 2 operations each; nothing for the first input
    assert 6 * 128 * found.multiply_adds / 1e9 == pytest.approx(29, rel=0.03)


def test_net_r_is_the_one_that_the_benchmarks_time() -> None:
    """64, 128,P, res128, 256,P, 256,P, res256, largest, linear; 219 GFLOP a step of 128."""
    found = nn.summary(models.net_r(), (3, 32, 32))
    plan = [{"MaxPool2d": "P", "GlobalMaxPool2d": "max"}.get(row.layer, row.output_shape[0])
            for row in found.rows if row.layer in ("Conv2d", "MaxPool2d", "GlobalMaxPool2d")]
    assert plan == [64, 128, "P", 128, 128, 256, "P", 256, "P", 256, 256, "max"]
    residuals = [name for name, m in models.net_r().named_modules() if isinstance(m, nn.Residual)]
    assert residuals == ["3", "8"]
    assert 6 * 128 * found.multiply_adds / 1e9 == pytest.approx(219, rel=0.01)


def test_resnet_20_has_20_layers_with_weights() -> None:
    net = models.resnet_small()
    main = [n for n, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)
            and "downsample" not in n]
    assert len(main) == 20
    shapes = [row.output_shape for row in nn.summary(net, (3, 32, 32)).rows]
    assert {s[1] for s in shapes if len(s) == 3} == {32, 16, 8}


@pytest.mark.parametrize("factory", [models.net_s, models.net_r, models.resnet_small,
                                     models.small_conv_net])
def test_other_classes_channels_and_a_training_step(factory: Any) -> None:
    options = {"width": 4} if factory is models.net_r else {"widths": (4, 8, 8)}
    net = factory(num_classes=7, in_channels=1, **options)
    y = net(tn.randn(4, 1, 32, 32))
    assert y.shape == (4, 7)
    F.cross_entropy(y, np.array([0, 1, 2, 6])).backward()
    assert all(np.isfinite(p.grad.numpy()).all() and (p.grad.numpy() != 0).any()
               for p in net.parameters())


def test_mlp() -> None:
    net = models.mlp([12, 5, 4, 3], activation=nn.Tanh, dropout=0.2)
    assert [type(layer).__name__ for layer in net] == [
        "Flatten", "Linear", "Tanh", "Dropout", "Linear", "Tanh", "Dropout", "Linear"]
    assert net(tn.ones((2, 3, 2, 2))).shape == (2, 3)
    assert nn.summary(models.mlp([3072, 100, 10]), (3, 32, 32)).multiply_adds == 308_200
    assert models.mlp([3072, 100, 10]).num_parameters() == 308_310
    with pytest.raises(ValueError, match=r"sizes must hold the input and output size.*\[3\]"):
        models.mlp([3])


def test_pictures_too_small_to_be_halved() -> None:
    with pytest.raises(ValueError, match="image_size=4 cannot be halved 3 times"):
        models.small_conv_net(image_size=4)


def test_a_small_net_learns_a_batch_by_heart() -> None:
    net = models.small_conv_net(num_classes=4, in_channels=1, image_size=8, widths=(8, 16))
    x, y = tn.randn(16, 1, 8, 8), np.arange(16) % 4
    first = F.cross_entropy(net(x), y).item()
    for _ in range(40):
        loss = F.cross_entropy(net(x), y)
        net.zero_grad()
        loss.backward()
        for p in net.parameters():
            p.copy_(p.data - 0.1 * p.grad.data)
    assert 1.0 < first < 2.5 and loss.item() < 0.05
    assert (net(x).numpy().argmax(1) == y).all()
