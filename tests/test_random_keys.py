"""Keys of words and numbers: no two purposes share one, and they are the same on every machine."""

from __future__ import annotations

import ast
import hashlib
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

import tinynet.random as tr
from tests.data.test_every_transform import random_classes
from tests.project import below
from tests.test_random import KEYS, P_MIN, sigmas
from tinynet.backend import to_numpy, xp
from tinynet.data import BatchTransform, Transform
from tinynet.random import Generator, key

LIBRARY = Path(tr.__file__).parent
ALL = 2**64
NUMBERS = st.integers(-(2**63), 2**64 - 1)
PARTS = st.lists(NUMBERS | st.text(max_size=5), max_size=4)


def by_hand(*parts: int | str) -> int:
    """The formula at the top of random.py, in plain Python."""
    def mix(z: int) -> int:
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % ALL
        z = (z ^ z >> 27) * 0x94D049BB133111EB % ALL
        return z ^ z >> 31

    h = 0
    for part in parts:
        if isinstance(part, str):
            kind = 3
            digest = hashlib.blake2b(part.encode(), digest_size=8).digest()
            number = int.from_bytes(digest, "little")
        else:
            kind = 1 if part >= 0 else 2
            number = part
        h = mix((mix((h + kind * 0xD1342543DE82EF95) % ALL) + number) % ALL)
    return h


@given(PARTS)
def test_a_key_is_the_formula(parts: list[int | str]) -> None:
    assert key(*parts) == by_hand(*parts)


def test_keys_of_words_are_the_same_on_every_machine() -> None:
    assert key(0, "shuffle", 2) == 3515453470808533164
    assert [key("caf\u00e9"), key("", -1)] == [by_hand("caf\u00e9"), by_hand("", -1)]


@given(PARTS, PARTS)
def test_other_parts_give_another_key(one: list[int | str], other: list[int | str]) -> None:
    assert (key(*one) == key(*other)) == (one == other)


def test_words_and_numbers_that_look_alike_are_apart() -> None:
    word = int.from_bytes(hashlib.blake2b(b"shuffle", digest_size=8).digest(), "little")
    alike = [(1, 23), (12, 3), (123,), ("123",), ("1", "23"), ("12", "3"), (1, "23"), ("1", 23),
             (), (0,), ("",), ("0",), (0, 0), ("", ""), (-1,), (2**64 - 1,), (2**63,), (-(2**63),),
             ("shuffle",), (word,), ("shuf", "fle"), (ord("a"),), ("a",), ("a", 0), (0, "a")]
    assert len({key(*parts) for parts in alike}) == len(alike)


@given(st.lists(NUMBERS, min_size=1, max_size=5), st.sampled_from([(), (3,), ("a",), (3, "b", -1)]))
def test_an_array_of_numbers_gives_the_keys_of_its_numbers(numbers: list[int],
                                                           before: tuple[int | str, ...]) -> None:
    for dtype in (np.int64, np.uint64, np.int8, np.uint8, np.int32):
        limits = np.iinfo(dtype)
        array = np.array([n for n in numbers if limits.min <= n <= limits.max], dtype)
        found = to_numpy(key(*before, xp.asarray(array))).tolist()
        assert found == [key(*before, n) for n in array.tolist()]


@pytest.mark.parametrize("number", [2**64, 2**64 + 5, -(2**63) - 1, -(2**64), 10**5000],
                         ids=["2^64", "more", "below -2^63", "-2^64", "5001 digits"])
def test_integers_that_64_bits_cannot_tell_apart_are_refused(number: int) -> None:
    wanted = r"must be an integer from -2\*\*63 to 2\*\*64 - 1"
    with pytest.raises(ValueError, match=f"key part 1 {wanted}"):
        key("a", number)
    with pytest.raises(ValueError, match=f"seed {wanted}"):
        tr.manual_seed(number)
    with pytest.raises(ValueError, match=f"seed {wanted}"):
        Generator().set_state({"seed": number, "counter": 0})


def test_seeds_that_are_accepted_are_told_apart() -> None:
    seeds = [0, 1, -1, 2**63 - 1, 2**63, -(2**63), 2**64 - 1]
    draws = {float(Generator(seed).uniform(dtype="f8")) for seed in seeds}
    assert len(draws) == len(seeds)


