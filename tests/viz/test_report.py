"""The recipe's report and the picture of searches: complete, self-contained, true to the run."""

from __future__ import annotations

import base64
import io
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tests.tune.problem import problem
from tinynet.tune import LogUniform, Search, Trial, grid, recipe
from tinynet.viz import plot_searches, write_report

_VOID = {"meta", "img"}


class Page(HTMLParser):
    """Checks that tags close in order, and collects attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)
        assert not self.open, f"{self.open} are not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[recipe.Found, Path, list[int]]:
    """A whole run, its report, and the sections that the report had after each step."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    sections: list[int] = []

    def report(found: recipe.Found) -> None:
        write_report(found, path, "Points <in> space")
        sections.append(path.read_text().count("<h2>"))

    found = recipe.run(**problem(n=640), coarse_epochs=1, fine_epochs=4, fine_trials=3, rounds=1,
                       report=report)
    return found, path, sections


def test_H7_the_report_grows_with_every_step(run: tuple[recipe.Found, Path, list[int]]) -> None:
    assert run[2] == [1, 2, 3, 4, 5, 6, 7]


def test_H7_the_report_holds_everything_and_loads_nothing(
        run: tuple[recipe.Found, Path, list[int]]) -> None:
    found, path, _ = run
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    for step in found.steps:
        assert f"Step {step.number}: {step.title}" in page.text
        assert step.said in page.text and step.advice in page.text
        assert recipe.WHY[step.number] in page.text
    assert found.best is not None and f"{found.best.score:.4g}" in page.text
    assert "Points <in> space" in page.text  # and not as a tag
    pictures = [value for name, value in page.attributes if name == "src"]
    assert len(pictures) == 9  # 2 of step 2, 1 of 3, 2 of 5 (where, and the curves), 4 of 6
    for picture in pictures:
        kind, _, data = picture.partition(",")
        assert kind == "data:image/png;base64"
        image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
        assert image.format == "PNG"
        letters = 10 / 72 * 180  # pixels of the usual text, of 10 points
        assert letters * min(1.0, 328 / image.width) >= 8.5  # on a phone 360 pixels wide
    without = re.sub(r"base64,[^']*", "", text)
    assert not re.search(r"https?:|//|<script|<link|@import|url\(", without)
    assert len(without) < 20_000
    grid_scores = [row["score"] for row in found.steps[3].data["trials"]]
    assert all(f">{score:.4g}</td>" in text for score in grid_scores)


