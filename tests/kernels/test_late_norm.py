"""Batch norm, ReLU and pooling that their readers compute equal those that are stored."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinynet as tn
import tinynet.functional as F
from tinynet import nn, to_numpy
from tinynet.backend import xp
from tinynet.graph import Watcher, watching
from tinynet.kernels import pending, pool as pool_kernels, threads as kernel_threads
from tinynet.kernels.conv import force_algorithm
from tinynet.late import Late
from tinynet.random import Generator
from tinynet.tensor import Tensor, grad

pytestmark = pytest.mark.numpy_only("on a GPU nothing waits for its readers")

C = 24
BOUND = {"f4": 3e-5, "f8": 1e-11}
SIZES = [(16, 16), (15, 17), (8, 20)]


@pytest.fixture
def workers() -> Iterator[Callable[[int], None]]:
    """Sets the number of workers, which is put back at the end."""
    before = kernel_threads.get_num_workers()
    yield kernel_threads.set_num_workers
    kernel_threads.set_num_workers(before)


class Case:
    """z = conv(x), y = relu(norm(z)), pooled if asked ("first": z is), and what reads it."""

    def __init__(self, size: tuple[int, int] = (16, 16), dtype: str = "f4", relu: bool = True,
                 pool: bool | str = False, n: int = 12) -> None:
        rng = Generator(7)
        n = 4 * n if pool == "first" else n  # so that what is pooled is large enough to wait

        def draw(*shape: int) -> Any:
            return rng.normal(shape, dtype="f8").astype(dtype)

        self.relu = relu
        self.pool = pool
        self.x = tn.tensor(draw(n, 3, *size), requires_grad=True)
        self.w = tn.tensor(draw(C, 3, 3, 3) / 5, requires_grad=True)
        self.gamma = tn.tensor(1 + draw(C) / 4, requires_grad=True)
        self.beta = tn.tensor(draw(C) / 4, requires_grad=True)
        self.u = tn.tensor(draw(C, C, 3, 3) / 15, requires_grad=True)
        self.inputs = [self.x, self.w, self.gamma, self.beta, self.u]

    def z(self) -> Tensor:
        return F.conv2d(self.x, self.w, padding=1)

    def norm(self, z: Any) -> Tensor:
        if self.pool == "first":
            z = F.max_pool2d(z, 2)
        y = F.batch_norm(z, None, None, self.gamma, self.beta, True, with_relu=self.relu)
        return F.max_pool2d(y, 2) if self.pool is True else y

    def read(self, y: Any) -> Tensor:
        return F.conv2d(y, self.u, padding=1)

    def gradients(self, of: Callable[[Case], Any]) -> list[Any]:
        """Of a sum of `of`(this case), with weights that are not equal."""
        for x in self.inputs:
            x.grad = None
        y = of(self)
        (y * tn.tensor(Generator(5).normal(y.shape, dtype="f8").astype(y.dtype))).sum().backward()
        return [to_numpy(y.data), *(to_numpy(x.grad.data) for x in self.inputs
                                    if x.grad is not None)]


def stored(of: Callable[[Case], Any]) -> Callable[[Case], Any]:
    """The same where every batch norm is stored, since somebody watches."""
    def run(case: Case) -> Any:
        with watching(Watcher()):
            return of(case)
    return run


def assert_equal(found: list[Any], wanted: list[Any], dtype: str = "f4") -> None:
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        assert np.linalg.norm(a - b) <= BOUND[dtype] * np.linalg.norm(b)


def chain(case: Case) -> Tensor:
    return case.read(case.norm(case.z()))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("pool", [False, True, "first"])
@pytest.mark.parametrize("size", SIZES)
def test_it_equals_what_is_stored(size: Any, pool: bool | str, relu: bool, dtype: str) -> None:
    case = Case(size, dtype, relu, pool)
    assert_equal(case.gradients(chain), case.gradients(stored(chain)), dtype)
    with tn.plain():
        plain = case.gradients(chain)
    assert_equal(case.gradients(chain), plain, dtype)


READERS: dict[str, Callable[[Case], Any]] = {
    "stride 2": lambda c: F.conv2d(c.norm(c.z()), c.u, stride=2, padding=1),
    "1x1": lambda c: F.conv2d(c.norm(c.z()), c.u[:, :, 1:2, 1:2]),
    "groups": lambda c: F.conv2d(c.norm(c.z()), c.u[:, :4], padding=1, groups=6),
    "depthwise": lambda c: F.conv2d(c.norm(c.z()), c.u[:, :1], padding=1, groups=C),
    "bias": lambda c: F.conv2d(c.norm(c.z()), c.u, c.beta, padding=1),
    "dilation": lambda c: F.conv2d(c.norm(c.z()), c.u, padding=2, dilation=2),
    "no padding": lambda c: F.conv2d(c.norm(c.z()), c.u),
    "padding 2": lambda c: F.conv2d(c.norm(c.z()), c.u, padding=2),
    "a sum": lambda c: c.norm(c.z()).sum((2, 3)),
    "its mean pool": lambda c: F.avg_pool2d(c.norm(c.z()), 2),
    "overlapping windows": lambda c: F.max_pool2d(c.norm(c.z()), 3, 2, 1),
    "DropConnect": lambda c: F.dropconnect_conv2d(c.norm(c.z()), c.u, p=0.3, padding=1, key=1),
}


def two_readers(case: Case) -> Any:
    y = case.norm(case.z())
    return case.read(y) + y


def two_convolutions(case: Case) -> Any:
    y = case.norm(case.z())
    return case.read(y) + F.conv2d(y, case.u, padding=1)


def norm_of_norm(case: Case) -> Any:
    return case.read(case.norm(case.read(case.norm(case.z()))))


def frozen(case: Case) -> Any:
    return F.conv2d(case.norm(case.z()), case.u.detach(), padding=1)


READERS |= {"two readers": two_readers, "two convolutions": two_convolutions,
            "a norm behind it": norm_of_norm, "frozen weights": frozen}


@pytest.mark.parametrize("pool", [False, True, "first"])
@pytest.mark.parametrize("name", READERS)
def test_every_reader(name: str, pool: bool | str) -> None:
    case = Case(pool=pool, size=(16, 24))
    of = READERS[name]
    assert_equal(case.gradients(of), case.gradients(stored(of)))


@pytest.mark.parametrize("pool", [False, True, "first"])
def test_negative_and_zero_scales(pool: bool | str) -> None:
    case = Case(pool=pool)
    case.gamma.data[::3] *= -1
    case.gamma.data[1] = 0
    assert_equal(case.gradients(chain), case.gradients(stored(chain)))


@pytest.mark.parametrize("mean", [1.0, 30.0, -3e3])
def test_means_far_from_zero(mean: float) -> None:
    case = Case()
    bias = tn.tensor(np.full(C, mean, "f4"))

    def of(case: Case) -> Any:
        return case.read(case.norm(F.conv2d(case.x, case.w, bias, padding=1)))

    assert_equal(case.gradients(of), case.gradients(stored(of)))


@pytest.mark.parametrize("pool", [False, True, "first"])
def test_first_of_equal_values_gets_the_gradient(pool: bool | str) -> None:
    case = Case(dtype="f8", pool=pool)
    case.x.data[...] = np.sign(to_numpy(case.x.data))  # few values: many windows with ties
    case.w.data[...] = np.sign(to_numpy(case.w.data))
    assert_equal(case.gradients(chain), case.gradients(stored(chain)), "f8")


@pytest.mark.parametrize("pool", [False, True, "first"])
def test_grad_of_any_tensor_on_the_way(pool: bool | str) -> None:
    case = Case(pool=pool)

    def of(case: Case) -> list[Any]:
        z = case.z()
        pooled = F.max_pool2d(z, 2) if pool == "first" else z
        y = F.batch_norm(pooled, None, None, case.gamma, case.beta, True, with_relu=True)
        top = F.max_pool2d(y, 2) if pool is True else y
        out = case.read(top)
        seed = tn.tensor(Generator(5).normal(out.shape))
        asked = [z, pooled, y, top, case.gamma, case.w]
        return [to_numpy(g.data) for g in grad(out, asked, seed)]

    assert_equal(of(case), stored(of)(case))


def test_a_pool_behind_a_convolution_leaves_its_gradient_to_it(monkeypatch: Any) -> None:
    case = Case(pool="first")
    out = chain(case)
    monkeypatch.setattr(pool_kernels.Scattered, "array", None)  # nobody stores it
    out.sum().backward()
    assert case.w.grad is not None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_goes_where_it_goes_plainly(value: float) -> None:
    """A window with nan gives its gradient to the first; an infinite one stays in its window."""
    rng = Generator(3)
    x = rng.normal((4, 6, 8, 16))
    x[1, 2, 3, 4:7] = value
    x[2, :, 4:6, 2:4] = value
    g = rng.normal((4, 6, 4, 8))
    g[3, 1, 2, 3] = value
    y = pool_kernels.plain_max_pool2d(x, (2, 2), (2, 2), (0, 0))
    wanted = pool_kernels.plain_max_pool2d_backward(g, x, y, (2, 2), (2, 2), (0, 0))
    assert np.array_equal(pool_kernels.Scattered(g, x, y).array(), wanted, equal_nan=True)


def test_gradients_of_gradients() -> None:
    case = Case((8, 8), "f8", n=40)

    def of(case: Case) -> list[Any]:
        out = chain(case)
        (dx,) = grad((out * out).sum(), [case.x], create_graph=True)
        return [to_numpy(g.data) for g in grad((dx * dx).sum(), [case.w, case.gamma])]

    assert_equal(of(case), stored(of)(case), "f8")


def test_the_same_bits_with_any_workers(workers: Callable[[int], None]) -> None:
    case = Case(pool=True)
    found = []
    for n in (1, 2, 3):
        workers(n)
        found.append([a.tobytes() for a in case.gradients(norm_of_norm)])
    assert found[0] == found[1] == found[2]


def test_nothing_is_stored_between_the_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any) -> None:
        raise AssertionError("stored")

    case = Case()
    monkeypatch.setattr(pending.Pending, "array", refuse)
    y = case.norm(case.z())
    assert isinstance(y, Late)
    assert (y.shape, y.ndim, y.size, y.dtype) == ((12, C, 16, 16), 4, 12 * C * 256, np.float32)
    case.read(y)
    case.norm(case.z())


def test_when_nothing_waits() -> None:
    case = Case()
    z = case.z()
    assert not isinstance(case.norm(z.detach()), Late)
    leaf = tn.tensor(to_numpy(z.data), requires_grad=True)
    assert not isinstance(case.norm(leaf), Late)  # copy_ may write to it
    assert not isinstance(case.norm(z + 0.0), Late)
    with tn.no_grad():
        assert not isinstance(case.norm(case.z()), Late)
    with tn.plain():
        assert not isinstance(case.norm(case.z()), Late)
    with force_algorithm("plain"):
        assert not isinstance(case.norm(case.z()), Late)
    running = tn.zeros(C), tn.ones(C)
    assert not isinstance(F.batch_norm(z, *running, training=False), Late)
    small = Case((2, 2), n=2)
    assert not isinstance(small.norm(small.z()), Late)
    half = Case(dtype="f2")
    assert not isinstance(half.norm(half.z()), Late)


def test_who_watches_sees_arrays() -> None:
    seen: list[Any] = []

    class Sees(Watcher):
        def made(self, node: Any, y: Any, args: Any) -> None:
            seen.append(y)

        def pull(self, node: Any, compute: Callable[..., Any], *values: Any) -> Any:
            found = compute(*values)
            gradients = [g for (g,) in found[1]] if isinstance(found, tuple) else [found]
            seen.extend(g for g in gradients if g is not None)
            return found

    case = Case(pool=False)
    y = case.norm(case.z())
    with watching(Sees()):
        out = F.conv2d(F.max_pool2d(y, 2), case.u)
    z = case.read(case.norm(out))
    with watching(Sees()):
        z.sum().backward()
    assert len(seen) > 6
    assert {type(a) for a in seen} == {xp.ndarray}


def test_nobody_needs_a_gradient_of_it_later() -> None:
    case = Case()
    y = case.norm(case.z())
    with tn.no_grad():
        top = F.max_pool2d(y, 2)
        read = case.read(y)
    assert not top.requires_grad
    assert not read.requires_grad
    assert np.allclose(to_numpy(top.data), to_numpy(F.max_pool2d(y.detach(), 2).data))


@pytest.mark.parametrize("pool", [False, True])
def test_what_is_written_to_weight_and_bias_comes_too_late(pool: bool) -> None:
    case = Case(pool=pool)
    wanted = chain(case).numpy()
    y = F.batch_norm(case.z(), None, None, case.gamma, case.beta, True, with_relu=True)
    case.gamma.copy_(case.gamma.numpy() * 3 - 2)
    case.beta.copy_(7.0)
    found = case.read(F.max_pool2d(y, 2) if pool else y)
    assert np.allclose(found.numpy(), wanted, atol=1e-4)
    with pytest.raises(RuntimeError, match="changed in place"):
        found.sum().backward()


def test_what_is_written_into_its_data_is_read() -> None:
    case = Case()
    y = case.norm(case.z())
    y.data[...] = 1.0
    wanted = case.read(tn.ones(y.shape))
    assert np.allclose(to_numpy(case.read(y).data), to_numpy(wanted.data), atol=1e-4)


def test_a_tensor_that_waits_is_a_tensor() -> None:
    case = Case()
    y = case.norm(case.z())
    with watching(Watcher()):
        wanted = case.norm(case.z())
    assert isinstance(y, Late)
    assert repr(y)[:7] == "Tensor("
    assert y.numpy().shape == y.shape
    assert y.data is y.data  # computed once
    assert np.allclose(y.numpy(), wanted.numpy(), atol=1e-5)
    assert np.array_equal(y.detach().numpy(), y.numpy())
    assert y.requires_grad
    assert not y.is_leaf
    assert np.allclose((y + 1.0).numpy(), wanted.numpy() + 1, atol=1e-5)


def net() -> nn.Sequential:
    tn.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, C, 3, padding=1), nn.BatchNorm2d(C), nn.ReLU(),
                         nn.Sequential(nn.Conv2d(C, C, 3, padding=1), nn.BatchNorm2d(C)),
                         nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(C, C, 3), nn.BatchNorm2d(C),
                         nn.ReLU(), nn.GlobalAvgPool2d(), nn.Linear(C, 10))


def step(model: nn.Module) -> list[Any]:
    model.zero_grad()
    y = model(tn.tensor(Generator(2).normal((12, 3, 16, 16))))
    F.cross_entropy(y, tn.tensor(np.arange(12) % 10)).backward()
    return [to_numpy(y.data), *(to_numpy(p.grad.data) for p in model.parameters()
                                if p.shape != (C,)), to_numpy(model[1].running_var.data)]


def test_layers_watched_or_not_compute_the_same() -> None:
    seen: list[str] = []
    with nn.observe(lambda call: seen.append(call.path)):
        watched = step(net())
    assert seen == ["0", "1", "2", "3.0", "3.1", "3", *map(str, range(4, 11)), ""]
    assert_equal(step(net()), watched)


def test_a_profile_has_a_row_for_each_layer() -> None:
    rows = nn.profile(net(), tn.tensor(Generator(2).normal((12, 3, 16, 16))), repeat=1).rows
    assert [row.layer for row in rows] == [
        "Conv2d", "BatchNorm2d", "ReLU", "Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d", "Conv2d",
        "BatchNorm2d", "ReLU", "GlobalAvgPool2d", "Linear"]
    assert all(row.forward > 0 for row in rows)


def test_a_step_leaves_nothing_for_the_garbage_collector() -> None:
    model = net()
    step(model)
    gc.collect()
    gc.disable()
    try:
        step(model)
        assert gc.collect() == 0
    finally:
        gc.enable()
