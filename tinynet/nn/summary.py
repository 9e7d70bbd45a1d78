"""What a network is made of: shapes, parameters and multiply-adds of every layer.

One pass of one zero sample, watched by the observer of `module.py`; nothing is changed
by it.

Read next: `nn/profile.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from .. import random, text
from ..backend import DType, xp
from ..checks import answering
from ..graph import no_grad
from ..tensor import Tensor
from .module import Call, Module, modes_kept, observe, parameter_dtype


class Row(NamedTuple):
    """One line of a summary: a call of a module that has no modules inside, or has parameters."""

    path: str
    layer: str
    output_shape: tuple[int, ...]  # of one sample
    parameters: int  # its own, not those of modules inside; 0 at a second call
    multiply_adds: int


class Summary(NamedTuple):
    """What `summary` found; print it."""

    rows: list[Row]
    parameters: int
    trainable: int
    multiply_adds: int

    def __repr__(self) -> str:
        found = text.table(self._lines(), align="lllr", rules=(1, -1))
        if self.trainable != self.parameters:
            found += f"\ntrainable parameters: {self.trainable:,}"
        return found

    def _lines(self) -> list[tuple[str, ...]]:
        table: list[tuple[str, ...]] = [
            ("", "layer", "output", "parameters", "multiply-adds")]
        table += [(row.path, row.layer, "x".join(map(str, row.output_shape)) or "1",
                   f"{row.parameters:,}", f"{row.multiply_adds:,}") for row in self.rows]
        table += [("", "total", "", f"{self.parameters:,}", f"{self.multiply_adds:,}")]
        return table

    def _repr_html_(self) -> str:
        caption = f"trainable parameters: {self.trainable:,}"
        lines = self._lines()
        return text.html(lines, caption, starred=len(lines) - 1)


@answering
def summary(model: Module, input_shape: int | Sequence[int], dtype: DType = None) -> Summary:
    """A table of the layers of `model` for one sample of `input_shape` (without the batch axis).

    Multiply-adds are those of the products of one sample in linear and convolution
    layers (and whatever a module of your own counts in its ``multiply_adds``); adding a
    bias, norms, activations and pooling do not count. A layer that is called twice has
    two rows, and its parameters count once. Runs in evaluation mode on zeros, keeps no
    graph, and leaves modes, buffers and random numbers as they were.

    >>> from tinynet import nn
    >>> summary(nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2)), (8,))
       layer   output  parameters  multiply-adds
    --------------------------------------------
    0  Linear  4               36             32
    1  ReLU    4                0              0
    2  Linear  2               10              8
    --------------------------------------------
       total                   46             40
    """
    if isinstance(input_shape, int):
        input_shape = (input_shape,)
    if hasattr(input_shape, "shape"):
        raise TypeError("input_shape must be the shape of one sample, without the batch, got "
                        f"an array: x.shape[1:] is {tuple(input_shape.shape[1:])}")
    shape = tuple(input_shape)
    if not all(isinstance(n, int | np.integer) and n > 0 for n in shape):
        raise ValueError("input_shape must hold positive integers, the lengths of the "
                         f"axes of one sample such as (3, 32, 32), got {input_shape!r}")
    dtype = dtype or parameter_dtype(model)
    try:
        calls = _calls(model, Tensor(xp.zeros((1, *shape), dtype)))
    except (ValueError, TypeError) as error:
        if _takes(model, shape[1:], dtype):
            raise ValueError(f"input_shape must be the shape of one sample, without the "
                             f"batch: {shape[1:]}, got {shape}") from error
        raise
    rows: list[Row] = []
    counted: set[int] = set()
    for call in sorted(calls, key=attrgetter("order")):
        own = [p for p in call.module.own_parameters() if id(p) not in counted]
        counted.update(id(p) for p in own)
        products = call.module.multiply_adds(call.args, call.output)
        if own or products or not call.module.children():
            rows.append(Row(call.path, type(call.module).__name__,
                            tuple(getattr(call.output, "shape", (1,))[1:]),
                            sum(p.size for p in own), products))
    return Summary(rows, model.num_parameters(), model.num_parameters(trainable_only=True),
                   sum(row.multiply_adds for row in rows))


def _takes(model: Module, shape: tuple[int, ...], dtype: DType) -> bool:
    """Whether the model can be called with a sample of that shape."""
    try:
        _calls(model, Tensor(xp.zeros((1, *shape), dtype)))
    except (ValueError, TypeError):
        return False
    return True


def _calls(model: Module, x: Tensor) -> list[Call]:
    """The calls of all modules in one evaluation of `x`; modes and random state are put back."""
    calls: list[Call] = []
    state = random.get_state()
    try:
        with modes_kept(model), no_grad(), observe(calls.append):
            model.eval()(x)
    finally:
        random.set_state(state)
    return calls
