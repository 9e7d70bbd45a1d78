"""Your own data: arrays and memory maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinynet.data import Dataset, from_arrays


def test_from_arrays_keeps_what_it_gets(tmp_path: Path) -> None:
    images = np.zeros((6, 3, 8, 8), np.float32)
    data = from_arrays(images, np.array([2, 0, 1, 2, 0, 1], np.uint8), ["a", "b", "c"], "mine")
    assert data.images is images and data.labels.dtype == np.int64
    assert data.classes == ("a", "b", "c") and data.name == "mine" and len(data) == 6
    assert from_arrays(images, [0, 1, 0, 1, 0, 7]).classes == tuple("01234567")
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert isinstance(from_arrays(mapped, np.zeros(6, int)).images, np.memmap)


def test_split_is_keyed_and_loses_nothing() -> None:
    images = np.arange(50.0).reshape(50, 1, 1, 1)
    data = from_arrays(images, np.arange(50) % 10)
    train, val = data.split(20, seed=1)
    numbers = np.concatenate([train.images, val.images]).ravel()
    assert (len(train), len(val)) == (30, 20) and sorted(numbers) == list(range(50))
    assert (np.concatenate([train.labels, val.labels]) == numbers % 10).all()
    assert (data.split(20, seed=1)[1].images == val.images).all()
    assert (data.split(20, seed=2)[1].images != val.images).any()
    assert len(data.take(slice(5))) == 5
    for n in (0, 50):
        with pytest.raises(ValueError, match="n must be less than the 50 pictures"):
            data.split(n)


PICTURES = np.zeros((4, 3, 8, 8), np.uint8)


@pytest.mark.parametrize(("images", "labels", "classes", "error", "message"), [
    (PICTURES[:, 0], [0, 1, 2, 3], None, ValueError, r"\(N, H, W\) need images\[:, None\]"),
    (PICTURES.transpose(0, 2, 3, 1), [0, 1, 2, 3], None, ValueError, "transpose"),
    (PICTURES, [0, 1, 2], None, ValueError, r"shape \(4,\), got \(3,\)"),
    (PICTURES, [0, 1, 2, 3], ["a", "b"], ValueError, r"in 0\.\.1, got 2 at position 2.*2 classes"),
    (PICTURES, [0, 1, 2, -1], None, ValueError, "got -1 at position 3"),
    (PICTURES, [0.0, 1.0, 2.0, 3.0], None, TypeError, "labels must be integers, got float64"),
    (np.array(["a", "b"]), [0, 1], None, TypeError, "images must be an array of numbers"),
])
def test_mistakes_are_named(images: Any, labels: Any, classes: Any, error: type[Exception],
                            message: str) -> None:
    with pytest.raises(error, match=message):
        from_arrays(images, labels, classes)


def test_repr_says_what_is_in_it() -> None:
    data = Dataset(PICTURES, np.zeros(4, int), ("cat",), "pets")
    assert repr(data) == "Dataset('pets': 4 pictures 3x8x8 uint8, 1 classes)"
