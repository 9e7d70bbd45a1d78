"""One picture of any kind becomes the array that a net was trained on, or is refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tinynet.data import from_folder, read_picture

COLOURS = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(np.uint8)
SHAPE = (3, 4, 5)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK"])
def test_a_file_is_read_as_from_folder_reads_it(tmp_path: Path, mode: str) -> None:
    file = tmp_path / "cat" / "a.tif"
    file.parent.mkdir()
    picture = Image.fromarray(COLOURS).convert(mode)
    picture.save(file)
    expected = from_folder(tmp_path, size=SHAPE[1:]).images[0]
    np.testing.assert_array_equal(read_picture(file, SHAPE), expected)
    np.testing.assert_array_equal(read_picture(str(file), SHAPE), expected)
    np.testing.assert_array_equal(read_picture(picture, SHAPE), expected)


def test_a_file_of_16_bits_and_one_that_a_camera_turned(tmp_path: Path) -> None:
    deep = (COLOURS[..., 0].astype(np.uint16) << 8) + 77
    Image.fromarray(deep).save(tmp_path / "deep.png")
    found = read_picture(tmp_path / "deep.png", (1, 9, 7))
    np.testing.assert_array_equal(found[0], COLOURS[..., 0])
    np.testing.assert_array_equal(read_picture(deep, (1, 9, 7)), found)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to see it upright
    Image.fromarray(COLOURS).save(tmp_path / "turned.png", exif=exif)
    turned = read_picture(tmp_path / "turned.png", (3, 7, 9))
    np.testing.assert_array_equal(turned.transpose(1, 2, 0), np.rot90(COLOURS, -1))


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64"])
@pytest.mark.parametrize("first", [True, False])
def test_arrays_of_bytes_and_of_parts_of_one(dtype: str, first: bool) -> None:
    array = COLOURS / 255.0 if dtype.startswith("float") else COLOURS
    array = array.astype(dtype)
    if first:
        array = array.transpose(2, 0, 1)
    whole = read_picture(array, (3, 9, 7))
    np.testing.assert_allclose(whole, COLOURS.transpose(2, 0, 1), atol=1e-4)
    small = read_picture(array, SHAPE)
    expected = read_picture(Image.fromarray(COLOURS), SHAPE).astype(float)
    assert small.shape == SHAPE and abs(small - expected).max() <= 1.0


def test_grey_and_colours_become_what_the_net_takes() -> None:
    grey = read_picture(COLOURS, (1, 9, 7))
    pillow = np.asarray(Image.fromarray(COLOURS).convert("L"))
    assert grey.shape == (1, 9, 7) and abs(grey[0].astype(int) - pillow).max() <= 1
    one = COLOURS[..., 0]
    for array in (one, one[None], one[..., None]):
        assert (read_picture(array, (3, 9, 7)) == one).all()
    assert (read_picture(one > 100, (1, 9, 7))[0] == 255 * (one > 100)).all()
    clear = np.concatenate([COLOURS, np.zeros((9, 7, 1), np.uint8)], axis=2)
    np.testing.assert_array_equal(read_picture(clear, (3, 9, 7)), COLOURS.transpose(2, 0, 1))


def test_one_pixel_and_a_hundred_million(tmp_path: Path) -> None:
    assert (read_picture(np.full((1, 1, 3), 7, np.uint8), SHAPE) == 7).all()
    assert (read_picture(np.full((3, 1, 1), 7, np.uint8), SHAPE) == 7).all()
    Image.new("L", (10_000, 10_000), 9).save(tmp_path / "large.png")
    assert (read_picture(tmp_path / "large.png", SHAPE) == 9).all()


@pytest.mark.parametrize("array, error, message", [
    (np.full((5, 5), 200.0), ValueError, r"floats must lie in 0\.\.1, got 200 to 200: bytes need"),
    (np.full((5, 5), np.nan), ValueError, r"floats must lie in 0\.\.1, got nan to nan"),
    (np.full((5, 5), -1), ValueError, r"picture of int64 must lie in 0\.\.255, got -1 to -1"),
    (np.zeros((3, 5, 3)), ValueError, "both the first and the last axis might be its channels"),
    (np.zeros((5, 6, 7)), ValueError, "no axis at an end holds 1, 3 or 4 channels"),
    (np.zeros(5), ValueError, r"got shape \(5,\): give several as a list"),
    (np.zeros((0, 5)), ValueError, r"got shape \(0, 5\)"),
    (np.array(["a"]), TypeError, "a file's name, a Pillow image or an array of numbers, got nd"),
    (None, TypeError, "an array of numbers, got NoneType"),
    (Image.fromarray(np.zeros((2, 2), np.float32)), ValueError, "mode F, whose range is not known"),
])
def test_what_is_no_picture_is_refused(array: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read_picture(array, SHAPE)


def test_files_that_are_missing_damaged_or_too_large(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no picture .*none\.png"):
        read_picture(tmp_path / "none.png", SHAPE)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"text\.png cannot be read as a picture"):
        read_picture(tmp_path / "text.png", SHAPE)
    with pytest.raises(ValueError, match=r"cannot be read as a picture \(it is a folder"):
        read_picture(tmp_path, SHAPE)
    Image.new("1", (20_000, 20_000)).save(tmp_path / "huge.png")
    with pytest.raises(ValueError, match=r"huge\.png cannot be read .*exceeds limit"):
        read_picture(tmp_path / "huge.png", SHAPE)
