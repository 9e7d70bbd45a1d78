"""The report card of a run: all that its folder knows, on one page that loads nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.viz.test_report import Page
from tinynet import data, nn, optim, viz
from tinynet.__main__ import main
from tinynet.train import Callback, History, Trainer


def trained(folder: Path, callbacks: list[Callback], card: bool = True) -> Trainer:
    tn.manual_seed(0)
    training, test = data.load_shapes(train=128, test=40)
    normalise = data.Normalize(*data.channel_statistics(training.images))
    loader = data.DataLoader(training.images, training.labels, 32, transform=normalise)
    held = data.DataLoader(test.images, test.labels, 40, transform=normalise, shuffle=False)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
                        nn.MaxPool2d(4), nn.Flatten(), nn.Dropout(0.2), nn.Linear(256, 10))
    if card:
        callbacks = [viz.ReportCard(folder, test, normalise, {"model": "a <small> net"}),
                     *callbacks]
    trainer = Trainer(net, optim.Adam(net.parameters(), lr=1e-3), progress=False, log_every=2,
                      callbacks=callbacks)
    trainer.fit(loader, held, 2)
    return trainer


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trainer]:
    folder = tmp_path_factory.mktemp("runs") / "first"
    return folder, trained(folder, [])


def test_the_page_holds_curves_answers_layers_and_settings(run: tuple[Path, Trainer]) -> None:
    folder, trainer = run
    page = Page((folder / "report.html").read_text())
    alone = [value for name, value in page.attributes if name in ("src", "href")]
    assert len(alone) == 6 and all(x.startswith("data:image/png;base64,") for x in alone)
    accuracy = json.loads((folder / "result.json").read_text())["test_accuracy"]
    assert f"{accuracy:.2%} right on 40 test pictures" in page.text
    for word in ("Curves", "Which class is taken for which", "surest of", "BatchNorm2d",
                 "a <small> net", "Adam(", "numpy", "2 epochs in"):
        assert word in page.text, word
    middle = np.median(trainer.history.ratios["update_ratio"])
    assert f"A step changed the weights by {middle:.1e} of their size" in page.text


def test_the_markdown_twin_says_the_same_and_shows_pictures_that_are_there(
        run: tuple[Path, Trainer]) -> None:
    folder, trainer = run
    text = (folder / "report.md").read_text()
    shown = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert shown == ["curves.png", "confusion.png", "mistakes.png"]
    assert all((folder / name).read_bytes().startswith(b"\x89PNG") for name in shown)
    assert trainer.history.table() in text


def test_the_layers_are_timed_without_touching_the_run(run: tuple[Path, Trainer],
                                                       tmp_path: Path) -> None:
    folder, with_card = run
    rows = json.loads((folder / "layers.json").read_text())
    layers = [row["layer"] for row in rows if row["part"].isdigit()]
    assert layers == ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d", "Flatten", "Dropout", "Linear"]
    again = trained(tmp_path, [], card=False)
    state = tn.random.get_state()
    viz.write_layers(again.model, again.loss, (np.zeros((2, 3, 32, 32), "f4"), [0, 1]), tmp_path)
    assert tn.random.get_state() == state
    for a, b in zip(with_card.model.state_dict().values(), again.model.state_dict().values(),
                    strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_command_writes_it_again_from_the_folder(run: tuple[Path, Trainer], tmp_path: Path,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    folder, trainer = run
    before = (folder / "report.md").read_text()
    (folder / "report.md").unlink()
    assert main(["report", str(folder)]) == 0
    assert (folder / "report.md").read_text() == before
    trainer.history.save(tmp_path / "history.json")  # the curves alone are a card, too
    assert main(["report", str(tmp_path), "--title", "Mine & yours"]) == 0
    assert "Mine &amp; yours" in (tmp_path / "report.html").read_text()
    assert "Settings" not in (tmp_path / "report.md").read_text()
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert "there is no history.json in it" in capsys.readouterr().err


@pytest.mark.parametrize(("file", "content", "said"), [
    ("result.json", "[1]", "result.json should hold a dict, not list"),
    ("layers.json", "[1]", "layers.json should hold a list"),
    ("result.json", "{", "result.json is not JSON"),
    ("history.json", "{}", "no history of tinynet"),
])
def test_a_damaged_file_is_named(run: tuple[Path, Trainer], file: str, content: str, said: str,
                                 tmp_path: Path) -> None:
    run[1].history.save(tmp_path / "history.json")
    (tmp_path / file).write_text(content)
    with pytest.raises(ValueError, match=said):
        viz.write_card(tmp_path)
    assert not (tmp_path / "report.html").exists()


class Fail(Callback):
    def on_epoch(self, trainer: Any) -> None:
        raise ArithmeticError("enough")


def test_a_run_that_fails_leaves_the_card_of_what_it_did_alone(tmp_path: Path) -> None:
    for name in ("confusion.png", "mistakes.png", "layers.json"):  # of an earlier run
        (tmp_path / name).write_bytes(b"[]")
    with pytest.raises(ArithmeticError, match="enough"):
        trained(tmp_path, [Fail()])
    assert "(error)" in (tmp_path / "report.md").read_text()
    assert not (tmp_path / "confusion.png").exists()
    assert not (tmp_path / "layers.json").exists()


def test_facts_are_written_whatever_they_are_and_a_bad_folder_is_told_at_the_start(
        tmp_path: Path) -> None:
    card = viz.ReportCard(tmp_path, facts={"rate": np.float32(0.5), "from": tmp_path})
    assert card.facts == {"rate": "0.5", "from": str(tmp_path)}
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        viz.ReportCard(tmp_path / "file").on_start(None)


def test_mistakes_of_an_earlier_run_do_not_stay(tmp_path: Path) -> None:
    (tmp_path / "mistakes.png").write_bytes(b"old")
    _, test = data.load_shapes(train=20, test=20)
    sure = np.eye(len(test.classes))[test.labels] * 9
    assert viz.draw_answers(test.labels, sure, test, tmp_path).accuracy == 1
    assert not (tmp_path / "mistakes.png").exists()


def test_a_ratio_that_is_too_high_or_low_is_told(tmp_path: Path) -> None:
    for ratio, verdict in ((0.1, "too large"), (1e-6, "too small"), (1e-3, "as it should be")):
        history = History()
        for step in range(12):
            history.add("steps", step=step, loss=1.0 / (step + 1), lr=0.1)
            history.add("ratios", step=step, update_ratio=ratio)
        history.save(tmp_path / "history.json")
        viz.write_card(tmp_path)
        assert verdict in (tmp_path / "report.md").read_text()


def test_a_run_that_is_too_short_for_a_verdict_has_a_card(tmp_path: Path) -> None:
    history = History()
    history.add("steps", step=0, loss=1.0, lr=0.1)
    history.save(tmp_path / "history.json")
    viz.write_card(tmp_path)
    assert "no verdict" in (tmp_path / "report.md").read_text()
