"""How operations are made: `primitive` for a line of calculus, `fused` for array code.

A primitive is a function of raw arrays and one vjp for each argument that can be differentiated.
A vjp *names* what it needs, and only that is kept until the backward pass:

    g           the gradient that arrives         y           the operation's output
    <arg>       the value of an argument          <arg>_shape its shape alone
    <option>    an option, such as axis

    @primitive(lambda g, y: g * y)                            # keeps the output
    def exp(x): return xp.exp(x)

    @primitive(lambda g, b: g * b, lambda g, a: g * a)        # keeps both operands
    def multiply(a, b): return a * b

The first len(vjps) parameters are differentiable (a vjp of None: never), the rest are options.
Broadcasting and dtypes are the engine's business: a vjp may return the gradient of the stretched
argument. A vjp must be written with operators and primitives, so that it runs on raw arrays as
well as on tensors; a primitive that is given no tensor returns a raw array.

A fused operation is array code that returns its value and a closure (the lecture's "cache"), and a
*reference*, the same function composed of primitives. The closure serves the plain backward; the
reference serves gradients of gradients, and the tests, which hold the two equal:

    @fused(reference=lambda x: x * sigmoid(x))
    def swish(x, *, needs):                          # needs: which inputs will want a gradient
        s = 1 / (1 + xp.exp(-x))
        return x * s, lambda g, wanted: (g * s * (1 + x * (1 - s)),)

    >>> from tinynet import Tensor, primitive, gradcheck, xp
    >>> @primitive(lambda g, x: 3 * g * x * x)
    ... def cube(x): return x ** 3
    >>> cube(2.0), cube(Tensor(2.0))                 # no tensor in, no tensor out
    (8.0, Tensor(8.))

Read next: `ops/arithmetic.py`.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, ParamSpec

import numpy as np

from .backend import Array, asarray, xp
from .tensor import Leaf, Node, Tensor, _mode, _wrap, grad

P = ParamSpec("P")
Vjp = Callable[..., Any] | None
_CONSTANTS = frozenset((float, int, bool, type(None), xp.ndarray))

primitives: dict[str, Callable[..., Any]] = {}  # the library's operations by name:
fusions: dict[str, Callable[..., Any]] = {}  # tests check that each has a row in their tables


def constant(a: Any, name: str) -> Any:
    """What an operation computes with for an argument that is no tensor.

    Python scalars stay Python scalars, so that a float32 net stays float32.
    """
    if type(a) in _CONSTANTS:
        return a
    if isinstance(a, np.generic):
        return a.item()
    if isinstance(a, np.ndarray) and xp is not np:
        raise TypeError(f"{name} mixes a CuPy tensor with a NumPy array of shape {a.shape}: "
                        "upload it with tn.tensor(array)")
    if isinstance(a, list | tuple | np.ndarray):
        return asarray(a)
    raise TypeError(f"{name} cannot compute with {type(a).__name__} {a!r}: use a Tensor, an array "
                    "or a number")


def _unpack(args: Sequence[Any], name: str) -> tuple[list[Any], list[Node | None], bool]:
    """The arrays of `args`, their nodes, and whether any of them is a tensor."""
    raw: list[Any] = []
    nodes: list[Node | None] = []
    tensors = False
    for a in args:
        if isinstance(a, Tensor):
            raw.append(a.data)
            nodes.append(a.node)
            tensors = True
        else:
            raw.append(a if type(a) in _CONSTANTS else constant(a, name))
            nodes.append(None)
    return raw, nodes, tensors


def _check_unchanged(kept: Sequence[Any], node: Node) -> None:
    """Refuse to differentiate through a leaf that was written to after it was used."""
    for a in kept:
        if isinstance(a, Tensor) and type(a.node) is Leaf and a.node.changed > node.order:
            raise RuntimeError(
                f"a tensor of shape {a.shape} was changed in place (by an optimizer step or copy_) "
                "after the forward pass that used it: compute the result anew")


def primitive(*vjps: Vjp) -> Callable[[Callable[P, Array]], Callable[P, Any]]:
    """Make a differentiable operation of a function of raw arrays; see the module's text."""

    def decorate(forward: Callable[P, Array]) -> Callable[P, Any]:
        parameters = list(inspect.signature(forward).parameters.values())
        variadic = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
        arity = len(vjps)
        arguments = [p.name for p in parameters[:arity]]
        defaults = {p.name: p.default for p in parameters[arity:]}
        # All that a vjp can name, in the order in which pull() lines the values up.
        names = ["g", "y", *arguments, *(f"{a}_shape" for a in arguments), *defaults, "i"]
        used = [list(inspect.signature(vjp).parameters) if vjp else [] for vjp in vjps]
        for name in itertools.chain(*used):
            if name not in names:
                raise TypeError(f"a vjp of {forward.__name__} names {name!r}: it can name "
                                + ", ".join(names))
        pick = [_picker([names.index(n) for n in u]) for u in used]
        has_shapes = any(f"{a}_shape" in u for a in arguments for u in used)
        no_shapes = (None,) * arity

        @functools.cache
        def plan(traced: tuple[bool, ...]) -> tuple[bool, tuple[bool, ...]]:
            """Whether the output, and each argument, is named by a vjp that can be asked for."""
            if variadic:
                return "y" in used[0], tuple(arguments[0] in used[0] for _ in traced)
            asked = [u for u, t in zip(used, traced, strict=True) if t]
            return (any("y" in u for u in asked),
                    tuple(any(a in u for u in asked) for a in arguments))

        @functools.wraps(forward)
        def call(*args: Any, **options: Any) -> Any:
            if len(args) != arity and not variadic:
                if arity < len(args) <= len(parameters) and not options:  # options by place
                    options = dict(zip(defaults, args[arity:], strict=False))
                    args = args[:arity]
                else:
                    args, options = _sort_out(forward, arguments, args, options)
            raw, nodes, tensors = _unpack(args, forward.__name__)
            if not tensors:
                return forward(*args, **options)
            y = forward(*raw, **options)
            if type(y) is not xp.ndarray:
                y = xp.asarray(y)  # NumPy's full reductions return scalars
            if not _mode.recording or not any(nodes):
                return _wrap(y, None)
            keep_y, keep = plan(tuple([n is not None for n in nodes]))
            kept = [a if k else None for a, k in zip(args, keep, strict=True)]
            saved = (y if keep_y else None, kept,
                     [getattr(r, "shape", ()) for r in raw] if has_shapes else no_shapes,
                     {**defaults, **options}.values() if defaults else ())
            return _wrap(y, Node(y, nodes, pull, saved))

        def pull(g: Any, node: Node, wanted: list[bool], graph: bool) -> list[Any]:
            y, kept, shapes, options = node.saved
            _check_unchanged(kept, node)
            if graph:
                y = y if y is None else _wrap(y, node)
            else:
                kept = [a.data if isinstance(a, Tensor) else a for a in kept]
            if variadic:
                return [vjps[0](*pick[0]((g, y, kept, shapes, *options, i))) if w else None
                        for i, w in enumerate(wanted)]
            values = (g, y, *kept, *shapes, *options)
            return [vjp(*p(values)) if w and vjp else None
                    for vjp, p, w in zip(vjps, pick, wanted, strict=True)]

        if forward.__module__.startswith("tinynet."):
            primitives[forward.__name__] = call
        return call

    return decorate


