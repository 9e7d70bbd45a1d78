"""Pictures that stay in their files: the same bits as in memory, read on the loader's threads."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tinynet import to_numpy, train
from tinynet.data import DataLoader, RandomHorizontalFlip, channel_statistics, from_folder
from tinynet.data.lazy import LazyImages

N = 30


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """30 noisy pictures of 12x10 in three classes, PNG and JPEG, grey and in colour."""
    rng = np.random.default_rng(0)
    for i in range(N):
        place = tmp_path / "pets" / ("cat", "dog", "emu")[i % 3]
        place.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (12, 10, 3)[: 2 + i % 2], np.uint8)
        Image.fromarray(pixels).save(place / f"{i:02}.{('png', 'jpg')[i % 2]}")
    return tmp_path / "pets"


def host(batches: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(to_numpy(x), to_numpy(y)) for x, y in batches]


def same(a: Any, b: Any) -> bool:
    a, b = host(a), host(b)
    return len(a) == len(b) and all(
        (x == u).all() and (y == v).all() for (x, y), (u, v) in zip(a, b, strict=True))


@pytest.mark.parametrize("size", [None, (6, 5)])
def test_everything_is_as_in_memory(folder: Path, size: Any) -> None:
    eager, lazy = from_folder(folder, size), from_folder(folder, size, lazy=True)
    assert isinstance(lazy.images, LazyImages)
    assert (np.asarray(lazy.images) == eager.images).all()
    for what in ("shape", "dtype", "ndim", "size", "nbytes"):
        assert getattr(lazy.images, what) == getattr(eager.images, what), what
    assert (lazy.labels == eager.labels).all() and lazy.classes == eager.classes
    assert lazy.digest() == eager.digest()
    assert channel_statistics(lazy.images) == channel_statistics(eager.images)
    for index in (3, -1, np.int64(5)):
        assert (lazy.images[index] == eager.images[index]).all()
        assert lazy[index][1] == eager[index][1]
    for index in (slice(2, 20, 3), [4, 4, 1], eager.labels == 1):
        assert isinstance(lazy.images[index], LazyImages)
        assert (np.asarray(lazy.images[index]) == eager.images[index]).all()
    for part, other in zip(lazy.split(7, seed=1), eager.split(7, seed=1), strict=True):
        assert isinstance(part.images, LazyImages)
        assert (np.asarray(part.images) == other.images).all()
    assert repr(lazy).startswith("Dataset('pets': 30 pictures 3x")


@pytest.mark.parametrize("options", [{}, {"shuffle": False}, {"num_workers": 0}, {"prefetch": 0},
                                     {"num_workers": 3, "prefetch": 1}], ids=str)
def test_the_batches_are_the_same_bit_for_bit(folder: Path, options: dict[str, Any]) -> None:
    flip = RandomHorizontalFlip()
    lazy = DataLoader(from_folder(folder, lazy=True), batch_size=4, transform=flip, **options)
    eager = DataLoader(from_folder(folder), batch_size=4, transform=flip,
                       shuffle=options.get("shuffle", True))
    assert same(lazy, eager) and same(lazy, eager) and lazy.epoch == 2
    assert same(lazy.in_order(), eager.in_order())


def test_nothing_is_read_before_it_is_asked_for_and_then_by_the_loaders_threads(
        folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lazy = from_folder(folder, lazy=True)
    reading: list[tuple[str, str]] = []
    read = lazy.images.read

    def spy(name: str) -> Any:
        reading.append((name, threading.current_thread().name))
        return read(name)

    monkeypatch.setattr(lazy.images, "read", spy)
    training, _ = lazy.split(6)
    loader = DataLoader(training, batch_size=5)
    assert loader.num_workers >= 1 and reading == []
    list(loader)
    names = [name for name, _ in reading]
    assert len(names) == len(set(names)) == 24
    assert all(thread.startswith("tinynet-loader") for _, thread in reading)


def test_a_picture_that_cannot_be_used_is_named_when_it_is_read(folder: Path) -> None:
    lazy = from_folder(folder, lazy=True)
    Image.new("RGB", (3, 4)).save(folder / "dog" / "04.png")
    with pytest.raises(ValueError, match=r"04\.png is 4x3, but .*00\.png is 12x10 \(height x wid"):
        list(DataLoader(lazy, batch_size=8))
    (folder / "dog" / "04.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"04\.png cannot be read as a picture .* remove it"):
        list(DataLoader(lazy, batch_size=8))
    (folder / "dog" / "04.png").unlink()
    with pytest.raises(ValueError, match=r"04\.png cannot be read as a picture"):
        np.asarray(lazy.images)
    with pytest.raises(ValueError, match=r"an array only when they are read: np\.asarray"):
        lazy.images.__array__(copy=False)


def test_a_run_is_resumed_and_another_folder_is_mentioned(folder: Path) -> None:
    """The settings of a run tell the files by their names: nothing is read for it."""
    first = train.settings.describe(from_folder(folder, lazy=True).images)
    assert first == train.settings.describe(from_folder(folder, lazy=True).images)
    (folder / "cat" / "00.png").rename(folder / "cat" / "99.png")
    assert first != train.settings.describe(from_folder(folder, lazy=True).images)
