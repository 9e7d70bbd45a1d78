"""A batch in chunks is the whole batch: gradients, numbers, noise, resuming."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.train.ranks.run import CLASSES, difference, pictures, trained
from tinynet import functional as F, nn, optim
from tinynet.random import share_of_batch
from tinynet.train import Checkpoints, Trainer
from tinynet.train.gradient import compute_gradient, pieces, sums_up

SUM = functools.partial(F.cross_entropy, label_smoothing=0.1, reduction="sum")
LOSSES = {
    "mean": F.cross_entropy,
    "sum": SUM,
    "module": nn.CrossEntropyLoss(label_smoothing=0.2, reduction="sum"),
    "weighted sum": functools.partial(F.cross_entropy, weight=np.arange(1.0, CLASSES + 1),
                                      reduction="sum"),
    "own": lambda outputs, labels: F.cross_entropy(outputs, labels, label_smoothing=0.1),
}


class Watched(nn.Module):
    """A net with noise and a block that may be dropped; it notes how many rows it sees."""

    def __init__(self, noise: float = 0.3) -> None:
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.block = nn.Residual(nn.Conv2d(6, 6, 3, padding=1), p=noise,
                                 generator=tn.Generator(7))
        self.drop = nn.Dropout(noise, generator=tn.Generator(8))
        self.head = nn.Linear(6, CLASSES)
        generator = tn.Generator(0)
        for p in self.parameters():
            nn.init.normal_(p, std=0.3, generator=generator)
        self.astype("float64")
        self.seen: list[int] = []

    def forward(self, x: Any) -> Any:
        if self.training:
            self.seen.append(len(x))
        x = self.block(F.relu(self.conv(x)))
        return self.head(self.drop(x.mean(axis=(2, 3))))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("chunk", [1, 10])
def test_chunks_are_the_whole_batch(loss: str, chunk: int) -> None:
    settings = {"loss": LOSSES[loss], "epochs": 1, "samples": 40, "batch": 24, "lr": 1e-3}
    whole = trained(False, model=Watched(), **settings)
    watched = Watched()
    parts = trained(False, model=watched, chunk=chunk, **settings)
    assert difference(whole, parts) < 1e-12
    assert sum(watched.seen) == 40 and max(watched.seen) <= chunk


def test_a_line_search_in_chunks_sees_the_whole_batch() -> None:
    settings = {"optimizer": "lbfgs", "epochs": 1, "loss": SUM, "samples": 32}
    whole = trained(False, model=Watched(0.0), **settings)
    assert difference(whole, trained(False, model=Watched(0.0), chunk=7, **settings)) < 1e-9


@pytest.mark.parametrize("step", [1, 4, 5])
def test_a_run_in_chunks_goes_on_bit_for_bit(tmp_path: Path, step: int) -> None:
    """Dropout, batch norm, a last epoch of half its batches; in mid-epoch and at an end."""
    def run(folder: Path, resume: Any = None) -> dict[str, Any]:
        saver = Checkpoints(folder, every=1, keep=None)
        return trained(False, samples=40, batch=20, chunk=8, loss=SUM, lr=1e-3, epochs=2.5,
                       callbacks=lambda: [saver], resume=resume)

    whole = run(tmp_path / "whole")
    assert len(whole["losses"]) == 5
    found = tmp_path / "whole" / f"step-{step:08d}.safetensors"
    assert difference(whole, run(tmp_path / "again", found)) == 0.0


def test_another_chunk_is_mentioned_when_a_run_goes_on(tmp_path: Path) -> None:
    def run(chunk: int) -> dict[str, Any]:
        return trained(False, samples=20, batch=10, chunk=chunk, epochs=1, resume=tmp_path,
                       callbacks=lambda: [Checkpoints(tmp_path)])

    run(4)
    with pytest.warns(RuntimeWarning, match="chunk: 4 in the checkpoint, 5 here"):
        run(5)


def test_numbers_of_a_sum_are_those_of_one_sample() -> None:
    mean = functools.partial(F.cross_entropy, label_smoothing=0.1)
    one = trained(False, model=Watched(), loss=mean, lr=0.0)
    many = trained(False, model=Watched(), loss=SUM, lr=0.0)
    assert difference(one, many) < 1e-12


def test_a_share_that_nobody_averages_keeps_its_sum() -> None:
    """Rows of a larger batch on one process: whoever cut them adds the gradients up."""
    images, labels = pictures(6)
    x = tn.tensor(images.astype("float64") / 255)
    found = []
    for in_share in (False, True):
        model = Watched(0.0)
        trainer = Trainer(model, optim.SGD(model.named_parameters(), 0.1), SUM, progress=False)
        with share_of_batch(0, 6, 60) if in_share else contextlib.nullcontext():
            compute_gradient(trainer, x, labels, None)
        found.append(tn.to_numpy(model.head.weight.grad.data))
    assert np.array_equal(*found)


def test_a_mean_with_class_weights_is_refused_in_chunks() -> None:
    weighted = nn.CrossEntropyLoss(weight=np.ones(CLASSES))
    with pytest.raises(ValueError, match="a batch in chunks with class weights") as found:
        trained(False, loss=weighted, chunk=4)
    assert 'Use reduction="sum"' in str(found.value)
    trained(False, loss=weighted, chunk=96, epochs=1)  # each batch is one chunk


def test_chunks_are_as_equal_as_can_be() -> None:
    assert pieces(10, None) == [(0, 10)]
    assert pieces(10, 10) == [(0, 10)]
    assert pieces(848, 256) == [(0, 212), (212, 424), (424, 636), (636, 848)]


@pytest.mark.parametrize(("chunk", "found"), [(0, "0"), (2.5, "2.5"), (True, "True")])
def test_a_chunk_that_is_no_count_is_named(chunk: Any, found: str) -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=f"chunk must be an integer of at least 1, got {found}"):
        Trainer(model, optim.SGD(model.named_parameters(), 0.1), chunk=chunk)


def test_what_a_loss_says_of_itself() -> None:
    assert sums_up(SUM) and sums_up(LOSSES["module"]) and sums_up(functools.partial(SUM))
    assert not sums_up(F.cross_entropy) and not sums_up(nn.MSELoss()) and not sums_up(LOSSES["own"])
    assert not sums_up(functools.partial(SUM, reduction="mean"))


@pytest.mark.parametrize("chunk", [None, 2])
def test_a_batch_without_samples_is_told_by_the_loss(chunk: int | None) -> None:
    net = nn.Sequential(nn.Linear(5, 3))
    trainer = Trainer(net, optim.SGD(net.parameters(), lr=0.1), progress=False, chunk=chunk)
    nothing = (np.zeros((0, 5), "f4"), np.zeros(0, int))
    with pytest.raises(ValueError, match="N > 0 samples"):
        trainer.fit([nothing])
