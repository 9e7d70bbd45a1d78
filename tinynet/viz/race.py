r"""A race of optimizers: their paths over the contours in motion, as a GIF and as a page.

The page is one file with everything in it, drawing, numbers and script: it can be
opened from a disk, mailed and printed, and asks no other address for anything. Without
its script it shows the finished paths. Both are made without a display. The page's text
is `race.html`. This is the last file of the package.

Read next: `viz/contact_sheet.py`.
"""

from __future__ import annotations

import html
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write_atomic
from ..optim.landscapes import Landscape
from .canvas import PALETTE, drawn, look, new_figure
from .landscape import STAR, Paths, as_arrays, describe, draw_ground, losses

WIDTH = 720  # of the drawing in the page, in its own units
HEIGHT = 540


def moments(paths: Paths, frames: int, first: int = 0) -> np.ndarray[Any, Any]:
    """The steps to show: at most `frames` after step 0, up to the end of the longest path.

    The `first` ones are all there, since paths leap at their beginnings; the others are
    evenly spaced.

    >>> moments({"a": np.zeros((5, 2)), "b": np.zeros((9, 2))}, frames=4).tolist()
    [0, 2, 4, 6, 8]
    >>> moments({"a": np.zeros((9, 2))}, frames=4, first=2).tolist()
    [0, 1, 2, 5, 8]
    """
    if not paths:
        raise ValueError("paths is empty: there is nobody to race")
    last = max(map(len, paths.values())) - 1
    if frames >= last:
        return np.arange(last + 1)
    first = min(first, frames - 1)
    later = np.linspace(first, last, frames - first + 1).round().astype(int)
    return np.unique([*range(first), *later])


