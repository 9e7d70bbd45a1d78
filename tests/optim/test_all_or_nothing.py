"""A step that fails half-way has changed nothing, so that trying it again is the same step."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import numpy as np
import pytest

from tests.arrays import host, leaf
from tests.optim.problems import FLAT, OPTIMIZERS
from tinynet import Tensor
from tinynet.kernels import update
from tinynet.optim import (
    EMA,
    SGD,
    SWA,
    Adam,
    LossScale,
    Nesterov,
    Optimizer,
    clip_grad_norm_,
)
from tinynet.optim.schedule import Plateau

FIRST_ORDER = [name for name in OPTIMIZERS if name not in FLAT]


@pytest.fixture(autouse=True)
def small_updates_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of large arrays."""
    monkeypatch.setattr(update, "SMALL_BYTES", 0)


class Net:
    """Two weights of unlike shape, an optimizer, and a step that can be tried again."""

    def __init__(self, name: str) -> None:
        rng = np.random.default_rng(0)
        self.params = [Tensor(rng.normal(size=shape), requires_grad=True)
                       for shape in ((3, 4), (4,))]
        self.optimizer = OPTIMIZERS[name](self.params)

    def loss(self) -> Tensor:
        w, b = self.params
        return ((w.sin() @ b).square().sum() + (w * w).sum() + b.cos().sum())

    def step(self) -> None:
        self.optimizer.step(self.loss)

    def state(self) -> Any:
        return plain([[p.data for p in self.params], self.optimizer.state_dict()])


