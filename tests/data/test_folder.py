"""A folder of pictures by class: what each kind of picture becomes, and what is refused by name."""

from __future__ import annotations

import os
import socket
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from tinynet.data import from_folder

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5  # 6 rows, 8 columns


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


def one(folder: Path, name: str, picture: Image.Image | np.ndarray, **options: Any) -> np.ndarray:
    """What from_folder makes of one picture, saved under `name`: (3, H, W)."""
    (folder / "only").mkdir()
    if not isinstance(picture, Image.Image):
        picture = Image.fromarray(picture)
    picture.save(folder / "only" / name, **options)
    images = from_folder(folder).images
    assert images.dtype == np.uint8 and len(images) == 1
    return images[0]


def png(values: np.ndarray, colour_type: int) -> bytes:
    """A PNG of 16 bits for each of the channels (H, W, C), which Pillow cannot write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (struct.pack(">I", len(content)) + kind + content
                + struct.pack(">I", zlib.crc32(kind + content)))

    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)  # 0: no filter
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


GREY, RGB, GREY_ALPHA, RGB_ALPHA = 0, 2, 4, 6
DEEP = RAMP.astype(np.uint16) * 256 + 200  # 16 bits, of which RAMP is the upper byte


@pytest.mark.parametrize(("colour_type", "channels"), [
    (GREY, 1), (RGB, 3), (GREY_ALPHA, 2), (RGB_ALPHA, 4),
], ids=["grey", "rgb", "grey with alpha", "rgb with alpha"])
def test_of_16_bits_the_upper_byte_is_kept(tmp_path: Path, colour_type: int, channels: int
                                           ) -> None:
    (tmp_path / "only").mkdir()
    values = np.repeat(DEEP[:, :, None], channels, axis=2)
    (tmp_path / "only" / "deep.png").write_bytes(png(values, colour_type))
    assert (from_folder(tmp_path).images[0] == RAMP).all()


def test_of_a_deep_tiff_the_upper_byte_is_kept_in_either_byte_order(tmp_path: Path) -> None:
    assert (one(tmp_path, "deep.tif", DEEP) == RAMP).all()
    stored = DEEP.astype(">u2").tobytes()
    entries = [(256, 8), (257, 6), (258, 16), (262, 1), (273, 8), (278, 6), (279, len(stored))]
    fields = b"".join(struct.pack(">HHII", tag, 4, 1, value) for tag, value in entries)
    tiff = (b"MM\0*" + struct.pack(">I", 8 + len(stored)) + stored
            + struct.pack(">H", len(entries)) + fields + bytes(4))
    (tmp_path / "only" / "deep.tif").write_bytes(tiff)
    assert (from_folder(tmp_path).images[0] == RAMP).all()


def test_a_deep_picture_is_turned_upright_and_resized(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held turned by 90 degrees
    assert (one(tmp_path, "deep.png", DEEP, exif=exif) == np.rot90(RAMP, -1)).all()
    flat = np.full((6, 8), 40_000, np.uint16)
    Image.fromarray(flat).save(tmp_path / "only" / "deep.png")
    assert (from_folder(tmp_path, size=3).images == 40_000 // 256).all()


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    picture.putpalette([255, 0, 0, 0, 255, 0, 10, 20, 30])
    found = one(tmp_path, "few.png", picture, transparency=bytes([0, 128, 255]))
    assert found[:, 0, 0].tolist() == [255, 0, 0] and found[:, 1, 0].tolist() == [10, 20, 30]


def test_one_bit_is_black_or_white(tmp_path: Path) -> None:
    found = one(tmp_path, "bits.png", Image.fromarray(RAMP > 99))
    assert (found == np.where(RAMP > 99, 255, 0)).all()


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_dropped(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(RAMP).convert(mode)
    picture.putalpha(Image.fromarray(RAMP[::-1].copy()))
    assert (one(tmp_path, "glass.png", picture) == RAMP).all()


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    picture = Image.new("CMYK", (8, 6), (255, 0, 0, 0))  # cyan alone: no red
    found = one(tmp_path, "print.jpg", picture, quality=95)
    assert np.abs(found[:, 0, 0].astype(int) - [0, 255, 255]).max() <= 3


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.tif", *(
    ["a.webp"] if features.check("webp") else [])])
def test_of_an_animation_the_first_picture_is_taken(tmp_path: Path, name: str) -> None:
    first = Image.new("RGB", (8, 6), (0, 0, 255))
    later = [Image.new("RGB", (8, 6), (255, 0, 0))]
    lossless = {"lossless": True} if name == "a.webp" else {}
    found = one(tmp_path, name, first, save_all=True, append_images=later, **lossless)
    assert (found == np.array([0, 0, 255])[:, None, None]).all()


@pytest.mark.parametrize("name", ["a.bmp", "a.gif", "a.tiff", "A.TIF"])
def test_other_formats_are_read_too(tmp_path: Path, name: str) -> None:
    assert (one(tmp_path, name, RAMP) == RAMP).all()


def test_a_picture_under_the_name_of_another_format_is_read(tmp_path: Path) -> None:
    assert (one(tmp_path, "really_a_bitmap.jpg", RAMP, format="BMP") == RAMP).all()


@pytest.mark.parametrize("name", ["heat.tif", "heat.png"])
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_pixels_without_a_known_range_are_refused_by_name(tmp_path: Path, name: str, dtype: str
                                                          ) -> None:
    with pytest.raises(ValueError, match=rf"{name} cannot be read .*of mode [FI], whose range is "
                                         "not known: save it with 8 bits"):
        one(tmp_path, name, RAMP.astype(dtype), format="TIFF")


def test_a_program_under_a_picture_name_is_refused(tmp_path: Path) -> None:
    """Encapsulated PostScript would be run by an interpreter of that language."""
    with pytest.raises(ValueError, match=r"paper\.png cannot be read as a picture"):
        one(tmp_path, "paper.png", Image.new("RGB", (8, 6)), format="EPS")


def odd_file(path: Path, kind: str) -> None:
    """Something under a picture's name that is no file."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        here = os.getcwd()
        os.chdir(path.parent)  # the path of a socket must be short
        try:
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(path.name)
        finally:
            os.chdir(here)
    elif kind == "folder":
        path.mkdir()
    else:
        targets = {"loop": path.name, "broken link": "nowhere.png", "device": "/dev/zero"}
        path.symlink_to(targets[kind])


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "loop", "broken link", "device"])
def test_what_is_no_file_is_refused_at_once(folder: Path, kind: str) -> None:
    odd_file(folder / "dog" / "odd.png", kind)
    with pytest.raises(ValueError, match=r"odd\.png cannot be read as a picture \(it is a folder, "
                                         r"a pipe.*replace or remove"):
        from_folder(folder)


