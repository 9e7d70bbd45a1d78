"""How operations are made: `primitive` for a line of calculus, `fused` for array code.

A primitive is a function of raw arrays and one vjp for each argument that can be
differentiated. A vjp takes `g`, the gradient that arrives, and *names* what else it
needs; only that is kept until the backward pass:

    y           the operation's output            i           (variadic) which argument it is for
    <arg>       the value of an argument          <arg>_shape its shape alone
    <option>    an option, such as axis

    @primitive(lambda g, y: g * y)                            # keeps the output
    def exp(x): return xp.exp(x)

    @primitive(lambda g, b: g * b, lambda g, a: g * a)        # keeps both operands
    def multiply(a, b): return a * b

The first len(vjps) parameters are differentiable (a vjp of None: never), the rest are
options. Broadcasting and dtypes are the engine's business: a vjp may return the
gradient of the stretched argument. A vjp must be written with operators and primitives,
so that it runs on raw arrays as well as on tensors; a primitive that is given no tensor
returns a raw array.

A fused operation is array code that returns its value and a closure (the lecture's
"cache"), and a *reference*, the same function composed of primitives. The closure
serves the plain backward; the reference serves gradients of gradients, and the tests,
which hold the two equal:

    @fused(reference=lambda x: x * sigmoid(x))
    def swish(x, *, needs):                          # needs: which inputs will want a gradient
        s = 1 / (1 + xp.exp(-x))
        return x * s, lambda g, wanted: (g * s * (1 + x * (1 - s)),)

    >>> from tinynet import Tensor, primitive, gradcheck, xp
    >>> @primitive(lambda g, x: 3 * g * x * x)
    ... def cube(x): return x ** 3
    >>> float(cube(2.0)), cube(Tensor(2.0))          # no tensor in, no tensor out
    (8.0, Tensor(8.))

Read next: `rules.py`.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import os
from collections.abc import Callable, Sequence, Set
from typing import Any, Literal, ParamSpec, overload

from .backend import Array, on_gpu, out_of_memory
from .fast_calls import fast_call
from .graph import Node, Pullbacks, is_grad_enabled, is_watched
from .kernels import kernel
from .kernels.pending import Pending, array_of
from .late import Late, late
from .rules import FLOAT64, NDARRAY, Rules, Vjp, as_arrays, as_data, unpack
from .tensor import Tensor, grad, record, wrap

P = ParamSpec("P")

primitives: dict[str, Callable[..., Any]] = {}  # the library's operations by name:
fusions: dict[str, Callable[..., Any]] = {}  # tests check that each has a row in their tables


def primitive(*vjps: Vjp) -> Callable[[Callable[P, Array]], Callable[P, Tensor]]:
    """Make a differentiable operation of a function of raw arrays; see the module's text."""

    def decorate(forward: Callable[P, Array]) -> Callable[P, Tensor]:
        if not callable(forward):
            raise TypeError("primitive takes a derivative for each argument, and then the "
                            "function: @tn.primitive(lambda g, x: g * 3 * x**2)")
        rules = Rules(forward, vjps)
        quick = fast_call(rules, forward) or general_call(rules, forward)
        operation: Callable[P, Tensor] = functools.wraps(forward)(quick)
        operation.rules = rules  # type: ignore[attr-defined]
        _enlist(primitives, forward, operation)
        return operation

    return decorate


def general_call(rules: Rules, forward: Callable[..., Array]) -> Callable[..., Any]:
    """What happens when a primitive is called: the one to read, for any number of arguments."""
    name = rules.name
    arity = len(rules.written)

    def call(*args: Any, **options: Any) -> Any:
        if options or len(args) != arity:
            args, options = rules.sort_out(args, options)
        raw, nodes, tensors, recorded = unpack(args, name)
        if not tensors:
            raw = as_arrays(args, name)
        elif recorded and None in rules.written:
            nodes = [node if vjp else None for node, vjp in zip(nodes, rules.written, strict=True)]
            recorded = any(nodes)
        try:  # which is free where nothing fails
            y = forward(*raw, **options)
        except MemoryError as error:
            raise out_of_memory(name, raw, error) from None
        if not tensors:
            return y
        if type(y) is not NDARRAY or y.dtype is FLOAT64:
            y = as_data(y, raw)
        if not recorded:
            return wrap(y, None)
        saved = rules.keep(y, raw, nodes, options)
        return record(y, nodes, rules.vjps, saved, rules, args)

    return call


def _enlist(registry: dict[str, Callable[..., Any]], forward: Callable[..., Any],
            operation: Callable[..., Any]) -> None:
    """List an operation if it is defined in a file of the library: users' own are not."""
    code = getattr(forward, "__code__", None)
    if code is not None and code.co_filename.startswith(os.path.dirname(__file__) + os.sep):
        registry[forward.__name__] = operation


@overload
def fused(*, reference: Callable[..., Any], has_aux: Literal[False] = False,
          by_blocks: bool = False
          ) -> Callable[[Callable[..., Any]], Callable[..., Tensor]]: ...
@overload
def fused(*, reference: Callable[..., Any], has_aux: bool, by_blocks: bool = False
          ) -> Callable[[Callable[..., Any]], Callable[..., Any]]: ...
