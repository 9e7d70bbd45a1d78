"""Augmentation: every transform against a plain loop, its statistics, and its keys."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.arrays import equal
from tinynet import random, tensor
from tinynet.backend import Array, to_numpy, xp
from tinynet.data import (
    Compose,
    Cutout,
    DataLoader,
    Normalize,
    RandomCrop,
    RandomHorizontalFlip,
    Transform,
    channel_statistics,
)

N = 2000
KEYS = random.key(0, 7, xp.arange(N))


def pictures(n: int = N, shape: tuple[int, ...] = (3, 32, 32), dtype: Any = "uint8") -> Array:
    """Values 1 .. 255, all neighbours different."""
    return (random.integers(5, 1, 256, (n, *shape))).astype(dtype)


@pytest.mark.parametrize(("size", "padding"), [((32, 32), 4), ((20, 24), 0), ((38, 20), 4)])
def test_without_keys_a_crop_is_the_middle(size: tuple[int, int], padding: int) -> None:
    x = pictures(3)
    top, left = (40 - size[0]) // 2, (40 - size[1]) // 2
    framed = np.pad(to_numpy(x), ((0, 0), (0, 0), (4, 4), (4, 4)))
    expected = framed[:, :, top : top + size[0], left : left + size[1]]
    assert (to_numpy(RandomCrop(size, padding)(x)) == expected).all()


# Flip

def test_F2_flip_equals_np_flip_with_probability_p() -> None:
    x = pictures()
    for p in (0.5, 0.2):
        y = to_numpy(RandomHorizontalFlip(p)(x, KEYS))
        flipped = (y == np.flip(to_numpy(x), 3)).reshape(N, -1).all(axis=1)
        kept = (y == to_numpy(x)).reshape(N, -1).all(axis=1)
        assert (flipped ^ kept).all()
        assert abs(flipped.mean() - p) < 4.0 * math.sqrt(p * (1 - p) / N)


def test_alternating_flips_show_both_views_in_two_epochs() -> None:
    """The same half of the pictures in all even epochs, the other half in the odd ones."""
    x = to_numpy(pictures(100))
    augment = Compose([RandomHorizontalFlip(alternate=True), RandomHorizontalFlip(0.0)])
    loader = DataLoader(x, np.arange(100), batch_size=32, transform=augment, seed=3)
    views = []
    for _ in range(4):
        seen = np.empty_like(x)
        for images, numbers in loader:
            seen[to_numpy(numbers)] = to_numpy(images)
        views.append(seen)
    assert (views[0] == views[2]).all() and (views[1] == views[3]).all()
    assert (views[0] == views[1][..., ::-1]).all()
    flipped = (views[0] == x[..., ::-1]).all(axis=(1, 2, 3))
    kept = (views[0] == x).all(axis=(1, 2, 3))
    assert (flipped ^ kept).all() and 30 < flipped.sum() < 70
    plain = DataLoader(x, np.arange(100), shuffle=False, transform=augment, augment=False)
    assert equal(next(iter(plain))[0], x[:len(next(iter(plain))[1])])


def test_F2_flip_of_flip_is_the_picture() -> None:
    x = pictures(100)
    always = RandomHorizontalFlip(p=1.0)
    assert bool((always(always(x, KEYS[:100]), KEYS[:100]) == x).all())
    assert bool((always(x, KEYS[:100]) == x[..., ::-1]).all())
    assert bool((RandomHorizontalFlip(p=0.0)(x, KEYS[:100]) == x).all())
    half = RandomHorizontalFlip()  # the same keys flip the same pictures back
    assert bool((half(half(x, KEYS[:100]), KEYS[:100]) == x).all())


# Crop

def crop_places(y: np.ndarray, padded: np.ndarray) -> np.ndarray:
    """(n, 2): where each patch lies in its padded picture, found by trying all places."""
    n, _, h, w = y.shape
    places = np.full((n, 2), -1)
    for i in range(padded.shape[2] - h + 1):
        for j in range(padded.shape[3] - w + 1):
            hit = (padded[:, :, i : i + h, j : j + w] == y).reshape(n, -1).all(axis=1)
            places[hit] = i, j
    assert (places >= 0).all()
    return places


@pytest.mark.parametrize(("size", "padding"), [((10, 10), 2), ((7, 4), 0), ((8, 12), 3)])
def test_crop_takes_a_patch_of_the_padded_picture_at_any_place(size: tuple[int, int],
                                                               padding: int) -> None:
    x = pictures(shape=(2, 10, 10))
    y = to_numpy(RandomCrop(size, padding)(x, KEYS))
    edges = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    places = crop_places(y, np.pad(to_numpy(x), edges))
    rows, columns = 10 + 2 * padding - size[0] + 1, 10 + 2 * padding - size[1] + 1
    counts = np.zeros((rows, columns))
    np.add.at(counts, tuple(places.T), 1)
    expected = N / counts.size
    assert counts.min() > 0  # every place occurs
    degrees = counts.size - 1
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi2 - degrees) < 4.0 * math.sqrt(2.0 * degrees)  # equally often


@pytest.mark.parametrize(("shape", "padding"), [((10, 12), 1), ((5, 9), 4), ((4, 4), 3)])
def test_a_mirrored_border_is_numpys(shape: tuple[int, int], padding: int) -> None:
    x = pictures(shape=(2, *shape))
    y = to_numpy(RandomCrop(shape, padding, "reflect")(x, KEYS))
    edges = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    crop_places(y, np.pad(to_numpy(x), edges, "reflect"))  # each is somewhere in it
    whole = (shape[0] + 2 * padding, shape[1] + 2 * padding)
    assert equal(RandomCrop(whole, padding, "reflect")(x),
                 np.pad(to_numpy(x), edges, "reflect"))


def test_crop_of_any_memory_layout() -> None:
    x = pictures(40)
    channels_last = xp.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    every_other = xp.repeat(x, 2, axis=3)[..., ::2]
    for padding in (0, 4):
        crop = RandomCrop(24, padding)
        for view in (channels_last, every_other):
            assert bool((crop(view, KEYS[:40]) == crop(x, KEYS[:40])).all())


# Cutout

@pytest.mark.parametrize(("size", "percent"), [(16, 19.14), (8, 5.49)])
def test_G4_mean_masked_area_of_the_paper(size: int, percent: float) -> None:
    """All 32 x 32 centres are equally likely: exactly 19.14 % and 5.49 %; here 20,000 draws."""
    n = 20_000
    x = xp.ones((n, 1, 32, 32), xp.float32)
    area = to_numpy(1.0 - Cutout(size)(x, random.key(1, xp.arange(n))).mean(axis=(1, 2, 3)))
    exact = np.mean([sum(0 <= c - size // 2 + i < 32 for i in range(size)) for c in range(32)])
    assert abs((exact / 32.0) ** 2 * 100.0 - percent) < 0.005
    assert abs(area.mean() * 100.0 - percent) < 4.0 * 100.0 * area.std() / math.sqrt(n)
    assert area.max() == pytest.approx((size / 32.0) ** 2)
    assert area.min() == pytest.approx((size / 2 / 32.0) ** 2)  # a corner: a quarter is left


@pytest.mark.parametrize("size", [1, 5, 8, 16, 40])
def test_G4_one_square_which_may_hang_over(size: int) -> None:
    x = xp.ones((500, 2, 20, 30), xp.float32)
    holes = to_numpy(Cutout(size)(x, KEYS[:500])) == 0.0
    assert (holes[:, 0] == holes[:, 1]).all()  # the same in every channel
    centres = set()
    for hole in holes[:, 0]:
        rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
        assert hole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert hole.sum() == len(rows) * len(columns)
        for found, length in ((rows, 20), (columns, 30)):
            assert len(found) <= size
            assert len(found) == min(size, length) or found[0] == 0 or found[-1] == length - 1
        centres.add((rows[0], columns[0]))
    assert len(centres) > 1


def test_G4_fill_and_the_rest_of_the_picture() -> None:
    x = pictures(300)
    y = Cutout(16, fill=(10.2, 20.7, 30.0))(x, KEYS[:300])
    changed = to_numpy((y != x).any(axis=1))
    hole = to_numpy(Cutout(16, fill=0)(x, KEYS[:300]) == 0)[:, 0]  # no pixel of x is 0
    assert (changed <= hole).all() and changed.mean() > 0.99 * hole.mean()
    for channel, value in enumerate((10, 21, 30)):  # rounded for uint8
        assert (to_numpy(y)[:, channel][hole] == value).all()
    z = to_numpy(Cutout(16)(x.astype("float32") - 128.0, KEYS[:300]))
    assert (z[:, 0][hole] == 0.0).all()
    assert (z[:, 0][~hole] == to_numpy(x)[:, 0][~hole] - 128.0).all()
    assert Cutout(16)(x) is x  # at test time the original


def test_G4_cutout_of_raw_bytes_asks_for_a_fill() -> None:
    with pytest.raises(ValueError, match="Cutout on uint8 pictures needs fill=, such as the train"):
        Cutout(16)(pictures(2), KEYS[:2])


# Normalize

def test_normalize_equals_the_formula() -> None:
    x = pictures(70)
    mean, std = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)
    exact = (to_numpy(x) - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    y = Normalize(mean, std)(x)
    assert y.dtype == xp.float32 and np.abs(to_numpy(y) - exact).max() < 1e-6
    z = Normalize(mean, std)(x.astype("float64"))
    assert z.dtype == xp.float64 and np.abs(to_numpy(z) - exact).max() < 1e-14
    assert bool((Normalize(mean, std)(x, KEYS[:70]) == y).all())  # keys change nothing
    one = Normalize(100.0, 50.0)(x[:, :1])
    assert np.allclose(to_numpy(one), to_numpy(x)[:, :1] / 50.0 - 2.0, atol=1e-6)


@pytest.mark.usefixtures("float64")
def test_normalize_gives_the_default_dtype() -> None:
    assert Normalize(1.0, 2.0)(pictures(2)).dtype == xp.float64


def test_channel_statistics_are_exact_and_what_normalize_takes() -> None:
    x = pictures(100)
    mean, std = channel_statistics(x)
    assert np.allclose(mean, to_numpy(x).mean(axis=(0, 2, 3), dtype=np.float64), rtol=1e-14)
    assert np.allclose(std, to_numpy(x).std(axis=(0, 2, 3), dtype=np.float64), rtol=1e-12)
    y = to_numpy(Normalize(mean, std)(x)).astype(np.float64)
    assert np.abs(y.mean(axis=(0, 2, 3))).max() < 1e-6
    assert np.abs(y.std(axis=(0, 2, 3)) - 1.0).max() < 1e-6
    again = channel_statistics(to_numpy(x)[::-1])  # another order of summation, on the host
    assert again == (mean, std)


# Compose and keys

def test_adding_a_transform_changes_nothing_about_the_others() -> None:
    """Each draws from its own stream: what the others do shows on pictures that tell it apart."""
    x = pictures(200)
    crop, flip, cut = RandomCrop(32, padding=4), RandomHorizontalFlip(), Cutout(8, fill=0)
    keys = KEYS[:200]
    hole = Compose([cut])(x, keys) == 0
    assert bool((Compose([flip, cut])(x, keys) * hole == 0).all())
    assert bool(((Compose([flip, cut])(x, keys) == 0) == hole).all())
    assert bool((Compose([flip, crop])(x, keys) == crop(flip(x, keys), keys)).all())
    assert bool((Compose([Normalize(0.0, 2.0), crop])(x, keys) == crop(x / np.float32(2), keys))
                .all())


def test_a_transform_that_occurs_twice_draws_twice() -> None:
    x = pictures(N, shape=(1, 4, 4))
    flip = RandomHorizontalFlip()
    unchanged = (Compose([flip, flip])(x, KEYS) == x).reshape(N, -1).all(axis=1)
    assert abs(float(unchanged.mean()) - 0.5) < 4.0 * 0.5 / math.sqrt(N)
    nested = Compose([Compose([flip]), Compose([flip])])
    assert bool((nested(x, KEYS) == Compose([flip, flip])(x, KEYS)).all())


def test_draws_of_different_transforms_are_independent() -> None:
    """Flip or not, crop place and cutout place: correlations within 4 standard errors of 0."""
    column = xp.broadcast_to(xp.arange(1, 65).reshape(1, 1, 1, 64), (N, 1, 1, 64)).astype("float32")
    flipped = to_numpy(RandomHorizontalFlip()(column, KEYS)[:, 0, 0, 0] > 32)
    place = to_numpy(RandomCrop((1, 32))(column, KEYS)[:, 0, 0, 0])
    hole = to_numpy((Cutout(1)(column, KEYS) == 0)[:, 0, 0].argmax(axis=1))
    for a, b in ((flipped, place), (flipped, hole), (place, hole)):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4.0 / math.sqrt(N)


def test_a_function_or_an_own_class_will_do() -> None:
    class Invert(Transform):
        stream = 1000

        def __init__(self, top: int) -> None:
            self.top = top

        def __call__(self, images: Array, keys: Array | None = None) -> Array:
            return self.top - images

    def double(images: Array, keys: Array | None) -> Array:
        return images * 2

    x = pictures(4, dtype="float32")
    both = Compose([Invert(255), double])
    assert bool((both(x, KEYS[:4]) == (255 - x) * 2).all())
    assert repr(both).startswith("Compose([Invert(top=255), <function")
    with pytest.raises(TypeError, match=r"Transform must define __call__\(images, keys=None\)"):
        Transform()(x)


def test_repr_shows_the_settings() -> None:
    assert repr(Compose([RandomHorizontalFlip(0.3), Cutout(8, fill=(1, 2, 3)), Normalize(1.0, 2.0)])
                ) == ("Compose([RandomHorizontalFlip(p=0.3, alternate=False), "
                      "Cutout(size=8, fill=(1, 2, 3)), Normalize(mean=1.0, std=2.0)])")


X = pictures(2)


@pytest.mark.parametrize(("mistake", "error", "message"), [
    (lambda: RandomHorizontalFlip(1.5), ValueError, "p must be a probability .* got 1.5"),
    (lambda: RandomHorizontalFlip("half"), ValueError, "p must be a probability .* got 'half'"),
    (lambda: RandomCrop(0), ValueError, "size must be an integer of at least 1 .* got 0"),
    (lambda: RandomCrop(24.0), ValueError, "size must be an integer .* got 24.0"),
    (lambda: RandomCrop((8, 8, 3)), ValueError,
     r"size must be an integer .* or two of them .* got \(8, 8, 3\)"),
    (lambda: RandomCrop(24, (4, 4)), ValueError, r"padding must be an integer .* got \(4, 4\)"),
    (lambda: RandomCrop(32, padding=-1), ValueError, "padding must be an integer .* got -1"),
    (lambda: RandomCrop(40, padding=2)(X, KEYS[:2]), ValueError,
     r"size=\(40, 40\) exceeds the pictures of 32x32 with padding=2: lower size"),
    (lambda: RandomCrop(32, 4, "mirror"), ValueError, "mode must be 'zeros' or 'reflect'"),
    (lambda: RandomCrop(32, 32, "reflect")(X, KEYS[:2]), ValueError,
     "padding=32 exceeds what pictures of 32x32 can mirror, 31 pixels"),
    (lambda: Cutout(0), ValueError, "size must be an integer of at least 1, got 0"),
    (lambda: Cutout(8.5), ValueError, "size must be an integer of at least 1, got 8.5"),
    (lambda: Cutout(8, fill="mean"), ValueError, "fill must be numbers or None, got 'mean'"),
    (lambda: Cutout(4, fill=(1, 2))(X, KEYS[:2]), ValueError, "each of the 3 channels, got 2"),
    (lambda: Normalize((1, 2), (1, 2))(X), ValueError, "each of the 3 channels, got 2"),
    (lambda: Normalize(0.0, 0.0), ValueError, "std must be positive, got 0.0"),
    (lambda: Normalize((0.49, 0.48, 0.45), (0.25, 0.24, 0.26))(X), ValueError,
     "look like parts of 1, but the pictures are uint8: multiply both by 255"),
    (lambda: RandomHorizontalFlip()(X[0], KEYS[:3]), ValueError, r"must be \(N, C, H, W\), got"),
    (lambda: RandomHorizontalFlip()(X.transpose(0, 2, 3, 1), KEYS[:2]), ValueError,
     r"\(2, 32, 32, 3\), which looks like \(N, H, W, C\): use images.transpose"),
    (lambda: RandomHorizontalFlip()(X > 9, KEYS[:2]), TypeError, "an array of numbers, got bool"),
    (lambda: RandomHorizontalFlip()([X], KEYS[:2]), TypeError, "must be an array, got list"),
    (lambda: Normalize(0.0, 2.0)(tensor(X / 255.0)), TypeError, "must be an array, got Tensor"),
    (lambda: RandomHorizontalFlip()(X, 7), ValueError, r"keys must be one .* array, got 7"),
    (lambda: RandomCrop(32, 4)(X, [1, 2]), ValueError, r"keys must be one .* got \[1, 2\]"),
    (lambda: RandomHorizontalFlip()(X, KEYS[:3]), ValueError, r"keys must be one for each of"),
    (lambda: Compose([RandomHorizontalFlip(), 3]), TypeError,
     r"each of the transforms must be a function of \(images, keys\), got 3"),
    (lambda: channel_statistics(X[:0]), ValueError, "at least one picture"),
])
def test_mistakes_are_named(mistake: Callable[[], Any], error: type[Exception],
                            message: str) -> None:
    with pytest.raises(error, match=message):
        mistake()
