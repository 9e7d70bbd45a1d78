"""The graph behind a tensor: what `backward` will walk, drawn from top to bottom.

A box for every operation, with the shape it made, and one for every leaf: a tensor that
asks for a gradient. Constants are not in the graph, and neither are values: a node
keeps only what its derivative needs.

Read next: `viz/landscape.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ..graph import Leaf, Node
from ..tensor import Tensor
from .canvas import TRAIN, VAL, new_figure, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 300  # operations, of a picture that can still be read
COLUMN, ROW = 1.9, 0.62  # inches


def plot_graph(output: Tensor, path: str | os.PathLike[str] | None = None,
               names: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]] = ()) -> Figure:
    """Draw the graph of `output` into the file `path`; tensors in `names` are called by them.

    `names` are pairs such as ``model.named_parameters()``, or a dict: of leaves, or of
    what operations made. Draw before ``backward()``, which frees the graph as it goes.

    >>> w = Tensor([1.0, 2.0], requires_grad=True)
    >>> figure = plot_graph((w * w).sum(), names={"w": w})
    """
    if not isinstance(output, Tensor) or output.node is None:
        raise ValueError("there is no graph to draw: output must be a tensor computed "
                         f"from one that requires gradients, got {output!r:.60}")
    called = {}
    for name, tensor in names.items() if isinstance(names, Mapping) else names:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"names must hold tensors, got {type(tensor).__name__} for "
                            f"{name!r}: give a dict of them, or "
                            "model.named_parameters()")
        called[id(tensor.node)] = name
    places = _places(output.node)
    columns, rows = (1 + max(place[i] for _, place in places.values()) for i in (0, 1))
    figure, (panel,) = new_figure(1, 1, (COLUMN * columns + 0.3, ROW * rows + 0.3))
    panel.set_axis_off()
    panel.set_xlim(-0.5, columns - 0.5)
    panel.set_ylim(rows - 0.5, -0.5)
    for node, (x, y) in places.values():
        leaf = isinstance(node, Leaf)
        name = called.get(id(node))
        what = _text(node, name)
        shape = f"\n{node.shape}" if node.shape else ""
        panel.text(x, y, what + shape, ha="center", va="center", fontsize=8, bbox={
            "boxstyle": "round", "facecolor": "white", "edgecolor": VAL if leaf else TRAIN})
        for before in node.inputs:
            if before is not None:
                _, (x0, y0) = places[id(before)]
                bend = 0.0
                if y - y0 > 1:  # around the boxes between
                    bend = 0.45 if x == x0 else 0.2
                panel.annotate("", (x, y - 0.32), (x0, y0 + 0.32), zorder=0, arrowprops={
                    "arrowstyle": "->", "color": "#777777", "linewidth": 0.8,
                    "connectionstyle": f"arc3,rad={bend}"})
    return save(figure, path)


def _text(node: Node, name: str | None) -> str:
    """What stands in a node's box."""
    if isinstance(node, Leaf):
        return name or "leaf"
    operation = node.operation.name.strip("_")
    return f"{name} = {operation}" if name else operation


def _places(last: Node) -> dict[int, tuple[Node, tuple[int, int]]]:
    """For the id of each node: the node, its column and its row.

    An operation stands one row below the lowest of its inputs, a leaf one above its
    first use.
    """
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
    taken: dict[int, int] = {}  # columns of each row
    places = {}
    for node in [*operations, *(n for n in nodes.values() if isinstance(n, Leaf))]:
        row = rows[id(node)]
        places[id(node)] = node, (taken.get(row, 0), row)
        taken[row] = taken.get(row, 0) + 1
    return places
