r"""A race of optimizers: their paths over the contours in motion, as a GIF.

It is made without a display. A page that runs them live, from where one clicks, is
`examples/lecture/optimizers.html`.

Read next: `viz/contact_sheet.py`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ..optim.landscapes import Landscape
from .canvas import PALETTE, drawn, look, new_figure
from .landscape import STAR, Paths, as_arrays, draw_ground


def moments(paths: Paths, frames: int) -> np.ndarray[Any, Any]:
    """The steps to show: at most `frames` after step 0, up to the end of the longest path.

    >>> moments({"a": np.zeros((5, 2)), "b": np.zeros((9, 2))}, frames=4).tolist()
    [0, 2, 4, 6, 8]
    """
    if not paths:
        raise ValueError("paths is empty: there is nobody to race")
    last = max(map(len, paths.values())) - 1
    return np.linspace(0, last, min(frames, last) + 1).round().astype(int)


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
