"""How operations are made: `primitive` for a line of calculus, `fused` for array code.

A primitive is a function of raw arrays and one vjp for each argument that can be differentiated.
A vjp takes `g`, the gradient that arrives, and *names* what else it needs; only that is kept until
the backward pass:

    y           the operation's output            i           (variadic) which argument it is for
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
import os
from collections.abc import Callable, Iterable, Sequence, Set
from operator import itemgetter
from typing import Any, ParamSpec

import numpy as np

from .backend import Array, asarray, get_default_dtype, out_of_memory, xp
from .tensor import Node, Tensor, grad, mode, record, wrap

P = ParamSpec("P")
Vjp = Callable[..., Any] | None
_ndarray, _float64 = xp.ndarray, np.dtype(np.float64)
_CONSTANTS = frozenset((float, int, bool, type(None), _ndarray))

primitives: dict[str, Callable[..., Any]] = {}  # the library's operations by name:
fusions: dict[str, Callable[..., Any]] = {}  # tests check that each has a row in their tables


def primitive(*vjps: Vjp) -> Callable[[Callable[P, Array]], Callable[P, Any]]:
    """Make a differentiable operation of a function of raw arrays; see the module's text."""

    def decorate(forward: Callable[P, Array]) -> Callable[P, Any]:
        name, arity, rules = forward.__name__, len(vjps), Rules(forward, vjps)
        compute: Callable[..., Array] = forward
        prepare = rules.prepare

        def call(*args: Any, **options: Any) -> Any:
            if options or len(args) != arity:
                args, options = rules.sort_out(args, options)
            raw, nodes, tensors, recorded = unpack(args, name)
            if not tensors:
                return compute(*map(_as_array, args), **options)
            if recorded and None in vjps:
                nodes = [node if vjp else None for node, vjp in zip(nodes, vjps, strict=True)]
                recorded = any(nodes)
            try:
                y = compute(*raw, **options)
            except MemoryError as error:
                raise out_of_memory(name, raw, error) from None
            if type(y) is not _ndarray or y.dtype is _float64:
                y = as_data(y, raw)
            if not recorded:
                return wrap(y, None)
            return record(y, nodes, rules.vjps, rules.keep(y, raw, nodes, options), prepare)

        # The same for one argument, and for two without options, written out: this halves the
        # cost of small operations.
        def call_1(*args: Any, **options: Any) -> Any:
            if args and not isinstance(args[0], Tensor):
                return compute(_as_array(args[0]), *args[1:], **options)
            if options or len(args) != 1:
                args, options = rules.sort_out(args, options)
                if not isinstance(args[0], Tensor):  # given by name
                    return compute(*args, **options)
            data, node = args[0].data, args[0].node
            try:  # costs nothing
                y = compute(data, **options)
            except MemoryError as error:
                raise out_of_memory(name, (data,), error) from None
            if type(y) is not _ndarray or y.dtype is _float64:
                y = as_data(y, (data,))
            if node is None or not mode.recording:
                return wrap(y, None)
            values = (y, data) if plain else (y, data, data.shape, *(options or defaults).values())
            return record(y, (node,), vjps, (pick_1(values),), prepare)

        def call_2(*args: Any, **options: Any) -> Any:
            if options or len(args) != 2:
                args, options = rules.sort_out(args, options)
            a, b = args
            if isinstance(a, Tensor):
                data_a, node_a = a.data, a.node
            elif isinstance(b, Tensor):
                data_a, node_a = a if type(a) in _CONSTANTS else as_operand(a, name), None
            else:
                return compute(a, b) if type(a) is type(b) is _ndarray else \
                    compute(_as_array(a), _as_array(b))
            if isinstance(b, Tensor):
                data_b, node_b = b.data, b.node
            else:
                data_b, node_b = b if type(b) in _CONSTANTS else as_operand(b, name), None
            try:
                y = compute(data_a, data_b)
            except MemoryError as error:
                raise out_of_memory(name, (data_a, data_b), error) from None
            if type(y) is not _ndarray or y.dtype is _float64:
                y = as_data(y, (data_a, data_b))
            if (node_a is None and node_b is None) or not mode.recording:
                return wrap(y, None)
            values = (y, data_a, data_b)
            saved = (None if node_a is None else pick_1(values),
                     None if node_b is None else pick_2(values))
            return record(y, (node_a, node_b), vjps, saved, prepare)

        plain, defaults = rules.plain, rules.defaults
        pick_1, pick_2 = rules.picks[0], rules.picks[-1]
        quick: Any = call
        if None not in vjps and not rules.variadic:
            quick = call_1 if arity == 1 else call_2 if arity == 2 and plain else call
        operation: Callable[P, Any] = functools.wraps(forward)(quick)
        _enlist(primitives, forward, operation)
        return operation

    return decorate


