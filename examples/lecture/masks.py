"""Figures 19, 20, 24 and 26: what is switched off at random, as the layers themselves draw it."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

import tinynet as tn
from tinynet import models, nn

from . import style
from .style import BLUE, GREEN, GREY, ORANGE, RED, Picture

FAINT = "#d5d5d5"


def column(n: int, x: float) -> np.ndarray:
    """The places of n neurons, one above the other."""
    return np.stack([np.full(n, x), np.arange(n) - (n - 1) / 2], axis=1)


def neurons(panel: Any, places: np.ndarray, on: np.ndarray) -> None:
    """Circles; those that are off are crossed out."""
    for (x, y), lit in zip(places, on, strict=True):
        panel.plot(x, y, "o", markersize=17, zorder=5, markeredgewidth=1.8,
                   color="white" if lit else "#eeeeee", markeredgecolor=BLUE if lit else GREY)
        if not lit:
            panel.plot(x, y, "x", markersize=13, markeredgewidth=2.4, color=RED, zorder=6)


def wires(panel: Any, before: np.ndarray, after: np.ndarray, on: np.ndarray) -> None:
    """Lines from every neuron to every other; on[i, j]: from j to i. What is off stays away."""
    for i, j in itertools.product(range(len(after)), range(len(before))):
        if on[i, j]:
            panel.plot(*np.stack([before[j], after[i]]).T, color="#555555", linewidth=0.9,
                       zorder=2)


def net(panel: Any, on: list[np.ndarray], text: str) -> None:
    """A net from the left to the right; `on` says for each layer which neurons are."""
    layers = [column(len(lit), 1.0 * i) for i, lit in enumerate(on)]
    for i in range(len(layers) - 1):
        wires(panel, layers[i], layers[i + 1], np.outer(on[i + 1], on[i]))
    for places, lit in zip(layers, on, strict=True):
        neurons(panel, places, lit)
    panel.margins(0.12)
    style.bare(panel)
    style.title(panel, text)


def dropout(quick: bool) -> Picture:
    """19: a net, and the same net in one training step: neurons are switched off."""
    tn.manual_seed(style.SEED)
    sizes = (5, 5, 5, 1)
    layers = [nn.Dropout(0.5) for _ in sizes[:-1]]
    on = [tn.to_numpy(layer(tn.ones(n)).data) > 0 for layer, n in zip(layers, sizes, strict=False)]
    on.append(np.ones(1, bool))
    many = tn.to_numpy(layers[0](tn.ones(10_000)).data) > 0
    for layer in layers:
        layer.eval()
    test = [tn.to_numpy(layer(tn.ones(n)).data) for layer, n in zip(layers, sizes, strict=False)]
    figure, (left, right) = style.sheet(1, 2, (7.0, 3.6))
    net(left, [np.ones(n, bool) for n in sizes], "Standard neural net (and at test)")
    net(right, on, "After dropout: one training step")
    return Picture(figure, "masks drawn by nn.Dropout(p=0.5) in training; at test it leaves all on",
                   {"on": [int(lit.sum()) for lit in on[:-1]], "of": list(sizes[:-1]),
                    "share on": float(many.mean()), "at test": [row.tolist() for row in test]})


def single_neuron(quick: bool) -> Picture:
    """20: one neuron, the four nets that dropout makes of it, and the mean of their answers."""
    w, x = np.array([2.0, 3.0]), np.array([5.0, 7.0])
    neuron = nn.Linear(2, 1, bias=False).astype("float64")
    neuron.weight.copy_(w[None])
    vanilla = nn.Sequential(nn.Dropout(0.5, inverted=False), neuron)
    inputs = tn.tensor(x)
    masks = list(itertools.product((1, 0), repeat=2))
    answers = [neuron(inputs * np.array(mask, float)).item() for mask in masks]
    at_test = nn.marginalize(vanilla, inputs).item()
    sampled = nn.marginalize(vanilla, inputs, how="sample", n=200 if quick else 2000).item()
    figure, (left, right) = style.sheet(1, 2, (8.8, 3.5))
    figure.get_layout_engine().set(w_pad=0.1)
    draw_neuron(left, 0.0, 0.0, (1, 1), 1.0)
    for j, (name, at) in enumerate((("w1 = 2", -0.55), ("w2 = 3", 0.55))):
        style.say(left, at * 1.25, -0.1 + 0.0 * j, name, "#555555", ha="center")
    left.text(0, 0.62, "a", ha="center", va="center", fontsize=13, zorder=9)
    for at, name in ((-1, "x = 5"), (1, "y = 7")):
        left.text(at * 0.8, -1.08, name, ha="center", va="center", fontsize=12, zorder=9)
    left.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.1))
    style.title(left, "A single neuron: a = w1 x + w2 y")
    for place, (mask, answer) in enumerate(zip(masks, answers, strict=True)):
        draw_neuron(right, 2.6 * place, 0.35, mask, 0.6)
        right.text(2.6 * place, 1.25, f"a = {answer:g}", ha="center", fontsize=11)
    right.text(3.9, -1.25, f"mean of the four: {np.mean(answers):g}   =   all on at test, times "
               f"p = 1/2: {at_test:g}", ha="center", fontsize=10.5, color=BLUE, fontweight="bold")
    right.set(xlim=(-1.2, 9.0), ylim=(-1.7, 1.7))
    style.title(right, "Dropout: four masks, each with probability 1/4")
    for panel in (left, right):
        style.bare(panel)
    return Picture(figure, "w = (2, 3), inputs (5, 7), keep probability 1/2, nn.Dropout(inverted="
                   f"False); a mean of random passes came to {sampled:.2f}", {
        "answers": answers, "mean": float(np.mean(answers)), "at test": at_test,
        "sampled": sampled})


def draw_neuron(panel: Any, x: float, y: float, mask: tuple[int, ...], size: float) -> None:
    """A neuron above its two inputs; what the mask switches off is crossed out."""
    top = np.array([x, y + 0.62 * size])
    for sign, on in zip((-1, 1), mask, strict=True):
        below = np.array([x + sign * max(0.8 * size, 0.64), y - 1.08 * size])
        panel.plot(*np.stack([below, top]).T, color="#555555" if on else FAINT,
                   linewidth=2.0, zorder=2, linestyle="-" if on else ":")
        panel.plot(*below, "o", markersize=46 * size, color="white" if on else "#eeeeee",
                   markeredgecolor=BLUE if on else GREY, markeredgewidth=1.8, zorder=4)
        if not on:
            panel.plot(*below, "x", markersize=30 * size, markeredgewidth=2.6, color=RED, zorder=6)
    panel.plot(*top, "o", markersize=46 * size, color="white", markeredgecolor=GREEN,
               markeredgewidth=2.2, zorder=4)


def drop_connect(quick: bool) -> Picture:
    """24: not neurons but connections are switched off, by another mask for every example."""
    tn.manual_seed(style.SEED)
    sizes = (5, 5, 5, 2)
    layers = [nn.DropConnectLinear(n, m, p=0.5) for n, m in itertools.pairwise(sizes)]
    masks = [of_weights(layer) for layer in layers]
    wide = of_weights(nn.DropConnectLinear(100, 100, p=0.5))
    for layer in layers:
        layer.eval()
    at_test = [of_weights(layer) for layer in layers]
    figure, (left, right) = style.sheet(1, 2, (7.0, 3.6))
    for panel, connected, text in ((left, at_test, "At test: all connections"),
                                   (right, masks, "DropConnect: one training step")):
        places = [column(n, 1.0 * i) for i, n in enumerate(sizes)]
        for before, after, on in zip(places, places[1:], connected, strict=False):
            wires(panel, before, after, on)
        for one in places:
            neurons(panel, one, np.ones(len(one), bool))
        panel.margins(0.12)
        style.bare(panel)
        style.title(panel, text)
    return Picture(figure, "masks drawn by nn.DropConnectLinear(p=0.5), seen as the gradient of "
                   "its output by its weights", {
        "connected": [int(mask.sum()) for mask in masks],
        "of": [mask.size for mask in masks], "share on": float(wide.mean()),
        "at test": [int(mask.sum()) for mask in at_test]})


def of_weights(layer: nn.DropConnectLinear) -> np.ndarray:
    """Which weights (out, in) take part in one pass: d sum(u) / dW = M for inputs of 1."""
    output = layer(tn.ones((1, layer.weight.shape[1])))
    return tn.to_numpy(tn.grad(output.sum(), layer.weight).data) > 0


def stochastic_depth(quick: bool) -> Picture:
    """26: in training, blocks of a ResNet are skipped, the later the more often; at test none."""
    blocks, passes = 9, 5
    tn.manual_seed(style.SEED)
    resnet = models.resnet(blocks, widths=(4,), survival=0.5)
    kept = [1.0 - block.p for block in resnet if isinstance(block, nn.ResidualBlock)]
    ran = [blocks_that_ran(resnet, blocks) for _ in range(200 if quick else 1000)]
    resnet.eval()
    rows = [*ran[:passes], blocks_that_ran(resnet, blocks)]
    names = [f"training pass {i + 1}" for i in range(passes)] + ["test"]
    figure, (panel,) = style.sheet(size=(7.4, 3.9))
    for row, (name, on) in enumerate(zip(names, rows, strict=True)):
        y = -1.0 * row - 0.35 * (name == "test")
        panel.text(-0.9, y, name, ha="right", va="center", fontsize=9.5)
        for block, lit in enumerate(on):
            draw_block(panel, block, y, bool(lit))
    for block, p in enumerate(kept):
        panel.text(block, 0.72, f"{p:.2f}", ha="center", fontsize=8.5, color="#555555")
    panel.text(-0.9, 0.72, "kept with probability", ha="right", fontsize=8.5, color="#555555")
    panel.set(xlim=(-3.6, blocks - 0.2), ylim=(-5.9, 1.1))
    style.bare(panel)
    style.title(panel, "Stochastic depth: blocks are skipped in training, all are used at test")
    return Picture(figure, f"models.resnet({blocks}, survival=0.5): which of its residual blocks "
                   "computed anything", {
        "kept": kept, "share": np.mean(ran, axis=0).tolist(), "passes": len(ran),
        "at test": [int(on) for on in rows[-1]]})


def blocks_that_ran(resnet: nn.Module, blocks: int) -> np.ndarray:
    """Which residual blocks computed their body in one pass, as an observer saw it."""
    seen: set[str] = set()
    with nn.observe(lambda call: seen.add(call.path)), tn.no_grad():
        resnet(tn.zeros((2, 3, 4, 4)))
    return np.array([f"{1 + i}.conv1" in seen for i in range(blocks)])


def draw_block(panel: Any, x: float, y: float, on: bool) -> None:
    """A block with its shortcut around it."""
    from matplotlib.patches import FancyBboxPatch

    panel.add_patch(FancyBboxPatch((x - 0.22, y - 0.2), 0.44, 0.4, boxstyle="round,pad=0.03",
                                   facecolor=ORANGE if on else "#f3f3f3", zorder=4,
                                   edgecolor="#555555" if on else FAINT))
    if on:
        panel.plot([x - 0.5, x + 0.5], [y, y], color="#555555", linewidth=1.4, zorder=2)
    bow = np.linspace(0, np.pi, 30)
    panel.plot(x - 0.5 * np.cos(bow), y + 0.38 * np.sin(bow), color="#555555" if on else RED,
               linewidth=1.0 if on else 2.2, zorder=3)
