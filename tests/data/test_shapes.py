"""`shapes`: the same pictures on every machine, too hard for a linear classifier, quick to make."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from tinynet.backend import Array, on_gpu, to_numpy, xp
from tinynet.data import Dataset, load_shapes, shapes

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "shapes.npz"


@pytest.fixture(scope="module")
def drawn() -> tuple[Dataset, Dataset, float]:
    start = time.process_time()
    train, test = load_shapes()
    return train, test, time.process_time() - start


def test_golden_pictures_to_one_grey_level() -> None:
    golden = np.load(GOLDEN)
    train, test = load_shapes(train=10, test=10)
    other, none = load_shapes(train=5, test=0, seed=1)
    assert len(none) == 0
    for name, made in (("train", train), ("test", test), ("other", other)):
        difference = np.abs(golden[name].astype(int) - made.images.astype(int))
        assert difference.max() <= 1, name
        assert made.images.std() > 30  # they show something


def test_the_set(drawn: tuple[Dataset, Dataset, float]) -> None:
    train, test, seconds = drawn
    assert train.images.shape == (10_000, 3, 32, 32) and train.images.dtype == np.uint8
    assert test.images.shape == (2_000, 3, 32, 32)
    assert train.classes == test.classes == tuple(sorted(train.classes))
    assert len(train.classes) == 10
    assert (np.bincount(train.labels) == 1_000).all() and (np.bincount(test.labels) == 200).all()
    assert on_gpu or seconds < 6.0, f"{seconds:.1f} s of processor time for 12,000 pictures"


def test_a_picture_depends_on_seed_split_and_index_only(
        drawn: tuple[Dataset, Dataset, float]) -> None:
    train, test, _ = drawn
    few, few_test = load_shapes(train=123, test=45)
    assert (few.images == train.images[:123]).all() and (few.labels == train.labels[:123]).all()
    assert (few_test.images == test.images[:45]).all()
    again = load_shapes(train=123, test=0)[0]
    assert (again.images == few.images).all()
    other = load_shapes(train=123, test=0, seed=1)[0]
    assert (other.labels == few.labels).all()
    for pictures in (other.images, test.images[:123]):  # another seed, the other split
        assert (pictures != few.images).reshape(123, -1).any(axis=1).all()


def test_pictures_of_a_class_are_all_different(drawn: tuple[Dataset, Dataset, float]) -> None:
    train, test, _ = drawn
    everything = np.concatenate([train.images, test.images]).reshape(12_000, -1)
    assert len(np.unique(everything[:, ::97], axis=0)) == 12_000


def test_every_random_number_is_used_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[shapes._Draws] = []

    class Spy(shapes._Draws):
        def __init__(self, keys: Array) -> None:
            super().__init__(keys)
            made.append(self)

    monkeypatch.setattr(shapes, "_Draws", Spy)
    shapes._render("circle", xp.arange(2, dtype=xp.uint64), 32)
    assert list(made[0]._columns) == []  # and none was missing


def test_a_large_picture_is_the_same_scene() -> None:
    """Its pixels, averaged over blocks of 4 x 4, are those of the small one but for the grain."""
    small, _ = load_shapes(train=20, test=0)
    large, _ = load_shapes(train=20, test=0, size=128)
    assert large.images.shape == (20, 3, 128, 128)
    means = large.images.reshape(20, 3, 32, 4, 32, 4).mean(axis=(3, 5))
    assert np.abs(means - small.images).mean() < 9  # grain alone: 8 levels in the mean
    assert load_shapes(train=1, test=0, size=17)[0].images.shape == (1, 3, 17, 17)
    with pytest.raises(ValueError, match="size"):
        load_shapes(size=0)


def test_a_linear_classifier_stays_under_25_percent(
        drawn: tuple[Dataset, Dataset, float]) -> None:
    """Ridge regression on one-hot labels, over four strengths; every other pixel row and column."""
    train, test, _ = drawn

    def features(data: Dataset) -> np.ndarray:
        x = data.images[:, :, ::2, ::2].reshape(len(data), -1).astype(np.float64)
        return np.c_[(x - 128.0) / 64.0, np.ones(len(data))]

    a, b = features(train), features(test)
    gram, right = a.T @ a, a.T @ np.eye(10)[train.labels]
    for strength in (1e2, 1e4, 1e5, 1e6):
        weights = np.linalg.solve(gram + strength * np.eye(len(gram)), right)
        accuracy = ((b @ weights).argmax(axis=1) == test.labels).mean()
        assert 0.08 < accuracy < 0.25, (strength, accuracy)


@pytest.mark.parametrize("kind", shapes.CLASSES)
def test_distance_is_negative_inside_and_grows_outwards(kind: str) -> None:
    """Along 64 rays from afar, distance falls by no more than what is walked."""

    def distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return to_numpy(shapes._OBJECTS[kind](xp.asarray(x), xp.asarray(y)))

    angle = np.linspace(0.0, 2.0 * np.pi, 64, endpoint=False)
    radius = np.linspace(3.0, 1.5, 151)[:, None]
    distance = distances(radius * np.cos(angle), radius * np.sin(angle))
    assert (distance > 0).all()  # nothing of the object lies beyond 1.5
    steps = -np.diff(distance, axis=0)
    assert (steps > 0).all() and steps.max() < 0.0101  # never faster than true distance
    x, y = np.meshgrid(np.linspace(-1.5, 1.5, 301), np.linspace(-1.5, 1.5, 301))
    area = (distances(x, y) < 0).mean() * 9.0
    assert 0.8 < area < 2.8  # no class is given away by a tiny or a huge area


def test_a_negative_number_of_pictures_is_refused() -> None:
    with pytest.raises(ValueError, match="train must be a number of pictures, 0 or more, got -1"):
        load_shapes(train=-1)
