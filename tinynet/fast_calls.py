"""`general_call`, written out for one and for two arguments: half the cost of a small operation.

A small operation costs what is done around its arithmetic: loops over two arguments, a
dict of no options. These functions do what the general call does, line by line, without
either. They are taken where no vjp is None and no option can be given to two arguments;
a test runs every operation through both and holds them equal. To understand an
operation, read `operation.general_call` instead.

Read next: `ops/__init__.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .backend import Array, out_of_memory
from .graph import mode
from .rules import CONSTANTS, FLOAT64, NDARRAY, Rules, as_arrays, as_data, as_operand, operand
from .tensor import Tensor, record, wrap


def fast_call(rules: Rules, compute: Callable[..., Array]) -> Callable[..., Any] | None:
    """The call written out for the primitive with these `rules`, or None if there is none."""
    if None in rules.written or rules.variadic:
        return None
    if len(rules.written) == 1:
        return _call_of_one(rules, compute)
    if len(rules.written) == 2 and rules.plain:
        return _call_of_two(rules, compute)
    return None


def _call_of_one(rules: Rules, compute: Callable[..., Array]) -> Callable[..., Any]:
    """For one argument and any options."""
    name = rules.name
    vjps = rules.vjps
    plain = rules.plain
    defaults = rules.defaults
    (pick,) = rules.picks

    def call(*args: Any, **options: Any) -> Any:
        if args and not isinstance(args[0], Tensor):
            return compute(operand(args[0], name), *args[1:], **options)
        if options or len(args) != 1:
            args, options = rules.sort_out(args, options)
            if not isinstance(args[0], Tensor):  # given by name
                return compute(operand(args[0], name), *args[1:], **options)
        data = args[0].data
        node = args[0].node
        try:  # which is free where nothing fails
            y = compute(data, **options)
        except MemoryError as error:
            raise out_of_memory(name, (data,), error) from None
        if type(y) is not NDARRAY or y.dtype is FLOAT64:
            y = as_data(y, (data,))
        if node is None or not mode.recording:
            return wrap(y, None)
        if plain:
            values = (y, data)
        else:
            values = (y, data, data.shape, *(options or defaults).values())
        return record(y, (node,), vjps, (pick(values),), rules, args)

    return call


def _call_of_two(rules: Rules, compute: Callable[..., Array]) -> Callable[..., Any]:
    """For two arguments and no options, whose vjps name nothing but y and the arguments."""
    name = rules.name
    vjps = rules.vjps
    pick_a, pick_b = rules.picks

    def call(*args: Any, **options: Any) -> Any:
        if options or len(args) != 2:
            args, options = rules.sort_out(args, options)
        a, b = args
        node_a = None
        node_b = None
        if isinstance(a, Tensor):
            data_a = a.data
            node_a = a.node
        elif isinstance(b, Tensor):
            data_a = a if type(a) in CONSTANTS else as_operand(a, name)
        elif type(a) is type(b) is NDARRAY:
            return compute(a, b)
        else:
            return compute(*as_arrays((a, b), name))
        if isinstance(b, Tensor):
            data_b = b.data
            node_b = b.node
        else:
            data_b = b if type(b) in CONSTANTS else as_operand(b, name)
        try:
            y = compute(data_a, data_b)
        except MemoryError as error:
            raise out_of_memory(name, (data_a, data_b), error) from None
        if type(y) is not NDARRAY or y.dtype is FLOAT64:
            y = as_data(y, (data_a, data_b))
        if (node_a is None and node_b is None) or not mode.recording:
            return wrap(y, None)
        values = (y, data_a, data_b)
        saved = (None if node_a is None else pick_a(values),
                 None if node_b is None else pick_b(values))
        return record(y, (node_a, node_b), vjps, saved, rules, args)

    return call
