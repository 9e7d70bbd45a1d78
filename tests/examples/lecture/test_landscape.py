"""The loss of a real net: its curvature is exact, and its picture says what it shows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from lecture import landscape
from PIL import Image

import tinynet as tn
from tinynet import functional as F, nn


@pytest.mark.lecture("C3", "C4")
def test_the_top_five_eigenvalues_are_those_of_the_whole_hessian() -> None:
    """1,010 weights: the Hessian is built column by column, and taken apart by NumPy."""
    tn.manual_seed(0)
    net = nn.Sequential(nn.Linear(12, 40), nn.SiLU(), nn.Linear(40, 10), nn.SiLU(),
                        nn.Linear(10, 8)).double()
    x = tn.Generator(1).normal((60, 12), dtype="float64")
    y = tn.Generator(2).integers(0, 8, (60,))
    product = landscape.hessian_product(net, lambda: F.cross_entropy(net(tn.tensor(x)), y))
    n = landscape.weights_of(net).size
    assert n > 1000
    dense = np.array([product(column) for column in np.eye(n)])
    assert np.abs(dense - dense.T).max() < 1e-12
    values, vectors = np.linalg.eigh(dense)
    found, axes = landscape.lanczos(product, n, steps=120)
    np.testing.assert_allclose(found, values[::-1][:5], rtol=1e-6)
    for axis, vector in zip(axes[:2], vectors.T[::-1], strict=False):
        assert abs(axis @ vector) > 1 - 1e-6 and np.linalg.norm(axis) == pytest.approx(1)


def test_lanczos_ends_where_the_matrix_is_small() -> None:
    matrix = np.diag([5.0, 3.0, 3.0, -1.0])
    values, axes = landscape.lanczos(lambda v: matrix @ v, 4, steps=10, want=2)
    np.testing.assert_allclose(values, [5, 3], rtol=1e-12)
    np.testing.assert_allclose(np.abs(axes[0]), [1, 0, 0, 0], atol=1e-8)


def test_the_share_of_a_path_in_a_plane() -> None:
    axes = np.eye(3)[:2]
    assert landscape.share_in_plane(np.array([[3.0, 0.0, 0.0], [0.0, 0.0, 4.0]]), axes) == \
        pytest.approx(9 / 25)


@pytest.mark.lecture("A13")
def test_the_command_draws_the_land_around_two_ends(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = landscape.Size(pictures=128, test=20, seeds=1, batches=(16, 64), target=2.2, limit=40,
                          grid=5, lanczos=12)
    monkeypatch.setattr(landscape, "QUICK", size)
    assert landscape.main(["--quick", "--out", str(tmp_path)]) == 0
    with Image.open(tmp_path / "landscape.png") as picture:
        assert picture.width > 800
    numbers = json.loads((tmp_path / "landscape.json").read_text(encoding="utf-8"))
    assert list(numbers) == ["seed 0, batch 16", "seed 0, batch 64"]
    for one in numbers.values():
        assert one["eigenvalues"] == sorted(one["eigenvalues"], reverse=True)
        assert 0 <= one["share"] <= one["best share"] <= 1


def test_the_heights_are_those_of_the_net_and_leave_it_as_it_was() -> None:
    size = landscape.Size(pictures=64, test=20, limit=8, lanczos=8)
    found = landscape.explore(16, 0, size, landscape.pictures(size))
    at = found.heights(np.array([[0.0, 0.0], [0.3, 0.0], [0.0, 0.0]]))
    assert at[0] == at[2] == pytest.approx(found.loss, rel=1e-5) and at[1] != at[0]
