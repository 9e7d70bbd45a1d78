"""One look for all thirty figures: colours, captions, small files.

A function that makes a figure returns a `Picture`: what is drawn, the settings that its caption
must say, and the numbers behind it, which the tests check.
"""

from __future__ import annotations

import io
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from tinynet import train
from tinynet.viz import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which stay apart for colour-blind readers; one meaning each.
BLUE, RED, GREEN, PINK, ORANGE, SKY, BLACK = canvas.PALETTE
GREY = canvas.QUIET
# The lecture's pit is red and its heights are blue: a map that colour-blind readers can read.
HEIGHTS = "RdYlBu"
SEED = 0
DPI = 100

Numbers = dict[str, Any]


class Picture(NamedTuple):
    """A figure, what its caption says (settings), and its numbers.

    `photo`: it holds photographs, which need all colours that a small file can have.
    """

    figure: Figure
    caption: str
    numbers: Numbers
    photo: bool = False


def sheet(rows: int = 1, columns: int = 1, size: tuple[float, float] = (6.2, 3.7)
          ) -> tuple[Figure, list[Axes]]:
    """An empty figure of `size` inches and its panels, row by row."""
    return canvas.new_figure(rows, columns, size)


def bare(panel: Axes) -> None:
    """No axes: for drawings and photographs."""
    panel.grid(False)
    panel.set_xticks([])
    panel.set_yticks([])
    panel.spines[:].set_visible(False)


def title(panel: Axes, text: str) -> None:
    panel.set_title(text, loc="left", fontsize=10.5, fontweight="bold")


def legend(panel: Axes, **where: Any) -> None:
    panel.legend(fontsize=8.5, framealpha=0.85, edgecolor="none", **where)


def arrow(panel: Axes, start: Any, end: Any, color: str, width: float = 2.2,
          edge: str = "white") -> None:
    """An arrow between two points of the panel, with an edge so that it is seen anywhere."""
    from matplotlib.patheffects import Normal, Stroke

    panel.annotate("", xy=tuple(end), xytext=tuple(start), zorder=6, arrowprops={
        "arrowstyle": "-|>", "color": color, "linewidth": width, "mutation_scale": 16,
        "shrinkA": 0, "shrinkB": 0,
        "path_effects": [Stroke(linewidth=width + 2, foreground=edge), Normal()]})


def say(panel: Axes, x: float, y: float, text: str, color: str = BLACK, **more: Any) -> None:
    """A word on the picture, with a white edge so that it can be read anywhere."""
    from matplotlib.patheffects import Normal, Stroke

    panel.text(x, y, text, color=color, zorder=9, path_effects=[
        Stroke(linewidth=3, foreground="white"), Normal()],
        **{"fontsize": 9.5, "fontweight": "bold"} | more)


def save(picture: Picture, path: Path, command: str) -> None:
    """Write the figure with its caption: the command that makes it, then its settings."""
    letters = int(20 * picture.figure.get_size_inches()[0])  # that fit into a line
    text = f"{command}   seed {SEED}\n{textwrap.fill(picture.caption, letters)}"
    picture.figure.supxlabel(canvas.drawn(text), x=0.012, ha="left", fontsize=7,
                             color="#555555", linespacing=1.35)
    file = io.BytesIO()
    picture.figure.savefig(file, format="png", dpi=DPI)
    train.write_atomic(path, smaller(file.getvalue(), picture.photo))


def smaller(png: bytes, photo: bool) -> bytes:
    """The same picture with at most 256 colours, ours among them: a third of the size."""
    colours = Image.open(io.BytesIO(png)).convert("RGB")
    few = colours.quantize(224 if photo else 112).getpalette() or []
    few = [255 if value > 249 else value for value in few]  # paper is white
    ours = [int(colour[i : i + 2], 16) for colour in ("#FFFFFF", *canvas.PALETTE)
            for i in (1, 3, 5)]
    palette = Image.new("P", (1, 1))
    palette.putpalette(few + ours)
    dither = Image.Dither.FLOYDSTEINBERG if photo else Image.Dither.NONE
    file = io.BytesIO()
    colours.quantize(palette=palette, dither=dither).save(file, format="png", optimize=True)
    return file.getvalue()
