"""The engine: tensors, and the walk that differentiates them.

A `Tensor` is an array and, if gradients are wanted, a node of the graph (`graph.py`).
`grad` and `backward` walk the nodes from the newest to the oldest and add up what arrives at
each. The walk carries raw arrays (full speed, nothing recorded) or, with
``create_graph=True``, tensors: then the gradient is itself differentiable, to any
order. Where nodes come from is `operation.py`.

Read next: `operation.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from . import graph
from .backend import Array, DType, asarray, out_of_memory, seed_of, to_numpy, xp
from .foreign import Count
from .graph import Leaf, Node, Operation, clock, mode, newest_first, recording
from .kernels.elementwise import add as add_arrays
from .kernels.pending import Pending

Axis = int | tuple[int, ...] | None

_new = object.__new__
_ndarray = xp.ndarray


class Tensor:
    """An array that can be differentiated.

    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    Tensor([2., 4., 6.])
    """

    __slots__ = ("__weakref__", "data", "node")
    __array_ufunc__ = None  # ndarray * Tensor must call Tensor.__rmul__
    data: Array
    node: Node | None

    def __init__(self, data: Any, requires_grad: bool = False, dtype: DType = None) -> None:
        if isinstance(data, list | tuple) and any(isinstance(d, Tensor) for d in data):
            raise TypeError("Tensor() of a list of tensors would forget their "
                            "gradients: use tn.stack(...)")
        self.data = asarray(raw(data), dtype)
        self.node = None
        if requires_grad:
            self.requires_grad = True

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return self.data.shape  # type: ignore[no-any-return]

    @property
    def dtype(self) -> DType:
        """The element type."""
        return self.data.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.data.ndim  # type: ignore[no-any-return]

    @property
    def size(self) -> int:
        """The number of elements."""
        return Count(self.data.size)

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this tensor are recorded."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if not self.is_leaf:
            raise RuntimeError("requires_grad can be set on leaf tensors only; this "
                               "one was computed by an operation: use .detach() to cut "
                               "it off")
        if wanted and self.data.dtype.kind != "f":
            raise TypeError("only float tensors can require gradients, got "
                            f"{self.data.dtype}: convert it first, for example "
                            "x.astype('float32')")
        if wanted != self.requires_grad:
            self.node = Leaf(self.data) if wanted else None

    @property
    def is_leaf(self) -> bool:
        """True if the user made this tensor, False if an operation computed it."""
        return self.node is None or isinstance(self.node, Leaf)

    @property
    def grad(self) -> Tensor | None:
        """The gradient `backward` has summed up here; None before, and for inner tensors."""
        return getattr(self.node, "grad", None)

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if not isinstance(self.node, Leaf):
            if value is None and self.node is None:
                return  # a frozen parameter has none in any case
            raise RuntimeError("only a leaf tensor with requires_grad=True has a .grad "
                               "to set")
        if value is not None and value.shape != self.shape:
            raise ValueError(f".grad must have the tensor's shape {self.shape}, got "
                             f"{value.shape}")
        self.node.grad = value

    def backward(self, grad_output: Any = None, retain_graph: bool = False) -> None:
        """Add d self / d leaf to ``leaf.grad`` for every leaf this tensor was computed from.

        The graph is freed on the way (`retain_graph` keeps it), so a second call is an
        error and not a silent second count. Use `grad` for gradients of other tensors,
        or of gradients.
        """
        if self.node is None:
            raise RuntimeError("backward() of a tensor that needs no gradient: no "
                               "tensor with requires_grad=True went into it, or it was "
                               "made under no_grad()")
        if grad_output is None and self.size != 1:
            raise RuntimeError(f"backward() needs a scalar, got shape {self.shape}: "
                               "reduce it with .sum() or .mean(), or pass grad_output "
                               "of that shape")
        g = seed_of(self) if grad_output is None else _seed(self, grad_output).data
        taken = {id(g), id(g.base)}  # .grad shares no memory with anything
        free = not retain_graph
        for leaf, gx in _walk(self.node, g, None, create_graph=False, free=free).items():
            if leaf.grad is not None:
                gx = leaf.grad.data + gx
            if type(gx) is not _ndarray:  # NumPy's arithmetic without axes gives scalars
                gx = xp.asarray(gx)
            root = gx if gx.base is None else gx.base
            if id(root) in taken or (root is not gx and 0 in gx.strides):
                gx = root = gx.copy()
            taken.add(id(root))
            leaf.grad = wrap(gx, None)

    def detach(self) -> Tensor:
        """The same data (shared, not copied) without its history."""
        return wrap(self.data, None)

    def copy_(self, value: Any) -> Tensor:
        """Give this leaf new data. Graphs made of the old data keep it, or say that it is gone.

        A tensor with gradients is overwritten in place, and differentiating an older
        graph of it is refused. Another tensor gets new memory: what shares the old (a
        graph, `detach`) keeps it.
        """
        if not self.is_leaf:
            raise RuntimeError("copy_ writes into leaf tensors only; this one was "
                               "computed by an operation, and its graph may need the "
                               "old data")
        value = raw(value)
        if not isinstance(value, float | int):
            value = asarray(value)
            if value.shape != self.shape:
                raise ValueError(f"copy_ needs a value of shape {self.shape}, got "
                                 f"{value.shape}")
        if self.node is None:
            self.data = xp.empty_like(self.data)
        self.data[...] = value
        self.mark_changed()
        return self

    def mark_changed(self) -> None:
        """Say that ``data`` was written in place, so that `backward` can refuse stale graphs.

        Tensors that require gradients are watched; constants and plain arrays are not.
        """
        if isinstance(self.node, Leaf):
            self.node.mark_changed()

    def numpy(self) -> np.ndarray[Any, Any]:
        """The data as a NumPy array: shared on NumPy, a copy on the host on CuPy."""
        return to_numpy(self.data)

    def item(self) -> Any:
        """The only element as a Python number (on a GPU this waits for the device)."""
        return self.data.item()

    def tolist(self) -> Any:
        """The data as nested Python lists."""
        return self.data.tolist()

    def __array__(self, dtype: DType = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __dlpack__(self, **options: Any) -> Any:
        return self.data.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.data.__dlpack_device__()

    def __repr__(self) -> str:
        name = type(self).__name__
        parts = [np.array2string(self.numpy(), separator=", ", prefix=f"{name}(")]
        if self.size > 1000:
            parts.append(f"shape={self.shape}")
        if self.dtype.name not in ("float32", "int64", "bool"):
            parts.append(f"dtype={self.dtype}")
        if self.requires_grad:
            parts.append("requires_grad=True")
        return f"{name}({', '.join(parts)})"

    __hash__ = object.__hash__  # by identity, although == compares elements

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a tensor without axes has no len()")
        return int(self.shape[0])

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(f"the truth of a tensor of shape {self.shape} is "
                             "ambiguous: use (...).all() or (...).any()")
        return bool(self.data)

    def __float__(self) -> float:
        return float(self.data.item())

    def __int__(self) -> int:
        return int(self.data.item())

    def __format__(self, spec: str) -> str:
        if self.ndim:
            return object.__format__(self, spec)
        return format(self.item(), spec)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError("tensors are not changed by x[i] = v, which would spoil "
                        "recorded gradients: build a new one with tn.where(...), or "
                        "write x.data[i] = v before the tensor is used")

    if TYPE_CHECKING:  # given by ops/methods.py; a test compares the signatures

        T: Tensor

        def requires_grad_(self, wanted: bool = True) -> Tensor: ...
        def exp(self) -> Tensor: ...
        def log(self) -> Tensor: ...
        def log1p(self) -> Tensor: ...
        def expm1(self) -> Tensor: ...
        def sqrt(self) -> Tensor: ...
        def square(self) -> Tensor: ...
        def sin(self) -> Tensor: ...
        def cos(self) -> Tensor: ...
        def tanh(self) -> Tensor: ...
        def sigmoid(self) -> Tensor: ...
        def erf(self) -> Tensor: ...
        def abs(self) -> Tensor: ...
        def sign(self) -> Tensor: ...
        def clip(self, low: Any = None, high: Any = None) -> Tensor: ...
        def astype(self, dtype: Any) -> Tensor: ...
        def maximum(self, b: Any) -> Tensor: ...
        def minimum(self, b: Any) -> Tensor: ...
        def matmul(self, b: Any) -> Tensor: ...
        def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def var(self, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Tensor: ...
        def std(self, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Tensor: ...
        def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def prod(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def all(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def any(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def logsumexp(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def norm(self, ord: float = 2, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def cumsum(self, axis: int) -> Tensor: ...
        def argmax(self, axis: int | None = None) -> Tensor: ...
        def argmin(self, axis: int | None = None) -> Tensor: ...
        def argsort(self, axis: int = -1) -> Tensor: ...
        def sort(self, axis: int = -1) -> Tensor: ...
        def median(self, axis: int = -1) -> Tensor: ...
        def reshape(self, *lengths: Any) -> Tensor: ...
        def view(self, *lengths: Any) -> Tensor: ...
        def transpose(self, *axes: Any) -> Tensor: ...
        def permute(self, *axes: Any) -> Tensor: ...
        def broadcast_to(self, shape: tuple[int, ...]) -> Tensor: ...
        def sum_to(self, shape: tuple[int, ...]) -> Tensor: ...
        def swapaxes(self, a: int, b: int) -> Tensor: ...
        def moveaxis(self, source: int | tuple[int, ...],
                     destination: int | tuple[int, ...]) -> Tensor: ...
        def expand_dims(self, axis: int | tuple[int, ...]) -> Tensor: ...
        def squeeze(self, axis: Axis = None) -> Tensor: ...
        def flatten(self, start_axis: int = 0) -> Tensor: ...
        def flip(self, axis: int | tuple[int, ...]) -> Tensor: ...
        def split(self, sizes: int | Sequence[int], axis: int = 0) -> list[Tensor]: ...
        def __iter__(self) -> Iterator[Tensor]: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def _binary(self, other: Any) -> Tensor: ...

        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _binary
        __truediv__ = __rtruediv__ = __pow__ = __rpow__ = __matmul__ = __rmatmul__ = _binary
        __lt__ = __le__ = __gt__ = __ge__ = __and__ = __or__ = _binary
        __iadd__ = __isub__ = __imul__ = __itruediv__ = __ipow__ = __imatmul__ = _binary
        def __eq__(self, other: Any) -> Tensor: ...  # type: ignore[override]
        def __ne__(self, other: Any) -> Tensor: ...  # type: ignore[override]


def raw(x: Any) -> Any:
    """The array of a tensor; anything else as it is."""
    if isinstance(x, Tensor):
        return x.data
    return x


def wrap(data: Array, node: Node | None) -> Tensor:
    """A tensor without checks."""
    tensor = Tensor.__new__(Tensor)
    tensor.data = data
    tensor.node = node
    return tensor


def record(y: Array, inputs: Sequence[Node | None], vjps: Any, saved: Any, operation: Operation,
           args: Sequence[Any]) -> Tensor:
    """The result of an operation of `args`, with the node that remembers how it was made."""
    node = _new(Node)  # and not Node(...): this is the price of every small operation
    node.order = next(clock)
    node.shape = y.shape
    node.dtype = y.dtype
    node.inputs = inputs
    node.vjps = vjps
    node.saved = saved
    node.operation = operation
    tensor = _new(Tensor)
    tensor.data = y
    tensor.node = node
    if graph.watcher is not None:
        graph.watcher.made(node, y, args)
    return tensor


@overload
def grad(output: Tensor, inputs: Tensor, grad_output: Any = ...,
         create_graph: bool = ..., allow_unused: bool = ...) -> Tensor: ...
@overload
def grad(output: Tensor, inputs: Sequence[Tensor], grad_output: Any = ...,
         create_graph: bool = ..., allow_unused: bool = ...) -> list[Tensor]: ...
def grad(output: Tensor, inputs: Any, grad_output: Any = None, create_graph: bool = False,
         allow_unused: bool = False) -> Any:
    r"""The gradients of ``sum(output * grad_output)`` with respect to `inputs`.

    `inputs` is a tensor (one gradient comes back) or a sequence of tensors (a list
    comes back); they may be leaves or computed. `grad_output` defaults to ones. An
    input that `output` does not depend on is an error, or with `allow_unused` gets
    zeros; it gets them in any case if `output` is a constant such as the slope of a
    straight line. With `create_graph` the results can be
    differentiated again. Nothing is stored in ``.grad`` and no graph is freed.

    >>> x = Tensor(3.0, requires_grad=True)
    >>> dy = grad(x * x * x, x, create_graph=True)
    >>> dy, grad(dy, x)
    (Tensor(27., requires_grad=True), Tensor(18.))
    """
    if not isinstance(output, Tensor):
        raise TypeError(f"grad() differentiates a Tensor, got {type(output).__name__}")
    wrt = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    for place, x in enumerate(wrt):
        if not isinstance(x, Tensor) or x.node is None:
            raise RuntimeError(f"input {place} of grad() needs no gradient: make it "
                               "with requires_grad=True before it is used")
        source = getattr(x, "source", None)
        if source is not None:  # see `late.py`
            source.exact = True
    found: dict[Node | None, Any] = {}
    if output.node is not None:
        g = _seed(output, grad_output)
        with recording(create_graph):
            targets = {x.node for x in wrt}
            found = _walk(output.node, g if create_graph else g.data, targets, create_graph, False)
        if not (allow_unused or targets <= found.keys()):
            place = next(i for i, x in enumerate(wrt) if x.node not in found)
            raise RuntimeError(f"the output of grad() does not depend on input {place}: with "
                               "allow_unused=True its gradient is zeros")
    elif not mode.recording:
        raise RuntimeError("grad() under no_grad() of an output that was not recorded: "
                           "compute it outside, or inside tn.enable_grad()")
    results = []
    for x in wrt:
        gx = found.get(x.node)
        if gx is None:  # the output does not depend on it
            gx = xp.zeros_like(x.data)
        if not isinstance(gx, Tensor):
            gx = wrap(xp.asarray(gx), None)
        results.append(gx)
    if isinstance(inputs, Tensor):
        return results[0]
    return results


def _seed(output: Tensor, grad_output: Any) -> Tensor:
    """The gradient that the walk starts with."""
    if grad_output is None:
        return wrap(xp.ones(output.shape, output.dtype), None)
    g = grad_output
    if not isinstance(g, Tensor):
        g = Tensor(g, dtype=output.dtype)
    if g.shape != output.shape:
        raise ValueError(f"grad_output has shape {g.shape}, the output {output.shape}: "
                         "they must be equal")
    if g.dtype == output.dtype:
        return g
    return g.astype(output.dtype)


def _walk(output: Node, g: Any, targets: Set[Node | None] | None, create_graph: bool,
          free: bool) -> dict[Any, Any]:
    """Pull `g` back from `output`; the gradients of `targets` (None: of all leaves)."""
    grads: dict[Any, Any] = {output: g}
    asked = {}  # the gradients of operations among the targets
    if output.order == 0:  # a leaf
        return grads
    nodes, path = newest_first(output, targets)
    for node in nodes:
        g = grads.pop(node, None)
        if g is None:  # nothing arrived
            continue
        if targets is not None and node in targets:
            asked[node] = g
        if isinstance(g, Pending) and not node.operation.by_blocks:
            g = g.array()
        inputs = node.inputs
        vjps = node.vjps
        saved = node.saved
        if create_graph or vjps is None:
            vjps, saved = graph.pullbacks_of(node, g, path, create_graph)
        if free:
            node.inputs = node.vjps = node.saved = None
        for i, vjp, values in zip(inputs, vjps, saved):  # noqa: B905  (strict takes time)
            if i not in path:
                continue
            gi = _pull(node, i, vjp, g, values)
            if gi is None:
                continue
            if i in grads:
                gi = grads[i] + gi if create_graph else add_arrays(grads[i], gi)
            grads[i] = gi
    return grads | asked


def _pull(node: Node, i: Node, vjp: Any, g: Any, values: Any) -> Any:
    """vjp(g, *values), the gradient of the input `i` of `node`, in its shape and dtype; or None."""
    try:
        if graph.watcher is None:
            gi = vjp(g, *values)
        else:
            gi = graph.watcher.pull(node, vjp, g, *values)
    except MemoryError as error:
        raise out_of_memory(f"the derivative {graph.place_of(vjp)}", (g,), error) from None
    if gi is None:
        return None
    if gi.shape != i.shape:
        gi = graph.unbroadcast(gi, i.shape, vjp)
    if gi.dtype is not i.dtype:
        gi = gi.astype(i.dtype)
    return gi
