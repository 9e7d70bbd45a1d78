"""Pictures of every dtype: fills and results are held to its range, and nothing wraps around."""

from __future__ import annotations

import numpy as np
import pytest

from tests.arrays import equal, host
from tests.data.test_every_transform import KEYS, TABLE, N, pictures
from tinynet.backend import xp
from tinynet.data import (
    ColorJitter,
    CutMix,
    Cutout,
    LensDistortion,
    Mixup,
    Normalize,
    PCALighting,
    RandomAffine,
    RandomErasing,
    Transform,
)

INTEGERS = ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
DTYPES = [*INTEGERS, "float16", "float32", "float64"]
# Noise is bytes or normal numbers, white is 255 or 1: for integers, or for floats.
OF_THEIR_DTYPE = {"RandomErasing with noise", "PCALighting"}
FILLED = {
    "Cutout": lambda fill: Cutout(40, fill=fill),
    "RandomErasing": lambda fill: RandomErasing(1.0, (0.9, 1.0), (1.1, 1.3), fill=fill),
    "RandomAffine": lambda fill: RandomAffine(translate=(2.0, 2.0), fill=fill),
    "LensDistortion": lambda fill: LensDistortion((9.0, 9.0), fill=fill),
}


def full(value: float, dtype: str) -> np.ndarray:
    return xp.full((N, 3, 20, 24), value, dtype)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("name", FILLED)
def test_a_fill_beyond_the_range_of_the_pictures_becomes_its_end(name: str, dtype: str) -> None:
    limits = np.iinfo(dtype)
    for fill, end in ((1e30, limits.max), (np.inf, limits.max), (-1e30, limits.min),
                      (float(limits.max) + 45.0, limits.max)):
        found = set(host(FILLED[name](fill)(full(1, dtype), KEYS)).ravel().tolist())
        assert end in found and min(found) >= limits.min and max(found) <= limits.max


@pytest.mark.parametrize("name", ["Cutout", "RandomErasing"])
def test_a_fill_of_300_is_white_on_bytes(name: str) -> None:
    found = host(FILLED[name](300)(full(0, "uint8"), KEYS))
    assert set(found.ravel().tolist()) <= {0, 255} and (found == 255).any()
    found = host(FILLED[name]((300, -7, 99.6))(full(5, "uint8"), KEYS))
    assert [set(found[:, c].ravel().tolist()) - {5} for c in range(3)] == [{255}, {0}, {100}]


@pytest.mark.parametrize("name", FILLED)
def test_a_fill_of_nan_is_refused_on_integers(name: str) -> None:
    with pytest.raises(ValueError, match="fill must be numbers for pictures of uint8, got nan"):
        FILLED[name](float("nan"))(full(0, "uint8"), KEYS)


@pytest.mark.parametrize("name", ["Cutout", "RandomErasing"])
def test_what_lies_under_a_hole_is_gone(name: str) -> None:
    """Also nan and inf, which 0 times would keep."""
    for dtype in ("float16", "float32", "float64"):
        for value in (np.nan, np.inf):
            found = host(FILLED[name](2.0)(full(value, dtype), KEYS))
            assert (found == 2.0).any()
            assert ((found == 2.0) | np.isnan(found) | np.isinf(found)).all()
    assert (host(Cutout(80)(full(np.nan, "float32"), KEYS)) == 0.0).all()


@pytest.mark.parametrize("dtype", INTEGERS)
def test_brighter_than_the_range_is_its_end(dtype: str) -> None:
    limits = np.iinfo(dtype)
    three = ColorJitter(brightness=(3.0, 3.0))
    assert (host(three(full(limits.max, dtype), KEYS)) == limits.max).all()
    assert (host(three(full(limits.min, dtype), KEYS)) == limits.min).all()
    assert (host(three(full(17, dtype), KEYS)) == 51).all()
    light = PCALighting((1e30,), ((1.0,),), sigma=1.0)
    found = set(host(light(full(17, dtype)[:, :1], KEYS)).ravel().tolist())
    assert found == {limits.min, limits.max}


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64"])
def test_integers_that_float32_does_not_hold_are_computed_in_float64(dtype: str) -> None:
    value = 2**31 - 3
    same = [ColorJitter(saturation=(1.0, 1.0)), RandomAffine(), LensDistortion(0.0),
            ColorJitter(contrast=(0.5, 0.5))]
    for transform in same:
        found = host(transform(full(value, dtype), KEYS)).astype("f8")
        assert np.abs(found - value).max() <= 1.0, transform
    images, _ = Mixup(2)(full(value, dtype), xp.zeros(N, int), 3)
    assert (host(images) == value).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(TABLE.keys() - OF_THEIR_DTYPE))
def test_every_transform_gives_every_dtype_the_same_picture(name: str, dtype: str) -> None:
    """To rounding, that of float64 pictures: of values 0 .. 127, which all of them hold."""
    x = pictures() // 2
    transform: Transform = TABLE[name].transform
    found = transform(x.astype(dtype), KEYS)
    assert found.dtype == dtype
    expected = host(transform(x.astype("float64"), KEYS))
    if dtype in INTEGERS:
        limits = np.iinfo(dtype)
        expected = np.clip(np.rint(expected), float(limits.min), float(limits.max))
        assert np.abs(host(found).astype("f8") - expected).max() <= 1.0
    else:
        error = {"float16": 0.25, "float32": 1e-3, "float64": 0.0}[dtype]
        assert np.abs(host(found).astype("f8") - expected).max() <= error


@pytest.mark.parametrize("dtype", DTYPES)
def test_normalised_pictures_are_right_to_the_last_digits_of_their_dtype(dtype: str) -> None:
    x = pictures() // 2
    wanted = (host(x).astype("f8") - 61.7) / 33.3
    y = host(Normalize(61.7, 33.3)(x.astype(dtype)))
    assert y.dtype == (dtype if dtype.startswith("float") else "float32")
    assert np.abs(y - wanted).max() <= 2.0 * np.finfo(y.dtype).eps


@pytest.mark.parametrize("dtype", DTYPES)
def test_mixed_pictures_of_every_dtype(dtype: str) -> None:
    x = (pictures() // 2).astype(dtype)
    labels = xp.arange(N) % 3
    for mix in (Mixup(3, alpha=1.0), CutMix(3)):
        images, targets = mix(x, labels, 5)
        expected, same = mix(x.astype("float64"), labels, 5)
        assert images.dtype == dtype
        assert np.abs(host(images).astype("f8") - host(expected)).max() <= 0.51
        assert np.abs(host(targets) - host(same)).max() < 1e-3
    assert equal(x, (pictures() // 2).astype(dtype))
