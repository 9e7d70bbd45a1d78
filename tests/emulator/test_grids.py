"""A step of nets S and R, as large as it is trained, keeps a GPU's multiprocessors busy.

The launches are recorded and not computed; their grids are those of a GPU. They are also what
`bench/gpu_estimate.py` reckons with:

    TINYNET_BACKEND=cupy PYTHONPATH=tests/emulator/site:. python -m tests.emulator.test_grids

writes its file anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from bench import gpu_estimate
from bench.gpu import work_of
from tests.emulator.counts import counting
from tests.emulator.record import Launch, recording
from tinynet import functional as F, models, optim
from tinynet.backend import asarray, xp
from tinynet.kernels import gpu_windows
from tinynet.kernels.im2col import Shape

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


def grouped(net: str) -> gpu_estimate.Counts:
    """The launches of a step by kernel and size, and its products."""
    with counting() as traffic:
        found = step(NETS[net])
    kernels: dict[tuple[str, int], dict[str, Any]] = {}
    for launch in found:
        line = kernels.setdefault((launch.kernel, launch.bytes), {
            "kernel": launch.kernel, "launches": 0, "threads": 0, "bytes": 0})
        line["launches"] += 1
        line["threads"] += launch.blocks * launch.threads
        line["bytes"] += launch.bytes
    products = sum(n for name, n in traffic.kernels.items() if name.startswith("cublas"))
    return {"kernels": sorted(kernels.values(), key=lambda line: (line["kernel"], line["bytes"])),
            "products": products // 2,  # of two steps
            "operations": work_of(net, BATCH)[0]}


@pytest.mark.parametrize("net", NETS)
def test_the_estimate_is_made_of_these_launches(net: str) -> None:
    written = json.loads(gpu_estimate.FILE.read_text(encoding="utf-8"))
    assert written[net] == grouped(net)
    assert gpu_estimate.launches(written[net]) <= {"S": 70, "R": 100}[net]


def test_columns_of_large_pictures_are_cut_by_images() -> None:
    """A batch of 128 pictures of 224 pixels, 64 channels: 14.8 GB if they were one array."""
    x = xp.broadcast_to(xp.zeros(1, "float32"), (128, 64, 224, 224))
    w = xp.broadcast_to(x[0, 0, 0, 0], (64, 64, 3, 3))
    blocks = gpu_windows._blocks(Shape(x, w, (1, 1), (1, 1), (1, 1), 1), x.itemsize)
    most = max(block.stop - block.start for block in blocks)
    assert most * 9 * 64 * 224 * 224 * 4 <= gpu_windows.BLOCK_BYTES < 14.8e9 / 40
    assert [i for block in blocks for i in range(128)[block]] == list(range(128))


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


if __name__ == "__main__":
    text = json.dumps({name: grouped(name) for name in NETS}, indent=1)
    gpu_estimate.FILE.write_text(f"{text}\n", encoding="utf-8")
    print(gpu_estimate.FILE)
