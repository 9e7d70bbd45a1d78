"""Stochastic depth: blocks skipped in training, all of them used at test (G3)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.arrays import close, equal, host
from tinynet import functional as F, models, nn
from tinynet.random import Generator

KINDS = [{"bottleneck": b, "pre_activation": pre} for b in (False, True) for pre in (False, True)]


def positive(*shape: int) -> tn.Tensor:
    """What a block sees behind a ReLU."""
    return tn.rand(*shape)


def test_G3_survival_falls_linearly_to_p_L() -> None:
    """p_l = 1 - l/L (1 - p_L); for L = 54, p_L = 0.5 the expected number of blocks is 40.25."""
    survival = [1 - p for p in nn.linear_decay(54, last=0.5)]
    assert survival == pytest.approx([1 - i / 54 * 0.5 for i in range(1, 55)])
    assert sum(survival) == pytest.approx(40.25, abs=1e-12) and survival[-1] == 0.5
    net = models.resnet(54, survival=0.5, widths=(2, 2, 2))
    assert [b.p for b in net if isinstance(b, nn.ResidualBlock)] == nn.linear_decay(54)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("inverted", [False, True])
def test_G3_a_dropped_block_is_the_identity_and_is_not_computed(kind: Any, inverted: bool) -> None:
    block = nn.ResidualBlock(8, 8, p=1.0, inverted=inverted, **kind)
    x, calls = positive(2, 8, 6, 6), []
    x.requires_grad = True
    with nn.observe(lambda call: calls.append(call.path)):
        y = block(x)
    assert calls == [""], "nothing inside was called"
    assert equal(y, x)
    y.sum().backward()
    assert all(p.grad is None for p in block.parameters())
    assert close(x.grad, np.ones(x.shape) if kind["pre_activation"] else host(x) > 0)
    norms = [m for _, m in block.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert all((host(m.running_mean) == 0).all() for m in norms), "no statistics either"


@pytest.mark.parametrize("kind", KINDS)
def test_G3_a_surviving_block_is_the_plain_one(kind: Any) -> None:
    x = positive(3, 8, 6, 6)
    plain = nn.ResidualBlock(8, 16, stride=2, **kind)
    block = nn.ResidualBlock(8, 16, stride=2, p=1e-12, **kind)
    block.load_state_dict(plain.state_dict())
    assert equal(block(x), plain(x)) and plain(x).shape == (3, 16, 3, 3)
    dropped = nn.ResidualBlock(8, 16, stride=2, p=1.0, **kind)
    dropped.load_state_dict(plain.state_dict())
    shortcut = plain.downsample(x)
    assert close(dropped(x), shortcut if kind["pre_activation"] else F.relu(shortcut))


def test_G3_the_layers_of_the_four_kinds() -> None:
    """After: conv, bn, relu, ... added, relu. Pre: bn, relu, conv, ... added."""
    x = positive(2, 8, 5, 5)
    for kind in KINDS:
        block, calls = nn.ResidualBlock(8, 8, **kind).eval(), []
        with nn.observe(calls.append):
            y = host(block(x))
        order = [call.path for call in calls[:-1]]
        n = 3 if kind["bottleneck"] else 2
        pairs = [(f"bn{i}", f"conv{i}") for i in range(1, n + 1)]
        assert order == [name for pair in pairs
                         for name in (pair if kind["pre_activation"] else pair[::-1])]
        body, sizes = host(calls[-2].output), [m.kernel_size[0] for _, m in block.named_modules()
                                               if isinstance(m, nn.Conv2d)]
        assert sizes == ([1, 3, 1] if kind["bottleneck"] else [3, 3])
        total = host(x) + body
        assert close(y, total if kind["pre_activation"] else np.maximum(total, 0), atol=1e-6)
        if kind["bottleneck"]:
            assert block.conv2.weight.shape == (2, 2, 3, 3)


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("mode", ["batch", "sample"])
def test_G3_the_mean_over_draws_is_the_test_output(mode: str, inverted: bool) -> None:
    """One block with an identity shortcut is linear in z, so scaling is exact."""
    p, n = 0.3, 2000
    block = nn.Residual(nn.Linear(4, 4), p=p, mode=mode, inverted=inverted)
    x = tn.randn(5, 4)
    test = host(nn.marginalize(block, x))
    body = host(block.body(x))
    keep = 1 - p
    assert close(test, host(x) + body * (1.0 if inverted else keep), atol=1e-6)
    mean = host(nn.marginalize(block, x, how="sample", n=n))
    scale = math.sqrt(p * keep / n) / (keep if inverted else 1.0)  # of z, over the draws
    expected = host(x) + body * (1.0 if inverted else keep)
    assert (abs(mean - expected) < 4.5 * scale * abs(body) + 1e-5).all()


def test_G3_batch_mode_drops_all_samples_or_none_sample_mode_each_by_itself() -> None:
    x = tn.ones((64, 3))
    seen: dict[str, set[int]] = {}
    for mode in ("batch", "sample"):
        block = nn.Residual(nn.Identity(), p=0.5, mode=mode, generator=Generator(1))
        seen[mode] = {int((host(block(x))[:, 0] == 2.0).sum()) for _ in range(40)}
    assert seen["batch"] == {0, 64}
    assert len(seen["sample"]) > 8 and min(seen["sample"]) > 10 and max(seen["sample"]) < 54


@pytest.mark.parametrize("p", [0.2, 0.5, 0.9])
def test_G3_a_block_is_skipped_with_probability_p(p: float) -> None:
    block, x, n = nn.Residual(nn.Identity(), p=p), tn.ones((1, 1)), 4000
    skipped = sum(block(x).item() == 1.0 for _ in range(n)) / n
    assert abs(skipped - p) < 4 * math.sqrt(p * (1 - p) / n)


def test_G3_a_deep_net_trains_and_skipped_blocks_are_left_alone() -> None:
    net = models.resnet(6, num_classes=3, in_channels=1, widths=(4, 8), survival=0.5)
    optimizer = tn.optim.SGD(net.named_parameters(), lr=0.05, momentum=0.9)
    x, y = tn.randn(24, 1, 8, 8), np.arange(24) % 3
    losses, skips = [], 0
    for _ in range(60):
        before = {name: host(p).copy() for name, p in net.named_parameters()}
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        for name, p in net.named_parameters():
            if p.grad is None:
                skips += 1
                assert equal(p, before[name])
    assert skips > 50 and np.mean(losses[-10:]) < 0.5 * np.mean(losses[:5])


def test_G3_bottleneck_and_pre_activation_nets() -> None:
    x = tn.randn(2, 3, 16, 16)
    for kind in KINDS:
        net = models.resnet(3, widths=(4, 8, 8), **kind)
        y = net(x)
        assert y.shape == (2, 10)
        F.cross_entropy(y, np.array([0, 1])).backward()
        assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize(("call", "words"), [
    (lambda: nn.Residual(nn.ReLU(), p=1.5), r"p \(of skipping\) must be a probability"),
    (lambda: nn.Residual(nn.ReLU(), mode="row"), "mode must be 'batch' or 'sample', got 'row'"),
    (lambda: nn.linear_decay(0.5), "blocks must be an integer of at least 1, got 0.5"),
    (lambda: nn.ResidualBlock(8, 6, bottleneck=True), "a multiple of 4 for a bottle.* got 6"),
    (lambda: models.resnet(20), "blocks=20 must be a multiple of the 3 widths"),
    (lambda: models.resnet(6, survival=-0.5), "last must be a probability"),
])
def test_errors(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


def test_the_block_says_how_it_is_skipped() -> None:
    assert "p=0.25, mode='sample', inverted=True" in repr(
        nn.Residual(nn.ReLU(), p=0.25, mode="sample", inverted=True))
    assert "p=" not in repr(nn.ResidualBlock(2, 2))
