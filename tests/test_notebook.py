"""What a notebook shows of an object: a table, with its texts escaped."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tinynet import data, models, nn, optim, train, tune


def objects() -> dict[str, Any]:
    history = train.History()
    history.add("epochs", epoch=1, step=5, train_loss=2.0, val_loss=1.5, val_accuracy=0.25)
    history.add("epochs", epoch=2, step=10, train_loss=1.0, val_loss=1.2, val_accuracy=0.75)
    found = tune.grid_search(lambda config: config["lr"], {"lr": [0.1, 0.2]})
    pets = data.Dataset(np.zeros((3, 1, 4, 4), np.uint8), np.array([0, 1, 1]),
                        ("cat", "<dog>"), "pets")
    return {"history": history, "summary": nn.summary(models.mlp([4, 2]), (4,)),
            "search": found, "data": pets,
            "confusion": train.confusion_matrix([0, 1, 1], [0, 1, 0], ["cat", "<dog>"]),
            "prediction": train.Prediction({"cat": 0.75, "<dog>": 0.25}, "my.png")}


@pytest.mark.parametrize("name, shown", [
    ("history", ["<th>val accuracy</th>", "<td>75.00%</td>", "bold: best val accuracy"]),
    ("summary", ["<th>layer</th>", "<td>Linear</td>", "<td>10</td>"]),
    ("search", ["<th>lr</th>", "<td>0.2</td>", "2 trials"]),
    ("data", ["<td>&lt;dog&gt;</td><td>2</td>", "3 pictures 1x4x4 uint8"]),
    ("confusion", ["<td>&lt;dog&gt;</td>", "accuracy 66.67% of 3 pictures"]),
    ("prediction", ["my.png", "<td>cat</td><td>75.0%</td>"]),
])
def test_a_notebook_shows_a_table(name: str, shown: list[str]) -> None:
    html = objects()[name]._repr_html_()
    assert html.startswith("<table>") and html.endswith("</table>")
    assert all(text in html for text in shown), html
    assert "<dog>" not in html
    assert len(re.findall("<tr", html)) == len(re.findall("</tr>", html)) > 1


def test_the_best_row_is_bold() -> None:
    bold = re.findall(r'<tr style="font-weight: bold"><td>(.*?)</td>',
                      objects()["history"]._repr_html_())
    assert bold == ["2"]
    assert "0 steps" in train.History()._repr_html_()


def test_trainers_and_ensembles_say_what_they_are() -> None:
    net = models.mlp([4, 2])
    trainer = train.Trainer(net, optim.SGD(net.parameters(), lr=0.1), progress=False)
    assert repr(trainer) == ("Trainer(Sequential of 10 parameters, SGD, cross_entropy; 0 epochs, "
                             "0 steps done)")
    assert repr(train.Ensemble([net, net])) == "Ensemble(2 members: Sequential)"
