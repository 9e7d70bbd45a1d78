r"""The report card of a run: one page to read, keep or send, and its twin in Markdown.

    Trainer(model, optimizer, callbacks=[viz.ReportCard("runs/first", test)])
    python -m tinynet report runs/first          # again, from what the folder holds

A card tells what a folder knows of its run, and nothing else:

    history.json                  the curves, what the doctor of curves says of them, and
                                  the update ratio; the only file that must be there
    result.json                   what the script says of itself: settings, versions, accuracy
    layers.json                   the time of each layer in a training step
    confusion.png, mistakes.png   which class is taken for which; the surest mistakes

It becomes `report.html`, with everything inside, and `report.md`, which shows the
pictures that lie beside it.

Read next: `twins.py`.
"""

from __future__ import annotations

import copy
import json
import math
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import random, text
from ..data.dataset import Dataset
from ..files import write_atomic
from ..functional.activation import softmax
from ..nn.module import Module
from ..optim import SGD
from ..tensor import Tensor
from ..train.anatomy import trace
from ..train.callbacks import RATIO_HIGH, RATIO_LOW, Callback
from ..train.confusion import ConfusionMatrix, confusion_matrix, surest_mistakes
from ..train.history import History
from ..train.predict import answers, as_tensor
from ..tune.diagnose import diagnose
from .answers import plot_confusion, plot_predictions
from .curves import plot_history
from .page import image, picture, table, tag, write_page

HTML = "report.html"
MARKDOWN = "report.md"
LAYERS = "layers.json"
PICTURES = {  # file: what it shows
    "confusion.png": "Which class is taken for which",
    "mistakes.png": "The mistakes that the net is surest of",
}
_CURVES = {"loss": "loss", "val_accuracy": "accuracy", "lr": "lr", "update_ratio": "ratio"}
_WORST = 20  # pictures of mistakes


class Card(NamedTuple):
    """What a folder holds of its run."""

    folder: Path
    history: History
    result: Mapping[str, Any]
    layers: Sequence[Mapping[str, Any]]


def write_card(folder: str | os.PathLike[str], title: str = "") -> Path:
    """Write report.html and report.md into the run's folder; the page's path."""
    card = _read(Path(folder))
    title = " ".join((title or _title(card)).split())
    write_page(card.folder / HTML, title, _body(card))
    write_atomic(card.folder / MARKDOWN, _markdown(card, title))
    return card.folder / HTML


def _read(folder: Path) -> Card:
    found = folder / "history.json"
    if not found.is_file():
        raise FileNotFoundError(f"{folder} holds no run: there is no history.json in it, which "
                                "history.save() and examples/train_cifar10.py write")
    return Card(folder, History.load(found), _json(folder / "result.json", dict),
                _json(folder / LAYERS, list))


def _json(path: Path, kind: type) -> Any:
    """What the file holds; nothing if it is not there."""
    if not path.exists():
        return kind()
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    wanted = isinstance(value, kind)
    if kind is list:
        wanted = wanted and all(isinstance(row, dict) for row in value)
    if not wanted:
        raise ValueError(f"{path} should hold a {kind.__name__}, not {type(value).__name__}")
    return value


def _title(card: Card) -> str:
    model = card.result.get("model", "A net")
    data = card.result.get("dataset")
    return f"{model} on {data}" if data else str(model)


def _summary(card: Card) -> str:
    """How well it did, in one sentence."""
    done = text.counted(len(card.history.epochs.get("epoch", [])), "epoch")
    parts = []
    accuracy = card.result.get("test_accuracy")
    if isinstance(accuracy, int | float) and math.isfinite(accuracy):
        parts.append(f"{accuracy:.2%} right on {card.result.get('test_pictures', 'the')} "
                     "test pictures")
    if any(map(math.isfinite, card.history.epochs.get("val_accuracy", []))):
        epoch, best = card.history.best("val_accuracy")
        parts.append(f"best on the validation set: {best:.2%} in epoch {epoch}")
    spent = math.fsum(card.history.epochs.get("seconds", []))
    parts.append(f"{done} in {spent:.0f} s of training ({card.history.stopped or 'no end noted'})")
    return "; ".join(parts)


