"""A folder of pictures, sorted into one subfolder for each class, becomes a data set.

Whatever a picture's pixels are, they become 8 bits of red, green and blue: grey is
repeated, a palette looked up, CMYK converted, 16 bits keep the upper byte. What has no
known range (floats, 32-bit integers) is refused, and so is all that cannot be read:
each time by the file's name.

Read next: `data/picture.py`.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import answering, pair
from .dataset import Dataset
from .lazy import LazyImages

if TYPE_CHECKING:
    from PIL.Image import Image

_COMMON = (".png", ".jpg", ".jpeg")
_OTHERS = (".bmp", ".gif", ".tif", ".tiff", ".webp")
# Whatever the name: of other formats, a program might be run.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
_ORIENTATION = 0x0112  # of the camera, in the picture's Exif
# Pillow's modes
_EIGHT_BITS = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"}


@answering
def from_folder(path: str | Path, size: int | tuple[int, int] | None = None,
                lazy: bool = False) -> Dataset:
    """Pictures in one subfolder for each class: path/cat/1.png, path/dog/7.jpg ...

    PNG, JPEG, BMP, GIF, TIFF and WebP. Grey ones become RGB, 16 bits become 8,
    transparency is dropped, camera rotation is undone; of an animation the first
    picture is taken. The classes are the subfolders in alphabetical order. All pictures
    must have one size, or `size` (side, or (height, width)) resizes them. Returns uint8
    images (N, 3, H, W); with `lazy` they stay in their files, for a folder larger than
    memory, and each is read when a batch asks for it (`lazy.py`).

    Raises FileNotFoundError (no folder, no pictures) and ValueError (a file that cannot
    be read, or of another size); each names the file and says what to do.
    """
    root = Path(path)
    if size is not None:
        size = pair("size", size, 1)
    folders = _classes(root)
    found = [_pictures(folder) for folder in folders]
    labels = np.repeat(np.arange(len(folders)), [len(files) for files in found])
    files = [file for some in found for file in some]
    classes = tuple(folder.name for folder in folders)
    name = root.resolve().name
    if lazy:
        names = np.array([f"{file.parent.name}/{file.name}" for file in files], object)
        return Dataset(LazyImages(names, _OneSize(root, size, files[0])), labels, classes, name)

    first = read_file(files[0], size)
    images = np.empty((len(files), 3, *first.shape[:2]), np.uint8)
    for i, file in enumerate(files):
        picture = read_file(file, size)
        _check_size(file, picture, files[0], first)
        images[i] = picture.transpose(2, 0, 1)
    return Dataset(images, labels, classes, name)


class _OneSize:
    """Reads a picture by its name, on any thread; all must be as large as the `first`."""

    def __init__(self, root: Path, size: tuple[int, int] | None, first: Path) -> None:
        self.root = root
        self.size = size
        self.first = first
        self.like = read_file(first, size)

    def __call__(self, name: str) -> np.ndarray[Any, Any]:
        file = self.root / name
        picture = decoded(file, self.size)
        _check_size(file, picture, self.first, self.like)
        return picture.transpose(2, 0, 1)


def _check_size(file: Path, picture: np.ndarray[Any, Any], first: Path,
                like: np.ndarray[Any, Any]) -> None:
    if picture.shape != like.shape:
        raise ValueError(f"{file} is {picture.shape[0]}x{picture.shape[1]}, but "
                         f"{first} is {like.shape[0]}x{like.shape[1]} "
                         "(height x width): pass size= to bring all to one size")


def _classes(root: Path) -> list[Path]:
    """The subfolders of `root`, in alphabetical order."""
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is no folder: it should hold one subfolder of "
                                "pictures for each class")
    entries = sorted(f for f in root.iterdir() if not f.name.startswith("."))
    for entry in entries:
        if entry.is_symlink() and not entry.exists():  # a class would be missing without a word
            raise FileNotFoundError(f"{entry} is a link that leads nowhere: mend or "
                                    "remove it")
    folders = [f for f in entries if f.is_dir()]
    if not folders:
        raise FileNotFoundError(f"{root} holds no subfolders: put the pictures of each "
                                f"class into one, as in {root / 'cat' / '1.png'}")
    return folders


def _pictures(folder: Path) -> list[Path]:
    """The pictures in a class's folder, by their names."""
    found = sorted(f for f in folder.iterdir()
                   if f.suffix.lower() in _COMMON + _OTHERS and not f.name.startswith("."))
    if not found:
        raise FileNotFoundError(f"{folder} holds no pictures ({', '.join(_COMMON)}), "
                                f"no {', '.join(_OTHERS)}: add some, or remove it")
    return found


def read_file(file: Path, size: tuple[int, int] | None) -> np.ndarray[Any, Any]:
    """What `decoded` gives; a warning of Pillow's names the file as well."""
    with warnings.catch_warnings(record=True) as caught:  # not on two threads at a time
        warnings.simplefilter("always")
        found = decoded(file, size)
    for warning in caught:
        warnings.warn(f"{file}: {warning.message}", warning.category, stacklevel=3)
    return found


def decoded(file: Path, size: tuple[int, int] | None) -> np.ndarray[Any, Any]:
    """(H, W, 3) uint8; ValueError names a file that cannot be read as a picture."""
    from PIL import Image as pillow

    try:
        if not file.is_file():  # a named pipe would be waited for, for ever
            raise OSError("it is a folder, a pipe, a socket, a device or a broken link")
        with pillow.open(file, formats=_FORMATS) as opened:
            picture = upright(opened)
    except Exception as error:  # a damaged or hostile file can fail in any way
        raise ValueError(f"{file} cannot be read as a picture ({error!s:.300}): "
                         "replace or remove it") from error
    return pixels(picture, size)


def pixels(picture: Image, size: tuple[int, int] | None) -> np.ndarray[Any, Any]:
    """The whole picture, squeezed or stretched to `size` (height, width): (H, W, 3) uint8."""
    from PIL import Image as pillow

    if size is not None and picture.size != size[::-1]:
        picture = picture.resize(size[::-1], pillow.Resampling.BILINEAR)
    return np.asarray(picture)


def upright(opened: Image) -> Image:
    """The picture, upright, in mode RGB."""
    from PIL import Image as pillow, ImageOps

    mode = opened.mode
    # Before version 11, Pillow called the 16 bits of a grey PNG "I", its name for 32.
    deep = mode.startswith("I;16") or (mode == "I" and opened.format == "PNG")
    if not deep and mode not in _EIGHT_BITS:
        raise ValueError(f"its pixels are of mode {mode}, whose range is not "
                         "known: save it with 8 bits a channel")
    picture = opened
    if opened.getexif().get(_ORIENTATION, 1) != 1:
        picture = ImageOps.exif_transpose(opened)
    if deep:  # the upper byte, as Pillow reads 16 bits of red, green and blue
        upper = np.asarray(picture) >> 8
        picture = pillow.fromarray(upper.astype(np.uint8))
    if picture.mode == "RGB":
        picture.load()
        return picture
    if "transparency" in picture.info:  # Pillow warns of what is dropped
        picture = picture.copy()
        del picture.info["transparency"]
    return picture.convert("RGB")
