"""The numbers behind figures 21 to 23, 25, 27 and 28: what is done to pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from lecture import photos

Numbers = Callable[[int], dict[str, Any]]


@pytest.fixture(autouse=True, scope="module")
def only_shapes() -> Iterator[None]:
    """Whatever lies on this machine: the pictures are the built-in ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TINYNET_DATA", raising=False)
        photos.cifar.cache_clear()
        yield
    photos.cifar.cache_clear()


def test_F2_each_is_the_picture_or_its_mirror_image(numbers: Numbers) -> None:
    found = numbers(21)
    assert found["flipped or same"] == found["of"] == 64
    assert found["share"] == pytest.approx(0.5, abs=4 * 0.5 / 8)


def test_F4_there_are_fifty_views_at_test(numbers: Numbers) -> None:
    assert numbers(22)["views"] == 5 * 10


def test_F3_patches_come_from_scales_of_the_papers_range(numbers: Numbers) -> None:
    found = numbers(22)
    assert found["shapes"] == [[3, 224, 224]] * 4
    assert min(found["picture"]) > 224
    ratio = found["picture"][0] / min(found["picture"])
    for side in found["short sides"]:
        assert 255 < side / ratio < 481
    assert len({round(side) for side in found["short sides"]}) == 4


def test_F5_light_changes_and_nothing_at_strength_0(numbers: Numbers) -> None:
    found = numbers(23)
    assert found["zero changes nothing"]
    assert np.ptp(found["means"]) > 20 and np.ptp(found["spreads"]) > 10


def test_G2_regions_have_one_or_two_pixels_a_side(numbers: Numbers) -> None:
    found = numbers(25)
    assert found["sides"] == [1, 2]
    assert found["twos"] == [32 - 22] * 6 and found["regions"] == [22] * 6
    assert found["top left"][0] == found["by hand"]


def test_G4_the_hole_covers_a_fifth(numbers: Numbers) -> None:
    found = numbers(27)
    assert found["covered"] == pytest.approx(0.1914, abs=0.012)
    assert all(0.06 < hole <= 0.26 for hole in found["holes"])


def test_G5_labels_are_mixed_as_the_pictures_are(numbers: Numbers) -> None:
    found = numbers(28)
    assert found["target"] == pytest.approx([0.4, 0.6])
    assert found["away from the blend"] <= 0.51  # rounded to bytes
    assert found["loss"] == pytest.approx(found["mean of losses"], abs=1e-6)


def test_photographs_are_cifars_where_it_is_present(
        monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.arange(3 * 32 * 32, dtype=np.uint8).reshape(3, 32, 32)
    monkeypatch.setattr(photos, "cifar", lambda: {photos.DOG: picture})
    assert photos.photo(photos.DOG, "dog", "star").name == "dog"
    assert photos.photo(photos.KITTEN, "cat", "heart").name == "heart"