def plain(value: Any) -> Any:
    """Nested arrays as lists, which compare by value."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return host(value).tolist() if hasattr(value, "dtype") else value


def interrupted(call: Callable[[], Any], line: int) -> bool:
    """Run `call`, with Ctrl-C at the n-th line of the package; whether it came."""
    left = line

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal left
        name = frame.f_code.co_filename
        if "/tinynet/optim/" not in name and "kernels/update.py" not in name:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                signal.raise_signal(signal.SIGINT)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def lines_of(call: Callable[[], Any], every: int) -> Iterator[int]:
    """Numbers of lines from 1 on, as long as the interrupt comes."""
    line = 1
    while interrupted(call, line):
        yield line
        line += every


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_ctrl_c_at_any_line_leaves_a_whole_step_or_none(name: str) -> None:
    """The second step, so that there are slots; each try on the net that the last one left."""
    net, clean = Net(name), Net(name)
    for each in (net, clean):
        each.step()
    before = net.state()
    clean.step()
    after = clean.state()
    tried = whole = 0
    for _ in lines_of(net.step, every=7 if name in FLAT else 3):
        tried += 1
        if net.optimizer.t == 1:
            assert net.state() == before
            continue
        assert net.state() == after  # it came too late: the step is done
        whole += 1
        net = Net(name)
        net.step()
        break
    assert tried > 15 and whole == 1


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_first_step_that_was_interrupted_is_the_same_when_tried_again(name: str) -> None:
    clean = Net(name)
    clean.step()
    for line in (5, 20, 60, 90):
        net = Net(name)
        before = net.state()
        if interrupted(net.step, line) and net.optimizer.t == 0:
            assert net.state() == before
            net.step()
        assert net.state() == clean.state()


@pytest.mark.parametrize("error", [MemoryError("cannot allocate"), KeyboardInterrupt(),
                                   ArithmeticError("odd")], ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("name", [name for name in FIRST_ORDER if name != "together"])
def test_an_error_in_the_second_parameter_leaves_the_first_alone(
        name: str, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    net, clean = Net(name), Net(name)
    for each in (net, clean):
        each.step()
    before = net.state()
    kind = type(net.optimizer)
    rule = kind.rule
    calls = []

    def failing(self: Any, h: Any, x: Any, *arrays: Any) -> Any:
        calls.append(x.shape)
        if len(calls) == 2:
            raise error
        return rule(self, h, x, *arrays)

    net.optimizer.fused = False
    with monkeypatch.context() as patch:
        patch.setattr(kind, "rule", failing)
        with pytest.raises(type(error)) as caught:
            net.step()
    assert net.state() == before and calls == [(3, 4), (4,)]
    if isinstance(error, MemoryError):
        assert str(caught.value).startswith(
            f"{kind.__name__}.step of float64 (4,) ran out of memory: cannot allocate. Use a "
            "smaller batch")
    net.step()
    clean.optimizer.fused = False
    clean.step()
    assert net.state() == clean.state()


@pytest.mark.numpy_only("a device updates in one launch")
@pytest.mark.parametrize("name", ["sgd", "nesterov", "adagrad", "adam", "adamw"])
def test_a_fused_update_has_its_memory_before_it_begins(
        name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net, clean = Net(name), Net(name)
    before = net.state()

    def scratch(*args: Any) -> Any:
        raise MemoryError("cannot allocate 2 rows")

    with monkeypatch.context() as patch:
        patch.setattr(update, "scratch", scratch)
        with pytest.raises(MemoryError, match=r"\.step of float64 \(3, 4\) ran out of memory: "
                                              "cannot allocate 2 rows. Use a smaller batch"):
            net.step()
    assert net.state() == before
    net.step()
    clean.step()
    assert net.state() == clean.state()


@pytest.mark.parametrize("name", FLAT)
def test_a_closure_that_fails_leaves_second_order_as_it_was(name: str) -> None:
    """At any of its calls: weights, memory and counters are those of before."""
    clean = Net(name)
    clean.step()
    before = clean.state()
    calls = clean.optimizer.evaluations  # type: ignore[attr-defined]
    for k in range(1, calls + 3):
        net = Net(name)
        net.step()
        left = k

        def failing(net: Net = net) -> Tensor:
            nonlocal left
            left -= 1
            if left == 0:
                raise MemoryError("in the loss")
            return net.loss()

        try:
            net.optimizer.step(failing)
        except MemoryError as error:
            assert "ran out of memory: in the loss. Use a smaller batch" in str(error)
            assert net.state() == before
            assert net.optimizer.evaluations == calls  # type: ignore[attr-defined]
    clean.step()
    net = Net(name)
    net.step()
    with pytest.raises(ZeroDivisionError):
        net.optimizer.step(lambda: 1 / 0)
    net.step()
    assert net.state() == clean.state()


def test_an_error_in_one_group_leaves_the_others_alone() -> None:
    """A schedule that raises, one that says no number, a setting that was spoilt by hand."""
    def late(t: float) -> float:
        raise LookupError("no more rates")

    for wrong, error in (({"lr": late}, LookupError), ({"lr": lambda t: "fast"}, ValueError),
                         ({"momentum": -1.0}, ValueError)):
        a, b = leaf([1.0]), leaf([1.0])
        sgd = SGD([{"params": [a]}, {"params": [b]}], 0.1, momentum=0.9)
        sgd.param_groups[1] |= wrong
        with pytest.raises(error):
            sgd.step(lambda a=a, b=b: (a * b).sum())
        assert (a.item(), b.item(), sgd.t, sgd.state) == (1.0, 1.0, 0, {})


def test_a_rule_that_returns_something_else_changes_nothing() -> None:
    class Wrong(Optimizer):
        slots = ("v",)

        def rule(self, h: Any, x: Any, g: Any, v: Any) -> Any:
            return (x - g, v) if x.ndim == 1 else (x.sum(), v)

    class Short(Optimizer):
        slots = ("v",)

        def rule(self, h: Any, x: Any, g: Any, v: Any) -> Any:
            return (x - g,)

    for make, words in ((Wrong, r"of shape \(2, 2\), and v; got x of shape \(\) and 1 slots"),
                        (Short, r"got x of shape \(2,\) and 0 slots")):
        a, b = leaf([1.0, 2.0]), leaf([[1.0, 2.0], [3.0, 4.0]])
        with pytest.raises(ValueError, match=words):
            make([a, b], 0.1).step(lambda a=a, b=b: (a * b).sum())
        assert a.tolist() == [1.0, 2.0]


@pytest.mark.numpy_only("arrays of CuPy can always be written")
def test_read_only_memory_is_refused_by_name_before_anything_is_written() -> None:
    memory = np.ones(3)
    memory.flags.writeable = False
    a, b = leaf([1.0, 1.0, 1.0]), Tensor(memory, requires_grad=True)
    b.data = memory
    with pytest.raises(ValueError, match="memory of parameter 'fixed' is read-only"):
        SGD([("a", a), ("fixed", b)], 0.1).step(lambda: (a * b).sum())
    assert a.tolist() == [1.0, 1.0, 1.0]


def test_looking_ahead_is_undone_whenever_it_is_interrupted() -> None:
    w = leaf([1.0, 2.0])
    ahead = Nesterov([w], 0.1)
    ahead.step(lambda: (w * w).sum())
    before, lines = w.tolist(), 0
    for _ in lines_of(lambda: ahead.step(lambda: (w * w).sum()), every=1):
        if ahead.t > 1:
            break
        lines += 1
        assert w.tolist() == before
    assert lines > 30


# What stands around optimizers

@pytest.mark.parametrize("make", [lambda p: EMA(p, 0.9), SWA], ids=["ema", "swa"])
def test_an_average_takes_all_weights_or_none(make: Any) -> None:
    a, b = leaf([1.0]), leaf([2.0])
    average = make([a, b])
    average.update()
    a.copy_(3.0)
    b.copy_(4.0)
    before, done = plain(average.state_dict()), 0
    for _ in lines_of(average.update, every=1):
        if average.n > 1:
            break
        done += 1
        assert plain(average.state_dict()) == before
    assert done > 8

    def failing(old: Any, x: Any) -> Any:
        raise MemoryError("too many")

    average.rule, before = failing, plain(average.state_dict())
    with pytest.raises(MemoryError, match=r"\.update of float64 \(1,\) ran out of memory: too many"
                                          ". Use a smaller batch"):
        average.update()
    assert plain(average.state_dict()) == before


def test_weights_are_their_own_again_if_applying_an_average_is_interrupted() -> None:
    a, b = leaf([1.0]), leaf([2.0])
    average = EMA([a, b], 0.5, "zero")

    def apply() -> None:
        with average.applied():
            pass

    done = 0
    for _ in lines_of(apply, every=1):
        done += 1
        assert (a.item(), b.item()) == (1.0, 2.0)
        if done == 30:
            break
    assert done > 10


def test_a_scaled_step_that_fails_keeps_its_gradients() -> None:
    """Interrupted at any line, or out of memory: the masters, the weights, the scale."""
    def fresh() -> tuple[Tensor, LossScale]:
        w = Tensor(np.array([1.0, 2.0], "f2"), requires_grad=True)
        scaled = LossScale([w], lambda params: Adam(params, 0.1), every=1)
        scaled.backward((w * w).sum())
        return w, scaled

    def state(w: Tensor, scaled: LossScale) -> Any:
        return plain([w.data, scaled.state_dict()])

    clean = fresh()
    clean[1].step()
    tried = 0
    for line in range(1, 200, 3):
        w, scaled = fresh()
        before = state(w, scaled)
        if not interrupted(scaled.step, line):
            break
        tried += 1
        if state(w, scaled) == before:
            scaled.step()
        assert state(w, scaled) == state(*clean)
    assert tried > 10
    w, scaled = fresh()
    before = state(w, scaled)
    rule, fused = Adam.rule, scaled.optimizer.fused
    scaled.optimizer.fused = False
    scaled.optimizer.rule = lambda *args: (_ for _ in ()).throw(MemoryError("no"))  # type: ignore
    with pytest.raises(MemoryError, match=r"Adam.step of float32 \(2,\) ran out of memory: no"):
        scaled.step()
    assert state(w, scaled) == before and w.grad is not None
    scaled.optimizer.rule = rule.__get__(scaled.optimizer)  # type: ignore[method-assign]
    scaled.optimizer.fused = fused
    assert scaled.step() and state(w, scaled) == state(*clean)


def test_gradients_are_clipped_all_or_none() -> None:
    a, b = leaf([1.0]), leaf([1.0])
    a.grad, b.grad = leaf([3.0]), leaf([4.0])
    for _ in lines_of(lambda: clip_grad_norm_([a, b], 1.0), every=1):
        grads = (a.grad.item(), b.grad.item())
        assert grads in ((3.0, 4.0), (pytest.approx(0.6), pytest.approx(0.8)))
        if grads != (3.0, 4.0):
            break


def test_a_state_that_cannot_be_loaded_changes_nothing() -> None:
    """Also not the schedule, and not the weights' slots that did fit."""
    def made(value: float) -> tuple[Tensor, Tensor, Optimizer]:
        a, b = leaf([value]), leaf([value, value])
        adam = Adam([("a", a), ("b", b)], Plateau(0.1, patience=0))
        for _ in range(2):
            adam.step(lambda: (a * b).sum())
            adam.param_groups[0]["lr"].observe(value)
        return a, b, adam

    *_, adam = made(1.0)
    *_, other = made(2.0)
    before = plain(adam.state_dict())
    for spoil in (lambda s: s["state"]["b"].update(v=np.zeros(3)),
                  lambda s: s["state"]["b"].update(v=None),
                  lambda s: s["state"]["b"].update(count=-1),
                  lambda s: s.update(t=1.5),
                  lambda s: s["groups"][0].update(betas=[0.9, 2.0])):
        state = other.state_dict()
        spoil(state)
        with pytest.raises(ValueError):
            adam.load_state_dict(state)
        assert plain(adam.state_dict()) == before