def race_gif(landscape: Landscape, paths: Paths, path: str | os.PathLike[str], frames: int = 80,
             fps: int = 12) -> None:
    """Write an animated GIF in which all `paths`, arrays (n + 1, 2), grow step by step.

    A path that is shorter than the longest waits where it ended.
    """
    from PIL import Image

    if fps < 1:
        raise ValueError(f"fps must be at least 1 frame a second, got {fps}")
    paths = as_arrays(landscape, paths)
    figure, (panel,) = new_figure(1, 1, (6.4, 4.4))
    figure.set_dpi(100)
    draw_ground(panel, landscape)
    runs = [(points, panel.plot([], [], linewidth=1.6, label=drawn(name), **look(i))[0],
             panel.plot([], [], "o", markersize=6, color=look(i)["color"])[0])
            for i, (name, points) in enumerate(paths.items())]
    step = panel.set_title(f"{landscape.name}: step 0", loc="left", fontsize=11)
    figure.legend(*panel.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    moving = [artist for _, line, dot in runs for artist in (line, dot)] + [step]
    canvas: Any = figure.canvas
    canvas.draw()  # settles the layout
    figure.set_layout_engine("none")
    for artist in moving:
        artist.set_animated(True)  # left out of the ground, which is drawn once
    canvas.draw()
    ground = canvas.copy_from_bbox(figure.bbox)
    pictures = []
    for t in moments(paths, frames):
        for points, line, dot in runs:
            line.set_data(*points[: t + 1].T)
            dot.set_data(*points[: t + 1][-1:].T)
        step.set_text(f"{landscape.name}: step {t}")
        canvas.restore_region(ground)
        for artist in moving:
            figure.draw_artist(artist)
        pictures.append(Image.fromarray(np.array(canvas.buffer_rgba())[..., :3]))
    colours = Image.new("P", (1, 1))  # the same for all, so that only what moves is stored
    most = pictures[-1].quantize(240).getpalette() or []
    rare = [int(c[i : i + 2], 16) for c in (*PALETTE, STAR) for i in (1, 3, 5)]  # a thin line's
    colours.putpalette(most[:720] + rare)
    first, *more = (p.quantize(palette=colours, dither=Image.Dither.NONE) for p in pictures)
    times = [round(1000 / fps)] * len(more) + [2000]  # two seconds to look at the end
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    first.save(path, save_all=True, append_images=more, duration=times, loop=0)


def race_page(landscape: Landscape, paths: Paths, path: str | os.PathLike[str],
              frames: int = 400) -> None:
    """Write one HTML page that plays the race: play and pause, a slider, the losses beside it.

    At most `frames` steps of each path are kept in it: the first quarter of them are the
    first steps, the others are evenly spaced.
    """
    paths = as_arrays(landscape, paths)
    shown = moments(paths, frames, frames // 4)
    runs = []
    for i, (name, points) in enumerate(paths.items()):
        kept = points[np.minimum(shown, len(points) - 1)]
        runs.append({"name": name, "color": look(i)["color"],
                     "dashes": {"-": "", "--": "7 4", ":": "2 3"}[look(i)["linestyle"]],
                     "points": _to_page(landscape, kept),
                     "losses": [f"{loss:.3g}" for loss in losses(landscape, kept)]})
    data = json.dumps({"steps": shown.tolist(), "runs": runs}, separators=(",", ":"))
    text = Path(__file__).with_name("race.html").read_text(encoding="utf-8")
    for place, content in {
        "TITLE": html.escape(describe(landscape)), "DATA": data.replace("</", "<\\/"),
        "LAST": str(len(shown) - 1), "SIZE": f"0 0 {WIDTH} {HEIGHT}",
        "GROUND": _ground(landscape), "PATHS": "\n".join(map(_path, runs)),
        "ROWS": "\n".join(map(_row, runs)),
    }.items():
        text = text.replace("{{" + place + "}}", content)
    write_atomic(path, text)


def _to_page(landscape: Landscape, points: Any) -> list[list[float]]:
    """Points (n, 2) as places in the drawing, y downwards; far ones are moved nearer."""
    left, right, bottom, top = landscape.window
    scale = np.array([WIDTH / (right - left), HEIGHT / (bottom - top)])
    pixels = (np.asarray(points)[:, :2] - [left, top]) * scale
    pixels = np.clip(np.nan_to_num(pixels, nan=-9999), -9999, 9999)  # JSON has no nan
    return pixels.round(1).tolist()  # type: ignore[no-any-return]


def _polyline(points: list[list[float]], style: str) -> str:
    return f'<polyline points="{" ".join(f"{x:g},{y:g}" for x, y in points)}" {style}/>'


def _ground(landscape: Landscape) -> str:
    """Contours, start and minima as SVG; matplotlib finds the lines."""
    _, (panel,) = new_figure(1, 1, (4, 3))
    levels = draw_ground(panel, landscape).allsegs
    fade = [f'stroke-opacity="{1 - 0.7 * i / len(levels):.2f}"' for i in range(len(levels))]
    drawn = [_polyline(_to_page(landscape, line), fade[i])
             for i, lines in enumerate(levels) for line in lines]
    ((x, y),) = _to_page(landscape, [landscape.start])
    drawn.append(f'<circle cx="{x}" cy="{y}" r="8" class="start"/>')
    drawn += [f'<text x="{x}" y="{y}" class="star">★</text>'
              for x, y in _to_page(landscape, np.reshape(landscape.minima, (-1, 2)))]
    return "\n".join(drawn)


def _line(run: dict[str, Any], points: list[list[float]]) -> str:
    return _polyline(points, f'stroke="{run["color"]}" stroke-dasharray="{run["dashes"]}"')


def _path(run: dict[str, Any]) -> str:
    x, y = run["points"][-1]
    line = _line(run, run["points"])
    return f'<g class="run">{line}<circle cx="{x}" cy="{y}" r="6" fill="{run["color"]}"/></g>'


def _row(run: dict[str, Any]) -> str:
    swatch = _line(run, [[0, 5], [28, 5]])
    name = f'<svg class="swatch run">{swatch}</svg> {html.escape(run["name"])}'
    return (f'<tr><td><label><input type="checkbox" checked> {name}</label></td>'
            f'<td>{run["losses"][-1]}</td></tr>')
