"""A step of nets S and R, as large as it is trained, keeps a GPU's multiprocessors busy.

The launches are recorded and not computed; their grids are those of a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.emulator.record import Launch, recording
from tinynet import functional as F, models, optim
from tinynet.backend import asarray, xp

pytestmark = pytest.mark.emulated

BATCH = 128
MANY = 1 << 20  # bytes
NETS = {"S": models.net_s, "R": models.net_r}


def step(make: Callable[[], Any], batch: int = BATCH) -> list[Launch]:
    """The launches of the second training step, with Adam."""
    model = make()
    optimizer = optim.Adam(model.named_parameters(), 1e-3)
    images = xp.zeros((batch, 3, 32, 32), "float32")
    labels = asarray(np.zeros(batch, int))
    for _ in range(2):
        with recording(without_computing=True) as launches:
            loss = F.cross_entropy(model(tn.Tensor(images)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return launches


@pytest.mark.parametrize("net", NETS)
def test_what_touches_a_megabyte_runs_on_64_blocks(net: str) -> None:
    launches = step(NETS[net])
    large = [launch for launch in launches if launch.bytes > MANY]
    assert len(large) >= 40
    assert [launch for launch in large if launch.blocks < 64] == []


def test_sizes_are_counted() -> None:
    x = xp.zeros((300, 1000), "float32")
    half = xp.zeros(5, "float16")
    with recording(without_computing=True) as launches:
        x + x
        x.sum(axis=0)
        half * half
    assert [(launch.kernel, launch.bytes) for launch in launches] == [
        ("cupy_add__float32_float32_float32", 3 * 4 * 300_000), ("cupy_sum", 4 * (300_000 + 1000)),
        ("cupy_multiply__float16_float16_float16", 3 * 2 * 5)]
    assert launches[0].blocks == -(-300_000 // launches[0].threads)


def test_a_dry_step_computes_nothing() -> None:
    x = xp.zeros(3)
    with recording(without_computing=True):
        x += 1
        xp.dot(x, x)
    assert x.tolist() == [0, 0, 0]