def _ratio(history: History) -> str:
    """Where the update ratio lay, against the lecture's 1e-3."""
    ratios = [r for r in history.ratios.get("update_ratio", []) if math.isfinite(r) and r > 0]
    if not ratios:
        return ""
    middle = statistics.median(ratios)
    if middle > RATIO_HIGH:
        verdict = "high: the learning rate may be too large"
    elif middle < RATIO_LOW:
        verdict = "low: the learning rate may be too small"
    else:
        verdict = "as it should be"
    return (f"A step changed the weights by {middle:.1e} of their size (median; between "
            f"{min(ratios):.1e} and {max(ratios):.1e}). About 1e-3 is usual: {verdict}.")


def _facts(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The settings as rows; what lies inside comes with its owner's name."""
    flat: dict[str, Any] = {}
    for name, value in result.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}: {inner}": x for inner, x in value.items()}
        elif isinstance(value, list) and all(isinstance(x, Mapping) for x in value):
            flat |= {f"{name}: {i}": ", ".join(f"{key} {x}" for key, x in row.items())
                     for i, row in enumerate(value, 1)}
        else:
            flat[name] = value
    return [{"what": name.replace("_", " "), "value": value} for name, value in flat.items()]


def _verdict(history: History) -> tuple[str, str, str]:
    """What the doctor of curves says: the verdict, why, and the advice."""
    try:
        found = diagnose(history)
    except ValueError as error:  # too short a run
        return "no verdict", str(error), ""
    return found.verdict, found.why, found.advice


def _panels(history: History) -> list[str]:
    """The panels of `plot_history` that have something to show."""
    held = {**history.steps, **history.epochs, **history.ratios}
    return [panel for column, panel in _CURVES.items() if column in held]


def _body(card: Card) -> list[str]:
    verdict, why, advice = _verdict(card.history)
    kind = "chosen" if verdict == "healthy" else "chosen doubt"
    body = [tag("p", escape(_summary(card)), kind), tag("h2", "Curves"),
            tag("p", f"{tag('b', escape(verdict))}: {escape(why)}.")]
    if advice:
        body.append(tag("p", escape(advice), "advice"))
    if ratio := _ratio(card.history):
        body.append(tag("p", escape(ratio)))
    body += [picture(name, plot_history(card.history, smooth=0.95, panels=[name]))
             for name in _panels(card.history)]
    for file, what in PICTURES.items():
        if (card.folder / file).exists():
            body += [tag("h2", escape(what)), image(what, (card.folder / file).read_bytes())]
    if card.layers:
        body += [tag("h2", "Time and memory of a training step, by layer"), table(card.layers)]
    if card.result:
        body += [tag("h2", "Settings and versions"), table(_facts(card.result), "facts")]
    return body


def _markdown(card: Card, title: str) -> str:
    verdict, why, advice = _verdict(card.history)
    doctor = f"**{verdict}**: {why}. {advice}".rstrip()
    lines = [f"# {title}", "", _summary(card), "", doctor, ""]
    if ratio := _ratio(card.history):
        lines += [ratio, ""]
    for file, what in {"curves.png": "Curves", **PICTURES}.items():
        if (card.folder / file).exists():
            lines += [f"## {what}", "", f"![{what}]({file})", ""]
    lines += ["## Epochs", "", "```", card.history.table(), "```", ""]
    if card.layers:
        rows = [list(card.layers[0]), *(list(row.values()) for row in card.layers)]
        lines += ["## Layers", "", "```", text.table(rows, align="llr", rules=[1]), "```", ""]
    if card.result:
        rows = [[row["what"], row["value"]] for row in _facts(card.result)]
        lines += ["## Settings and versions", "", "```", text.table(rows, align="ll"), "```", ""]
    return "\n".join(lines)


