r"""Grid against random search in one picture: why nine random trials see more than a 3 x 3 grid.

Each search is a square of its trials over two hyper-parameters, coloured by score. Above it and to
its right stand the marginals: the same scores over one parameter alone. A grid puts its trials
above each other, so the important axis is seen at a few values only; random trials are all
different. The lecture's figure, from real trainings; lecture id H8.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..tune.search import Search
from ..tune.space import LogUniform
from .canvas import QUIET, VAL, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_searches(searches: Mapping[str, Search], path: str | os.PathLike[str], x: str, y: str, *,
                  truth: Search | None = None, title: str = "") -> None:
    """Draw searches (by name) side by side over the parameters `x` and `y` into the file `path`.

    A parameter that one of them drew from a `LogUniform` gets a logarithmic axis. `truth` is a
    dense search along `x`, drawn as a grey line behind the scores above. Failed trials (score nan)
    are crosses. ValueError if there is nothing to draw.
    """
    if not searches or not all(found.trials for found in searches.values()):
        raise ValueError("there are no trials to draw: every search needs at least one")
    figure, panels = new_figure(1, len(searches), (5.2 * len(searches), 5.4))
    everything = [*searches.values(), *([truth] if truth else [])]
    scores = [t.score for found in everything for t in found.trials if math.isfinite(t.score)]
    low, high = (min(scores), max(scores)) if scores else (0.0, 1.0)
    room = 0.08 * (high - low) or 0.1
    colours: dict[str, Any] = {"cmap": "viridis", "vmin": low, "vmax": high, "edgecolors": "black"}
    for square, (name, found) in zip(panels, searches.items(), strict=True):
        above = square.inset_axes((0.0, 1.04, 1.0, 0.32))
        beside = square.inset_axes((1.04, 0.0, 0.32, 1.0))
        done = [t for t in found.trials if math.isfinite(t.score)]
        failed = [t for t in found.trials if not math.isfinite(t.score)]
        at = {parameter: [t.config[parameter] for t in done] for parameter in (x, y)}
        score = [t.score for t in done]
        square.scatter(at[x], at[y], c=score, s=70, linewidths=0.6, **colours)
        square.plot([t.config[x] for t in failed], [t.config[y] for t in failed], "x", color=VAL)
        square.plot([found.best.config[x]], [found.best.config[y]], "o", markersize=15, color=VAL,
                    fillstyle="none")
        above.scatter(at[x], score, c=score, s=34, linewidths=0.5, zorder=2, **colours)
        beside.scatter(score, at[y], c=score, s=34, linewidths=0.5, zorder=2, **colours)
        if truth:
            line = sorted((t.config[x], t.score) for t in truth.trials)
            above.plot(*zip(*line, strict=True), color=QUIET, linewidth=1.2, zorder=1)
        square.set(xlabel=x, ylabel=y)
        above.set(ylim=(low - room, high + room), ylabel="score")
        beside.set(xlim=(low - room, high + room), xlabel="score")
        above.set_title(f"{name}: best {found.best.score:.3g}\n{len(found.values(x))} values of "
                        f"{x}, {len(found.values(y))} of {y}", loc="left", fontsize=10)
        _share(everything, square, above, beside, x, y)
    if title:  # above the marginals, which the layout does not count
        figure.get_layout_engine().set(rect=(0.0, 0.0, 0.985, 0.93))  # type: ignore[union-attr,call-arg]
        figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    save(figure, path)


def _share(searches: list[Search], square: Axes, above: Axes, beside: Axes, x: str, y: str) -> None:
    """One scale and one range for a parameter in all panels."""
    for name, panels, kind in ((x, (square, above), "x"), (y, (square, beside), "y")):
        values: list[Any] = [t.config[name] for found in searches for t in found.trials
                             if name in t.config]
        log = any(isinstance(found.space.get(name), LogUniform) for found in searches)
        low, high = min(values), max(values)
        margin = (high / low) ** 0.06 if log else 0.06 * (high - low) or 1.0
        for panel in panels:
            panel.set(**{f"{kind}scale": "log" if log else "linear"})
            panel.set(**{f"{kind}lim": (low / margin, high * margin) if log
                         else (low - margin, high + margin)})
    above.tick_params(labelbottom=False)
    beside.tick_params(labelleft=False)
