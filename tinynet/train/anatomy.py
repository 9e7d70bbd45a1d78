"""The anatomy of a training step: what it enters, what it keeps, how long it takes.

    batch of the loader -> each layer forward -> loss -> each layer backward -> update

The observer of `../nn/module.py` says which layer is being called, the watcher of
`../graph.py` which operation belongs to it and when its derivative is computed, and the
interpreter's profiler which functions are entered meanwhile. Times are taken in steps
of their own, without the profiler.

Read next: `kernels/__init__.py`.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from .. import text
from ..backend import Array, is_array, synchronize
from ..graph import Node, Watcher, watching
from ..nn.module import Call, Module, call_in_progress, observe
from ..nn.noise import noise_state, set_noise_state
from ..optim.optimizer import Optimizer
from ..tensor import Tensor

LIBRARY = Path(__file__).resolve().parent.parent
BATCH = "batch"
LOSS = "loss"
WALK = "walk"  # of the graph, from the newest node to the oldest
UPDATE = "update"
Stage = int | str  # the order of a layer's call, or one of the words above


class StageRow(NamedTuple):
    """One stage of the step; a layer's has both its passes."""

    name: str
    layer: str  # its class; empty where it is no layer
    functions: frozenset[str]  # "nn/layers.py: forward" and so on, of the library
    calls: int
    kept: int  # bytes that wait for the backward pass, parameters not counted
    forward: float  # seconds
    backward: float

    @property
    def files(self) -> frozenset[str]:
        """The library's files that are entered."""
        return frozenset(function.split(": ")[0] for function in self.functions)


class Anatomy(NamedTuple):
    """What `trace` found; print it."""

    rows: list[StageRow]

    @property
    def total(self) -> StageRow:
        """All stages together."""
        _, _, functions, *numbers = zip(*self.rows, strict=True)
        return StageRow("all", "", frozenset().union(*functions), *map(sum, numbers))

    def __str__(self) -> str:
        head = ("", "layer", "files", "functions", "calls", "kept KB",
                "forward ms", "backward ms")
        rows: list[tuple[object, ...]] = [head]
        for row in [*self.rows, self.total]:
            backward = f"{row.backward * 1e3:.2f}" if row.backward else ""
            rows.append((row.name, row.layer, len(row.files), len(row.functions),
                         row.calls, f"{row.kept / 1e3:,.0f}",
                         f"{row.forward * 1e3:.2f}", backward))
        return text.table(rows, align="llr", rules=(1, -1))

    def listing(self) -> str:
        """The files, with the functions that are entered in each."""
        found = defaultdict(list)
        for function in sorted(self.total.functions):
            file, name = function.split(": ")
            found[file].append(name)
        return "\n".join(f"{file}: {', '.join(names)}" for file, names in found.items())


def trace(model: Module, optimizer: Optimizer, loss: Callable[[Any, Any], Tensor],
          loader: Iterable[Any], repeat: int = 5) -> Anatomy:
    """Follow training steps of `model` through the library; the weights do move.

    loader:   gives (images, labels); its first batch is taken anew for each step
    repeat:   steps that are timed, after one to warm up and one to see what is entered

    All steps draw the same random numbers: with stochastic depth they call the same
    layers.
    """
    step = _Step(model, optimizer, loss, loader)
    noise = noise_state(model)
    step.run()
    set_noise_state(model, noise)
    step.run(step.profiled())
    seen = step.account
    timed = []
    for _ in range(repeat):
        set_noise_state(model, noise)
        step.run()
        timed.append(step.account)
    rows = []
    for place, stage in enumerate(seen.stages()):
        name, layer = seen.names.get(stage, (str(stage), ""))
        forward = statistics.median(_at(run.forward, run, place) for run in timed)
        backward = statistics.median(_at(run.backward, run, place) for run in timed)
        functions = seen.functions[stage]
        rows.append(StageRow(name, layer, frozenset(functions), sum(functions.values()),
                             seen.kept[stage], forward, backward))
    return Anatomy(rows)


def _at(seconds: dict[Stage, float], run: _Account, place: int) -> float:
    """What the stage at `place` took: each step numbers its calls on."""
    return seconds[run.stages()[place]]


_NOTHING = nullcontext()


