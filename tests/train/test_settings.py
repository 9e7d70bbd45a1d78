"""A resumed run says what differs from the run of its checkpoint, and which value is used."""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.train.toy import batches
from tinynet import data, functional as F, nn, optim, random
from tinynet.optim.schedule import constant, cosine
from tinynet.train import Checkpoints, ClipGradients, Trainer, WeightAveraging
from tinynet.train.settings import describe, differences

POINTS = np.random.default_rng(0).standard_normal((24, 2)).astype("float32")
LABELS = np.arange(24) % 3


class Own(nn.Module):
    """A layer of one's own, with an activation that is an attribute."""

    def __init__(self, activation: Callable[[Any], Any] = F.relu) -> None:
        self.activation = activation

    def forward(self, x: Any) -> Any:
        return self.activation(x)


def doubled(images: Any, keys: Any) -> Any:
    return images * 2.0


def tripled(images: Any, keys: Any) -> Any:
    return images * 3.0


class Shift:
    def __init__(self, by: float) -> None:
        self.by = by

    def __call__(self, images: Any, keys: Any) -> Any:
        return images + self.by


def run(folder: Path, resume: bool, *, p: float = 0.1, layer: Any = None, points: Any = POINTS,
        labels: Any = LABELS, transform: Any = doubled, loss: Any = F.cross_entropy,
        progress: bool = False, clip: float | None = 9.0, val: Any = None, optimizer: Any = None,
        decay: float | None = None, freeze: bool = False, loader: Any = None,
        **options: Any) -> Trainer:
    random.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), layer or nn.ReLU(), nn.Dropout(p), nn.Linear(8, 3))
    make = optimizer or optim.SGD
    options = {"lr": 0.1, "momentum": 0.9, **options} if make is optim.SGD else options
    model[0].requires_grad_(not freeze)
    callbacks: list[Any] = [Checkpoints(folder)]
    if clip is not None:
        callbacks.append(ClipGradients(norm=clip))
    if decay is not None:
        callbacks.append(WeightAveraging(optim.EMA(model.named_parameters(), decay)))
    trainer = Trainer(model, make(model.named_parameters(), **options), loss, progress=progress,
                      callbacks=callbacks)
    if loader is None:
        loader = data.DataLoader(points, labels, 8, transform=transform)
    trainer.fit(loader, val, epochs=2 if resume else 1, resume=folder if resume else None)
    return trainer


CHECKPOINT, HERE = "the checkpoint's is used", "this run's is used"


@pytest.mark.parametrize("change, line, whose", [
    ({"lr": 0.01}, "lr: 0.1 in the checkpoint, 0.01 here", CHECKPOINT),
    ({"momentum": 0.5}, "momentum: 0.9 in the checkpoint, 0.5 here", CHECKPOINT),
    ({"weight_decay": 0.1}, "weight_decay: 0.0 in the checkpoint, 0.1 here", CHECKPOINT),
    ({"lr": cosine(0.1, 9)}, r"lr: 0.1 in the checkpoint, cosine\(0.1, T=9\) here", HERE),
    ({"p": 0.3}, r"layer '2': Dropout\(.*0.1.* in the checkpoint, .*0.3.* here", HERE),
    ({"layer": nn.GELU()}, r"layer '1': ReLU\(.*\) in the checkpoint, GELU\(.*\) here", HERE),
    ({"points": POINTS[::-1].copy()}, r"data of the training loader: .*float32 \(24, 2\)", HERE),
    ({"labels": LABELS[::-1].copy()}, r"data of the training loader: .*int64 \(24,\)", HERE),
    ({"transform": tripled}, "transform of the training loader: doubled .*, tripled .*", HERE),
    ({"transform": Shift(1.0)}, r"transform .*: doubled .*, Shift\(by=1.0\) here", HERE),
    ({"loss": functools.partial(F.cross_entropy, label_smoothing=0.1)},
     r"loss: cross_entropy in the checkpoint, partial\(cross_entropy, .*0.1}\) here", HERE),
    ({"loss": lambda outputs, labels: 2.0 * F.cross_entropy(outputs, labels)},
     "loss: cross_entropy in the checkpoint, .* here", HERE),
    ({"clip": 1.0}, "callback ClipGradients: .*norm=9.0.* in the checkpoint, .*norm=1.0", HERE),
], ids=["lr", "momentum", "weight decay", "schedule", "dropout", "activation", "pictures", "labels",
        "transform", "object", "partial", "lambda", "callback"])
def test_what_differs_is_said_with_the_value_that_is_used(
        change: dict[str, Any], line: str, whose: str, tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, False)
    capsys.readouterr()
    run(tmp_path, True, progress=True, **change)
    lines = [found for found in capsys.readouterr().out.splitlines() if found.startswith("  ")]
    assert len(lines) == 1, lines

    assert re.search(f"{line}.*; {whose}$", lines[0]), lines[0]


class OwnLoader:
    """A loader of one's own: batches of what it was made with, and a count of its epochs."""

    def __init__(self, points: Any, labels: Any) -> None:
        self.points = points
        self.labels = labels
        self.epochs = 0

    def __iter__(self) -> Any:
        self.epochs += 1
        return iter([(self.points[i : i + 8], self.labels[i : i + 8]) for i in (0, 8, 16)])


class OwnSet:
    """A data set of one's own."""

    def __init__(self, root: str, points: Any) -> None:
        self.root = root
        self.points = points

    def __getitem__(self, i: int) -> Any:
        return self.points[i]


class SetLoader:
    """A loader of one's own with a data set inside, and slots."""

    def __init__(self, dataset: Any, size: int = 8) -> None:
        self.dataset = dataset
        self.size = size

    def __iter__(self) -> Any:
        for i in range(0, 24, self.size):
            yield self.dataset[slice(i, i + self.size)], LABELS[i : i + self.size]

    def __len__(self) -> int:
        return 24 // self.size


