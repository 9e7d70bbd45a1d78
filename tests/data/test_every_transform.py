"""One table of all transforms, and what each must keep: identity, range, label, dtype, keys.

What a transform does is tested in the file of its own name; here stands what all share.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.arrays import equal, host
from tests.project import below
from tinynet import data, get_num_workers, random, set_num_workers
from tinynet.backend import Array, xp
from tinynet.data import (
    BatchTransform,
    ColorJitter,
    Compose,
    CutMix,
    Cutout,
    DataLoader,
    LensDistortion,
    LightJitter,
    Mixup,
    Normalize,
    PCALighting,
    RandomAffine,
    RandomApply,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomResizedCrop,
    ResNetCrop,
    Transform,
)

N = 40
KEYS = random.key(0, 7, xp.arange(N))
LIGHT = PCALighting((0.2, 0.01, 0.005), ((0.6, -0.7, 0.4), (0.6, 0.1, -0.8), (0.5, 0.7, 0.5)))


class Row(NamedTuple):
    """A transform of 3x20x24 pictures, and the same with settings that change nothing."""

    transform: Transform
    same: Transform
    size: tuple[int, int] = (20, 24)
    convex: bool = True  # no value beyond those of the picture and the fill
    often: float = 0.9  # at least this part of the pictures differs in the next epoch


TABLE = {
    "LightJitter": Row(LightJitter(20.0, 0.2), LightJitter(0.0, 0.0), convex=False),
    "ColorJitter": Row(ColorJitter(0.4, 0.4, 0.4), ColorJitter(), convex=False),
    "Compose": Row(Compose([RandomHorizontalFlip(), RandomCrop((20, 24), 4), Cutout(8, fill=7)]),
                   Compose([])),
    "Cutout": Row(Cutout(8, fill=(1.0, 2.0, 3.0)), Cutout(1, fill=5.0)),
    "LensDistortion": Row(LensDistortion(0.3), LensDistortion(0.0)),
    "PCALighting": Row(LIGHT, PCALighting(LIGHT.eigenvalues, LIGHT.eigenvectors, sigma=0.0),
                       convex=False),
    "RandomAffine": Row(RandomAffine(20.0, 0.1, 0.1, 0.1, 10.0, fill=3.0), RandomAffine()),
    "RandomApply": Row(RandomApply(RandomCrop((20, 24), 2), 0.7),
                       RandomApply(RandomCrop((20, 24), 2), 0.0), often=0.6),
    "RandomCrop": Row(RandomCrop((20, 24), padding=4), RandomCrop((20, 24))),
    "RandomCrop, reflected": Row(RandomCrop((20, 24), 4, "reflect"), RandomCrop((20, 24))),
    "RandomErasing": Row(RandomErasing(0.9, fill=9.0), RandomErasing(0.0, fill=9.0)),
    "RandomErasing with noise": Row(RandomErasing(0.9, fill="random"),
                                    RandomErasing(0.0, fill="random"), convex=False),
    "RandomHorizontalFlip": Row(RandomHorizontalFlip(), RandomHorizontalFlip(0.0), often=0.2),
    "RandomResizedCrop": Row(RandomResizedCrop((10, 15)),
                             RandomResizedCrop((20, 24), scale=(1, 1), ratio=(1.2, 1.2)), (10, 15)),
    "ResNetCrop": Row(ResNetCrop(12, (14, 25)), ResNetCrop(20, (20, 20)), (12, 12)),
}
OF_THREE_CHANNELS = {"Cutout", "PCALighting", "RandomErasing with noise"}
EXEMPT = {"Transform", "Normalize"}  # the base class, and what draws nothing: see test_transform.py


def pictures(n: int = N, dtype: str = "uint8", size: tuple[int, int] = (20, 24)) -> Array:
    """Values 0 .. 255; every picture its own."""
    return random.integers(5, 0, 256, (n, 3, *size)).astype(dtype)


def random_classes(base: type) -> set[str]:
    """The names of all classes of `tinynet.data` that derive from `base`."""
    package = Path(data.__file__ or "").parent
    found: set[str] = set()
    for path in below(package):
        things = vars(importlib.import_module(f"tinynet.data.{path.stem}")).values()
        found |= {t.__name__ for t in things if isinstance(t, type) and issubclass(t, base)}
    return found


def test_every_transform_stands_in_the_table_and_draws_apart_from_the_others() -> None:
    assert {name.split()[0].strip(",") for name in TABLE} == random_classes(Transform) - EXEMPT
    assert random_classes(BatchTransform) == {"BatchTransform", "CutMix", "Mixup"}
    x = pictures()
    draws = {name: row.transform.draws(x, KEYS).tobytes() for name, row in TABLE.items()
             if " " not in name}
    assert len(set(draws.values())) == len(draws)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
@pytest.mark.parametrize("name", TABLE)
def test_F1_shape_dtype_and_range_are_kept_and_the_input_too(name: str, dtype: str) -> None:
    row = TABLE[name]
    x = pictures(dtype=dtype)
    before = x.copy()
    y = row.transform(x, KEYS)
    assert y.shape == (N, 3, *row.size) and y.dtype == x.dtype
    values = host(y)
    assert np.isfinite(values).all()
    if row.convex:
        assert values.min() >= -1e-3 and values.max() <= 255.001
    assert equal(x, before)
    y += 1  # the result is the caller's to change
    assert equal(x, before)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("name", TABLE)
def test_F1_settings_that_change_nothing_change_no_bit(name: str, dtype: str) -> None:
    x = pictures(dtype=dtype)
    y = TABLE[name].same(x, KEYS)
    if name == "Cutout":  # the smallest hole is one pixel
        changed = host((y != x).any(axis=1)).reshape(N, -1).sum(axis=1)
        assert changed.max() <= 1 and equal(Cutout(1, fill=5.0)(x), x)
    elif name == "ResNetCrop":  # a square of the full height
        assert bool(xp.stack([(y == x[..., i : i + 20]).all(axis=(1, 2, 3)) for i in range(5)])
                    .any(axis=0).all())
    else:
        assert y.shape == x.shape and equal(y, x)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("name", TABLE)
def test_F1_the_same_keys_give_the_same_picture_in_any_batch(name: str, dtype: str) -> None:
    """Bit for bit: alone, in a part of the batch, in another order, in another memory layout."""
    transform, x = TABLE[name].transform, pictures(dtype=dtype)
    whole = transform(x, KEYS)
    assert equal(transform(x, KEYS), whole)
    for i in (0, 17):
        assert equal(transform(x[i : i + 1], KEYS[i : i + 1]), whole[i : i + 1])
    assert equal(transform(x[10:23], KEYS[10:23]), whole[10:23])
    assert transform(x[:0], KEYS[:0]).shape == (0, *whole.shape[1:])
    back = xp.arange(N - 1, -1, -1)
    assert equal(transform(x[back], KEYS[back]), whole[back])
    channels_last = xp.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert equal(transform(channels_last, KEYS), whole)
    fixed = random.key(0, 8, xp.arange(N))
    changed = host((transform(x, fixed) != whole).any(axis=(1, 2, 3)))
    assert changed.mean() >= TABLE[name].often  # the next epoch: another picture


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
@pytest.mark.parametrize("name", sorted(TABLE.keys() - OF_THREE_CHANNELS))
def test_F1_a_grey_picture_is_treated_like_one_of_three_equal_channels(name: str, dtype: str
                                                                       ) -> None:
    grey = pictures(dtype=dtype)[:, :1]
    one, three = (TABLE[name].transform(x, KEYS) for x in (grey, xp.repeat(grey, 3, axis=1)))
    assert one.shape == (N, 1, *TABLE[name].size) and one.dtype == grey.dtype
    difference = host(one).astype("f8") - host(three)[:, :1]
    assert np.abs(difference).max() <= (1 if dtype == "uint8" else 1e-9)


@pytest.mark.parametrize("name", TABLE)
def test_F1_a_loader_keeps_labels_and_gives_each_index_its_picture(name: str) -> None:
    """Whatever batch size, order, prefetching or number of workers; another epoch, another one."""
    images, labels = host(pictures()), np.arange(N) % 7

    def epoch(e: int = 0, **options: Any) -> tuple[np.ndarray, np.ndarray]:
        settings = {"batch_size": 16, "transform": TABLE[name].transform} | options
        batches = DataLoader(images, labels, **settings)
        batches.set_epoch(e)
        x, y = (np.concatenate(part) for part in
                zip(*[(host(x), host(y)) for x, y in batches], strict=True))
        settings["transform"] = None
        plain = DataLoader(np.arange(N), labels, **settings)
        plain.set_epoch(e)
        numbers = np.concatenate([host(i) for i, _ in plain])
        order = np.argsort(numbers)
        return x[order], y[order]

    x, y = epoch()
    assert (y == labels).all()
    before = get_num_workers()
    try:
        for n in (1, 2):
            set_num_workers(n)
            for options in ({"batch_size": 7}, {"shuffle": False}, {"prefetch": 2}):
                again, marks = epoch(**options)
                assert (again == x).all() and (marks == labels).all(), (n, options)
    finally:
        set_num_workers(before)
    other = (epoch(1)[0] != x).any(axis=(1, 2, 3)).mean()
    assert other >= TABLE[name].often


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.usefixtures("float64")
def test_the_default_dtype_changes_no_picture(name: str) -> None:
    assert equal(TABLE[name].transform(pictures(), KEYS), FLOAT32[name])


FLOAT32 = {name: row.transform(pictures(), KEYS) for name, row in TABLE.items()}


@pytest.mark.parametrize("name", TABLE)
def test_the_repr_makes_the_transform_again(name: str) -> None:
    transform = TABLE[name].transform
    again = eval(repr(transform), vars(data).copy())
    assert repr(again) == repr(transform)
    assert equal(again(pictures(), KEYS), transform(pictures(), KEYS))


@pytest.mark.parametrize("name", [*TABLE, "Mixup", "CutMix"])
def test_E11_training_is_random_and_the_test_is_not(name: str) -> None:
    """Noise in training: two epochs differ. Marginalised at test: the same, and no noise in it."""
    images, labels = host(pictures()), np.arange(N) % 7
    mix = {"Mixup": Mixup(7), "CutMix": CutMix(7)}.get(name)
    transform = None if mix else TABLE[name].transform

    def epoch(batches: DataLoader) -> np.ndarray:
        return np.concatenate([host(x) for x, _ in batches])

    options = {"shuffle": False, "batch_size": 16, "transform": transform, "batch_transform": mix}
    training = DataLoader(images, labels, **options)
    assert (epoch(training) != epoch(training)).any()
    test = DataLoader(images, labels, augment=False, **options)
    first = epoch(test)
    assert (first == epoch(test)).all()
    expected = pictures() if transform is None else transform(pictures())
    assert equal(first, expected)
    if first.shape == images.shape:
        assert equal(first, images)  # at test time the original


class Alone:
    """A transform of one argument."""

    def __call__(self, images: Array) -> Array:
        return images


@pytest.mark.parametrize(("make", "message"), [
    pytest.param(
        lambda: DataLoader(np.zeros((2, 1)), np.zeros(2, int), transform=lambda images: images),
        r"transform must be a function of \(images, keys\), "
        r"but <lambda>\(images\) cannot be called",
        id="a lambda of one argument"),
    (lambda: DataLoader(np.zeros((2, 1)), np.zeros(2, int), transform=Alone()),
     r"transform must be a function of \(images, keys\), but Alone\(images: 'Array'\)"),
    (lambda: DataLoader(np.zeros((2, 1)), np.zeros(2, int), transform=3),
     r"transform must be a function of \(images, keys\), got 3"),
    (lambda: DataLoader(np.zeros((2, 1)), np.zeros(2, int), batch_transform=Cutout(3)),
     r"batch_transform must be a function of \(images, labels, key\), but Cutout\(images"),
    (lambda: DataLoader(np.zeros((2, 1)), np.zeros(2, int), transform=Mixup(3)),
     r"transform must be a function of \(images, keys\), but Mixup\(images.*, labels"),
    (lambda: Compose([lambda images: images]), r"each of the transforms must be a function of"),
    (lambda: RandomApply(lambda: 0), r"transform must be a function of \(images, keys\)"),
])
def test_a_wrong_signature_is_named_before_the_first_batch(make: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()


def test_functions_of_two_arguments_will_do() -> None:
    for transform in (lambda images, keys: images, lambda images, keys=None: images,
                      lambda *batch: batch[0], Normalize(0.0, 2.0)):
        batches = DataLoader(np.zeros((3, 1, 2, 2)), np.zeros(3, int), transform=transform)
        assert len(list(batches)) == 3


@pytest.mark.parametrize(("transform", "message"), [
    (lambda images, keys: None, "must return the 4 pictures it is given, but .* returned NoneType"),
    (lambda images, keys: images[:2], r"must return the 4 pictures it is given.*\(2, 1, 2, 2\)"),
])
def test_a_transform_must_give_the_pictures_back(transform: Any, message: str) -> None:
    batches = DataLoader(np.zeros((4, 1, 2, 2)), np.zeros(4, int), 4, transform=transform)
    with pytest.raises(ValueError, match=message):
        next(iter(batches))


def test_random_apply_takes_each_picture_with_probability_p() -> None:
    n = 4000
    keys = random.key(3, xp.arange(n))
    invert = RandomApply(lambda images, keys: 255 - images, p=0.3)
    changed = host(invert(xp.zeros((n, 1, 1, 1), "uint8"), keys)).ravel() == 255
    assert abs(changed.mean() - 0.3) < 4.0 * np.sqrt(0.3 * 0.7 / n)
    flip = RandomApply(RandomHorizontalFlip(), p=0.5)  # draws apart from the flip's own
    x = xp.arange(2, dtype="uint8").reshape(1, 1, 1, 2).repeat(n, axis=0)
    both = host(Compose([RandomHorizontalFlip(), flip])(x, keys))[:, 0, 0, 0]
    assert abs(both.mean() - 0.5) < 4.0 * 0.5 / np.sqrt(n)
    with pytest.raises(ValueError, match=r"must keep shape and dtype.*\(40, 3, 20, 24\) uint8 bec"):
        RandomApply(RandomCrop(8))(pictures(), KEYS)
