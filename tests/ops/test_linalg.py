"""Products: values against NumPy for all ranks, errors that name the axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.arrays import close
from tinynet import Tensor, random


def numbers(*shape: int) -> Any:
    return random.normal(random.key(1, *shape), shape, dtype=float)


@pytest.mark.parametrize(("a", "b"), [
    ((2, 3), (3, 4)), ((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((5, 2, 3), (3, 4)),
    ((5, 2, 3), (3,)), ((3,), (5, 3, 2)), ((5, 2, 3), (5, 3, 4)), ((2, 3), (5, 3, 4)),
    ((5, 1, 2, 3), (4, 3, 2)), ((0, 3), (3, 2)), ((2, 0), (0, 3)), ((0, 5, 3), (3, 2)),
    ((300, 40), (40, 300))])
def test_matmul_is_numpys(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    x, y = numbers(*a), numbers(*b)
    product = Tensor(x, requires_grad=True) @ Tensor(y)
    assert product.shape == (x @ y).shape and close(product.data, x @ y, atol=1e-12)
    assert close(tn.matmul(x, y), x @ y, atol=1e-12)


@pytest.mark.parametrize(("a", "b", "words"), [
    (numbers(2, 3), numbers(2, 3), r"\(2, 3\) and \(2, 3\).*\(3\) must equal the second last"),
    (numbers(3), numbers(2), r"\(3,\) and \(2,\).*must equal the only"),
    (numbers(2, 3), 2.0, "at least one axis"),
    (numbers(2, 3), [1.0, 2.0], r"\(2, 3\) and \(2,\)")])
def test_matmul_errors(a: Any, b: Any, words: str) -> None:
    for left in (a, Tensor(a)):
        with pytest.raises(ValueError, match=words):
            tn.matmul(left, b)


@pytest.mark.parametrize(("subscripts", "shapes"), [
    ("ij,jk->ik", [(2, 3), (3, 4)]), ("ij,jk", [(2, 3), (3, 4)]), ("ij->ji", [(2, 3)]),
    ("ij->", [(2, 3)]), ("ij", [(2, 3)]), ("ba", [(2, 3)]), ("i,j->ij", [(2,), (3,)]),
    ("bhqd,bhkd->bhqk", [(2, 2, 3, 4), (2, 2, 5, 4)]), ("i,i,i->i", [(3,)] * 3),
    (" a b , b -> a ", [(2, 3), (3,)]), ("ab,cd->", [(2, 3), (3, 2)])])
def test_einsum_is_numpys(subscripts: str, shapes: list[tuple[int, ...]]) -> None:
    arrays = [numbers(*s) for s in shapes]
    want = np.einsum(subscripts.replace(" ", ""), *arrays)
    y = tn.einsum(subscripts, *(Tensor(a, requires_grad=True) for a in arrays))
    assert y.shape == want.shape and close(y.data, want) and y.requires_grad
    assert close(tn.einsum(subscripts, *arrays), want)


@pytest.mark.parametrize(("subscripts", "shapes", "words"), [
    ("ij,jk->ik", [(2, 3)], "names 2 operands, got 1"),
    ("ii->i", [(2, 2)], "a letter appears twice in 'ii'"),
    ("...i->i", [(2, 2)], r"'\.\.\.' is not known"),
    ("ij->i", [(2,)], r"'ij' names 2 axes, the operand has shape \(2,\)"),
    ("ij,jk->ik", [(2, 3), (4, 2)], "axis 'j' has lengths 3 and 4")])
def test_einsum_errors(subscripts: str, shapes: list[tuple[int, ...]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tn.einsum(subscripts, *(numbers(*s) for s in shapes))