OTHERS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"decay": 0.9}, {"decay": 0.5},
     r"callback WeightAveraging: .*EMA\(decay=0.9.* in the checkpoint, .*decay=0.5.* here"),
    ({"clip": None}, {}, r"callback ClipGradients: none in the checkpoint, .*norm=9.0.* here"),
    ({}, {"clip": None}, r"callback ClipGradients: .*norm=9.0.* in the checkpoint, none here"),
    ({}, {"freeze": True}, r"frozen parameters: \[\] in the checkpoint, \['0.weight', '0.bias'\]"),
    ({"loader": OwnLoader(POINTS, LABELS)}, {"loader": OwnLoader(POINTS + 1, LABELS)},
     r"data of the training loader: OwnLoader\(points=float32 .*, OwnLoader\("),
    ({"loader": SetLoader(OwnSet("a", POINTS))}, {"loader": SetLoader(OwnSet("b", POINTS))},
     r"data of the training loader: SetLoader\(dataset=OwnSet\(root='a'.*root='b'"),
    ({"loader": SetLoader(OwnSet("a", POINTS))}, {"loader": SetLoader(OwnSet("a", POINTS * 2))},
     r"data of the training loader: SetLoader\(dataset=OwnSet\(root='a', points=.*"),
]


@pytest.mark.parametrize("before, after, line", OTHERS, ids=[
    "decay of an average", "callback added", "callback removed", "parameter frozen",
    "own loader", "own data set", "pictures of an own data set"])
def test_what_stands_in_other_objects_is_compared(
        before: dict[str, Any], after: dict[str, Any], line: str, tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path / "same", False, **before)
    run(tmp_path / "same", True, **before)  # a warning would be an error
    run(tmp_path / "other", False, **before)
    capsys.readouterr()
    run(tmp_path / "other", True, progress=True, **after)
    lines = [found for found in capsys.readouterr().out.splitlines() if found.startswith("  ")]
    assert len(lines) == 1 and re.search(line, lines[0]), lines


def test_the_value_that_is_said_to_be_used_is_used(tmp_path: Path) -> None:
    run(tmp_path, False)
    with pytest.warns(RuntimeWarning, match="resumed with other settings") as told:
        trainer = run(tmp_path, True, lr=0.01, p=0.4)
    text = str(told[0].message)
    assert len(text.splitlines()) == 3 and HERE in text and CHECKPOINT in text
    assert trainer.optimizer.param_groups[0]["lr"] == 0.1
    assert trainer.history.steps["lr"] == [0.1] * 6
    assert trainer.model[2].p == 0.4  # type: ignore[index]


@pytest.mark.parametrize("options", [
    {}, {"layer": Own()}, {"loss": lambda outputs, labels: F.cross_entropy(outputs, labels)},
    {"transform": Shift(2.0)}, {"lr": constant(0.1)},
    {"optimizer": functools.partial(optim.Adam, lr=0.01)},
    {"val": batches(9)},
], ids=["plain", "own layer", "lambda", "object", "schedule", "Adam", "list"])
def test_nothing_is_said_of_a_run_that_is_the_same(options: Any, tmp_path: Path) -> None:
    run(tmp_path, False, **options)
    run(tmp_path, True, **options)  # a warning would be an error


def test_an_activation_of_a_layer_of_ones_own_is_compared(tmp_path: Path) -> None:
    run(tmp_path, False, layer=Own(F.relu))
    with pytest.warns(RuntimeWarning, match=r"layer '1': Own\(activation=relu\).* in the "
                                            r"checkpoint, Own\(activation=gelu\).* here"):
        run(tmp_path, True, layer=Own(F.gelu))


def test_forwards_of_ones_own_are_compared_by_what_their_code_says() -> None:
    class Net(nn.Module):
        """A net."""

        def forward(self, x: Any) -> Any:
            """Its text does not count."""
            return F.relu(x) * 2

    def forward(self: Any, x: Any) -> Any:
        return F.relu(x) * 2

    def other(self: Any, x: Any) -> Any:
        return F.gelu(x) * 2

    first = describe(Net.forward).split()[1]
    assert first == describe(forward).split()[1] != describe(other).split()[1]


def test_a_checkpoint_without_settings_is_taken_as_it_is() -> None:
    assert differences({}, {"lr": "0.1"}, {"lr": "0.1"}) == []


def test_arrays_are_told_apart_by_a_number_and_very_large_ones_by_rows(
        monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.zeros((50, 100), "float32")
    y = x.copy()
    y[17, 3] = 1e-30
    assert describe(x) != describe(y) and describe(x) == describe(x.copy())
    assert describe(np.array(0.5)) == describe(np.array(0.5)) != describe(np.array(0.25))
    monkeypatch.setattr("tinynet.data.dataset._DIGESTED", 4000)
    assert describe(x) == describe(y) != describe(x + 1.0)
    assert describe({"b", "a"}) == describe({"a", "b"})
    deep: list[Any] = []
    deep.append(deep)
    assert len(describe(deep)) < 200


@pytest.mark.parametrize("value, text", [
    (Path("a/b"), "PosixPath('a/b')"), (range(3), "range(0, 3)"), (1 + 2j, "(1+2j)"),
    (datetime.date(2026, 1, 2), "datetime.date(2026, 1, 2)"), (object(), "<object object>"),
    (re.compile("a+"), "re.compile('a+')")],
    ids=["path", "range", "complex", "date", "object", "pattern"])
def test_an_object_without_attributes_is_described_by_its_text(value: Any, text: str) -> None:
    assert describe(value) == text
    assert describe([value]) == f"[{text}]"