def test_links_to_pictures_and_folders_are_followed(folder: Path) -> None:
    (folder / "dog" / "b.png").symlink_to("../cat/1.png")
    (folder / "hound").symlink_to("dog")
    data = from_folder(folder)
    assert data.classes == ("cat", "dog", "hound") and data.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert (data.images[3] == data.images[0]).all()


@pytest.mark.parametrize("target", ["nowhere", "emu"], ids=["broken", "a loop"])
def test_a_class_that_is_a_dead_link_is_not_left_out_without_a_word(folder: Path, target: str
                                                                    ) -> None:
    (folder / "emu").symlink_to(target)
    with pytest.raises(FileNotFoundError, match="emu is a link that leads nowhere: mend or remove"):
        from_folder(folder)


def test_a_folder_that_holds_itself_is_not_walked_for_ever(folder: Path) -> None:
    (folder / "dog" / "self").symlink_to(folder)
    assert len(from_folder(folder)) == 3
    (folder / "self").symlink_to(folder)
    with pytest.raises(FileNotFoundError, match="self holds no pictures"):
        from_folder(folder)


def test_an_oversized_picture_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow warns of more than MAX_IMAGE_PIXELS, and refuses twice as many."""
    Image.new("RGB", (50, 50)).save(folder / "dog" / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    with pytest.warns(Image.DecompressionBombWarning, match=r"huge\.png: Image size \(2500 pix"):
        assert len(from_folder(folder, size=8)) == 4
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"huge\.png cannot be read .*2500 pixels"):
        from_folder(folder, size=8)


def test_a_file_that_may_not_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch
                                              ) -> None:
    def refuse(path: Any, *args: Any, **options: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Image, "open", refuse)  # root may read all there is
    with pytest.raises(ValueError, match=r"1\.png cannot be read .*Permission denied"):
        from_folder(folder)


@pytest.mark.parametrize("error", [SyntaxError, struct.error, EOFError, MemoryError, KeyError])
def test_whatever_a_damaged_picture_raises_the_file_is_named(
        folder: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def fail(*args: Any) -> Any:
        raise error("x" * 10_000)

    monkeypatch.setattr(Image.Image, "getexif", fail)
    with pytest.raises(ValueError, match=r"1\.png cannot be read as a picture") as caught:
        from_folder(folder)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("size", [0, -3, 2.5, (4, 0), (4, 4, 4), "8"])
def test_a_size_that_is_none_is_refused(folder: Path, size: Any) -> None:
    with pytest.raises(ValueError, match="size must be an integer of at least 1 or two"):
        from_folder(folder, size=size)
