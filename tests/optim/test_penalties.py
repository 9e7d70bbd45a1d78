"""Penalties on the weights (lecture id E3): L2, decoupled decay, L1, elastic net, max-norm."""

from __future__ import annotations

import inspect

import numpy as np

from tests.arrays import leaf
from tinynet import Tensor, nn
from tinynet.optim import SGD, Adam, AdamW, optimizer, param_groups


def bowl(w: Tensor) -> Tensor:
    """A loss whose gradient is w - (1, 2, 3)."""
    return 0.5 * ((w - Tensor(np.array([1.0, 2.0, 3.0]))) ** 2).sum()


def test_E3_L2_is_the_penalty_with_one_half_and_for_sgd_the_same_as_decay() -> None:
    """g + lambda w is the gradient of lambda/2 |w|^2, and x - lr (g + lambda x) is decay."""
    lr, decay = 0.1, 0.3
    by_option, by_loss, by_hand = leaf([3.0, -1.0, 0.5]), leaf([3.0, -1.0, 0.5]), np.array(
        [3.0, -1.0, 0.5])
    decoupled = leaf([3.0, -1.0, 0.5])
    for _ in range(20):
        SGD([by_option], lr, weight_decay=decay).step(lambda: bowl(by_option))
        SGD([by_loss], lr).step(lambda: bowl(by_loss) + 0.5 * decay * (by_loss**2).sum())
        SGD([decoupled], lr, weight_decay=decay, decoupled=True).step(lambda: bowl(decoupled))
        by_hand = by_hand * (1 - lr * decay) - lr * (by_hand - np.array([1.0, 2.0, 3.0]))
    for w in (by_option, by_loss, decoupled):
        assert np.abs(w.numpy() - by_hand).max() < 1e-12
    assert "1/2" in (inspect.getdoc(optimizer) or "") + optimizer.__doc__


def test_E3_adam_with_L2_is_not_adamw() -> None:
    """Adam divides the L2 term by the root of v as well: large gradients decay less."""
    def decay(make: type[Adam]) -> np.ndarray:
        w = leaf([1.0, 1.0])
        scale = np.array([1.0, 100.0])
        for _ in range(50):
            if w.grad is None:
                o = make([w], 0.01, weight_decay=0.1)
            o.step(lambda: (w * Tensor(scale)).sum())
        return w.numpy() - 1.0

    plain, decoupled = decay(Adam), decay(AdamW)
    assert np.abs(plain - decoupled).max() > 1e-3
    # AdamW: both weights lose the same share; Adam with L2: the one with the small gradient more
    assert abs(decoupled[0] - decoupled[1]) < 1e-6 < plain[1] - plain[0] + 1.0


def test_E3_L1_drives_useless_weights_to_zero_and_elastic_is_both() -> None:
    useful = np.array([1.0, 0.05, 0.0])  # the minimum without a penalty
    w, o = leaf([2.0, 2.0, -2.0]), None
    for penalties in ({"l1": 0.1}, {"l1": 0.1, "weight_decay": 0.5}):
        w = leaf([2.0, 2.0, -2.0])
        o = SGD([w], 0.01, **penalties)
        for _ in range(2000):
            o.step(lambda w=w: 0.5 * ((w - Tensor(useful)) ** 2).sum())
        # soft thresholding: (|m| - l1)+ / (1 + l2); a step of lr * l1 around zero remains
        wanted = np.maximum(useful - 0.1, 0) / (1 + penalties.get("weight_decay", 0.0))
        assert np.abs(w.numpy() - wanted).max() < 2 * 0.01 * 0.1


def test_E3_max_norm_bounds_the_weights_of_each_unit() -> None:
    w = Tensor(np.array([[6.0, 8.0], [0.3, 0.4]]), requires_grad=True)
    SGD([w], 0.0, max_norm=3.0).step(lambda: (w * 0.0).sum())
    np.testing.assert_allclose(w.numpy(), [[1.8, 2.4], [0.3, 0.4]], rtol=1e-12)


def test_E3_biases_and_norms_are_left_out_on_request() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    decayed, spared = param_groups(model, weight_decay=0.1)
    assert decayed["weight_decay"] == 0.1 and spared["weight_decay"] == 0.0
    assert all(p.ndim > 1 for _, p in decayed["params"])
    assert all(p.ndim == 1 for _, p in spared["params"])
    assert len(decayed["params"]) == 2 and len(spared["params"]) == 4
