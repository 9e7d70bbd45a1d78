"""Pictures of the graph behind a tensor."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from matplotlib.figure import Figure

import tinynet as tn
from tinynet import functional as F, models, nn
from tinynet.viz import plot_graph


def boxes(figure: Figure) -> dict[str, list[tuple[float, float]]]:
    """Where the boxes of each text stand."""
    found: dict[str, list[tuple[float, float]]] = {}
    for text in figure.axes[0].texts:
        if text.get_text():
            found.setdefault(text.get_text(), []).append(text.get_position())
    return found


def test_every_operation_and_leaf_has_a_box(figures: list[Figure], tmp_path: Path) -> None:
    w, x = tn.ones((3, 2), requires_grad=True), tn.ones((5, 2))
    z = x @ w.T
    y = (F.relu(z) * 2.0).sum()
    plot_graph(y, tmp_path / "graph.png", {"w": w, "z": z})
    assert (tmp_path / "graph.png").stat().st_size > 1000
    found = boxes(figures[0])
    rows = {name: y for name, ((_, y),) in found.items()}
    assert rows == {"w\n(3, 2)": 0, "transpose\n(2, 3)": 1, "z = matmul\n(5, 3)": 2,
                    "relu\n(5, 3)": 3, "multiply\n(5, 3)": 4, "sum\ndata 60\ngrad 1": 5}
    y.backward()  # the picture left the graph as it was
    assert w.grad is not None


def test_leaves_stand_above_their_first_use_and_share_no_place(
        figures: list[Figure], tmp_path: Path) -> None:
    model = models.net_s(widths=(2, 3, 4))
    plot_graph(model(tn.ones((2, 3, 32, 32))).sum(), tmp_path / "net.svg", model.named_parameters())
    found = boxes(figures[0])
    names = {text.partition("\n")[0] for text in found}
    assert names >= {name for name, _ in model.named_parameters()} | {"conv2d", "batch_norm"}
    assert "leaf" not in names
    places = [place for group in found.values() for place in group]
    assert len(places) == len(set(places))
    assert max(y for _, y in places) > 15


def test_a_leaf_alone_and_what_cannot_be_drawn(figures: list[Figure], tmp_path: Path) -> None:
    w = tn.ones(2, requires_grad=True)
    plot_graph(w, tmp_path / "leaf.png")
    assert list(boxes(figures[0])) == ["leaf\n(2,)"]
    for nothing in (tn.ones(2), 1.0):
        with pytest.raises(ValueError, match="there is no graph to draw"):
            plot_graph(nothing, tmp_path / "no.png")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="names must hold tensors, got float for 'w'"):
        plot_graph(w, tmp_path / "no.png", {"w": 2.0})  # type: ignore[dict-item]
    y = (w * w).sum()
    y.backward()
    with pytest.raises(ValueError, match=r"backward\(\) has freed this graph"):
        plot_graph(y, tmp_path / "no.png")
    deep = nn.Sequential(*(nn.ReLU() for _ in range(301)))
    with pytest.raises(ValueError, match="the graph has 302 nodes, more than the 300"):
        plot_graph(deep(w), tmp_path / "no.png")


def test_no_edge_passes_a_box_and_values_stand_with_gradients() -> None:
    a = tn.tensor(-4.0, requires_grad=True)
    b = tn.tensor(2.0, requires_grad=True)
    c = a + b
    d = a * b + b**3
    c = c + c + 1
    c = c + 1 + c - a
    d = d + d * 2 + F.relu(b + a)
    d = d + 3 * d + F.relu(b - a)
    g = ((c - d) ** 2) / 2
    figure = plot_graph(g, names={"a": a, "b": b})
    panel = figure.axes[0]
    found = boxes(figure)
    assert any(text.startswith("a\ndata -4\ngrad ") for text in found)
    figure.canvas.draw()
    frames = [text.get_bbox_patch().get_window_extent() for text in panel.texts
              if text.get_text()]
    for line in panel.lines:
        corners = panel.transData.transform(line.get_xydata())
        for (x0, y0), (x1, y1) in pairwise(corners):
            for share in (0.1, 0.5, 0.9):
                x, y = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
                assert not any(f.x0 < x < f.x1 and f.y0 < y < f.y1 for f in frames)