def draw_answers(labels: Any, scores: Any, test: Dataset, folder: str | os.PathLike[str]
                 ) -> ConfusionMatrix:
    """Draw confusion.png, and mistakes.png if there are any, from the net's scores (N, classes)."""
    out = Path(folder)
    confusion = confusion_matrix(labels, scores, test.classes)
    plot_confusion(confusion, out / "confusion.png")
    chances = softmax(Tensor(np.asarray(scores))).numpy()
    worst = surest_mistakes(labels, chances, _WORST)
    (out / "mistakes.png").unlink(missing_ok=True)  # of an earlier run
    if len(worst):
        plot_predictions(test.images[worst], chances[worst], test.classes, out / "mistakes.png",
                         labels=test.labels[worst], title=PICTURES["mistakes.png"])
    return confusion


def write_layers(model: Module, loss: Any, batch: tuple[Any, Any],
                 folder: str | os.PathLike[str]) -> None:
    """Write layers.json: the time of each layer in a training step on `batch`.

    A copy of the model takes the steps, with a rate of 0; the generator is put back.
    """
    before = random.get_state()
    twin = copy.deepcopy(model)
    twin.train()
    try:
        found = trace(twin, SGD(twin.parameters(), lr=0.0), loss, [batch], repeat=3)
    finally:
        random.set_state(before)
    rows = [{"part": row.name, "layer": row.layer, "kept KB": f"{row.kept / 1e3:,.0f}",
             "forward ms": f"{1e3 * row.forward:.2f}", "backward ms": f"{1e3 * row.backward:.2f}"}
            for row in [*found.rows, found.total]]
    write_atomic(Path(folder) / LAYERS, json.dumps(rows, indent=1) + "\n")


class ReportCard(Callback):
    """Ends a run, however it ended, with the card in `folder`.

    test:   a data set whose pictures the net is asked about in the end, for the mistakes
            and the confusion; None leaves these out
    prepare: what makes the net's input of the test's pictures (a loader's transform)
    facts:  more rows for the card's settings
    """

    only_watches = True
    writes_files = True

    def __init__(self, folder: str | os.PathLike[str], test: Dataset | None = None,
                 prepare: Any = None, facts: Mapping[str, Any] | None = None) -> None:
        self.folder = Path(folder)
        self.test = test
        self.prepare = prepare
        self.facts = json.loads(json.dumps(dict(facts or {}), default=str))
        self.batch: Any = None  # the first one, for the time of the layers

    def on_start(self, run: Any) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)  # before the work, not after it

    def on_step(self, run: Any) -> None:
        if self.batch is None:
            self.batch = run.batch

    def on_end(self, run: Any) -> None:
        if not run.history.steps:
            return
        for file in (*PICTURES, LAYERS):  # of an earlier run
            (self.folder / file).unlink(missing_ok=True)
        run.history.save(self.folder / "history.json")
        facts = {"model": type(run.model).__name__, "parameters": run.model.num_parameters(),
                 "optimizer": repr(run.optimizer), "steps": run.step,
                 "stopped": run.history.stopped, **self.facts}
        if self.test is not None and run.history.stopped != "error":
            facts |= self._ask(run.model, self.test)
        facts["versions"] = {"python": platform.python_version(), "numpy": np.__version__}
        write_atomic(self.folder / "result.json", json.dumps(facts, indent=2) + "\n")
        if self.batch is not None and run.history.stopped != "error":
            write_layers(run.model, run.loss, self.batch, self.folder)
        plot_history(run.history, self.folder / "curves.png", smooth=0.95)
        run.say(f"the report card is {write_card(self.folder)}")

    def _ask(self, model: Module, test: Dataset) -> dict[str, Any]:
        """What the net says of the test's pictures."""
        pictures = test.images if self.prepare is None else self.prepare(test.images)
        scores = answers(model, pictures, 256, lambda batch: model(as_tensor(batch)).data,
                         "ReportCard")
        confusion = draw_answers(test.labels, scores, test, self.folder)
        return {"test_pictures": len(test), "test_accuracy": float(confusion.accuracy)}
