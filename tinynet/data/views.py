r"""Looking at a picture several times: the crops and flips of test time, one after the other.

    p(class | picture) = mean over views v of softmax(net(v(picture)))

Training drew one crop at random; the average over many is what that noise comes to
(CS231n lecture 8, "marginalise at test time": F4). Each function here yields views of a
whole batch one by one, so memory holds one scale of one batch at most.
`train.predict_views` averages over them.

Read next: `data/lazy.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..backend import Array
from ..checks import check_images, check_whole, pair
from .crops import Size, crop
from .resample import resize

RESNET_SIDES = (224, 256, 384, 480, 640)  # He et al. 2016, section 3.4


def flips(images: Array) -> Iterator[Array]:
    """The pictures, and their mirror images.

    >>> from tinynet import xp
    >>> [v.ravel().tolist() for v in flips(xp.arange(2).reshape(1, 1, 1, 2))]
    [[0, 1], [1, 0]]
    """
    check_images(images)
    yield images
    yield images[..., ::-1]


def ten_crops(images: Array, size: Size = 224) -> Iterator[Array]:
    """Upper left, upper right, lower left, lower right, middle, and their flips.

    Each is (N, C, height, width), a view that costs nothing; views 5 .. 9 are flips of
    0 .. 4.

    >>> from tinynet import xp
    >>> [int(v[0, 0, 0, 0]) for v in ten_crops(xp.arange(9).reshape(1, 1, 3, 3), size=2)]
    [0, 1, 3, 4, 0, 1, 2, 4, 5, 1]
    """
    check_images(images)
    height, width = pair("size", size, 1)
    down = images.shape[2] - height
    right = images.shape[3] - width
    if down < 0 or right < 0:
        raise ValueError(f"size={(height, width)} exceeds the pictures of "
                         f"{images.shape[2]}x{images.shape[3]}: lower size, or resize "
                         "the pictures first")
    corners = [crop(images, y, x, (height, width)) for y, x in (
        (0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2))]
    yield from corners
    yield from (corner[..., ::-1] for corner in corners)


def resnet_crops(images: Array, size: int = 224, short_sides: Sequence[int] = RESNET_SIDES
                 ) -> Iterator[Array]:
    """ResNet's test: short side to each length, ten crops there: 50 views.

    At short side 224 a square picture holds one place for a crop of 224 (two with its
    flip).

    >>> from tinynet import xp
    >>> len(list(resnet_crops(xp.zeros((1, 3, 20, 24)), size=8, short_sides=(8, 16))))
    20
    """
    check_images(images)
    smallest = min(short_sides, default=0)
    if check_whole("size", size) > smallest:
        raise ValueError(f"size must be 1 .. {smallest} pixels, what the smallest of "
                         f"short_sides holds, got {size}")
    for side in short_sides:
        yield from ten_crops(resize(images, side), size)
