"""Where the time of a training step goes: forward and backward of every layer, measured.

The observer of `module.py` sees each layer's call; the watcher of `../graph.py` sees
which operations are made in it, and takes the time of their derivatives.

Read next: `models.py`.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from .. import random, text
from ..backend import Array, synchronize
from ..graph import Node, Watcher, watching
from ..tensor import Tensor, grad
from .module import Call, Module, call_in_progress, observe


class ProfileRow(NamedTuple):
    """What one layer needs: seconds (medians), operations and bytes."""

    path: str
    layer: str
    output_shape: tuple[int, ...]
    forward: float
    backward: float
    operations: int  # of the batch's products in both passes; a multiply-add is two
    bytes: int  # its output and its parameters: the least that must move


class Profile(NamedTuple):
    """What `profile` measured; print it."""

    rows: list[ProfileRow]
    forward: float
    backward: float

    def __repr__(self) -> str:
        table = [("", "layer", "output", "forward ms", "backward ms", "GFLOP/s", "MB")]
        for row in self.rows:
            seconds = row.forward + row.backward
            rate = 1e-9 * row.operations / seconds if row.operations and seconds else 0.0
            table.append((row.path, row.layer, "x".join(map(str, row.output_shape)),
                          f"{row.forward * 1e3:.2f}", f"{row.backward * 1e3:.2f}",
                          f"{rate:.0f}" if rate else "", f"{row.bytes / 1e6:.1f}"))
        table.append(("", "total", "", f"{self.forward * 1e3:.2f}", f"{self.backward * 1e3:.2f}",
                      "", ""))
        return text.table(table, align="lllr", rules=(1, -1))


def profile(model: Module, x: Any, repeat: int = 5) -> Profile:
    """Time forward and backward of every layer of `model` for the batch `x`.

    Medians of `repeat` runs in the model's present mode, after one to warm up. A row is
    a module without modules inside (or one that computes besides them); GFLOP/s counts
    the direct products, so a fast algorithm may exceed the machine's peak. The backward
    pass starts from ones. Gradients, random state and modes are left as they were;
    running statistics of BatchNorm do move in training mode.
    """
    if repeat < 1:
        raise ValueError(f"repeat must be at least 1, got {repeat}")
    x = x if isinstance(x, Tensor) else Tensor(x)
    state = random.get_state()
    runs = []
    try:
        for _ in range(repeat + 1):
            random.set_state(state)
            runs.append(_run(model, x))
    finally:
        random.set_state(state)
    runs = runs[1:]
    rows = []
    for place, call in enumerate(runs[0].calls):
        forward = statistics.median(run.forward[place] for run in runs)
        backward = statistics.median(run.backward[place] for run in runs)
        own = call.module.own_parameters()
        # Backward repeats the products for the weights, and again for the inputs, if
        # wanted.
        passes = (1 + any(p.requires_grad for p in own)
                  + any(isinstance(a, Tensor) and a.requires_grad for a in call.args))
        products = 2 * passes * call.module.multiply_adds(call.args, call.output)
        if products or not call.module.children() or backward > 1e-5:
            nbytes = call.output.data.nbytes + sum(p.data.nbytes for p in own)
            rows.append(ProfileRow(call.path, type(call.module).__name__, call.output.shape,
                                   forward, backward, products, nbytes))
    return Profile(rows, sum(row.forward for row in rows), sum(row.backward for row in rows))


class _Run(NamedTuple):
    """One pass: the calls in the order in which they began, and their own seconds."""

    calls: list[Call]
    forward: list[float]
    backward: list[float]


def _run(model: Module, x: Tensor) -> _Run:
    calls: list[Call] = []
    clock = _Clock()
    with watching(clock):
        with observe(calls.append):
            output = model(x)
        if output.requires_grad:
            grad(output, [p for p in model.parameters() if p.requires_grad])
    calls.sort(key=attrgetter("order"))
    forward = []
    for call in calls:
        inside = sum(c.seconds for c in calls if _is_child(c.path, call.path))
        forward.append(max(0.0, call.seconds - inside))
    return _Run(calls, forward, [clock.seconds[call.order] for call in calls])


class _Clock(Watcher):
    """The seconds that the derivatives of each call's operations take, by the call's order."""

    def __init__(self) -> None:
        self.seconds: dict[int | None, float] = defaultdict(float)
        self._owners: dict[Node, int | None] = {}

    def made(self, node: Node, y: Array, args: Sequence[Any]) -> None:
        self._owners[node] = call_in_progress()

    def pull(self, node: Node, compute: Callable[..., Any], *values: Any) -> Any:
        synchronize()
        start = time.perf_counter()
        result = compute(*values)
        synchronize()
        self.seconds[self._owners[node]] += time.perf_counter() - start
        return result


def _is_child(path: str, of: str) -> bool:
    """Whether `path` names a module directly inside `of` (or inside a list that it holds)."""
    return path != of and path.startswith(of + "." if of else "") and path != ""