def test_a_key_to_draw_from_is_one_of_64_bits() -> None:
    for wrong in (-1, 2**64):
        with pytest.raises(ValueError, match=r"key must be from 0 to 2\*\*64 - 1"):
            tr.bits(wrong, 3)
    with pytest.raises(TypeError, match="key must be an integer or an array of them, got float64"):
        tr.uniform(xp.ones(3), 2)
    assert to_numpy(tr.uniform(xp.arange(3), 2)).shape == (3, 2)


def test_no_draw_of_a_key_is_a_key_made_from_it() -> None:
    """Else the shuffle of an epoch would hold the keys of its pictures."""
    for parent in KEYS:
        children = {key(parent, i) for i in range(1000)} | {key(i, parent) for i in range(1000)}
        assert not children & set(to_numpy(tr.bits(parent, 2000)).tolist())


# What the library's own keys are made of

class Place(NamedTuple):
    """One call of `key` in the library: for each part the words it can be, or None: a number."""

    where: str
    parts: tuple[frozenset[str] | None, ...]
    more: bool  # and further numbers


NAMES = frozenset(random_classes(Transform) | random_classes(BatchTransform))
# Words that do not stand in the call itself: what these expressions can be.
WORDS = {
    "data/transform.py": {"type(self).__name__": NAMES},
    "data/mix.py": {"type(self).__name__": NAMES},
    "data/colour.py": {"what": frozenset({"brightness", "contrast", "saturation"})},
    "data/shapes.py": {"split": frozenset({"train", "test"})},
    "functional/fractional.py": {"axis": frozenset({"rows", "columns"})},
    "random.py": {"word": frozenset({"first gamma", "second gamma", "boosted"})},
}


def places() -> Iterator[Place]:
    """All calls of `key` in the library that make keys."""
    for path in below(LIBRARY):
        name = path.relative_to(LIBRARY).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("key", "random.key"):
                more = any(isinstance(part, ast.Starred) for part in node.args)
                parts = [part for part in node.args if not isinstance(part, ast.Starred)]
                words = WORDS.get(name, {})
                kinds = tuple(frozenset({part.value}) if isinstance(part, ast.Constant)
                              and isinstance(part.value, str) else words.get(ast.unparse(part))
                              for part in parts)
                yield Place(f"{name}:{node.lineno}", kinds, more)


def apart(one: Place, other: Place) -> bool:
    """No key of one place can be a key of the other."""
    if len(one.parts) != len(other.parts) and not (one.more or other.more):
        return True
    return any((a is None) != (b is None) or (a is not None and b is not None and not a & b)
               for a, b in zip(one.parts, other.parts, strict=False))


def test_no_two_places_in_the_library_can_make_the_same_key() -> None:
    found = list(places())
    assert len(found) > 25
    wordless = [place.where for place in found if not any(place.parts)]
    assert not wordless, "name the purpose of these keys by a word"
    # mix.py and transform.py name transforms alike, but no class is both
    clashes = [(one.where, other.where) for one, other in itertools.combinations(found, 2)
               if not apart(one, other)
               and {one.parts[0], other.parts[0]} != {NAMES}]
    assert not clashes
    assert not random_classes(Transform) & random_classes(BatchTransform)


def test_the_check_of_places_sees_a_clash() -> None:
    def place(*parts: str | None, more: bool = False) -> Place:
        return Place("", tuple(None if p is None else frozenset({p}) for p in parts), more)

    assert not apart(place(None, "a"), place(None, "a"))
    assert not apart(place("a", more=True), place("a", None, None))
    assert apart(place(None, "a"), place(None, None))
    assert apart(place(None, "a"), place(None, "b"))
    assert apart(place(None, "a"), place(None, "a", None))


# Statistics