def test_H7_the_report_of_a_fault_says_it_first(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    found = recipe.run(**problem(0, "lr x 1000"), report=lambda found: write_report(found, path))
    page = Page(path.read_text(encoding="utf-8"))
    assert "Stopped at step 2: lr too high." in page.text
    assert page.text.index(found.steps[-1].advice) < page.text.index("Step 1")
    assert "mend this first" in page.text


def test_a_report_of_trials_that_all_failed(tmp_path: Path) -> None:
    p = problem(n=320)
    setup = recipe.Setup(p["model"], p["optimizer"], p["train_loader"], p["val_loader"])
    coarse, found = recipe.coarse_grid(setup, [1e18, 1e19], decays=(0.0,), epochs=1)
    assert all(math.isnan(t.score) for t in found.trials) and coarse.fault == "nothing learned"
    fine, _ = recipe.refine(setup, {"lr": LogUniform(1e18, 1e19),
                                    "weight_decay": LogUniform(1e-6, 1e-5)}, trials=2, epochs=1)
    history = recipe.History.from_dict(found.best.extra["history"])
    curves = recipe.read_curves(history)
    assert curves.fault == "diverging"
    write_report(recipe.Found([coarse, fine, curves]), tmp_path / "report.html")
    assert "nan" in Page((tmp_path / "report.html").read_text()).text


def test_without_a_trial_above_guessing_the_headline_is_amber_and_gives_step_3s_rate(
        tmp_path: Path) -> None:
    """One of twelve trials had time, and it learned nothing: its rate is no advice."""
    steps = [recipe.Step(n, "a step", "said") for n in (1, 2)]
    steps += [recipe.Step(3, "learning rates", "said", numbers={"lr": 0.001}),
              recipe.Step(4, "coarse grid", "said", "warning", "nothing learned")]
    found = recipe.Found(steps, None, "the budget was used up")
    write_report(found, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<p class='chosen doubt'><b>No setting is better than guessing yet" in text
    assert "Step 3 learned most with lr = 0.001" in text


def test_the_recipe_tries_step_3s_rate_first_and_chooses_none_that_learned_nothing() -> None:
    p = problem(n=320)
    tried: list[float] = []
    found = recipe.run(**p, coarse_epochs=1, fine_epochs=4, fine_trials=1, rounds=1,
                       on_trial=lambda trial: tried.append(trial.config["lr"]))
    best = found.first_rate
    assert best is not None and tried[:3] == [best] * 3 and set(tried[3:6]) == {
        float(f"{best * 10**0.5:.3g}")}
    setup = recipe.Setup(p["model"], p["optimizer"], p["train_loader"], p["val_loader"],
                         metric=lambda scores, labels: 0 * labels.sum())
    step, _ = recipe.coarse_grid(setup, [best], decays=(0.0,), epochs=1)
    assert step.fault == "nothing learned"


def searches() -> dict[str, Search]:
    axes = {"lr": [1e-3, 1e-2, 1e-1], "decay": [1e-6, 1e-5, 1e-4]}
    on_grid = [Trial(i, c, -abs(math.log10(c["lr"]) + 1.5), 0.0) for i, c in enumerate(grid(axes))]
    space = {"lr": LogUniform(1e-3, 1e-1), "decay": LogUniform(1e-6, 1e-4)}
    at_random = [Trial(i, {n: s.at((i * m % 9 + 0.5) / 9) for (n, s), m in
                           zip(space.items(), (1, 4), strict=True)}, i / 9, 0.0) for i in range(8)]
    return {"grid": Search(on_grid), "random": Search(
        [*at_random, Trial(8, {"lr": 0.05, "decay": 2e-5}, math.nan, 0.0)], space)}


def test_H8_the_picture_shows_every_trial_and_both_marginals(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[Figure] = []
    savefig = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (saved.append(self),
                                                                  savefig(self, *a, **k))[1])
    found = searches()
    truth = Search([Trial(0, {"lr": 1e-3, "decay": 1e-5}, 0.1, 0.0),
                    Trial(1, {"lr": 1e-1, "decay": 1e-5}, 0.9, 0.0)])
    plot_searches(found, tmp_path / "search.png", "lr", "decay", truth=truth, title="a title")
    assert (tmp_path / "search.png").read_bytes()[:4] == b"\x89PNG"
    for square, (name, search) in zip(saved[0].axes, found.items(), strict=True):
        above, beside = square.child_axes
        good = [t for t in search.trials if math.isfinite(t.score)]
        dots = square.collections[0].get_offsets()
        np.testing.assert_allclose(dots, [(t.config["lr"], t.config["decay"]) for t in good])
        np.testing.assert_allclose(above.collections[0].get_offsets(),
                                   [(t.config["lr"], t.score) for t in good])
        np.testing.assert_allclose(beside.collections[0].get_offsets(),
                                   [(t.score, t.config["decay"]) for t in good])
        assert square.get_xscale() == above.get_xscale() == "log" == beside.get_yscale()
        assert above.get_xlim() == square.get_xlim() and beside.get_ylim() == square.get_ylim()
        values = "3 values of lr, 3 of decay" if name == "grid" else "9 values of lr, 9 of decay"
        assert values in above.get_title(loc="left")
    with pytest.raises(ValueError, match="every search needs at least one"):
        plot_searches({"grid": Search([])}, tmp_path / "x.png", "lr", "decay")


def test_linear_axes_and_a_single_value(tmp_path: Path) -> None:
    trials: list[Any] = [Trial(i, {"x": i, "y": 0.5}, 1.0, 0.0) for i in range(3)]
    plot_searches({"line": Search(trials)}, tmp_path / "line.svg", "x", "y")
    assert (tmp_path / "line.svg").stat().st_size > 1000


@pytest.mark.parametrize("odd", [1.7e308, -1e300, math.inf, math.nan])
def test_a_score_that_no_axis_holds_is_drawn_as_a_failed_trial(odd: float, tmp_path: Path) -> None:
    scores = (0.5, odd, 1.0)
    found = Search([Trial(i, {"x": i, "y": 0.5}, s, 0.0) for i, s in enumerate(scores)])
    none = Search([Trial(i, {"x": i, "y": 0.5}, odd, 0.0) for i in range(2)])
    plot_searches({"some": found, "all": none}, tmp_path / "odd.png", "x", "y", truth=found)
    assert (tmp_path / "odd.png").stat().st_size > 1000
