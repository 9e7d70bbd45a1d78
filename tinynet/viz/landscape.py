r"""Paths of optimizers over the contours of a loss: the lecture's red pit, by real runs (A2, A6).

    paths = {"GD": trace(gd, bowl(10), (1, 1), 100), ...}     optim.landscapes.trace
    plot_paths(bowl(10), paths, "bowl.png")

A contour is a line of equal loss. Where they are long ellipses the Hessian is badly
conditioned and gradient descent zig-zags (A3): its condition number stands on the
picture.

Read next: `viz/race.py`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import asarray, to_numpy
from ..calculus import hessian
from ..graph import no_grad
from ..optim.landscapes import Landscape, Path
from ..tensor import Tensor
from .canvas import QUIET, drawn, look, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Paths = Mapping[str, Path]
STAR = "#F0E442"


def plot_paths(landscape: Landscape, paths: Paths,
               path: str | os.PathLike[str] | None = None, title: str = "") -> Figure:
    """Draw each of `paths`, arrays (n + 1, 2), over the contours into the file `path`.

    The circle is where they start, dots are where they end, stars are the minima. The
    legend says each path's last loss and steps, or when it left the picture.
    """
    paths = as_arrays(landscape, paths)
    figure, (panel,) = new_figure(1, 1, (7.5, 5.6))
    draw_ground(panel, landscape)
    left, right, bottom, top = landscape.window
    for i, (name, points) in enumerate(paths.items()):
        x, y = points.T
        outside = np.flatnonzero((x < left) | (x > right) | (y < bottom) | (y > top))
        last = len(points) - 1
        end = f"{losses(landscape, points[-1]):.2g} after {last}"
        if outside.size and outside[-1] == last:
            end = f"out at step {outside[0]}"
        label = f"{name}: {end}"
        panel.plot(x, y, linewidth=1.4, marker=".", markersize=3, label=drawn(label), **look(i))
        panel.plot(x[-1:], y[-1:], "o", color=look(i)["color"], markersize=6)
    panel.set_title(title or describe(landscape), loc="left", fontsize=11, fontweight="bold")
    figure.legend(*panel.get_legend_handles_labels(), loc="outside right upper", frameon=False,
                  title="loss after steps", alignment="left")
    return save(figure, path)


def as_arrays(landscape: Landscape, paths: Paths) -> dict[str, Path]:
    """`paths` as arrays (n + 1, 2), or why there is no map of them."""
    if not isinstance(landscape, Landscape) or len(landscape.start) != 2:
        raise ValueError(f"landscape is {getattr(landscape, 'name', landscape)!r}: "
                         "paths are drawn over a Landscape of two coordinates "
                         "(optim.landscapes)")
    arrays = {name: np.asarray(points, dtype=np.float64) for name, points in paths.items()}
    for name, points in arrays.items():
        if points.ndim != 2 or points.shape[1] != 2 or not len(points):
            raise ValueError(f"paths[{name!r}] has shape {points.shape}: a path is an "
                             "array (steps + 1, 2), as trace() makes it")
    return arrays


def describe(landscape: Landscape) -> str:
    """Its name, and the condition number of the Hessian at its lowest minimum.

    >>> from tinynet.optim.landscapes import bowl
    >>> describe(bowl(10))
    'bowl, k = 10; cond(Hessian) = 10'
    """
    if not landscape.minima:
        return landscape.name
    at = np.array(landscape.minima[0])
    curvatures = np.linalg.eigvalsh(to_numpy(hessian(landscape.f, at).data))
    return f"{landscape.name}; cond(Hessian) = {curvatures[-1] / curvatures[0]:.4g}"


def losses(landscape: Landscape, points: Any) -> np.ndarray[Any, Any]:
    """The loss at each of the points (..., 2)."""
    with no_grad():
        return to_numpy(landscape(Tensor(asarray(np.asarray(points, dtype=np.float64)))).data)


def draw_ground(panel: Axes, landscape: Landscape, size: int = 240) -> Any:
    """Contours, minima and start, on the landscape's window; the contours come back."""
    left, right, bottom, top = landscape.window
    x = np.linspace(left, right, size)
    y = np.linspace(bottom, top, size)
    heights = losses(landscape, np.stack(np.meshgrid(x, y), axis=-1))
    # Lines at equal steps of rank, not of height: a steep wall does not swallow all of
    # them.
    levels = np.unique(np.quantile(heights, np.linspace(0.0, 1.0, 19)[1:-1] ** 1.5))
    contours = panel.contour(x, y, heights, levels, cmap="Blues_r", linewidths=0.8, alpha=0.7)
    for minimum in landscape.minima:
        panel.plot(*minimum[:2], "*", color=STAR, markeredgecolor="black", markersize=14,
                   zorder=5)
    panel.plot(*landscape.start[:2], "o", markerfacecolor="none", color=QUIET, markersize=9)
    panel.set(xlim=(left, right), ylim=(bottom, top), xlabel="x", ylabel="y")
    return contours
