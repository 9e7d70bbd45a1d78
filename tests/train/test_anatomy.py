"""What a training step enters, keeps and takes, stage by stage."""

from __future__ import annotations

import sys

import numpy as np

import tinynet as tn
import tinynet.functional as F
from tinynet import models, nn, optim, train


class Twice(nn.Module):
    """A layer that is called two times, in a module that computes something itself."""

    def __init__(self) -> None:
        self.inner = nn.Linear(6, 6)

    def forward(self, x: tn.Tensor) -> tn.Tensor:
        return self.inner(self.inner(x)) * 2.0


def anatomy() -> train.Anatomy:
    model = nn.Sequential(Twice(), nn.ReLU(), nn.Linear(6, 3))
    loader = [(tn.randn(4, 6), tn.tensor([0, 1, 2, 0]))]
    optimizer = optim.Adam(model.named_parameters(), lr=1e-3)
    return train.trace(model, optimizer, F.cross_entropy, loader, repeat=2)


def test_each_call_of_a_layer_is_a_stage_in_the_order_of_the_step() -> None:
    rows = anatomy().rows
    assert [(row.name, row.layer) for row in rows] == [
        ("batch", ""), ("net", "Sequential"), ("0", "Twice"), ("0.inner", "Linear"),
        ("0.inner", "Linear"), ("1", "ReLU"), ("2", "Linear"), ("loss", ""), ("walk", ""),
        ("update", "")]


def test_time_is_counted_once_and_backward_belongs_to_the_layer() -> None:
    rows = {(row.name, place): row for place, row in enumerate(anatomy().rows)}
    for (name, _), row in rows.items():
        assert row.forward >= 0.0
        assert (row.backward > 0.0) == (name in ("0", "0.inner", "1", "2", "loss"))


def test_files_are_entered_where_the_work_is() -> None:
    whole = anatomy()
    found = {(row.name, row.layer): row for row in whole.rows}
    assert {"nn/layers.py", "functional/linear.py"} <= found["2", "Linear"].files
    assert "functional/loss.py" in found["loss", ""].files
    assert {"optim/optimizer.py", "optim/first_order.py"} <= found["update", ""].files
    assert "tensor.py" in found["walk", ""].files
    total = whole.total
    assert total.files == frozenset().union(*(row.files for row in found.values()))
    assert total.calls == sum(row.calls for row in whole.rows)


def test_what_is_kept_counts_each_array_once_and_no_parameter() -> None:
    kept = {(row.name, place): row.kept for place, row in enumerate(anatomy().rows)}
    assert kept["0.inner", 3] == 4 * 6 * 4  # its input; the weight lives anyway
    assert kept["0.inner", 4] == 4 * 6 * 4
    assert kept["0", 2] == 0  # times a number: nothing to keep
    assert kept["1", 5] == 4 * 6 * 4  # its output
    assert kept["2", 6] == 0  # its input is what the ReLU keeps


def test_the_table_has_a_row_for_each_stage_and_a_total() -> None:
    text = str(anatomy()).splitlines()
    assert len(text) == 14
    assert text[0].split() == ["layer", "files", "functions", "calls", "kept", "KB", "forward",
                               "ms", "backward", "ms"]
    assert text[-1].startswith("all")


def test_a_profiler_that_runs_already_is_put_back() -> None:
    def mine(*event: object) -> None:
        return None

    sys.setprofile(mine)
    try:
        anatomy()
        assert sys.getprofile() is mine
    finally:
        sys.setprofile(None)


def test_the_graph_is_not_kept_alive() -> None:
    found = anatomy()
    assert not any(isinstance(value, np.ndarray) for row in found.rows for value in row)


def test_all_steps_skip_the_same_blocks_of_stochastic_depth() -> None:
    for seed in range(4):
        tn.manual_seed(seed)
        model = models.resnet(6, survival=0.3, widths=(4, 8, 8))
        loader = [(tn.randn(4, 3, 8, 8), tn.tensor([0, 1, 2, 0]))]
        found = train.trace(model, optim.SGD(model.parameters(), lr=0.0), F.cross_entropy, loader,
                            repeat=2)
        layers = [row for row in found.rows if row.layer == "Conv2d"]
        assert layers and all(row.forward > 0.0 for row in layers)
