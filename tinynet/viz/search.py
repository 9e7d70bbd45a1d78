r"""Grid against random search in one picture: why nine random trials see more than a 3 x 3 grid.

Each search is a square of its trials over two hyper-parameters, coloured by score.
Above it and to its right stand the marginals: the same scores over one parameter alone.
A grid puts its trials above each other, so the important axis is seen at a few values
only; random trials are all different. The lecture's figure, from real trainings;
lecture id H8.

Read next: `viz/graph.py`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..tune.search import Search, Trial
from ..tune.space import LogUniform, distinct, is_number, label
from .canvas import LARGEST, QUIET, VAL, drawn, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_searches(searches: Mapping[str, Search], path: str | os.PathLike[str] | None,
                  x: str, y: str, *, truth: Search | None = None, title: str = "") -> Figure:
    """Draw searches (by name) side by side over the parameters `x` and `y` into the file `path`.

    A parameter that one of them drew from a `LogUniform` gets a logarithmic axis.
    `truth` is a dense search along `x`, drawn as a grey line behind the scores above.
    Failed trials (score nan, or beyond what an axis holds) are crosses. ValueError if
    there is nothing to draw.
    """
    if not searches or not all(found.trials for found in searches.values()):
        raise ValueError("there are no trials to draw: every search needs at least one")
    figure, panels = new_figure(1, len(searches), (5.2 * len(searches), 5.4))
    everything = [*searches.values()]
    if truth:
        everything.append(truth)
    axes = {parameter: _Axis(everything, parameter) for parameter in (x, y)}
    scores = [t.score for found in everything for t in found.trials if abs(t.score) <= LARGEST]
    low, high = (min(scores), max(scores)) if scores else (0.0, 1.0)
    room = 0.08 * (high - low) or 0.1
    colours: dict[str, Any] = {"cmap": "viridis", "vmin": low, "vmax": high, "edgecolors": "black"}
    for square, (name, found) in zip(panels, searches.items(), strict=True):
        above = square.inset_axes((0.0, 1.04, 1.0, 0.32))
        beside = square.inset_axes((1.04, 0.0, 0.32, 1.0))
        done = [t for t in found.trials if abs(t.score) <= LARGEST]
        failed = [t for t in found.trials if not abs(t.score) <= LARGEST]
        at = {parameter: axes[parameter].places(done) for parameter in (x, y)}
        score = [t.score for t in done]
        square.scatter(at[x], at[y], c=score, s=70, linewidths=0.6, **colours)
        square.plot(axes[x].places(failed), axes[y].places(failed), "x", color=VAL)
        square.plot(axes[x].places([found.best]), axes[y].places([found.best]), "o",
                    markersize=15, color=VAL, fillstyle="none")
        above.scatter(at[x], score, c=score, s=34, linewidths=0.5, zorder=2, **colours)
        beside.scatter(score, at[y], c=score, s=34, linewidths=0.5, zorder=2, **colours)
        if truth:
            scored = [t.score if abs(t.score) <= LARGEST else math.nan
                      for t in truth.trials]
            line = sorted(zip(axes[x].places(truth.trials), scored, strict=True))
            above.plot(*zip(*line, strict=True), color=QUIET, linewidth=1.2, zorder=1)
        square.set(xlabel=drawn(x.replace("_", " ")), ylabel=drawn(y.replace("_", " ")))
        above.set(ylim=(low - room, high + room), ylabel="score")
        beside.set(xlim=(low - room, high + room), xlabel="score")
        counts = f"{len(found.values(x))} values of {x}, {len(found.values(y))} of {y}"
        above.set_title(drawn(f"{name}: best {found.best.score:.3g}\n{counts}"),
                        loc="left", fontsize=10)
        for panel in (square, above):
            axes[x].scale(panel, "x")
        for panel in (square, beside):
            axes[y].scale(panel, "y")
        above.tick_params(which="both", labelbottom=False)
        beside.tick_params(which="both", labelleft=False)
    if title:  # above the marginals, which the layout does not count
        figure.get_layout_engine().set(rect=(0.0, 0.0, 0.985, 0.93))  # type: ignore[union-attr,call-arg]
        figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return save(figure, path)


class _Axis:
    """One parameter's scale and range, the same in all panels.

    Numbers have their value as their place. If anything else was among the choices
    (None, a function, a word), or some trials have no value, each label has a place of
    its own.
    """

    def __init__(self, searches: list[Search], name: str) -> None:
        self.name = name
        values = [self._value(t) for found in searches for t in found.trials]
        self.labels: list[str] = []
        if not all(is_number(value) for value in values):
            self.labels = list(dict.fromkeys(map(label, distinct(values))))
        self.log = not self.labels and any(
            isinstance(found.space.get(name), LogUniform) for found in searches)
        places = self.places([t for found in searches for t in found.trials])
        low = min(places)
        high = max(places)
        if self.log:
            margin = (high / low) ** 0.06
            self.limits = (low / margin, high * margin)
        else:
            margin = 0.06 * (high - low) or 1.0
            self.limits = (low - margin, high + margin)

    def _value(self, trial: Trial) -> Any:
        return trial.config.get(self.name, "-")

    def places(self, trials: Sequence[Trial]) -> list[float]:
        """Where the trials stand along this axis."""
        if not self.labels:
            return [float(self._value(t)) for t in trials]
        return [float(self.labels.index(label(self._value(t)))) for t in trials]

    def scale(self, panel: Axes, kind: str) -> None:
        """Give the axis `kind` ("x" or "y") of a panel its scale, limits and labels."""
        panel.set(**{f"{kind}scale": "log" if self.log else "linear"})
        panel.set(**{f"{kind}lim": self.limits})
        if self.labels:
            panel.set(**{f"{kind}ticks": range(len(self.labels)),
                         f"{kind}ticklabels": [drawn(text) for text in self.labels]})
