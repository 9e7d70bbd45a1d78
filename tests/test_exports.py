"""The public names are pinned: a name that comes or goes is a decision, not an accident.

A name that comes is decided where a package's `__init__` says `from .x import y as y`; one that
merely stands in a module of its own (`optim.schedule`) is pinned before it counts. No name goes.

Public is what is reached by name from `tinynet`: a module's `__all__`, or, where it has none
(`optim.schedule`), what the file defines and re-exports (`from .x import y as y`), without what
begins with an underscore. A name counts as a module only where it is one: `nn.profile` is the
function that shadows the file. Write the new list, and read its diff, with

    python -m tests.test_exports
"""

from __future__ import annotations

import ast
import functools
import importlib
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.test_architecture import modules

GOLDEN = Path(__file__).parent / "golden" / "exports.txt"
UNLISTED = ["tinynet.random"]  # public, but `import *` must not hide the standard library's


@functools.cache
def sources() -> Mapping[str, str]:
    """The text of every module of the library."""
    found = {name: path.read_text(encoding="utf-8") for name, path in modules().items()}
    return types.MappingProxyType(found)


@functools.cache
def names_in(text: str) -> list[str]:
    """The public names of a module: its `__all__`, else what it defines or re-exports."""
    found: list[str] = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
        found += _defined(node)
    return [name for name in found if not name.startswith("_")]


def _defined(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign):
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id
    elif isinstance(node, ast.ImportFrom):  # `y as y` is a promise, `y` alone a tool of the file
        yield from (alias.name for alias in node.names if alias.name == alias.asname)


def public_modules(texts: Mapping[str, str]) -> list[str]:
    """The modules that are reached from `tinynet` by public names."""
    found: list[str] = []
    waiting = ["tinynet", *UNLISTED]
    while waiting:
        module = waiting.pop()
        found.append(module)
        parent = importlib.import_module(module)
        for name in names_in(texts[module]):
            inner = f"{module}.{name}"
            is_module = isinstance(getattr(parent, name, None), types.ModuleType)
            if is_module and inner in texts and inner not in found:
                waiting.append(inner)
    return sorted(found)


PUBLIC = public_modules(sources())


def exported(texts: Mapping[str, str]) -> list[str]:
    """All public names, `tinynet.nn.Linear` and the like, sorted."""
    return sorted({f"{module}.{name}" for module in PUBLIC for name in names_in(texts[module])})


def test_the_root_says_what_is_public() -> None:
    assert names_in(sources()["tinynet"]), "tinynet/__init__.py lists no public names"


def test_all_is_sorted_and_importable() -> None:
    unsorted, missing = [], []
    for module in PUBLIC:
        found = importlib.import_module(module)
        listed = list(getattr(found, "__all__", []))
        if listed != sorted(set(listed)):
            unsorted.append(module)
        missing += [f"{module}.{name}" for name in names_in(sources()[module])
                    if not hasattr(found, name)]
    assert not unsorted, f"the __all__ of {unsorted} must be in sorted() order"
    assert not missing, f"promised, but not defined: {missing}"


def test_public_things_are_documented() -> None:
    bare = [module for module in PUBLIC if not documented(importlib.import_module(module))]
    for module in PUBLIC:
        for name in names_in(sources()[module]):
            thing = getattr(importlib.import_module(module), name)
            alias = typing.get_origin(thing) is not None or name == "xp"  # NumPy or CuPy itself
            says_what = callable(thing) or isinstance(thing, types.ModuleType)
            if says_what and not alias and not documented(thing):
                bare.append(f"{module}.{name}")
    assert not bare, f"no docstring on {bare}"


def documented(thing: object) -> bool:
    """Whether a thing has a docstring that says something."""
    return bool((thing.__doc__ or "").strip())


def pinned() -> list[str]:
    return GOLDEN.read_text(encoding="utf-8").split()


def accidental(texts: Mapping[str, str]) -> list[str]:
    """The public names that are neither pinned nor re-exported by a package in so many words."""
    written = {f"{module}.{name}" for module in PUBLIC for node in ast.parse(texts[module]).body
               if isinstance(node, ast.ImportFrom) for name in _defined(node)}
    return sorted(set(exported(texts)) - set(pinned()) - written)


def test_no_public_name_comes_or_goes_by_accident() -> None:
    gone = sorted(set(pinned()) - set(exported(sources())))
    new = accidental(sources())
    assert not gone and not new, (f"new: {new}; gone: {gone}. "
                                  "If that is wanted: python -m tests.test_exports")


def test_every_pinned_name_exists() -> None:
    """Each is read as a user would write it, `tinynet.nn.Linear`, from what `import` gives."""
    for name in pinned():
        module, _, attribute = name.rpartition(".")
        thing = sys.modules["tinynet"]
        for part in module.split(".")[1:]:
            thing = getattr(thing, part)
        assert hasattr(thing, attribute), f"{name} is pinned, but there is no such name"


@pytest.mark.parametrize("module", ["tinynet.calculus", "tinynet.optim.schedule", "tinynet.random"])
def test_a_new_public_function_in_a_module_without_a_list_is_noticed(module: str) -> None:
    changed = dict(sources())
    changed[module] += "\ndef newcomer():\n    pass\n\n\ndef _helper():\n    pass\n"
    assert accidental(changed) == [f"{module}.newcomer"]


def test_a_re_export_in_so_many_words_is_decided_and_needs_no_pin() -> None:
    changed = dict(sources())
    changed["tinynet.nn"] += "\nfrom .layers import newcomer as newcomer\n"
    assert accidental(changed) == [] and "tinynet.nn.newcomer" in exported(changed)


def test_a_new_name_in_any_public_module_is_noticed() -> None:
    unnoticed = []
    for module in PUBLIC:
        text = sources()[module]
        start = text.find("__all__ = [") + len("__all__ = [")
        if start >= len("__all__ = ["):
            text = f'{text[:start]}"newcomer", {text[start:]}'
        else:
            text += "\nnewcomer = 1\n"
        if f"{module}.newcomer" not in exported({**sources(), module: text}):
            unnoticed.append(module)
    assert not unnoticed


def test_names_without_a_list_are_what_a_file_defines_and_re_exports() -> None:
    text = "import os\nfrom .a import b, c as c, d as e\n_f = 1\nG = 2\nh: int = 3\n"
    text += "def i(): pass\nclass J: k = 1\n"
    assert names_in(text) == ["c", "G", "h", "i", "J"]
    assert names_in(text + "__all__ = ['i']\n") == ["i"]


if __name__ == "__main__":
    names = exported(sources())
    GOLDEN.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    print(f"{GOLDEN}: {len(names)} names in {len(PUBLIC)} modules")