class _Account(Watcher):
    """What is noted of one step, by stage."""

    def __init__(self) -> None:
        self.names: dict[Stage, tuple[str, str]] = {}
        self.forward: dict[Stage, float] = defaultdict(float)
        self.backward: dict[Stage, float] = defaultdict(float)
        self.kept: dict[Stage, int] = defaultdict(int)
        self.functions: dict[Stage, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self.stage: Stage = BATCH
        self._unclaimed: dict[int, float] = {}  # seconds of calls inside one that goes on
        self._owners: dict[Node, Stage] = {}
        self._counted: set[int] = set()  # ids of arrays kept already, or parameters
        self._alive: list[Array] = []  # so that these ids stay theirs

    def stages(self) -> list[Stage]:
        """In the order of the step: the batch, the layers as called, and the rest."""
        return [BATCH, *sorted(stage for stage in self.names if isinstance(stage, int)),
                LOSS, WALK, UPDATE]

    def now(self) -> Stage:
        """The layer being called, or else the stage of the step."""
        order = call_in_progress()
        return self.stage if order is None else order

    def called(self, call: Call) -> None:
        """A layer's call has ended; what the layers inside took is theirs."""
        inner = [order for order in self._unclaimed if order > call.order]
        inside = sum(self._unclaimed.pop(order) for order in inner)
        self._unclaimed[call.order] = call.seconds
        self.names[call.order] = (call.path or "net", type(call.module).__name__)
        self.forward[call.order] = max(0.0, call.seconds - inside)

    def count_none_of(self, arrays: Iterable[Array]) -> None:
        """Leave these out of what is kept: parameters live anyway."""
        for array in arrays:
            self._remember(array)

    def made(self, node: Node, y: Array, args: Sequence[Any]) -> None:
        stage = self.now()
        self._owners[node] = stage
        for array in _arrays(node.saved):
            root = array if array.base is None else array.base
            if id(root) not in self._counted:
                self._remember(root)
                self.kept[stage] += array.nbytes

    def _remember(self, array: Array) -> None:
        self._counted.add(id(array))
        self._alive.append(array)

    def pull(self, node: Node, compute: Callable[..., Any], *values: Any) -> Any:
        owner = self._owners.get(node, WALK)
        outer = self.stage
        self.stage = owner
        synchronize()
        start = time.perf_counter()
        try:
            return compute(*values)
        finally:
            synchronize()
            self.backward[owner] += time.perf_counter() - start
            self.stage = outer


def _arrays(value: Any) -> Iterator[Array]:
    """The arrays in what a node keeps: also those that a closure holds."""
    if is_array(value):
        yield value
    elif isinstance(value, dict):
        yield from _arrays(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _arrays(item)
    else:
        for cell in getattr(value, "__closure__", None) or ():
            yield from _arrays(cell.cell_contents)


class _Step:
    """One training step, as the trainer does it, with an account of its own."""

    def __init__(self, model: Module, optimizer: Optimizer, loss: Callable[[Any, Any], Tensor],
                 loader: Iterable[Any]) -> None:
        self.model = model
        self.optimizer = optimizer
        self.loss = loss
        self.loader = loader
        self.parameters = [p.data for p in model.parameters()]
        self.account = _Account()

    def run(self, profiled: AbstractContextManager[None] = _NOTHING) -> None:
        account = _Account()
        self.account = account
        account.count_none_of(self.parameters)
        with watching(account), observe(account.called), profiled:
            with self._timed(BATCH):
                images, labels = next(iter(self.loader))
            output = self.model(images)
            with self._timed(LOSS):
                loss = self.loss(output, labels)
            with self._timed(WALK):
                loss.backward()
            pulled = sum(account.backward.values())
            account.forward[WALK] = max(0.0, account.forward[WALK] - pulled)
            with self._timed(UPDATE):
                self.optimizer.step()
                self.optimizer.zero_grad()

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        self.account.stage = stage
        synchronize()
        start = time.perf_counter()
        yield
        synchronize()
        self.account.forward[stage] += time.perf_counter() - start

    @contextmanager
    def profiled(self) -> Iterator[None]:
        """Inside, each function of the library that is entered is noted by stage."""

        def entered(frame: FrameType, event: str, arg: object) -> None:
            if event != "call":
                return
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(LIBRARY) and path != Path(__file__).resolve():
                file = path.relative_to(LIBRARY).as_posix()
                function = f"{file}: {frame.f_code.co_name}"
                self.account.functions[self.account.now()][function] += 1

        before = sys.getprofile()
        sys.setprofile(entered)
        try:
            yield
        finally:
            sys.setprofile(before)
