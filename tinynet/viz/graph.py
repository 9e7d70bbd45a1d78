"""The graph behind a tensor: what `backward` will walk, drawn from top to bottom.

A box for every operation, with the shape it made, and one for every leaf: a tensor that
asks for a gradient. What has a name also shows its value and its gradient, where they
are single numbers. Constants are not in the graph, and other values neither: a node
keeps only what its derivative needs.

An edge goes straight from one row to the next. One that skips rows has a lane of its
own in each of them, as if a narrow box stood there, so no edge passes through a box.

Read next: `viz/landscape.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ..backend import to_numpy
from ..graph import Leaf, Node
from ..tensor import Tensor, grad
from .canvas import TRAIN, VAL, new_figure, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 300  # operations, of a picture that can still be read
COLUMN = 1.5  # inches
ROW = 0.8
_LANE = 0.3  # columns that an edge takes which passes a row
_LINE = 9.6 / 72 / ROW  # rows that a line of text takes
_FRAME = 4.8 / 72 / ROW  # and the frame of a box
_SWEEPS = 12

Slot = Any  # a node's id, or (id above, id below, row) of an edge that passes a row


def plot_graph(output: Tensor, path: str | os.PathLike[str] | None = None,
               names: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]] = ()) -> Figure:
    """Draw the graph of `output` into the file `path`; tensors in `names` are called by them.

    `names` are pairs such as ``model.named_parameters()``, or a dict: of leaves, or of
    what operations made. Where these are single numbers and `output` is one, value and
    gradient stand there, too. Draw before ``backward()``, which frees the graph as it
    goes.

    >>> w = Tensor([1.0, 2.0], requires_grad=True)
    >>> figure = plot_graph((w * w).sum(), names={"w": w})
    """
    if not isinstance(output, Tensor) or output.node is None:
        raise ValueError("there is no graph to draw: output must be a tensor computed "
                         f"from one that requires gradients, got {output!r:.60}")
    called: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in names.items() if isinstance(names, Mapping) else names:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"names must hold tensors, got {type(tensor).__name__} for "
                            f"{name!r}: give a dict of them, or "
                            "model.named_parameters()")
        called[id(tensor.node)] = name, tensor
    nodes = _nodes(output.node)
    rows = _rows(output.node, nodes)
    texts = {key: _text(node, called.get(key), output) for key, node in nodes.items()}
    chains = _chains(nodes, rows)
    x = _columns(nodes, rows, chains)
    left = min(x.values()) - 0.5
    width = max(x.values()) + 0.5 - left
    height = 1 + max(rows.values())
    figure, (panel,) = new_figure(1, 1, (COLUMN * width, ROW * height))
    figure.set_layout_engine("none")  # so that a row is as high as it is said to be
    panel.set_position((0.0, 0.0, 1.0, 1.0))
    panel.set_axis_off()
    panel.set_xlim(left, left + width)
    panel.set_ylim(height - 0.5, -0.5)
    for key, node in nodes.items():
        colour = VAL if isinstance(node, Leaf) else TRAIN
        panel.text(x[key], rows[key], texts[key], ha="center", va="center", fontsize=8,
                   linespacing=1.2, bbox={"boxstyle": "round,pad=0.3", "facecolor": "white",
                                          "edgecolor": colour})
    for chain in chains:
        *way, end = _way(chain, x, rows, texts)
        panel.plot(*zip(*way, strict=True), color="#777777", linewidth=0.8, zorder=0)
        panel.annotate("", end, way[-1], zorder=0, arrowprops={
            "arrowstyle": "-|>", "color": "#777777", "linewidth": 0.8, "shrinkA": 0,
            "shrinkB": 0})
    return save(figure, path)


def _text(node: Node, called: tuple[str, Tensor] | None, output: Tensor) -> str:
    """What stands in a node's box, up to four lines."""
    what = "leaf" if isinstance(node, Leaf) else node.operation.name.strip("_")
    tensor = output if node is output.node else None
    if called is not None:
        name, tensor = called
        what = name if isinstance(node, Leaf) else f"{name} = {what}"
    lines = [what]
    if node.shape:
        lines.append(str(node.shape))
    if tensor is not None and tensor.size == 1:
        lines.append(f"data {float(to_numpy(tensor.data).item()):.4g}")
        if output.size == 1:
            slope = grad(output, tensor)
            lines.append(f"grad {float(to_numpy(slope.data).item()):.4g}")
    return "\n".join(lines)