def test_neighbouring_keys_give_independent_draws() -> None:
    n = 4096
    u = np.stack([to_numpy(tr.uniform(key(seed, epoch, i), n, dtype=np.float64))
                  for seed in range(3) for epoch in range(3) for i in range(4)])
    correlations = np.corrcoef(u)[np.triu_indices(len(u), 1)]  # 630 pairs: the largest is near 3.2
    assert np.abs(correlations).max() < 4.7 / math.sqrt(n)
    assert sigmas(np.mean(correlations), 0.0, 1.0 / math.sqrt(n * len(correlations))) < 4.0


def test_first_draws_over_consecutive_keys_are_uniform_and_unserial() -> None:
    n = 100_000
    for keys in (key(0, np.arange(n)), key(0, 1, np.arange(n)), key(np.arange(n))):
        u = to_numpy(tr.uniform(keys, dtype=np.float64))
        assert u.shape == (n,)
        assert stats.kstest(u, "uniform").pvalue > P_MIN
        serial = 12.0 * np.mean((u[1:] - 0.5) * (u[:-1] - 0.5))
        assert sigmas(serial, 0.0, 1.0 / math.sqrt(n)) < 4.0


def test_flipping_one_bit_of_any_key_part_flips_half_of_the_hash() -> None:
    flips = [bin(key(3, 5, 9) ^ key(*parts)).count("1")
             for bit in range(64)
             for parts in ((3 ^ 1 << bit, 5, 9), (3, 5 ^ 1 << bit, 9), (3, 5, 9 ^ 1 << bit))]
    assert sigmas(np.mean(flips), 32.0, 4.0 / math.sqrt(len(flips))) < 4.0
    assert min(flips) > 12 and max(flips) < 52  # 5 sigma


def test_key_depends_on_order_and_number_of_parts() -> None:
    keys = [key(), key(0), key(0, 0), key(0, 0, 0), key(0, 1), key(1, 0), key(1), key(-1),
            key(2**63)]
    assert len(set(keys)) == len(keys)
    assert all(isinstance(k, int) and 0 <= k < 2**64 for k in keys)
    assert key(np.int64(3), np.uint8(4)) == key(3, 4)
    assert len(np.unique(to_numpy(key(1, np.arange(1_000_000))))) == 1_000_000


def test_array_of_keys_equals_one_key_at_a_time() -> None:
    parts = np.array([[0, 1, 2], [5, -1, 2**40]])
    keys = key(7, 8, parts)
    assert keys.shape == (2, 3)
    one = [[key(7, 8, int(i)) for i in row] for row in parts]
    np.testing.assert_array_equal(to_numpy(keys), np.array(one, np.uint64))
    draws = {
        "bits": lambda k: tr.bits(k, (3, 2)),
        "mask": lambda k: tr.mask(k, 0.3, (3, 5)),
        "mask of ones": lambda k: tr.mask(k, 1.0, 5),
        "uniform": lambda k: tr.uniform(k, (3, 5), -1.0, 2.0),
        "uniform float64": lambda k: tr.uniform(k, 4, dtype=np.float64),
        "normal": lambda k: tr.normal(k, (2, 3)),
        "integers": lambda k: tr.integers(k, -5, 9, 7),
        "single": lambda k: tr.uniform(k),
    }
    for name, draw in draws.items():
        many = to_numpy(draw(keys))
        single = np.array([[to_numpy(draw(k)) for k in row] for row in one])
        np.testing.assert_array_equal(many, single, err_msg=name)


def test_key_of_a_single_array_element_and_of_numpy_integers() -> None:
    assert int(key(7, np.array(2**63 + 5, np.uint64))) == key(7, 2**63 + 5)
    for k in (np.int64(5), np.uint64(5)):
        np.testing.assert_array_equal(to_numpy(tr.bits(k, 4)), to_numpy(tr.bits(5, 4)))


def test_draws_do_not_depend_on_how_many_are_taken() -> None:
    k = KEYS[2]
    many = to_numpy(tr.bits(k, 100_000))  # several cache blocks
    np.testing.assert_array_equal(many[:10], to_numpy(tr.bits(k, 10)))
    np.testing.assert_array_equal(many[-3:], to_numpy(tr.bits(k, (1000, 100)))[-1, -3:])
    np.testing.assert_array_equal(to_numpy(tr.mask(k, 0.5, 1001))[:9],
                                  to_numpy(tr.mask(k, 0.5, 9)))
