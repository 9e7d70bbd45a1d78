"""Paths over contours, as a picture and a GIF: real paths, no display."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tests.optim.test_proving_ground import RACERS
from tinynet.optim.landscapes import bowl, saddle, sampled, trace
from tinynet.viz import Panel, plot_panels, plot_paths, race_gif
from tinynet.viz.canvas import PALETTE
from tinynet.viz.landscape import STAR

Paths = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def paths() -> Paths:
    """Every optimizer on a valley, made by the optimizers themselves."""
    return {name: trace(make, bowl(10), (1, 1), 300) for name, make in RACERS.items()}


def test_A2_the_drawn_paths_end_in_the_pit(tmp_path: Path, paths: Paths,
                                           figures: list[Figure]) -> None:
    plot_paths(bowl(10), paths, tmp_path / "new" / "bowl.png")
    (panel,) = figures[0].axes
    assert panel.get_title(loc="left") == "bowl, k = 10; cond(Hessian) = 10"  # A3
    drawn = {str(line.get_label()).partition(":")[0]: line for line in panel.get_lines()}
    for name, path in paths.items():
        x, y = (np.asarray(values) for values in drawn[name].get_data())
        np.testing.assert_array_equal(np.stack([x, y], axis=1), path)
        assert np.hypot(x[-1], y[-1]) < 1e-3, f"{name} ends at {x[-1]}, {y[-1]}"
    assert (tmp_path / "new" / "bowl.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_legend_says_when_a_path_left_the_picture(tmp_path: Path,
                                                      figures: list[Figure]) -> None:
    away = trace(RACERS["gd"], saddle, saddle.start, 60)
    plot_paths(saddle, {"gd": away}, tmp_path / "saddle.png", title="a title")
    label = [str(line.get_label()) for line in figures[0].axes[0].get_lines()]
    step = next(t for t, (_, y) in enumerate(away) if abs(y) > 1.2)
    assert f"gd: out at step {step}" in label
    assert figures[0].axes[0].get_title(loc="left") == "a title"


def test_the_race_is_an_animated_picture(tmp_path: Path, paths: Paths) -> None:
    race_gif(bowl(10), paths, tmp_path / "new" / "race.gif", frames=10, fps=20)
    with Image.open(tmp_path / "new" / "race.gif") as gif:
        assert gif.format == "GIF" and gif.n_frames == 11 and gif.info["loop"] == 0  # type: ignore[attr-defined]
        assert gif.info["duration"] == 50
        first = np.asarray(gif.convert("RGB"), dtype=int)
        gif.seek(10)
        last = np.asarray(gif.convert("RGB"), dtype=int)
    for colour in (*PALETTE, STAR):  # also those of a line that others cover at the end
        exact = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
        assert (np.abs(last - exact).sum(axis=-1) < 10).any(), colour
    moved = (np.abs(first - last).sum(axis=-1) > 60).mean()
    assert 0.002 < moved < 0.2  # lines have grown, the ground is the same


def test_a_race_without_paths_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="paths is empty"):
        race_gif(bowl(10), {}, tmp_path / "x.gif")


@pytest.mark.parametrize("draw", [plot_paths, race_gif])
def test_what_cannot_be_drawn_is_named(tmp_path: Path, draw: Any) -> None:
    with pytest.raises(ValueError, match=r"paths\['gd'\] has shape \(3,\): a path is an array"):
        draw(bowl(10), {"gd": [1.0, 2.0, 3.0]}, tmp_path / "x.png")
    for ground in (sampled(10), lambda x: x.sum()):
        with pytest.raises(ValueError, match="over a Landscape of two coordinates"):
            draw(ground, {"gd": np.zeros((3, 1))}, tmp_path / "x.png")


def test_panels_draw_the_lines_that_they_are_given(tmp_path: Path, figures: list[Figure]) -> None:
    lines = {"a": ([1, 10], [1, 100]), "b": ([1, 10], [2, 3])}
    plot_panels([Panel(lines, "t", "x axis", "y axis", "xy"), Panel(lines, bottom=0, top=5),
                 Panel(lines, log="y")], tmp_path / "p.png", title="all")
    first, second, third, empty = figures[0].axes
    assert [list(line.get_ydata()) for line in first.get_lines()] == [[1, 100], [2, 3]]
    assert [line.get_label() for line in second.get_lines()] == ["a", "b"]
    assert (first.get_xscale(), first.get_yscale()) == ("log", "log")
    assert (second.get_yscale(), third.get_xscale(), third.get_yscale()) == ("linear", "linear",
                                                                             "log")
    assert (first.get_title(loc="left"), first.get_xlabel(), first.get_ylabel()) == \
        ("t", "x axis", "y axis")
    assert second.get_ylim() == (0, 5) and not empty.axison
    assert first.get_legend() and not second.get_legend()  # the same labels once, off the curves
