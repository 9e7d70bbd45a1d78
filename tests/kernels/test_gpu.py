"""CuPy's own kernels equal the plain twins, for any layout and dtype."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.arrays import close, equal, host
from tinynet import Tensor
from tinynet.backend import asarray, xp
from tinynet.functional.norm import move
from tinynet.kernels import channels, conv, gpu, gpu_norm, gpu_windows, im2col, loss, norm, pool
from tinynet.optim import SGD, Adagrad, Adam, AdamW, RMSprop

pytestmark = pytest.mark.cupy_only

RTOL = {"f4": 2e-6, "f8": 1e-13, "f2": 3e-3}


def numbers(*shape: int, dtype: str = "f4", seed: int = 0, layout: str = "c") -> Any:
    """On the device; "t": its first two axes change places in memory."""
    values = np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)
    if layout == "t":
        return asarray(np.ascontiguousarray(values.swapaxes(0, 1))).swapaxes(0, 1)
    return asarray(values)


def same(a: Any, b: Any, dtype: str, factor: float = 1.0) -> bool:
    """Relative to the largest value."""
    a, b = host(a).astype("f8"), host(b).astype("f8")
    return a.shape == b.shape and bool(
        np.abs(a - b).max() <= factor * RTOL[dtype] * max(1.0, np.abs(b).max()))


@pytest.mark.parametrize("layout", ["c", "t"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", [(6, 3), (4, 5, 7), (5, 8, 6, 4), (2, 33, 1, 1), (3, 2, 40, 41)])
def test_batch_norm(shape: tuple[int, ...], relu: bool, dtype: str, layout: str) -> None:
    x, g = (numbers(*shape, dtype=dtype, seed=s, layout=layout) * 2 + 3 for s in (1, 2))
    w, b = (numbers(shape[1], dtype=dtype, seed=s) for s in (3, 4))
    for weight, bias in ((w, b), (None, None)):
        y, (mean, var, deviation, _) = gpu_norm.batch_norm(x, weight, bias, 1e-5, relu)
        wide = x.astype("f8")
        wanted = norm.plain_statistics(wide)
        digits = 1e-12 if dtype == "f8" else 3e-7
        assert close(mean, wanted[0], rtol=digits, atol=digits)
        assert close(var, wanted[1], rtol=10 * digits)
        scale = (1.0 if weight is None else weight.astype("f8")) / deviation
        shift = (0.0 if bias is None else bias.astype("f8")) - mean * scale
        assert y.dtype == x.dtype
        assert same(y, channels.plain_scale_and_shift(wide, scale, shift, relu), dtype, 3)
        gate = y if relu else None
        of = channels.Statistics(mean, var, deviation)
        found = gpu_norm.batch_norm_backward(g, x, weight, of, True, gate)
        exact = norm.plain_batch_norm_backward(
            g.astype("f8"), wide, None if weight is None else weight.astype("f8"),
            of, True, gate)
        for a, e in zip(found, exact, strict=True):
            assert a.dtype == x.dtype and same(a, e, dtype, 30)
        assert gpu_norm.batch_norm_backward(g, x, weight, of, False, gate)[0] is None


@pytest.mark.parametrize("of", ["a broadcast value", "a channel's row", "a cut-out"])
def test_batch_norm_of_arrays_that_lie_oddly(of: str) -> None:
    x = numbers(3, 4, 5, 6)[:, :, 1:, ::2]
    g = {"a broadcast value": xp.broadcast_to(numbers(3, 4, 1, 1), x.shape),
         "a channel's row": numbers(3, 4, 3, 4).swapaxes(2, 3),
         "a cut-out": numbers(6, 4, 4, 3)[::2]}[of]
    weight = numbers(8)[::2]
    y, statistics = gpu_norm.batch_norm(x, weight, None, 1e-5, True)
    dense = [xp.ascontiguousarray(a) for a in (g, x, weight)]
    assert same(y, gpu_norm.batch_norm(*dense[1:], None, 1e-5, True)[0], "f4")
    found = gpu_norm.batch_norm_backward(g, x, weight, statistics, True, y)
    exact = norm.plain_batch_norm_backward(*dense, statistics, True, y)
    assert all(same(a, b, "f4", 3) for a, b in zip(found, exact, strict=True))


@pytest.mark.parametrize("layout", ["c", "t"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
@pytest.mark.parametrize(("x", "w", "options"), [
    ((2, 3, 6, 5), (4, 3, 3, 3), ((1, 1), (1, 1), (1, 1), 1)),
    ((2, 4, 7, 6), (6, 2, 3, 2), ((2, 1), (1, 0), (1, 1), 2)),
    ((1, 2, 9, 8), (3, 2, 3, 3), ((1, 1), (2, 1), (2, 1), 1)),
    ((3, 5, 5, 5), (4, 5, 1, 1), ((2, 2), (0, 0), (1, 1), 1)),
    ((1, 4, 5, 5), (4, 1, 5, 5), ((3, 3), (2, 2), (1, 1), 4))])
def test_convolution(x: Any, w: Any, options: Any, dtype: str, layout: str) -> None:
    x, w = numbers(*x, dtype=dtype, layout=layout), numbers(*w, dtype=dtype, seed=1)
    y = conv.conv2d(x, w, *options)
    assert y.dtype == x.dtype
    assert same(y, im2col.plain_conv2d(x.astype("f8"), w.astype("f8"), *options), dtype, 5)
    g = numbers(*y.shape, dtype=dtype, seed=2)
    found = conv.conv2d_backward(g, x, w, *options)
    exact = im2col.plain_conv2d_backward(*(a.astype("f8") for a in (g, x, w)), *options)
    assert all(same(a, b, dtype, 10) for a, b in zip(found, exact, strict=True))
    assert conv.conv2d_backward(g, x, w, *options, wanted=(False, True))[0] is None
    assert conv.conv2d_backward(g, x, w, *options, wanted=(True, False))[1] is None


OPTIONS = (1, 1), (1, 1), (1, 1), 1


def test_convolution_in_blocks_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w, g = numbers(7, 3, 6, 5), numbers(4, 3, 3, 3), numbers(7, 4, 6, 5, layout="t")
    kept: list[Any] = []
    y = conv.conv2d(x, w, *OPTIONS, kept)
    whole = conv.conv2d_backward(g, kept[0], w, *OPTIONS)
    monkeypatch.setattr(gpu_windows, "BLOCK_BYTES", 2 * 27 * 30 * 4)  # two images
    again: list[Any] = []
    assert same(conv.conv2d(x, w, *OPTIONS, again), y, "f4")
    assert again == []
    for a, b in zip(conv.conv2d_backward(g, x, w, *OPTIONS), whole, strict=True):
        assert same(a, b, "f4", 3)
    exact = im2col.plain_conv2d_backward(g, x, w, *OPTIONS)
    assert all(same(a, b, "f4", 10) for a, b in zip(whole, exact, strict=True))


def test_few_columns_are_kept_and_many_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = numbers(7, 3, 6, 5), numbers(4, 3, 3, 3)
    monkeypatch.setattr(gpu_windows, "KEPT_BYTES", 7 * 27 * 30 * 4 - 1)
    kept: list[Any] = []
    conv.conv2d(x, w, *OPTIONS, kept)
    assert kept == []


def test_indices_wider_than_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w, g = numbers(2, 3, 6, 5), numbers(4, 3, 3, 3), numbers(2, 4, 6, 5)
    narrow = conv.conv2d(x, w, *OPTIONS), *conv.conv2d_backward(g, x, w, *OPTIONS)
    monkeypatch.setattr(gpu_windows, "SMALL", 0)
    wide = conv.conv2d(x, w, *OPTIONS), *conv.conv2d_backward(g, x, w, *OPTIONS)
    assert all(equal(a, b) for a, b in zip(narrow, wide, strict=True))


POOLED = [
    ((2, 3, 6, 8), ((2, 2), (2, 2), (0, 0))), ((2, 3, 7, 6), ((3, 3), (2, 2), (1, 1))),
    ((1, 2, 5, 5), ((3, 2), (1, 2), (0, 0))), ((2, 2, 7, 7), ((2, 3), (3, 1), (1, 0)))]


@pytest.mark.parametrize("layout", ["c", "t"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
@pytest.mark.parametrize(("shape", "options"), POOLED)
def test_mean_pool(shape: Any, options: Any, dtype: str, layout: str) -> None:
    x = numbers(*shape, dtype=dtype, layout=layout)
    y = pool.avg_pool2d(x, *options)
    assert y.dtype == dtype and same(y, pool.plain_avg_pool2d(x.astype("f8"), *options), dtype)
    g = numbers(*y.shape, dtype=dtype, seed=1)
    found = pool.avg_pool2d_backward(g, shape, *options)
    exact = pool.plain_avg_pool2d_backward(g.astype("f8"), shape, *options)
    assert found.dtype == dtype and same(found, exact, dtype)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
@pytest.mark.parametrize("layout", ["c", "t"])
@pytest.mark.parametrize(("shape", "options"), POOLED)
def test_max_pool(shape: Any, options: Any, layout: str, dtype: str, ties: bool) -> None:
    x = numbers(*shape, dtype=dtype, layout=layout)
    x = xp.sign(x) if ties else x
    y = pool.max_pool2d(x, *options)
    assert equal(y, pool.plain_max_pool2d(x, *options))
    g = numbers(*y.shape, dtype=dtype, seed=1)
    found = pool.max_pool2d_backward(g, x, y, *options)
    exact = pool.plain_max_pool2d_backward(*(a.astype("f8") for a in (g, x, y)), *options)
    assert found.dtype == dtype and same(found, exact, dtype)


@pytest.mark.parametrize("layout", ["c", "t"])
def test_global_max_pool(layout: str) -> None:
    x = xp.sign(numbers(4, 3, 5, 6, layout=layout))
    x[1, 2, 3, 3:] = xp.nan
    g, y = numbers(4, 3), x.max(axis=(2, 3))
    found = gpu_windows.global_max_pool2d_backward(g, x, y)
    first = host(x == y[:, :, None, None]) | np.isnan(host(x))
    wanted = np.zeros((4, 3, 30), "f4")
    for n, c in np.ndindex(4, 3):
        wanted[n, c, first[n, c].ravel().argmax()] = host(g)[n, c]
    assert equal(found, wanted.reshape(4, 3, 5, 6))


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
def test_masked(dtype: str) -> None:
    x = numbers(5, 6, dtype=dtype)
    x[0, 0] = xp.inf
    mask = numbers(5, 6, seed=1) > 0
    found = gpu.masked(x, mask, 1.25)
    assert found.dtype == dtype
    assert close(found, x * mask * np.dtype(dtype).type(1.25), equal_nan=True)


def softmax_losses(z: Any, labels: Any) -> Any:
    e = xp.exp(z)
    return -xp.log((e / e.sum(axis=1, keepdims=True))[xp.arange(len(z)), labels])


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
def test_softmax_cross_entropy(dtype: str) -> None:
    z, labels = numbers(7, 10, dtype=dtype), asarray(np.array([0, 9, 3, 3, 1, 2, 5]))
    losses, p = loss.softmax_cross_entropy(z, labels)
    assert losses.dtype == p.dtype == z.dtype
    assert same(losses, softmax_losses(z.astype("f8"), labels), dtype)
    assert same(p.sum(1), np.ones(7), dtype)
    dz = loss.softmax_cross_entropy_backward(losses, p, labels)
    assert same(dz, losses[:, None] * (p.astype("f8") - xp.eye(10)[labels]), dtype, 3)
    of_mean = loss.softmax_cross_entropy_backward(losses[0], p, labels, 7)
    assert same(of_mean, losses[0] / 7 * (p.astype("f8") - xp.eye(10)[labels]), dtype, 3)
    large = xp.array([[1e4, 0, -1e4]], "f4")
    assert loss.softmax_cross_entropy(large, asarray(np.array([1])))[0].tolist() == [1e4]
    assert bool(xp.isnan(loss.softmax_cross_entropy(large, asarray(np.array([3])))[0]).all())
    assert bool(xp.isnan(loss.softmax_cross_entropy(large * np.nan, asarray(np.array([0])))[0])[0])


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("make", [
    lambda p, **k: Adagrad(p, 0.05, weight_decay=0.1, **k),
    lambda p, **k: Adagrad(p, 0.05, compat="keras", **k),
    lambda p, **k: RMSprop(p, 0.05, weight_decay=0.1, **k),
    lambda p, **k: RMSprop(p, 0.05, compat="keras", **k),
    lambda p, **k: SGD(p, 0.05, momentum=0.9, nesterov=True, weight_decay=0.1, **k),
    lambda p, **k: Adam(p, 0.05, weight_decay=0.1, **k)])
def test_updates_equal_the_rules(make: Any, dtype: str) -> None:
    """optim/test_optimizer.py holds the others."""
    ends = []
    for fused in (True, False):
        p = Tensor(numbers(4, 6, dtype=dtype).copy().T, requires_grad=True)
        optimizer = make([p], fused=fused)
        for step in range(5):
            p.grad = Tensor(numbers(6, 4, dtype=dtype, seed=step))
            optimizer.step()
        ends.append([p.data, *(optimizer.state["param0"][slot] for slot in optimizer.slots)])
    for a, b in zip(*ends, strict=True):
        assert a.dtype == dtype and same(a, b, dtype)


@pytest.mark.parametrize("make", [lambda p: AdamW(p, 0.05), lambda p: SGD(p, 0.05, momentum=0.9)])
def test_updates_of_many_and_of_large_parameters_in_one_run(make: Any) -> None:
    shapes = [(5000,), *((k + 1,) for k in range(150)), (3, 700), (0,), ()]
    ends = []
    for fused in (True, False):
        params = [Tensor(numbers(*shape, seed=3), requires_grad=True) for shape in shapes]
        params.append(Tensor(numbers(6, 7, dtype="f8").copy().T, requires_grad=True))
        optimizer = make(params)
        optimizer.fused = fused
        for step in range(2):
            for p in params:
                p.grad = Tensor(numbers(*p.shape, dtype=str(p.dtype), seed=step))
            optimizer.step()
        ends.append([p.data for p in params])
    for a, b in zip(*ends, strict=True):
        assert a.size == 0 or same(a, b, "f4")


@pytest.mark.parametrize("dtype", ["f4", "f2"])
@pytest.mark.parametrize("of", ["f4", "f8"])
def test_running_statistics_move_in_the_launch_of_batch_norm(dtype: str, of: str) -> None:
    x = numbers(4, 5, 3, 3, dtype=dtype)
    running = channels.Running(numbers(5, dtype=of), numbers(5, dtype=of, seed=2), 0.1, 1.25)
    mean, var = running.mean.copy(), running.var.copy()
    for _ in range(2):  # they move once
        _, (m, v, *_) = gpu_norm.batch_norm(x, None, None, 1e-5, False, running)
    assert running.is_done and running.mean.dtype == of
    assert same(running.mean, 0.9 * mean + 0.1 * m, of if of == "f4" else "f8")
    assert same(running.var, 0.9 * var + 0.1 * 1.25 * v, of if of == "f4" else "f8")


@pytest.mark.parametrize(("mean", "var"), [
    (None, numbers), (lambda n: numbers(n, dtype="f8"), numbers),
    (lambda n: numbers(2 * n)[::2], numbers)])
def test_running_statistics_that_it_cannot_move_are_left_to_the_caller(mean: Any, var: Any) -> None:
    running = channels.Running(mean and mean(5), var(5), 0.1, 1.25)
    _, (m, v, *_) = gpu_norm.batch_norm(numbers(4, 5, 3, 3), None, None, 1e-5, False, running)
    assert not running.is_done
    wanted = 0.9 * running.var + 0.1 * 1.25 * v
    move(running, m, v)
    assert running.is_done and same(running.var, wanted, "f4")
