"""Your own data: arrays, memory maps, and a folder of pictures by class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tinynet.data import Dataset, from_arrays, from_folder


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


def colour(value: tuple[int, int, int], size: tuple[int, int] = (8, 6)) -> Image.Image:
    return Image.new("RGB", size, value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two cats, a dog; Pillow's sizes are (width, height)."""
    for name in ("cat", "dog", ".git"):
        (tmp_path / "pets" / name).mkdir(parents=True)
    pets = tmp_path / "pets"
    colour((10, 20, 30)).save(pets / "cat" / "1.png")
    Image.new("L", (8, 6), 99).save(pets / "cat" / "2.PNG")
    colour((200, 100, 50)).save(pets / "dog" / "a.jpg", quality=95)
    (pets / "dog" / "notes.txt").write_text("good dog")
    return pets


def test_from_folder(folder: Path) -> None:
    data = from_folder(folder)
    assert data.images.shape == (3, 3, 6, 8) and data.images.dtype == np.uint8
    assert data.classes == ("cat", "dog") and data.labels.tolist() == [0, 0, 1]
    assert data.name == "pets"
    assert data.images[0, :, 0, 0].tolist() == [10, 20, 30]
    assert data.images[1, :, 5, 7].tolist() == [99, 99, 99]  # grey becomes RGB
    assert np.abs(data.images[2, :, 3, 3].astype(int) - [200, 100, 50]).max() <= 3  # JPEG loses
    assert from_folder(str(folder), size=4).images.shape == (3, 3, 4, 4)
    assert from_folder(folder, size=(5, 7)).images.shape == (3, 3, 5, 7)


def test_pictures_are_turned_upright(folder: Path) -> None:
    picture = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held turned by 90 degrees
    picture.save(folder / "cat" / "1.png", exif=exif)
    upright = from_folder(folder, size=(8, 6)).images[0, 0]
    assert (upright == np.rot90(np.arange(48).reshape(6, 8), -1)).all()


def test_sizes_must_agree_or_be_given(folder: Path) -> None:
    colour((1, 2, 3), (5, 4)).save(folder / "dog" / "b.png")
    with pytest.raises(ValueError, match=r"b\.png is 4x5, but .*1\.png is 6x8 \(height x width\): "
                                         "pass size="):
        from_folder(folder)
    assert from_folder(folder, size=8).images.shape == (4, 3, 8, 8)


def test_folders_that_hold_no_pictures_are_named(folder: Path, tmp_path: Path) -> None:
    (folder / "emu").mkdir()
    with pytest.raises(FileNotFoundError, match=r"emu holds no pictures \(\.png, \.jpg, \.jpeg\)"):
        from_folder(folder)
    with pytest.raises(FileNotFoundError, match="cat holds no subfolders: put the pictures of"):
        from_folder(folder / "cat")
    with pytest.raises(FileNotFoundError, match="nowhere is no folder"):
        from_folder(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_picture_is_named(folder: Path, content: bytes) -> None:
    (folder / "dog" / "b.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"b\.png cannot be read as a picture .*replace or remove"):
        from_folder(folder)
    whole = (folder / "dog" / "a.jpg").read_bytes()
    (folder / "dog" / "b.png").unlink()
    (folder / "dog" / "a.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"a\.jpg cannot be read as a picture"):
        from_folder(folder)


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