_NAMES = {"dim": "axis", "keepdim": "keepdims"}  # what users of PyTorch type


class Rules:
    """What is known of a primitive before it is called: its parameters, and what its vjps name."""

    def __init__(self, forward: Callable[..., Array], vjps: Sequence[Vjp]) -> None:
        self.name, self.signature = forward.__name__, inspect.signature(forward)
        parameters = self.signature.parameters
        if not 1 <= len(vjps) <= len(parameters):
            raise TypeError(f"{self.name}{self.signature} has {len(vjps)} vjps: one is needed for "
                            "each parameter that can be differentiated, the first ones")
        self.arguments, self.options = list(parameters)[: len(vjps)], list(parameters)[len(vjps) :]
        self.omissible = {p.name: p.default for p in parameters.values()
                          if p.default is not p.empty}
        self.defaults = {o: self.omissible[o] for o in self.options if o in self.omissible}
        self.variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters.values())
        # What a vjp can name besides g, in the order in which `keep` lines it up.
        names = ["y", *self.arguments, *(f"{a}_shape" for a in self.arguments), *self.options]
        names += ["i"] if self.variadic else []
        places = [self._places(vjp, names) for vjp in vjps]
        self.picks = [_picker(p) for p in places]
        self.plain = not self.options and max(itertools.chain(*places), default=0) <= len(vjps)
        # One vjp for each input; of a variadic operation the same for all.
        self.vjps: Iterable[Any] = itertools.repeat(vjps[0]) if self.variadic else vjps
        self.places: Iterable[Any] = itertools.repeat(places[0]) if self.variadic else places

    def _places(self, vjp: Vjp, names: list[str]) -> list[int]:
        """The places in `names` of what `vjp` names."""
        used = list(inspect.signature(vjp).parameters) if vjp else ["g"]
        if used[:1] != ["g"] or not set(used[1:]) <= set(names):
            raise TypeError(f"a vjp of {self.name} has the parameters {used}: the first must be g, "
                            f"the others can be {', '.join(names)}")
        return [names.index(name) for name in used[1:]]

    def sort_out(self, args: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Arguments and options of a call that gives any option, or an argument by name."""
        names = self.options if self.variadic else [*self.arguments, *self.options]
        placed = {} if self.variadic else dict(zip(names, args, strict=False))
        given = {**self.omissible, **placed, **options}
        if given.keys() != set(names) or len(placed) + len(options) != len(placed | options) \
                or (len(args) > len(placed) and not self.variadic):
            try:
                self.signature.bind(*args, **options)
            except TypeError as error:
                hint = "".join(f": call it {_NAMES[o]}" for o in options if o in _NAMES)
                raise TypeError(f"{self.name}({', '.join(self.signature.parameters)}): {error}"
                                f"{hint}") from None
        for option in self.options:
            if isinstance(given[option], Tensor):
                if given[option].requires_grad:
                    raise TypeError(f"{self.name} cannot differentiate its option {option}: give "
                                    "a number or an array, or .detach() the tensor")
                given[option] = given[option].data
        return (args if self.variadic else [given[a] for a in self.arguments],
                {option: given[option] for option in self.options})

    def keep(self, y: Array, raw: Any, nodes: Any, options: dict[str, Any]) -> list[Any]:
        """For each input that will want a gradient, the values that its vjp names."""
        shapes = [getattr(r, "shape", ()) for r in raw]
        given = (options or self.defaults).values()
        if self.variadic:
            return [self.picks[0]((y, raw, shapes, *given, i)) for i in range(len(raw))]
        values = (y, *raw, *shapes, *given)
        return [pick(values) if node else None
                for node, pick in zip(nodes, self.picks, strict=True)]

    def prepare(self, g: Any, node: Node, path: Set[Node | None], graph: bool) -> tuple[Any, Any]:
        """What was kept, as the tensors it belonged to: there the graph of the vjps goes on."""
        owners = [node, node.inputs] if self.variadic else [node, *node.inputs]

        def owned(value: Any, place: int) -> Any:
            owner = owners[place] if place < len(owners) else None
            if isinstance(owner, Node):
                return wrap(value, owner)
            return value if owner is None else [v if n is None else wrap(v, n)
                                                for v, n in zip(value, owner, strict=True)]

        return node.vjps, [values and [owned(value, place)
                                       for value, place in zip(values, places, strict=True)]
                           for values, places in zip(node.saved, self.places, strict=False)]


def _picker(places: list[int]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """A function that takes a tuple of the items at `places` out of a sequence (fast, in C)."""
    if len(places) > 1:
        return itemgetter(*places)
    return itemgetter(slice(places[0], places[0] + 1)) if places else lambda values: ()


def _enlist(registry: dict[str, Callable[..., Any]], forward: Callable[..., Any],
            operation: Callable[..., Any]) -> None:
    """List an operation if it is defined in a file of the library: users' own are not."""
    code = getattr(forward, "__code__", None)
    if code is not None and code.co_filename.startswith(os.path.dirname(__file__) + os.sep):
        registry[forward.__name__] = operation


def unpack(args: Sequence[Any], name: str) -> tuple[list[Any], list[Node | None], bool, bool]:
    """The arrays of `args` and their nodes; is any a tensor, and is the operation recorded?"""
    raw: list[Any] = []
    nodes: list[Node | None] = []
    tensors = traced = False
    for a in args:
        if isinstance(a, Tensor):
            tensors = True
            raw.append(a.data)
            nodes.append(a.node)
            if a.node is not None:
                traced = True
        else:
            raw.append(a if type(a) in _CONSTANTS else as_operand(a, name))
            nodes.append(None)
    return raw, nodes, tensors, traced and mode.recording


def as_operand(a: Any, name: str) -> Any:
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


def _as_array(a: Any) -> Any:
    """An argument of a call without tensors: lists become arrays, all else stays as it is."""
    if xp is not np and isinstance(a, np.ndarray):
        raise TypeError(f"a NumPy array of shape {a.shape} is given to an operation on the GPU: "
                        "upload it with tn.tensor(array)")
    return asarray(a) if isinstance(a, list | tuple) else a


def as_data(y: Any, raw: Sequence[Any]) -> Array:
    """A result as an array, and in float64 only if an operand is.

    NumPy returns scalars from full reductions, and float64 from ``images / 255`` or from a
    float32 array times an integer one, which would make a float64 net of a float32 net.
    """
    if y.dtype == _float64:
        floats = {r.dtype for r in raw if hasattr(r, "dtype") and r.dtype.kind == "f"}
        if _float64 not in floats:
            y = y.astype(max(floats, default=get_default_dtype()))
    return y if type(y) is _ndarray else xp.asarray(y)


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
        name = forward.__name__.strip("_")  # as errors call it

        @functools.wraps(forward)
        def call(*args: Any, **options: Any) -> Any:
            raw, nodes, tensors, recorded = unpack(args, name)
            needs = tuple([recorded and n is not None for n in nodes])
            try:
                y, backward, *aux = forward(*raw, needs=needs, **options)
            except MemoryError as error:
                raise out_of_memory(name, raw, error) from None
            if tensors:
                y = as_data(y, raw)
                y = record(y, nodes, None, (backward, raw, options), prepare) if recorded else \
                    wrap(y, None)
            return (y, *aux) if has_aux else y

        def prepare(g: Any, node: Node, path: Set[Node | None], graph: bool) -> tuple[Any, Any]:
            """All gradients at once; the vjps only hand them out."""
            backward, raw, options = node.saved
            wanted = [i in path for i in node.inputs]
            if not any(wanted):
                return (), ()
            if graph:
                gradients = through_reference(g, node, wanted, raw, options)
            else:
                try:
                    gradients = backward(g, wanted)
                except MemoryError as error:
                    raise out_of_memory(f"the backward of {name}", (g,), error) from None
            if len(gradients) != len(wanted):
                raise ValueError(f"the backward of {name} returned {len(gradients)} gradients for "
                                 f"{len(wanted)} inputs: return None for those not wanted")
            return itertools.repeat(_hand_out), [(gradient,) for gradient in gradients]

        def through_reference(g: Any, node: Node, wanted: Sequence[bool], raw: Sequence[Any],
                              options: dict[str, Any]) -> list[Any]:
            """The gradients as functions of the inputs: a gradient of the reference."""
            args = [r if i is None else wrap(r, i) for r, i in zip(raw, node.inputs, strict=True)]
            # Aliases: an argument that appears twice, or further down, must count once here.
            args = [alias(a) if w else a for a, w in zip(args, wanted, strict=True)]
            y = reference(*args, **options)
            sought = [a for a, w in zip(args, wanted, strict=True) if w]
            found = iter(grad(y[0] if has_aux else y, sought, g, create_graph=True))
            return [next(found) if w else None for w in wanted]

        prepare.name = name  # type: ignore[attr-defined]
        call.reference = reference  # type: ignore[attr-defined]
        _enlist(fusions, forward, call)
        return call

    return decorate


def name_of(node: Node) -> str:
    """The operation that made a node (of a leaf there is none)."""
    name: str = getattr(node.prepare, "__self__", node.prepare).name
    return name.strip("_")


def _hand_out(g: Any, gradient: Any) -> Any:
    return gradient


@primitive(lambda g: g)
def alias(x: Array) -> Array:
    """`x` itself, as a tensor of its own in the graph."""
    return x
