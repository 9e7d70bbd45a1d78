"""What is remembered of a computation: nodes, the switch that records them, and who watches.

Every operation whose result wants a gradient leaves a `Node`: when it was made, from
which nodes, and how to pull a gradient back to them. What pulls it back is a *vjp*
(vector times Jacobian): a function of the gradient that arrives, here always called g.
That is the graph; nobody holds it but the tensors made last. A *fused* operation has one
function for all its gradients. Inside `no_grad` nothing is remembered. A `Watcher` is
told of each operation and each derivative: so the first nan is found, and the time of a
layer's backward pass.

Read next: `tensor.py`.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from operator import attrgetter
from typing import Any, Protocol, TypeAlias

from .backend import Array, DType
from .kernels.sums import sum_to
from .locks import thread_lock

Pullbacks: TypeAlias = tuple[Iterable[Any], Iterable[Any]]

_order = attrgetter("order")
clock = itertools.count(1)  # creation order is a topological order; no two threads get a number
_writing = thread_lock()


class _Mode(threading.local):
    recording = True


mode = _Mode()


@contextlib.contextmanager
def recording(on: bool) -> Iterator[None]:
    """Record operations (or not) inside; per thread, restored on errors."""
    before = mode.recording
    mode.recording = on
    try:
        yield
    finally:
        mode.recording = before


class _Switch:
    """A function that makes a context, and says so where its parentheses are forgotten."""

    def __init__(self, function: Callable[[], contextlib._GeneratorContextManager[None]]) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.called = f"tn.{function.__name__}()"

    def __call__(self, *args: Any) -> contextlib._GeneratorContextManager[None]:
        if args:
            raise TypeError(f"write `@{self.called}`, with parentheses")
        return self.function()

    def __enter__(self) -> None:
        raise TypeError(f"write `with {self.called}:`, with parentheses")

    def __exit__(self, *error: object) -> None:
        """Nothing was begun."""


@_Switch
def no_grad() -> contextlib._GeneratorContextManager[None]:
    """Inside, operations keep nothing and their results need no gradient."""
    return recording(False)


@_Switch
def enable_grad() -> contextlib._GeneratorContextManager[None]:
    """Undo `no_grad` inside."""
    return recording(True)


def is_grad_enabled() -> bool:
    """Whether operations of this thread are being recorded."""
    return mode.recording


class Operation(Protocol):
    """What a node knows of the operation that made it; `operation.py` has the two kinds."""

    name: str
    signature: inspect.Signature
    by_blocks: bool  # whether it takes gradients that are pending

    def pullbacks(self, g: Any, node: Node, path: Set[Node | None], graph: bool) -> Pullbacks:
        """The vjps of `node`, and what each is applied to besides g."""


class Node:
    """What is left of an operation: its place in time, its inputs' nodes, how to pull back.

    The gradient that goes to ``inputs[k]`` is ``vjps[k](g, *saved[k])``. Where ``vjps``
    is None (a fused operation computes all gradients at once), and whenever the
    gradients are to be recorded, ``operation.pullbacks(g, node, path, graph)`` gives
    the vjps and what they are applied to. A node does not hold its output (no reference
    cycles), and of the inputs only what the vjps name. `record` makes it; freeing it
    sets inputs to None.
    """

    __slots__ = ("dtype", "inputs", "operation", "order", "saved", "shape", "vjps")
    order: int
    shape: tuple[int, ...]
    dtype: DType
    inputs: Any  # None where no gradient goes
    vjps: Any
    saved: Any
    operation: Operation


class Leaf(Node):
    """The node of a tensor that the user made: nothing came before, and its gradient stays."""

    __slots__ = ("changed", "grad")
    last_write = 0  # when any leaf was last written in place; operations since need no check

    def __init__(self, y: Array) -> None:
        self.order = 0
        self.shape = y.shape
        self.dtype = y.dtype
        self.inputs = self.vjps = self.saved = ()
        self.changed = 0  # when this one was last written in place
        self.grad: Any = None  # a Tensor, once `backward` has been here

    def mark_changed(self) -> None:
        """Its data was written in place, now."""
        with _writing:  # of two threads the later one leaves the last number
            self.changed = next(clock)
            Leaf.last_write = self.changed


def newest_first(output: Node, targets: Set[Node | None] | None
                 ) -> tuple[list[Node], Set[Any]]:
    """The operations to pull through, newest first, and all nodes from a target to `output`.

    Iterative, so depth does not matter; never descends below the oldest target. Without
    targets the path is everything: a node exists only where a gradient is wanted.
    """
    oldest = min(map(_order, targets), default=0) if targets else 0
    path = {output}
    nodes = [output]
    for node in nodes:  # the list grows while it is read
        if node.inputs is None:
            raise RuntimeError("this graph was freed by an earlier backward(): call "
                               "backward(retain_graph=True) there, or compute the "
                               "result anew")
        if node.order < Leaf.last_write:
            _refuse_changed(node)
        for i in node.inputs:
            if i is not None and i not in path and i.order >= oldest:
                path.add(i)
                if i.order:  # leaves have nothing to pull
                    nodes.append(i)
    nodes.sort(key=_order, reverse=True)
    if targets is not None:
        path &= targets
        for node in reversed(nodes):  # oldest first: it is on the path if one of its inputs is
            if not path.isdisjoint(node.inputs):
                path.add(node)
        nodes = [node for node in nodes if node in path]
    return nodes, path


def _refuse_changed(node: Node) -> None:
    """Do not differentiate an operation of a leaf whose data is not what it was.

    Operations may have kept a view of it (the transposed weight), so every use counts.
    """
    for i in node.inputs:
        if isinstance(i, Leaf) and i.changed > node.order:
            raise RuntimeError(
                f"a tensor of shape {i.shape} was changed in place (by an optimizer "
                "step or copy_) after the forward pass that used it: compute the "
                "result anew")


def unbroadcast(g: Any, shape: tuple[int, ...], vjp: Any) -> Any:
    """The gradient of an argument that was stretched: broadcasting is undone for all operations."""
    try:
        if hasattr(g, "sum_to"):  # a tensor
            return g.sum_to(shape)
        return sum_to(g, shape)
    except ValueError as error:
        error.add_note(f"the derivative {place_of(vjp)} returned shape {g.shape} for an "
                       f"argument of shape {shape}")
        raise


class Watcher:
    """Is told of each operation that is recorded and of each derivative; see `watching`.

    Subclasses say what they do with it: find the first nan, take the time, draw a
    graph.
    """

    def made(self, node: Node, y: Array, args: Sequence[Any]) -> None:
        """An operation was recorded: its node, its result and its arguments as they were given."""

    def pull(self, node: Node, compute: Callable[..., Any], *values: Any) -> Any:
        """Compute a derivative of `node`: return compute(*values), or what shall stand in for it.

        `compute` is a vjp, or ``node.operation.pullbacks``, which comes before the
        vjps.
        """
        return compute(*values)


watcher: Watcher | None = None


def is_watched() -> bool:
    """Whether there is a watcher: then all values and gradients are arrays that are there."""
    return watcher is not None


@contextlib.contextmanager
def watching(listener: Watcher) -> Iterator[None]:
    """Inside, `listener` is told of all operations with a gradient, of all threads."""
    global watcher
    before = watcher
    watcher = listener
    try:
        yield
    finally:
        watcher = before


def pullbacks_of(node: Node, g: Any, path: Set[Node | None], graph: bool) -> Pullbacks:
    """The vjps of `node` and what they are applied to, as its operation says."""
    pullbacks = node.operation.pullbacks
    if watcher is None:
        return pullbacks(g, node, path, graph)
    found: Pullbacks = watcher.pull(node, pullbacks, g, node, path, graph)
    return found


def place_of(vjp: Any) -> str:
    """Where a derivative is written, for errors."""
    code = getattr(vjp, "__code__", None)
    return f"at {code.co_filename}:{code.co_firstlineno}" if code else repr(vjp)
