"""What a run is made of, as short texts: a resumed run says where they differ.

Code is not saved, and two runs may differ in it without a word: another loss, another
dropout, other pictures of the same number. So a checkpoint holds a text for each
setting, taken when the run began; `differences` compares. A text is no proof: of a
function it holds the name, the names and numbers in its code, and what it encloses.

Read next: `train/logs.py`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import re
import types
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..backend import is_array
from ..data.dataset import digest
from ..data.loader import DataLoader
from ..nn.module import Module
from ..optim.averaging import Average
from ..random import Generator
from ..tensor import Tensor

Settings = dict[str, str]
_OF_A_RUN = ("loss", "metric", "log_every", "chunk")
_CALLBACK = "callback "
_OF_A_LOADER = ("batch_size", "shuffle", "seed", "drop_last", "augment", "transform",
                "batch_transform")


def settings_of(run: Any, loaders: Mapping[str, Any]) -> Settings:
    """The settings of a run by name: loss, optimizer, layers, loaders, callbacks."""
    found = {name: describe(getattr(run, name)) for name in _OF_A_RUN}
    found |= _of_optimizer(run.optimizer)
    for path, module in run.model.named_modules():
        found[f"layer {path!r}"] = _of_layer(module)
    found["frozen parameters"] = describe(run.fitting.frozen)
    for name, loader in loaders.items():
        found[f"data of the {name}"] = _of_data(loader)
        if isinstance(loader, DataLoader):
            for key in _OF_A_LOADER:
                found[f"{key} of the {name}"] = describe(getattr(loader, key))
    return found | _of_callbacks(run.callbacks)


def _of_optimizer(optimizer: Any) -> Settings:
    found = {"optimizer": _called(optimizer)}
    groups = optimizer.param_groups
    for i, group in enumerate(groups):
        of = f" of group {i}" if len(groups) > 1 else ""
        found |= {name + of: describe(value) for name, value in group.items()
                  if name not in ("params", "names")}
    return found


def _of_layer(module: Module) -> str:
    text = _held(module, vars(module))
    forward = type(module).forward
    if not _is_ours(forward):
        text += f" {describe(forward)}"
    return text


def _of_data(loader: Any) -> str:
    """What a loader reads: its arrays, or the batches themselves."""
    if loader is None or isinstance(loader, list | tuple):
        return describe(loader)
    if not isinstance(loader, DataLoader):
        return _of_own(loader)
    if loader.labels is None:  # read sample by sample
        return describe(f"{len(loader.images)} samples {loader.digest()[:16]}")
    return describe((loader.images, loader.labels))


def _of_callbacks(callbacks: Iterable[Any]) -> Settings:
    """Of those that change the run; of yours it is not known which do."""
    found: Settings = {}
    for callback in callbacks:
        if not callback.only_watches:
            name = f"{_CALLBACK}{type(callback).__name__}"
            if not _is_ours(type(callback)):
                name = f"own {name}"
            while name in found:
                name += ", another"
            found[name] = _called(callback)
    return found


def frozen(model: Module) -> list[str]:
    """The parameters that are not trained, by name."""
    return [name for name, p in model.named_parameters() if not p.requires_grad]


def _of_own(loader: Any) -> str:
    """A loader of your own, or a data set in it: by what it was made with, and its length."""
    if isinstance(loader, types.GeneratorType):
        return "generator"
    held = vars(loader) if hasattr(loader, "__dict__") else {}
    texts = []
    for name, value in held.items():
        if name.startswith("_") or name not in _arguments(loader):
            continue
        plain = value is None or isinstance(value, tuple(kinds for kinds, _ in _TEXTS[:2]))
        many = is_array(value) or isinstance(value, np.ndarray | Tensor | list | tuple)
        if many or plain:
            texts.append(f"{name}={describe(value)}")
        elif hasattr(value, "__getitem__"):  # a data set
            texts.append(f"{name}={_of_own(value)}")
    with contextlib.suppress(TypeError):  # it has none
        texts.append(f"len={len(loader)}")
    return f"{type(loader).__name__}({', '.join(texts)})"


def _arguments(owner: Any) -> list[str]:
    """What the class of an object is called with."""
    try:
        return list(inspect.signature(type(owner)).parameters)
    except (TypeError, ValueError):  # of some classes written in C
        return []


def differences(saved: Mapping[str, str], mine: Mapping[str, str],
                used: Mapping[str, str]) -> list[str]:
    """A line for each setting that the checkpoint and this run have both, not alike, and
    for each callback of the library that only one of them has.

    >>> differences({"lr": "0.1", "seed": "1"}, {"lr": "0.2", "seed": "1"}, {"lr": "0.1"})
    ["lr: 0.1 in the checkpoint, 0.2 here; the checkpoint's is used"]
    """
    lines = []
    for name in sorted(saved.keys() & mine.keys()):
        if saved[name] != mine[name]:
            whose = "this run's"
            if used.get(name) == saved[name]:
                whose = "the checkpoint's"
            lines.append(f"{name}: {saved[name]} in the checkpoint, {mine[name]} here; "
                         f"{whose} is used")
    for name in sorted(saved.keys() ^ mine.keys()):
        if saved and name.startswith(_CALLBACK):
            there = saved.get(name, "none")
            here = mine.get(name, "none")
            lines.append(f"{name}: {there} in the checkpoint, {here} here; this run's "
                         "is used")
    return lines


def describe(value: Any, depth: int = 6) -> str:
    """A short text, the same for equal values in any process, another one for others.

    >>> describe(0.1), describe([1, "a"]), describe(np.exp), describe(describe)
    ('0.1', "[1, 'a']", 'exp', 'describe')
    """
    if isinstance(value, Tensor):
        value = value.data
    if depth == 0 or isinstance(value, Generator):
        return type(value).__name__
    if is_array(value) or isinstance(value, np.ndarray):
        rows = value.reshape(value.shape or 1)
        return f"{value.dtype} {tuple(value.shape)} {digest(rows)[:16]}"
    inner = functools.partial(describe, depth=depth - 1)
    text = next((text for kinds, text in _TEXTS if isinstance(value, kinds)), None)
    if text is None:
        # of a class, of a ufunc
        name = getattr(value, "__qualname__", getattr(value, "__name__", None))
        if not name and not hasattr(value, "__dict__"):  # a path, a date, a range
            return re.sub(r" at 0x\w+", "", repr(value))
        return name or getattr(value, "text", None) or _held(value, vars(value), inner)
    found: str = text(value, inner)
    if len(found) > 100:
        return f"{found[:80]}... {_hash(found.encode())}"
    return found


_TEXTS: list[tuple[Any, Any]] = [
    ((types.NoneType, bool, int, float, str, bytes), lambda x, inner: repr(x)),
    (np.generic, lambda x, inner: repr(x.item())),
    (Mapping, lambda x, inner:
        f"{{{', '.join(f'{inner(k)}: {inner(x[k])}' for k in x)}}}"),
    ((list, tuple), lambda x, inner: f"[{', '.join(map(inner, x))}]"),
    ((set, frozenset), lambda x, inner: f"{{{', '.join(sorted(map(inner, x)))}}}"),
    (functools.partial, lambda x, inner:
        f"partial({inner(x.func)}, {inner(x.args)}, {inner(x.keywords)})"),
    (types.MethodType, lambda x, inner: f"{inner(x.__self__)}.{x.__name__}"),
    (types.CodeType, lambda x, inner: inner([x.co_names, x.co_consts])),
    (types.FunctionType, lambda x, inner: x.__qualname__ + _of_function(x, inner)),
]


def _of_function(function: types.FunctionType, inner: Any) -> str:
    """A digest of what a function encloses, and of your own also of what it says."""
    if _is_ours(function) and "<locals>" not in function.__qualname__:
        return ""
    code = function.__code__
    said = [c for c in code.co_consts if c is not None and c != function.__doc__]
    facts = [code.co_names, said, function.__defaults__, function.__kwdefaults__,
             inspect.getclosurevars(function).nonlocals]
    return f" {_hash(inner(facts).encode())[:8]}"


def _is_ours(function: Any) -> bool:
    return str(function.__module__).partition(".")[0] == __name__.partition(".")[0]


def _called(owner: Any) -> str:
    """An object by the plain attributes its class was called with (others change), and
    by those of an average or a loader in it."""
    plain = bool | int | float | str | types.FunctionType | Average | DataLoader
    return _held(owner, [name for name in _arguments(owner)
                         if isinstance(vars(owner).get(name), plain)], _inside)


def _inside(value: Any) -> str:
    if isinstance(value, Average | DataLoader):
        return _called(value)
    return describe(value)


def _held(owner: Any, names: Iterable[str], inner: Any = describe) -> str:
    """An object by class and public attributes; a layer without the layers inside."""
    inside: tuple[type, ...] = ()
    if isinstance(owner, Module):
        inside = (Module, Tensor, list, dict)
    texts = [f"{name}={inner(vars(owner)[name])}" for name in names
             if not name.startswith("_") and name != "training"
             and not isinstance(vars(owner)[name], inside)]
    return f"{type(owner).__name__}({', '.join(texts)})"


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