def _picker(places: list[int]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """A function that takes the items at `places` out of a tuple (fast, in C)."""
    if len(places) == 1:
        return lambda values: (values[places[0]],)
    return itemgetter(*places) if places else lambda values: ()


def _sort_out(forward: Callable[..., Any], arguments: list[str], args: tuple[Any, ...],
              options: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments and options of a call that gave options by place or arguments by name."""
    try:
        bound = inspect.signature(forward).bind(*args, **options)
    except TypeError as error:
        raise TypeError(f"{forward.__name__}{inspect.signature(forward)}: {error}") from None
    bound.apply_defaults()
    return tuple(bound.arguments.pop(name) for name in arguments), bound.arguments


def fused(*, reference: Callable[..., Any], has_aux: bool = False
          ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make an operation of array code with its own backward; see the module's text.

    The function's positional parameters are differentiable (they may be None), its keyword
    parameters are options, and `needs` is passed by the engine: needs[i] says whether input i
    will want a gradient, and so what must be kept. It returns ``(y, backward)``, where
    ``backward(g, wanted)`` returns a gradient or None for each input; with `has_aux` it returns
    ``(y, backward, aux)`` and the call ``(Tensor, aux)``: aux is for statistics, never
    differentiated. `reference` takes the same arguments and options.
    """

    def decorate(forward: Callable[..., Any]) -> Callable[..., Any]:
        name = forward.__name__

        @functools.wraps(forward)
        def call(*args: Any, **options: Any) -> Any:
            raw, nodes, tensors = _unpack(args, name)
            recorded = _mode.recording and any(nodes)
            needs = tuple([recorded and n is not None for n in nodes])
            y, backward, *aux = forward(*raw, needs=needs, **options)
            if tensors:
                node = Node(y, nodes, pull, (backward, args, options)) if recorded else None
                y = _wrap(y, node)
            return (y, *aux) if has_aux else y

        def pull(g: Any, node: Node, wanted: list[bool], graph: bool) -> Sequence[Any]:
            backward, args, options = node.saved
            _check_unchanged(args, node)
            if not graph:
                gradients: Sequence[Any] = backward(g, wanted)
                return gradients
            # Aliases: an argument that appears twice, or further down, must count once here.
            aliases = [alias(a) if w else a for a, w in zip(args, wanted, strict=True)]
            y = reference(*aliases, **options)
            found = iter(grad(y[0] if has_aux else y, [a for a, w in zip(aliases, wanted,
                              strict=True) if w], g, create_graph=True))
            return [next(found) if w else None for w in wanted]

        call.reference = reference  # type: ignore[attr-defined]
        if forward.__module__.startswith("tinynet."):
            fusions[name] = call
        return call

    return decorate


@primitive(lambda g: g)
def alias(x: Array) -> Array:
    """`x` itself, as a tensor of its own in the graph."""
    return x
