"""What is known of a call: the rules of the operation, and its operands made uniform.

A vjp names what it needs besides g, such as ``lambda g, y, axis: ...``. `Rules` looks
the names up once, when the operation is made: `keep` then picks these values after each
call, by place, and `pullbacks` gives them back as tensors where the gradient itself is
to be differentiated.

An operation computes with raw arrays. `as_operand` says what an argument that is no
tensor becomes (Python numbers stay numbers, so that a float32 net stays float32),
`operand` and `operands` what numbers and lists alone are: arrays as `tn.tensor` makes
them. `unpack` takes the arrays and the nodes out of all arguments, and `as_data` makes an
array of whatever NumPy returned.

Read next: `late.py`.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterable, Sequence, Set
from operator import itemgetter
from typing import Any, ParamSpec, TypeVar

import numpy as np

from .backend import Array, asarray, get_default_dtype, xp
from .checks import answer
from .foreign import explain
from .graph import Node, Pullbacks, mode
from .late import Late
from .tensor import Tensor, wrap
from .text import shown

P = ParamSpec("P")
R = TypeVar("R")
Vjp = Callable[..., Any] | None


class Rules:
    """What is known of a primitive before it is called: its parameters, and what its vjps name."""

    by_blocks = False

    def __init__(self, forward: Callable[..., Array], vjps: Sequence[Vjp]) -> None:
        self.name = forward.__name__
        self.signature = inspect.signature(forward)
        parameters = self.signature.parameters
        if not 1 <= len(vjps) <= len(parameters):
            raise TypeError(f"{self.name}{self.signature} has {len(vjps)} vjps: one is "
                            "needed for each parameter that can be differentiated, the "
                            "first ones")
        self.written = vjps
        self.arguments = list(parameters)[: len(vjps)]
        self.options = list(parameters)[len(vjps) :]
        self.omissible = {p.name: p.default for p in parameters.values()
                          if p.default is not p.empty}
        self.defaults = {o: self.omissible[o] for o in self.options if o in self.omissible}
        self.variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters.values())
        # What a vjp can name besides g, in the order in which `keep` lines it up.
        names = ["y", *self.arguments, *(f"{a}_shape" for a in self.arguments), *self.options]
        if self.variadic:
            names.append("i")
        places = [self._places(vjp, names) for vjp in vjps]
        self.picks = [_picker(p) for p in places]
        # Plain: no options, and no vjp names more than y and the arguments.
        most = max(itertools.chain(*places), default=0)
        self.plain = not self.options and not self.variadic and most <= len(vjps)
        # One vjp for each input; of a variadic operation the same for all.
        self.vjps: Iterable[Any] = vjps
        self.places: Iterable[Any] = places
        if self.variadic:
            self.vjps = itertools.repeat(vjps[0])
            self.places = itertools.repeat(places[0])

    def _places(self, vjp: Vjp, names: list[str]) -> list[int]:
        """The places in `names` of what `vjp` names."""
        used = list(inspect.signature(vjp).parameters) if vjp else ["g"]
        if used[:1] != ["g"] or not set(used[1:]) <= set(names):
            raise TypeError(f"a vjp of {self.name} has the parameters {used}: the "
                            f"first must be g, the others can be {', '.join(names)}")
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
                known = list(self.signature.parameters)
                fix = explain(options, known)
                raise TypeError(f"{self.name}({', '.join(known)}): {error}"
                                f"{fix and ': '}{fix}") from None
        for option in self.options:
            if isinstance(given[option], Tensor):
                if given[option].requires_grad:
                    raise TypeError(f"{self.name} cannot differentiate its option "
                                    f"{option}: give a number or an array, .detach() the "
                                    "tensor, or give primitive one derivative more")
                given[option] = given[option].data
        return (args if self.variadic else [given[a] for a in self.arguments],
                {option: given[option] for option in self.options})

    def keep(self, y: Array, raw: Any, nodes: Any, options: dict[str, Any]) -> list[Any]:
        """For each input that will want a gradient, the values that its vjp names."""
        if self.plain:
            values = (y, *raw)
        else:
            shapes = [getattr(r, "shape", ()) for r in raw]
            given = (options or self.defaults).values()
            if self.variadic:
                return [self.picks[0]((y, raw, shapes, *given, i)) for i in range(len(raw))]
            values = (y, *raw, *shapes, *given)
        return [pick(values) if node else None
                for node, pick in zip(nodes, self.picks, strict=True)]

    def pullbacks(self, g: Any, node: Node, path: Set[Node | None], graph: bool) -> Pullbacks:
        """What was kept, as the tensors it belonged to: there the graph of the vjps goes on."""
        owners = [node, node.inputs] if self.variadic else [node, *node.inputs]
        saved = [values and [_owned(value, owners, place)
                             for value, place in zip(values, places, strict=True)]
                 for values, places in zip(node.saved, self.places, strict=False)]
        return node.vjps, saved


def _owned(value: Any, owners: Sequence[Any], place: int) -> Any:
    """A value that was kept, as a tensor of the node that stands at its place among `owners`.

    Shapes and options stand behind the owners and stay as they are; of a variadic
    operation the values of all inputs are one list.
    """
    owner = owners[place] if place < len(owners) else None
    if owner is None:
        return value
    if isinstance(owner, Node):
        return wrap(value, owner)
    return [v if node is None else wrap(v, node) for v, node in zip(value, owner, strict=True)]


def _picker(places: list[int]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """A function that takes a tuple of the items at `places` out of a sequence (fast, in C)."""
    if len(places) > 1:
        return itemgetter(*places)
    return itemgetter(slice(places[0], places[0] + 1)) if places else lambda values: ()


# Operands

NDARRAY = xp.ndarray
FLOAT64 = np.dtype(np.float64)
CONSTANTS = frozenset((float, int, bool, type(None), NDARRAY))  # taken as they are


def unpack(args: Sequence[Any], name: str, by_blocks: bool = False
           ) -> tuple[list[Any], list[Node | None], bool, bool]:
    """The arguments of a call of the operation `name`, taken apart:

    - raw, the arrays and numbers; one that reads `by_blocks` is given what is pending,
    - their nodes,
    - whether any of them is a tensor,
    - whether any of them wants a gradient, and this thread is recording.
    """
    raw: list[Any] = []
    nodes: list[Node | None] = []
    tensors = False
    traced = False
    for a in args:
        if isinstance(a, Tensor):
            tensors = True
            raw.append(a.unread() if by_blocks and isinstance(a, Late) else a.data)
            nodes.append(a.node)
            if a.node is not None:
                traced = True
        else:
            raw.append(a if type(a) in CONSTANTS else as_operand(a, name))
            nodes.append(None)
    return raw, nodes, tensors, traced and mode.recording


def as_operand(a: Any, name: str) -> Any:
    """What the operation `name` computes with for an argument that is no tensor.

    Python scalars stay Python scalars, so that a float32 net stays float32.
    """
    if type(a) in CONSTANTS:
        return a
    if isinstance(a, np.generic):
        return a.item()
    if isinstance(a, np.ndarray) and xp is not np and a.dtype != bool:  # masks, as indices, may
        raise TypeError(f"{name} mixes a CuPy tensor with a NumPy array of shape "
                        f"{a.shape}: upload it with tn.tensor(array)")
    if isinstance(a, list | tuple | np.ndarray):
        return asarray(a)
    if hasattr(a, "__array__"):
        raise TypeError(f"{name} got a {type(a).__module__}.{type(a).__name__} of another "
                        "library: convert it with tn.tensor(x)")
    raise _no_operand(a, name)


def _no_operand(a: Any, name: str) -> TypeError:
    return TypeError(f"{name} cannot compute with {type(a).__name__} {shown(a)}: use a "
                     "Tensor, an array or a number")


def as_array(a: Any, name: str) -> Any:
    """An argument of a call of `name` without tensors: lists and subclasses become arrays."""
    if type(a) is NDARRAY or isinstance(a, np.generic | complex):
        return a
    if xp is not np and isinstance(a, np.ndarray):
        raise TypeError(f"a NumPy array of shape {a.shape} is given to an operation on "
                        "the GPU: upload it with tn.tensor(array)")
    return as_operand(a, name)


def as_arrays(args: Sequence[Any], name: str) -> list[Any]:
    """The arguments of a call of `name` without tensors; where none is an array, numbers
    become arrays."""
    found = [as_array(a, name) for a in args]
    if found and found[0] is None:
        raise _no_operand(None, name)
    if not any(hasattr(a, "dtype") for a in found):
        found = [a if a is None else asarray(a) for a in found]
    return found


def operand(a: Any, name: str) -> Any:
    """The argument `a` of `name`, with a shape and a dtype: tensors and arrays as they are,
    numbers and lists as arrays.

    >>> operand([1.0, 2.0], "sort").dtype, operand(3, "sum").shape
    (dtype('float32'), ())
    """
    if isinstance(a, Tensor) or type(a) is NDARRAY:
        return a
    return asarray(as_arrays([a], name)[0])


def operand_list(what: str, name: str, values: Any) -> list[Any]:
    """The argument `name` of `what`, several tensors in a list, which is read once."""
    many = isinstance(values, Iterable) and not isinstance(values, str)
    if not many or not getattr(values, "ndim", 1):
        raise TypeError(f"{what}: {name} must be a list of tensors, got {shown(values)}")
    return [operand(a, what) for a in values]


def operands(*names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function take numbers and lists for the arguments `names`; None stays None,
    but for the first. Arguments that have other names here are answered with those."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        count = len(names)
        if tuple(inspect.signature(function).parameters)[:count] != names:
            raise TypeError(f"operands{names} are not the first parameters of "
                            f"{function.__name__}")
        name = function.__name__

        @functools.wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            for a in args[:count]:
                if not isinstance(a, Tensor) and type(a) is not NDARRAY:
                    args = (*_made_operands(args[:count], name), *args[count:])
                    break
            if options:
                for given in names:
                    if options.get(given) is not None:
                        options[given] = operand(options[given], name)
            try:
                return function(*args, **options)
            except TypeError:
                answer(function, args, options)
                raise

        return call

    return decorate


def _made_operands(args: Sequence[Any], name: str) -> list[Any]:
    """Each argument of `name` as `operand`; None stays None, but for the first."""
    return [a if a is None and place else operand(a, name) for place, a in enumerate(args)]


def as_data(y: Any, raw: Sequence[Any]) -> Array:
    """A result as an array, and in float64 only if an operand is.

    NumPy returns scalars from full reductions, and float64 from ``images / 255`` or
    from a float32 array times an integer one, which would make a float64 net of a
    float32 net.
    """
    if y.dtype == FLOAT64:
        floats = {r.dtype for r in raw if hasattr(r, "dtype") and r.dtype.kind == "f"}
        if FLOAT64 not in floats:
            y = y.astype(max(floats, default=get_default_dtype()))
    return y if type(y) is NDARRAY else xp.asarray(y)
