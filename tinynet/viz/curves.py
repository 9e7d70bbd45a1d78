r"""Pictures of a training run: its curves in one file, and a schedule before it is used.

`plot_history` draws four panels over the epochs: the loss (every step as a light dot,
its moving average as a line, validation at the end of each epoch), the accuracy, the
learning rate, and the update ratio of the lecture (H9) with the band around 1e-3 that
it should keep to. Lecture ids D1, H6, H9.

Read next: `viz/anatomy.py`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..checks import check_choice
from ..train.callbacks import RATIO_HIGH, RATIO_LOW
from ..train.history import History, smooth as smooth_values
from .canvas import GOOD, LARGEST, QUIET, TRAIN, VAL, drawn, entitle, look, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_history(history: History, path: str | os.PathLike[str] | None = None,
                 smooth: float = 0.9, title: str = "",
                 panels: Sequence[str] = ("loss", "accuracy", "lr", "ratio")) -> Figure:
    """Draw loss, accuracy, learning rate and update ratio of `history` into the file `path`.

    `smooth` is the factor of the moving average (0.9: about the last 10 steps),
    `panels` are those to draw, in their order. The file's suffix says its kind (.png,
    .pdf, .svg). ValueError if nothing was recorded.
    """
    if not history.steps:
        raise ValueError("this history has no steps yet: train before plotting it")
    history = _drawable(history)
    if not panels:
        raise ValueError("panels is empty: there is nothing to draw")
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = new_figure(rows, columns, (5.5 * columns, 3.6 * rows))
    to_epochs = _epochs_of(history)
    for panel, name in zip(axes, panels, strict=False):
        _DRAWN[check_choice("each of panels", name, list(_DRAWN))](
            panel, history, to_epochs, smooth)
    for panel in axes[len(panels):]:
        panel.set_axis_off()
    for panel in axes[:len(panels)]:
        panel.set_xlabel("epoch" if history.epochs else "step")
        panel.set_xlim(0, 1.01 * to_epochs(history.steps["step"][-1] + 1))
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return save(figure, path)


def plot_schedule(schedule: Callable[[int], float] | Sequence[Callable[[int], float]], steps: int,
                  path: str | os.PathLike[str] | None = None,
                  labels: Sequence[str] = ()) -> Figure:
    """Draw lr(t) for t = 0 .. steps - 1: look at a schedule before training with it.

    A list of schedules is drawn into one picture, with `labels`.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    schedules = [schedule] if callable(schedule) else list(schedule)
    if not schedules:
        raise ValueError("there is no schedule to draw: the list is empty")
    times = range(0, steps, max(1, steps // 4000))
    figure, (panel,) = new_figure(1, 1, (7, 3.6))
    names = [*labels, *(getattr(one, "text", "schedule") for one in schedules[len(labels):])]
    _draw_lines(panel, ((name, times, [float(one(t)) for t in times])
                        for name, one in zip(names, schedules, strict=False)))
    entitle(panel, "", "learning rate")
    panel.set(xlabel="step t", xlim=(0, max(1, steps - 1)))
    panel.set_ylim(bottom=0)
    return save(figure, path)


class Panel(NamedTuple):
    """Lines in one coordinate system: lines[label] = (x, y); `log`: "", "x", "y", "xy"."""

    lines: Mapping[str, tuple[Any, Any]]
    title: str = ""
    x: str = ""
    y: str = ""
    log: str = ""
    bottom: float | None = None
    top: float | None = None


def plot_panels(panels: Sequence[Panel], path: str | os.PathLike[str] | None = None,
                columns: int = 2, title: str = "") -> Figure:
    """Draw any lines, panel by panel, into the file `path`.

    The same labels look the same in all panels, so the first panel that has them has
    the legend.
    """
    if not panels:
        raise ValueError("panels is empty: there is nothing to draw")
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = new_figure(rows, columns, (5.5 * columns, 3.8 * rows))
    legends: list[list[str]] = []
    for panel, given in zip(axes, panels, strict=False):
        if "x" in given.log:
            panel.set_xscale("log")
        if "y" in given.log:
            panel.set_yscale("log")
        labels = list(given.lines)
        _draw_lines(panel, ((name, x, y) for name, (x, y) in given.lines.items()),
                    legend=labels not in legends)
        legends.append(labels)
        entitle(panel, given.title, given.y)
        panel.set_xlabel(given.x)
        panel.set_ylim(given.bottom, given.top)
    for panel in axes[len(panels):]:
        panel.set_axis_off()
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return save(figure, path)


def _draw_lines(panel: Axes, lines: Iterable[tuple[str, Any, Any]], legend: bool = True
                ) -> None:
    for i, (name, x, y) in enumerate(lines):
        panel.plot(x, y, label=drawn(name), linewidth=1.6, **look(i))
    if legend:
        panel.legend(framealpha=0.75, edgecolor="none", ncols=1 + (len(panel.get_lines()) > 4))


def _draw_loss(panel: Axes, history: History, to_epochs: Callable[[Any], Any],
               beta: float) -> None:
    t = to_epochs(np.array(history.steps["step"]) + 1)
    loss = np.array(history.steps["loss"])
    alpha = float(np.clip(400 / len(t), 0.15, 0.6))  # lighter where dots are many
    panel.plot(t, loss, ".", color=TRAIN, alpha=alpha, markersize=4, linewidth=0,
               markeredgewidth=0, rasterized=True)
    panel.plot([], [], ".", color=TRAIN, alpha=0.4, label="training, each step")
    panel.plot(t, smooth_values(history.steps["loss"], beta), color=TRAIN, linewidth=1.4,
               label=f"training, moving average ({beta:g})")
    if "val_loss" in history.epochs:
        panel.plot(history.epochs["epoch"], history.epochs["val_loss"], "o-", color=VAL,
                   markersize=4, label="validation")
    top = np.percentile(loss[np.isfinite(loss)], 99.5) if np.isfinite(loss).any() else 1.0
    entitle(panel, "Loss", "loss (mean per sample)")
    panel.set_ylim(0, 1.1 * top or 1.0)
    panel.legend(frameon=False)


def _draw_accuracy(panel: Axes, history: History, to_epochs: Callable[[Any], Any],
                   beta: float) -> None:
    entitle(panel, "Accuracy (training: as it went)", "right answers (%)")
    panel.set_ylim(0, 100)
    if "accuracy" not in history.steps:
        return _say(panel, "not measured")
    t = to_epochs(np.array(history.steps["step"]) + 1)
    panel.plot(t, _percent(smooth_values(history.steps["accuracy"], beta)), color=TRAIN,
               linewidth=0.8, alpha=0.45, label="training batches, moving average")
    if history.epochs:
        middle = np.array(history.epochs["epoch"]) - 0.5  # a mean belongs to the middle
        for name, kind in (("train", ""), ("mixed", " (mixed labels)")):
            if f"{name}_accuracy" in history.epochs:
                panel.plot(middle, _percent(history.epochs[f"{name}_accuracy"]), "o-", color=TRAIN,
                           markersize=4, label=f"training, mean of the epoch{kind}")
    if "val_accuracy" in history.epochs:
        epoch, best = history.best("val_accuracy")
        panel.plot(history.epochs["epoch"], _percent(history.epochs["val_accuracy"]), "o-",
                   color=VAL, markersize=4, label=f"validation, best {best:.1%} (epoch {epoch})")
        panel.plot([epoch], [100 * best], "*", color=VAL, markersize=13, clip_on=False)
    panel.legend(loc="best", frameon=False)


def _draw_lr(panel: Axes, history: History, to_epochs: Callable[[Any], Any],
             beta: float) -> None:
    panel.plot(to_epochs(np.array(history.steps["step"])), history.steps["lr"], color=TRAIN,
               linewidth=1.6)
    entitle(panel, "Learning rate", "learning rate")
    rates = _positive(np.array(history.steps["lr"]))
    panel.set_ylim(0, 1.08 * rates[np.isfinite(rates)].max(initial=1e-12))  # room above


def _draw_ratio(panel: Axes, history: History, to_epochs: Callable[[Any], Any],
                beta: float) -> None:
    entitle(panel, "Update ratio", "|update| / |weights| (norms)")
    if not history.ratios:
        return _say(panel, "not measured")
    t = to_epochs(np.array(history.ratios["step"]))
    columns = {n: np.array(c) for n, c in history.ratios.items() if n != "step"}
    for name, values in columns.items():
        if name != "update_ratio":
            panel.plot(t, _positive(values), color=QUIET, linewidth=0.6, alpha=0.5)
    if len(columns) > 1:
        panel.plot([], [], color=QUIET, linewidth=0.6, label="each parameter")
    panel.plot(t, _positive(columns["update_ratio"]), color=TRAIN, linewidth=1.6,
               label="median over the weights")
    panel.axhspan(RATIO_LOW, RATIO_HIGH, color=GOOD, alpha=0.1, linewidth=0)
    panel.axhline(1e-3, color=GOOD, linewidth=1, linestyle="--", label="about 1e-3 is good")
    typical = columns["update_ratio"]
    typical = typical[(typical > 0) & np.isfinite(typical)]
    low = typical.min() if typical.size else RATIO_LOW
    every = np.concatenate(list(columns.values()))
    every = every[(every > 0) & np.isfinite(every)]
    high = every.max() if every.size else RATIO_HIGH
    panel.set_yscale("log")
    panel.set_ylim(min(low, RATIO_LOW) / 3, max(high, RATIO_HIGH) * 3)
    panel.legend(loc="lower left", frameon=False)


def _drawable(history: History) -> History:
    """A copy whose counts of steps and epochs can be an axis: gaps lie on a line.

    Numbers that an axis could not multiply by its margins are infinite, and so not
    drawn.
    """
    whole = History.from_dict(history.state_dict())
    for columns in (whole.steps, whole.epochs, whole.ratios):
        for name, values in columns.items():
            numbers = np.array(values)
            too_large = np.abs(numbers) > LARGEST
            columns[name] = np.where(too_large, np.copysign(np.inf, numbers), numbers).tolist()
    for table, name in (("steps", "step"), ("epochs", "epoch"), ("epochs", "step"),
                        ("ratios", "step")):
        columns = getattr(whole, table)
        counts = np.array(columns.get(name, []))
        rows = np.arange(len(counts))
        known = np.isfinite(counts)
        if not known.all():
            columns[name] = (np.interp(rows, rows[known], counts[known]) if known.sum() > 1
                             else rows + 1.0).tolist()
    return whole


def _epochs_of(history: History) -> Callable[[Any], Any]:
    """From steps to epochs: a line between the ends of epochs, and beyond the last."""
    if not history.epochs:
        return lambda step: step
    ends = np.array([0.0, *history.epochs["step"]])
    epochs = np.array([history.epochs["epoch"][0] - 1, *history.epochs["epoch"]])
    slope = (epochs[-1] - epochs[-2]) / max(1.0, ends[-1] - ends[-2])

    def convert(step: Any) -> Any:
        return np.interp(step, ends, epochs) + np.maximum(step - ends[-1], 0) * slope

    return convert


def _percent(values: Sequence[float]) -> Any:
    return 100.0 * np.array(values)


def _positive(values: Any) -> Any:
    """What a logarithmic axis can show."""
    return np.where(values > 0, values, math.nan)


def _say(panel: Axes, text: str) -> None:
    panel.text(0.5, 0.5, text, transform=panel.transAxes, ha="center", va="center",
               color=QUIET)


_DRAWN = {"loss": _draw_loss, "accuracy": _draw_accuracy, "lr": _draw_lr, "ratio": _draw_ratio}