def _nodes(last: Node) -> dict[int, Node]:
    """All nodes that `last` was made of, by their ids."""
    nodes = {id(last): last}
    waiting = [last]
    while waiting:
        node = waiting.pop()
        if node.inputs is None:
            raise ValueError("backward() has freed this graph: draw it before, or call "
                             "backward(retain_graph=True)")
        for before in node.inputs:
            if before is not None and id(before) not in nodes:
                nodes[id(before)] = before
                waiting.append(before)
    if (n := len(nodes)) > MOST:
        raise ValueError(f"the graph has {n} nodes, more than the {MOST} of a picture "
                         "that can be read: draw a part of the model, or a smaller one")
    return nodes


def _rows(last: Node, nodes: Mapping[int, Node]) -> dict[int, int]:
    """The row of each node: an operation stands one below the lowest of its inputs, a
    leaf one above its first use."""
    operations = sorted((n for n in nodes.values() if not isinstance(n, Leaf)),
                        key=lambda node: node.order)
    rows: dict[int, int] = {}
    for node in operations:
        above = [rows.get(id(i), 0) for i in node.inputs if i is not None]
        rows[id(node)] = 1 + max(above, default=0)
    for node in reversed(operations):
        for before in node.inputs:
            if isinstance(before, Leaf):
                rows[id(before)] = rows[id(node)] - 1
    rows.setdefault(id(last), 0)  # a leaf alone
    return rows


def _chains(nodes: Mapping[int, Node], rows: Mapping[int, int]) -> list[list[Slot]]:
    """Each edge as its slots, one in each row from the upper node to the lower one."""
    chains: list[list[Slot]] = []
    for below, node in nodes.items():
        for above in dict.fromkeys(id(i) for i in node.inputs if i is not None):
            between = range(rows[above] + 1, rows[below])
            chains.append([above, *((above, below, row) for row in between), below])
    return chains


def _columns(nodes: Mapping[int, Node], rows: Mapping[int, int], chains: list[list[Slot]]
             ) -> dict[Slot, float]:
    """The column of every slot: near to those that it is joined to, and none on another."""
    levels: list[list[Slot]] = [[] for _ in range(1 + max(rows.values()))]
    for key in nodes:
        levels[rows[key]].append(key)
    joined: dict[Slot, list[Slot]] = {key: [] for key in nodes}
    for chain in chains:
        for slot in chain[1:-1]:
            levels[slot[2]].append(slot)
            joined[slot] = []
        for upper, lower in pairwise(chain):
            joined[upper].append(lower)
            joined[lower].append(upper)
    x: dict[Slot, float] = {}
    for level in levels:
        _place(level, dict.fromkeys(level, 0.0), x)
    for sweep in range(_SWEEPS):
        for level in levels if sweep % 2 else reversed(levels):
            wanted = {slot: fmean([x[other] for other in joined[slot]] or [x[slot]])
                      for slot in level}
            if sweep < _SWEEPS // 2:  # afterwards the order stays
                level.sort(key=lambda slot: wanted[slot])
            _place(level, wanted, x)
    return x


def _place(level: list[Slot], wanted: Mapping[Slot, float], x: dict[Slot, float]) -> None:
    """Give a row's slots columns near the wanted ones, from left to right, in their order."""
    end = -1e9
    for slot in level:
        half = (_LANE if isinstance(slot, tuple) else 1.0) / 2
        x[slot] = max(wanted[slot], end + half)
        end = x[slot] + half
    off = fmean([wanted[slot] - x[slot] for slot in level])
    for slot in level:
        x[slot] += off


def _way(chain: list[Slot], x: Mapping[Slot, float], rows: Mapping[int, int],
         texts: Mapping[int, str]) -> list[tuple[float, float]]:
    """An edge's corners, from the lower side of a box to the upper side of another."""
    first = chain[0]
    last = chain[-1]
    way = [(x[first], rows[first] + _half(texts[first]))]
    for slot in chain[1:-1]:
        way += [(x[slot], slot[2] - 0.3), (x[slot], slot[2] + 0.3)]
    return [*way, (x[last], rows[last] - _half(texts[last]))]


def _half(text: str) -> float:
    """Half of the height of a box, in rows."""
    return (_LINE * (1 + text.count("\n")) + _FRAME) / 2
