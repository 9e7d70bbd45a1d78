"""The digest of a data set: other pictures, labels, shapes or dtypes have another one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinynet.backend import asarray
from tinynet.data import DataLoader, from_arrays
from tinynet.data.dataset import digest

IMAGES = np.arange(10 * 3 * 4 * 4, dtype=np.uint8).reshape(10, 3, 4, 4)
LABELS = np.arange(10) % 3


def test_the_digest_is_the_same_however_the_pictures_are_kept(tmp_path: Path) -> None:
    expected = digest(IMAGES, LABELS)
    assert len(expected) == 32 and int(expected, 16) >= 0
    channels_last = np.ascontiguousarray(IMAGES.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.save(tmp_path / "images.npy", IMAGES)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    for same in (IMAGES.copy(), channels_last, mapped, asarray(IMAGES)):
        assert digest(same, LABELS.astype(np.int32)) == expected
    assert digest(IMAGES.astype(">i4"), LABELS) == digest(IMAGES.astype("<i4"), LABELS)
    assert digest(IMAGES[::-1], LABELS) != expected


def test_one_other_pixel_or_label_changes_the_digest() -> None:
    seen = {digest(IMAGES, LABELS)}
    for i in range(10):
        images = IMAGES.copy()
        images[i, 0, 0, 0] += 1
        labels = LABELS.copy()
        labels[i] += 1
        seen |= {digest(images, LABELS), digest(IMAGES, labels)}
    assert len(seen) == 21


def test_shape_and_dtype_count() -> None:
    others = [IMAGES.astype(np.int8), IMAGES.astype(np.float32), IMAGES.reshape(10, 3, 2, 8),
              IMAGES.reshape(10, 48), np.zeros((10, 0), np.uint8), np.zeros((10, 0), np.float32)]
    assert len({digest(other, LABELS) for other in [IMAGES, *others]}) == len(others) + 1
    assert digest(IMAGES[:0], LABELS[:0]) != digest(IMAGES[:1], LABELS[:1])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_of_large_sets_whole_pictures_at_even_distances_are_read(dtype: type) -> None:
    """40 MB and 160 MB of them: first and last are always among them."""
    images = np.zeros((5000, 8000), dtype)
    labels = np.zeros(5000, int)
    before = digest(images, labels)
    for i in (0, 4999):
        images[i, 17] = 1
        after = digest(images, labels)
        assert after != before
        before = after
    images[1000:3000] = 3
    assert digest(images, labels) != before


def test_a_set_and_its_loader_have_the_digest_of_their_arrays() -> None:
    pictures = from_arrays(IMAGES, LABELS)
    expected = digest(IMAGES, LABELS)
    assert pictures.digest() == expected
    loader = DataLoader(pictures.images, pictures.labels, 3, seed=5)
    state = loader.get_state()
    assert loader.digest() == expected
    assert loader.get_state() == state
