"""Methods of tensors are the functions of the package."""

from __future__ import annotations

import ast
import inspect
import sys

import pytest

import tinynet as tn
from tinynet import Tensor
from tinynet.backend import xp
from tinynet.ops.methods import _OPERATORS, _OTHERS, _REVERSED, _SAME_NAME

tensor_module = sys.modules["tinynet.tensor"]  # `tinynet.tensor` is the function
NAMES = [name for names in _SAME_NAME.values() for name in names]


@pytest.mark.parametrize("name", NAMES)
def test_a_method_is_the_function_of_its_name(name: str) -> None:
    assert getattr(Tensor, name) is getattr(tn, name)


def declared() -> dict[str, list[tuple[str, str | None]]]:
    """The methods that `Tensor` declares for editors: names of parameters, and their defaults."""
    tree = ast.parse(inspect.getsource(tensor_module))
    (block,) = [node for node in ast.walk(tree) if isinstance(node, ast.If)
                and ast.unparse(node.test) == "TYPE_CHECKING"]
    return {f.name: parameters(f.args) for f in block.body if isinstance(f, ast.FunctionDef)}


def parameters(a: ast.arguments) -> list[tuple[str, str | None]]:
    defaults = [None] * (len(a.args) - len(a.defaults)) + [ast.unparse(d) for d in a.defaults]
    found = [(arg.arg, default) for arg, default in zip(a.args, defaults, strict=True)][1:]
    return found + ([(f"*{a.vararg.arg}", None)] if a.vararg else [])


def real(name: str) -> list[tuple[str, str | None]]:
    """The same of what `Tensor` really has."""
    found = []
    for p in list(inspect.signature(getattr(Tensor, name)).parameters.values())[1:]:
        star = "*" if p.kind is p.VAR_POSITIONAL else ""
        found.append((star + p.name, None if p.default is p.empty else repr(p.default)))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_method_is_declared_with_its_signature(name: str) -> None:
    assert declared()[name] == real(name)


def test_every_declared_method_exists_and_every_attached_one_is_declared() -> None:
    names = declared().keys() - {"_binary"}
    assert all(hasattr(Tensor, name) for name in names)
    operators = {target.id for target in ast.walk(ast.parse(inspect.getsource(tensor_module)))
                 if isinstance(target, ast.Name) and target.id.startswith("__")}
    reversed_ones = {f"__{kind}{name}__" for kind in "ri" for name in _REVERSED}
    assert {*NAMES, *_OTHERS, *_OPERATORS, *reversed_ones} - {"T"} <= names | operators


def test_power_of_the_operators() -> None:
    x = Tensor([[1.0, -2.0], [3.0, 4.0]])
    assert (-x).tolist() == [[-1.0, 2.0], [-3.0, -4.0]] and abs(x).data.min() == 1.0
    assert (2.0 - x).tolist() == [[1.0, 4.0], [-1.0, -2.0]] and (1 / x)[1, 1].item() == 0.25
    assert (xp.eye(2, dtype="f4") @ x).tolist() == x.tolist() and sum(x).tolist() == [4.0, 2.0]
    assert max(Tensor([1.0, 3.0, 2.0])).item() == 3.0
    assert 3.0 in Tensor([1.0, 3.0]) and 2.0 not in Tensor([1.0, 3.0])
