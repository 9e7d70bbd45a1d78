"""Tensors whose data is computed when somebody asks for it.

An operation that returns what is `Pending` (`kernels/pending.py`) gives its caller a
`Late` tensor. Operations that read by blocks take its source, all others its data, and
a user sees no difference. Its node, and so its gradient, is that of any operation.

Read next: `fast_calls.py`.
"""

from __future__ import annotations

import math
from typing import Any

from .backend import Array, DType
from .foreign import Count
from .graph import Node
from .kernels.pending import Pending
from .tensor import Tensor, wrap


class Late(Tensor):
    """A tensor whose data is computed when somebody asks for it: see the module's text."""

    __slots__ = ("source",)
    source: Pending

    @property
    def data(self) -> Array:
        """The array, computed at the first time."""
        return self.source.array()

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return self.source.shape

    @property
    def dtype(self) -> DType:
        """The element type."""
        return self.source.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.source.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return Count(math.prod(self.source.shape))

    def unread(self) -> Any:
        """What is pending, or the data if it was asked for: somebody may have written there."""
        return self.source if self.source.stored is None else self.data

    def __repr__(self) -> str:
        return repr(wrap(self.data, self.node))


def late(source: Pending, node: Node | None) -> Late:
    """A tensor of what is pending."""
    tensor = Late.__new__(Late)
    tensor.source = source
    tensor.node = node
    return tensor
