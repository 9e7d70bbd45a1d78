"""What happens around a module's call: errors say where, observers are told, threads are apart."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import nn
from tinynet.nn.module import _calls


def notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])


# Errors

def test_an_error_names_the_innermost_layer_once() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(4, 3), nn.Linear(2, 1)))
    with pytest.raises(ValueError) as caught:
        model(tn.ones((5, 4)))
    assert notes(caught.value) == [
        "in layer '1.1' (Linear(in_features=2, out_features=1)), "
        "called with float32 (5, 3)"]
    assert _calls.stack == []


def test_an_error_in_the_outermost_module_has_no_path() -> None:
    with pytest.raises(ValueError) as caught:
        nn.Linear(2, 1)(tn.ones((1, 3)))
    assert notes(caught.value)[0].startswith("in layer (Linear(in_features=2")


def test_paths_through_lists_and_skipped_containers() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.stages = [nn.ModuleList([nn.ReLU(), nn.Linear(2, 2)])]

        def forward(self, x: Any) -> Any:
            return self.stages[0][1](x)  # past the list, which is never called

    with pytest.raises(ValueError) as caught:
        nn.Sequential(Net())(tn.ones((1, 3)))
    assert "in layer '0.stages.0.1' (Linear" in notes(caught.value)[0]


def test_a_layer_that_nobody_keeps_is_named_by_its_kind() -> None:
    class Net(nn.Module):
        def forward(self, x: Any) -> Any:
            return nn.Linear(2, 2)(x)

    with pytest.raises(ValueError) as caught:
        Net()(tn.ones((1, 3)))
    assert "in layer 'Linear' (Linear(in_features=2" in notes(caught.value)[0]


def test_a_module_without_forward_says_so() -> None:
    class Empty(nn.Module):
        pass

    with pytest.raises(TypeError, match="Empty has no forward: define"):
        Empty()(1)


@pytest.mark.parametrize(("x", "text"), [
    (np.zeros((2, 4)), r"the input is float64, the weights are float32: convert the input with "
                       r"x.astype\('float32'\) \(or the network with model.astype\('float64'\)\)"),
    (np.zeros((2, 4), "uint8"), r"the input is uint8, .* pictures also to small numbers"),
    ([[1.0, 2.0]], r"the input is a list: pass a Tensor or an array"),
])
@pytest.mark.parametrize("layer", [nn.Linear(4, 2), nn.Conv2d(4, 2, 1), nn.BatchNorm1d(4),
                                   nn.LayerNorm(4), nn.GroupNorm(2, 4)])
def test_inputs_of_another_dtype_are_refused(layer: nn.Module, x: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        layer(x)


# Observers

def test_observer_is_told_paths_arguments_outputs_and_times() -> None:
    calls: list[nn.Call] = []

    class Slow(nn.Module):
        def forward(self, x: Any, seconds: float) -> Any:
            time.sleep(seconds)
            return x + 1.0

    class Net(nn.Module):
        def __init__(self) -> None:
            self.slow, self.relu = Slow(), nn.ReLU()

        def forward(self, x: Any) -> Any:
            return self.relu(self.slow(x, seconds=0.02))

    model = Net()
    x = tn.ones((2, 3))
    with nn.observe(calls.append):
        y = model(x)
    assert [call.path for call in calls] == ["slow", "relu", ""]  # as they end
    assert [c.path for c in sorted(calls, key=lambda c: c.order)] == ["", "slow", "relu"]
    assert calls[0].module is model.slow and calls[0].args == (x,)
    assert calls[0].kwargs == {"seconds": 0.02}
    assert calls[1].args[0] is calls[0].output and calls[2].output is y
    assert calls[2].seconds >= calls[0].seconds + calls[1].seconds
    assert calls[0].seconds >= 0.02 and calls[1].seconds > 0.0
    model(x)
    assert len(calls) == 3, "told after the end of the block"


def test_observers_nest_and_end_with_their_block_also_on_errors() -> None:
    outer: list[nn.Call] = []
    inner: list[nn.Call] = []
    layer = nn.ReLU()
    with nn.observe(outer.append):
        with pytest.raises(KeyError), nn.observe(inner.append):
            layer(tn.ones(1))
            raise KeyError("stop")
        layer(tn.ones(1))
    layer(tn.ones(1))
    assert (len(outer), len(inner)) == (2, 1) and _calls.observers == ()


def test_a_failing_module_is_not_reported_and_leaves_no_trace() -> None:
    calls: list[nn.Call] = []
    model = nn.Sequential(nn.ReLU(), nn.Linear(2, 2))
    with nn.observe(calls.append), pytest.raises(ValueError):
        model(tn.ones((1, 3)))
    assert [call.path for call in calls] == ["0"] and _calls.stack == []


def test_threads_have_their_own_stack_and_observers() -> None:
    seen: list[str] = []
    meeting = threading.Barrier(2, timeout=20)

    class Wait(nn.Module):
        def forward(self, x: Any) -> Any:
            meeting.wait()  # both threads are inside their networks now
            return x

    def run() -> None:
        nn.Sequential(nn.Sequential(Wait()))(1)

    thread = threading.Thread(target=run)
    with nn.observe(lambda call: seen.append(call.path)):
        thread.start()
        nn.Sequential(Wait())(1)
    thread.join()
    assert seen == ["0", ""], "paths of this thread's network only"


def test_a_call_costs_little() -> None:
    class Same(nn.Module):
        def forward(self, x: Any) -> Any:
            return x

    layer, n = Same(), 2000

    def once(function: Any) -> float:
        start = time.perf_counter()
        for _ in range(n):
            function(1)
        return (time.perf_counter() - start) / n

    extra = min(once(layer) - once(layer.forward) for _ in range(20))
    assert extra < 5e-6, f"{extra * 1e6:.2f} microseconds"
