"""The public names are pinned: a name that comes or goes is a decision, not an accident.

Public are the packages and the files directly in `tinynet/` that have an `__all__`, and the files
that a package lists in its own (`optim.schedule`); kernels are not. After a wanted change, write
the new list and read its diff:

    python -m tests.test_exports
"""

from __future__ import annotations

import ast
import importlib
import types
from pathlib import Path

import pytest

from tests.test_architecture import modules

GOLDEN = Path(__file__).parent / "golden" / "exports.txt"


def _all(module: str) -> list[str]:
    """The `__all__` that the source of `module` spells out; empty if it has none."""
    path = modules().get(module)
    for node in ast.parse(path.read_text(encoding="utf-8")).body if path else ():
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def _is_public(module: str) -> bool:
    parent, _, name = module.rpartition(".")
    package = modules()[module].stem == "__init__"
    reachable = module.count(".") < 2 or package or name in _all(parent)
    return bool(_all(module)) and reachable and not module.startswith("tinynet.kernels")


PUBLIC = [name for name in sorted(modules()) if _is_public(name)]


def exported() -> list[str]:
    """All public names, `tinynet.nn.Linear` and the like, sorted."""
    return sorted(f"{module}.{name}" for module in PUBLIC
                  for name in importlib.import_module(module).__all__)


def test_the_root_says_what_is_public() -> None:
    assert "tinynet" in PUBLIC, "tinynet/__init__.py needs an __all__"


@pytest.mark.parametrize("module", PUBLIC)
def test_all_is_sorted_and_importable(module: str) -> None:
    names = importlib.import_module(module).__all__
    assert list(names) == sorted(set(names)), f"{module}.__all__ must be in sorted() order"
    missing = [name for name in names if not hasattr(importlib.import_module(module), name)]
    assert not missing, f"{module}.__all__ lists {missing}, which it does not define"


@pytest.mark.parametrize("module", PUBLIC)
def test_public_things_are_documented(module: str) -> None:
    found = importlib.import_module(module)
    assert (found.__doc__ or "").strip(), f"{module} has no docstring"
    bare = [name for name in found.__all__ if name != "xp"  # NumPy or CuPy itself
            and (callable(thing := getattr(found, name)) or isinstance(thing, types.ModuleType))
            and not (thing.__doc__ or "").strip()]
    assert not bare, f"{module}: no docstring on {bare}"


def test_public_names_are_the_pinned_ones() -> None:
    pinned, now = set(GOLDEN.read_text().split()), set(exported())
    assert now == pinned, (f"new: {sorted(now - pinned)}; gone: {sorted(pinned - now)}. "
                           "If that is wanted: python -m tests.test_exports")


if __name__ == "__main__":
    GOLDEN.write_text("".join(f"{name}\n" for name in exported()))
    print(f"{GOLDEN}: {len(exported())} names in {len(PUBLIC)} modules")