def fused(*, reference: Callable[..., Any], has_aux: bool = False, by_blocks: bool = False
          ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make an operation of array code with its own backward; see the module's text.

    The function's positional parameters are differentiable (they may be None), its
    keyword parameters are options, and `needs` is passed by the engine: needs[i] says
    whether input i will want a gradient, and so what must be kept. It returns ``(y,
    backward)``, where ``backward(g, wanted)`` returns a gradient or None for each
    input; with `has_aux` it returns ``(y, backward, aux)`` and the call ``(Tensor,
    aux)``: aux is for statistics, never differentiated. `reference` takes the same
    arguments and options, and returns y, with `has_aux` ``(y, aux)``; inside `plain()`
    it is what is called. One that reads `by_blocks` is given arrays or what is
    `kernels.pending`, as inputs and as g, and may return it as y and as gradients.
    """

    def decorate(forward: Callable[..., Any]) -> Callable[..., Any]:
        fusion = Fusion(forward, reference, has_aux, by_blocks)

        @functools.wraps(forward)
        def call(*args: Any, **options: Any) -> Any:
            if kernel.reading:
                return reference(*args, **options)
            raw, nodes, tensors, recorded = unpack(args, fusion.name, by_blocks)
            if not tensors:
                raw = as_arrays(raw, fusion.name)
            needs = tuple([recorded and n is not None for n in nodes])
            try:
                y, backward, *aux = forward(*raw, needs=needs, **options)
            except MemoryError as error:
                raise out_of_memory(fusion.name, raw, error) from None
            if isinstance(y, Pending) and recorded and not is_watched():
                saved = (backward, raw, options)
                y = late(y, record(y, nodes, None, saved, fusion, args).node)
            elif tensors:
                y = as_data(array_of(y), raw)
                if recorded:
                    y = record(y, nodes, None, (backward, raw, options), fusion, args)
                else:
                    y = wrap(y, None)
            return (y, *aux) if has_aux else y

        call.reference = reference  # type: ignore[attr-defined]
        _enlist(fusions, forward, call)
        return call

    return decorate


class Fusion:
    """What is known of a fused operation before it is called: its name, and its reference."""

    def __init__(self, forward: Callable[..., Any], reference: Callable[..., Any],
                 has_aux: bool, by_blocks: bool) -> None:
        self.name = forward.__name__.strip("_")  # as errors call it
        self.signature = inspect.signature(forward)
        self.reference = reference
        self.has_aux = has_aux
        self.by_blocks = by_blocks

    def pullbacks(self, g: Any, node: Node, path: Set[Node | None], graph: bool) -> Pullbacks:
        """All gradients at once; the vjps only hand them out."""
        backward, raw, options = node.saved
        wanted = [i in path for i in node.inputs]
        if not any(wanted):
            return (), ()
        if graph:
            gradients = self._through_reference(g, node, wanted, raw, options)
        else:
            try:
                gradients = backward(g, wanted)
            except MemoryError as error:
                raise out_of_memory(f"the backward of {self.name}", (g,), error) from None
        if len(gradients) != len(wanted):
            raise ValueError(f"the backward of {self.name} returned {len(gradients)} "
                             f"gradients for {len(wanted)} inputs: return None for "
                             "those not wanted")
        if is_watched():
            gradients = [array_of(gradient) for gradient in gradients]
        return itertools.repeat(hand_out), [(gradient,) for gradient in gradients]

    def _through_reference(self, g: Any, node: Node, wanted: Sequence[bool], raw: Sequence[Any],
                           options: dict[str, Any]) -> list[Any]:
        """The gradients as functions of the inputs: a gradient of the reference."""
        raw = [array_of(r) for r in raw]
        args = [r if i is None else wrap(r, i) for r, i in zip(raw, node.inputs, strict=True)]
        # Aliases: an argument that appears twice, or further down, must count once
        # here.
        args = [alias(a) if w else a for a, w in zip(args, wanted, strict=True)]
        y = self.reference(*args, **options)
        if self.has_aux:
            y = y[0]
        sought = [a for a, w in zip(args, wanted, strict=True) if w]
        found = iter(grad(y, sought, g, create_graph=True, allow_unused=True))
        return [next(found) if w else None for w in wanted]


def hand_out(g: Any, gradient: Any) -> Any:
    """The vjp of a fused operation: its gradient was computed by `Fusion.pullbacks`."""
    return gradient


@primitive(lambda g: g)
def alias(x: Array) -> Array:
    """`x` itself, as a tensor of its own in the graph."""
    return x


def may_wait(x: Any, *operations: str) -> bool:
    """Whether what is computed from x may be left to its readers.

    x must be a large, fresh result of one of the `operations`, to which nobody else can
    write. On a GPU nothing waits: there memory is quick.
    """
    if not isinstance(x, Tensor) or isinstance(x, Late) or x.node is None or x.is_leaf:
        return False
    if not is_grad_enabled() or is_watched() or x.node.operation.name not in operations:
        return False
    return (not on_gpu and kernel.forced != "plain"
            and x.data.nbytes >= kernel.SERIAL_BYTES and x.dtype.char in "fd")
