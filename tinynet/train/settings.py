"""What a run is made of, as short texts: a resumed run says where they differ from its checkpoint.

Code is not saved, and two runs may differ in it without a word: another loss, another dropout,
other pictures of the same number. So a checkpoint holds a text for each setting, taken when the
run began; `differences` compares. A text is no proof: of a function it holds the name, the names
and numbers in its code, and what it encloses. Read next: `resume.py`.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backend import is_array, to_numpy
from ..data.loader import DataLoader
from ..nn.module import Module
from ..random import Generator
from ..tensor import Tensor

Settings = dict[str, str]
_LONGEST = 400  # letters of a text
_HASHED = 2**28  # bytes of an array; of a larger one, rows from all over it
_DEPTH = 6  # of objects inside objects


def settings_of(run: Any, loaders: Mapping[str, Any]) -> Settings:
    """The settings of a run by name: loss, optimizer, layers, loaders, callbacks."""
    found = {"loss": describe(run.loss), "metric": describe(run.metric),
             "log_every": describe(run.log_every), "optimizer": type(run.optimizer).__name__}
    found |= _arguments("optimizer", run.optimizer)
    groups = run.optimizer.param_groups
    for i, group in enumerate(groups):
        of = f" of group {i}" if len(groups) > 1 else ""
        found |= {name + of: describe(value) for name, value in group.items()
                  if name not in ("params", "names")}
    for path, module in run.model.named_modules():
        name = f"layer {path!r}" if path else "model"
        found[name] = _layer(module)
    for name, loader in loaders.items():
        found |= _loader(name, loader)
    for callback in run.callbacks:
        if not callback.only_watches:
            found |= _arguments(type(callback).__name__, callback)
    return found


def differences(saved: Mapping[str, str], mine: Mapping[str, str], used: Mapping[str, str]
                ) -> list[str]:
    """A line for each setting that the checkpoint and this run have both, and not alike.

    >>> differences({"lr": "0.1", "loss": "mse"}, {"lr": "0.2", "loss": "mse"}, {"lr": "0.1"})
    ["lr: 0.1 in the checkpoint, 0.2 here; the checkpoint's is used"]
    """
    lines = []
    for name in sorted(saved.keys() & mine.keys()):
        theirs, own = str(saved[name]), mine[name]
        if theirs != own:
            whose = "the checkpoint's" if used.get(name) == theirs else "this run's"
            theirs, own = _around_difference(theirs, own)
            lines.append(f"{name}: {theirs} in the checkpoint, {own} here; {whose} is used")
    return lines


def _around_difference(a: str, b: str, most: int = 100) -> tuple[str, str]:
    """Two long texts, cut so that the first letter that differs is seen."""
    first = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), 0)
    start = max(0, first - most // 2) if max(len(a), len(b)) > most else 0
    dots = "..." * (start > 0)
    return dots + a[start:start + most], dots + b[start:start + most]


def _attributes(name: str, owner: Any) -> Settings:
    """The plain public attributes of an object: numbers, texts, functions, and tuples of them."""
    return {f"{name}.{key}": describe(value) for key, value in vars(owner).items()
            if not key.startswith("_") and key != "training" and _is_plain(value)}


def _arguments(name: str, owner: Any) -> Settings:
    """Those attributes that its class was called with; others may count something."""
    arguments = inspect.signature(type(owner)).parameters
    return {place: text for place, text in _attributes(name, owner).items()
            if place.removeprefix(f"{name}.") in arguments}


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(
        value, bool | int | float | str | np.generic | types.FunctionType | functools.partial)


def _layer(module: Module) -> str:
    text = type(module).__name__
    own = _attributes("", module)
    text += f"({', '.join(f'{name[1:]}={value}' for name, value in own.items())})"
    if not _is_ours(type(module).forward):
        text += f" {describe(type(module).forward)}"
    return text[:_LONGEST]


def _loader(name: str, loader: Any) -> Settings:
    if isinstance(loader, DataLoader):
        found = {f"{key} of the {name}": describe(getattr(loader, key)) for key in (
            "batch_size", "shuffle", "seed", "drop_last", "augment", "transform",
            "batch_transform")}
        return found | {f"data of the {name}": describe((loader.images, loader.labels))}
    return {f"data of the {name}": describe(loader)} if isinstance(loader, list | tuple) else {}


def describe(value: Any, depth: int = _DEPTH) -> str:
    """A short text that is the same for equal values in any process, and another one for others.

    >>> describe(0.1), describe([1, "a"]), describe(np.zeros(2)), describe(describe).split()[0]
    ('0.1', "[1, 'a']", 'float64 (2,) 374708fff7719dd5', 'describe')
    """
    return _describe(value, depth)[:_LONGEST]


def _describe(value: Any, depth: int) -> str:
    if isinstance(value, Tensor):
        value = value.data
    if is_array(value) or isinstance(value, np.ndarray):
        return f"{value.dtype} {tuple(value.shape)} {_digest(value)}"
    if isinstance(value, np.generic):
        return repr(value.item())
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return repr(value)
    if depth == 0 or isinstance(value, Generator):
        return type(value).__name__
    inner = functools.partial(_describe, depth=depth - 1)
    if isinstance(value, dict):
        items = (f"{inner(key)}: {inner(item)}" for key, item in value.items())
        return f"{{{', '.join(items)}}}"
    if isinstance(value, list | tuple | set | frozenset):
        texts = [inner(item) for item in value]
        if isinstance(value, set | frozenset):
            texts.sort()  # their order changes from process to process
        text = f"[{', '.join(texts)}]"
        return text if len(text) <= _LONGEST else f"{len(texts)} items {_hash(text.encode())}"
    return _describe_code(value, inner)


def _describe_code(value: Any, inner: Any) -> str:
    """A function, a class, or an object by its class and what it holds."""
    if isinstance(value, functools.partial):
        return f"partial({inner(value.func)}, {inner(value.args)}, {inner(value.keywords)})"
    if isinstance(value, types.MethodType):
        return f"{inner(value.__self__)}.{value.__name__}"
    if isinstance(value, types.FunctionType):
        return _function(value, inner)
    if isinstance(value, type) or not hasattr(value, "__dict__"):
        return str(getattr(value, "__qualname__", getattr(value, "__name__", type(value).__name__)))
    if text := getattr(value, "text", None):  # a schedule says what it is
        return str(text)
    held = (f"{name}={inner(item)}" for name, item in vars(value).items()
            if not name.startswith("_") and name != "training")
    return f"{type(value).__name__}({', '.join(held)})"


def _function(function: types.FunctionType, inner: Any) -> str:
    """Its name, and of one of your own what its code says; of both what it encloses."""
    if _is_ours(function) and "<locals>" not in function.__qualname__:
        return function.__qualname__
    facts = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    if not _is_ours(function):
        facts += [_words(function.__code__, function.__doc__), function.__defaults__,
                  function.__kwdefaults__]
    return f"{function.__qualname__} {_hash(inner(facts).encode())[:8] if facts else ''}".strip()


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _is_ours(function: Any) -> bool:
    return str(function.__module__).partition(".")[0] == __name__.partition(".")[0]


def _words(code: types.CodeType, text: str | None) -> list[Any]:
    """The names and numbers in some code, and in the code inside it, but for its docstring."""
    found: list[Any] = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found.append(_words(constant, None))
        elif isinstance(constant, bool | int | float | str | tuple) and constant != text:
            found.append(constant)
    return found


def _digest(x: Any) -> str:
    """The numbers of an array, in its own order; of a very large one a part, from all over it."""
    if x.nbytes > _HASHED:
        rows = max(1, len(x) * _HASHED // x.nbytes)
        x = x[np.linspace(0, len(x) - 1, rows).astype(np.int64)]
    return _hash(np.ascontiguousarray(to_numpy(x)).tobytes())


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
