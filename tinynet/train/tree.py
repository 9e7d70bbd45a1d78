"""A tree of arrays, numbers and texts as JSON text beside arrays, and back exactly.

    {"step": 3, "mean": x, "sizes": (2, 4)}
    -> {"step": 3, "mean": {"$array": "/mean"}, "sizes": {"$tuple": [2, 4]}}, {"/mean": x}

What JSON does not have is a dict with one key that begins with "$". Lists and tuples,
whole numbers and floats, NumPy's numbers and their dtypes, None, nan and infinities,
and keys of any of these kinds come back as they were; arrays of the device come back
on the host, and a subclass (a NamedTuple, a defaultdict) as the plain kind.

Read next: `train/state.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backend import is_array
from ..checks import check_not_masked
from ..tensor import Tensor

_ARRAY = "$array"  # {"$array": name} stands for an array
_NUMBER = "$number"  # {"$number": name} for one of NumPy's numbers, an array of no axes
_TENSOR = "$tensor"  # {"$tensor": [name, requires_grad]}
_TUPLE = "$tuple"
_DICT = "$dict"  # a list of [key, value], where keys are no plain texts
_MODEL = "/model/"
_KINDS = "a state holds arrays, numbers, texts, None, and lists, tuples and dicts of them"


def pack(value: Any, arrays: dict[str, Any], path: str = "") -> Any:
    """`value` as JSON can hold it; its arrays go to `arrays`, named by their place.

    The model's arrays have their own names there, so that PyTorch finds them. TypeError
    names the place of what cannot be saved.
    """
    if isinstance(value, Tensor):
        return {_TENSOR: [_put(value.data, arrays, path), bool(value.requires_grad)]}
    if is_array(value) or isinstance(value, np.ndarray):
        check_not_masked(value)
        return {_ARRAY: _put(value, arrays, path)}
    if isinstance(value, Mapping):
        return _packed_dict(value, arrays, path)
    if isinstance(value, list | tuple):
        items = [pack(item, arrays, f"{path}/{i}") for i, item in enumerate(value)]
        if isinstance(value, tuple):
            return {_TUPLE: items}
        return items
    if isinstance(value, np.str_):
        return str(value)
    if isinstance(value, np.generic):
        if value.dtype.kind not in "biuf" or value.dtype.itemsize > 8:
            raise _cannot(path, value)
        return {_NUMBER: _put(np.asarray(value), arrays, path)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise _cannot(path, value)


def _packed_dict(value: Mapping[Any, Any], arrays: dict[str, Any], path: str) -> Any:
    if all(isinstance(key, str) and not key.startswith("$") for key in value):
        return {str(key): pack(item, arrays, f"{path}/{key}")
                for key, item in value.items()}
    return {_DICT: [[pack(key, arrays, f"{path}/key {i}"),
                     pack(item, arrays, f"{path}/{key}")]
                    for i, (key, item) in enumerate(value.items())]}


def _put(array: Any, arrays: dict[str, Any], path: str) -> str:
    """The name under which `array` stands: its path, with dashes if that is taken."""
    name = path
    if path.startswith(_MODEL) and path != _MODEL + "__metadata__":
        name = path.removeprefix(_MODEL)
    while name in arrays or not name:
        name += "/-"
    arrays[name] = array
    return name


def _cannot(path: str, value: Any) -> TypeError:
    return TypeError(f"the state {path or '/'} is a {type(value).__name__}, which cannot "
                     f"be saved: {_KINDS}")


def unpack(value: Any, arrays: Mapping[str, Any]) -> Any:
    """The tree that `pack` was given; KeyError, TypeError, ValueError if it is damaged."""
    if isinstance(value, list):
        return [unpack(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((mark, held),) = value.items()
        if mark in _UNPACK:
            return _UNPACK[mark](held, arrays)
    return {key: unpack(item, arrays) for key, item in value.items()}


def _tensor(held: Any, arrays: Mapping[str, Any]) -> Tensor:
    name, requires_grad = held
    return Tensor(arrays[name], requires_grad=requires_grad)


_UNPACK: dict[str, Any] = {
    _ARRAY: lambda name, arrays: arrays[name],
    _NUMBER: lambda name, arrays: arrays[name][()],
    _TENSOR: _tensor,
    _TUPLE: lambda items, arrays: tuple(unpack(items, arrays)),
    _DICT: lambda pairs, arrays: {unpack(key, arrays): unpack(item, arrays)
                                  for key, item in pairs},
}
