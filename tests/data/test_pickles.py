"""Pickles are read and never run; what a hostile one can cost is bounded by its size."""

from __future__ import annotations

import os
import pickle
import pickletools
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, strategies as st

from tinynet.data import pickles

MANY = 10_000

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    | st.lists(inner).map(tuple), max_leaves=20)


@given(value=plain, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_data_are_what_pickle_makes_of_them(value: Any, protocol: int) -> None:
    assert pickles.read(pickle.dumps(value, protocol), (), MANY) == value


@given(value=st.binary() | st.dictionaries(st.binary(), st.binary()),
       protocol=st.integers(3, pickle.HIGHEST_PROTOCOL))
def test_bytes_are_what_pickle_makes_of_them(value: Any, protocol: int) -> None:
    assert pickles.read(pickle.dumps(value, protocol), (), MANY) == value


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_call_becomes_a_note_of_its_name_arguments_and_state(protocol: int) -> None:
    error = OSError(2, "no")
    error.filename = "x"
    found = pickles.read(pickle.dumps([error, error], protocol), ("builtins.FileNotFoundError",
                         "__builtin__.OSError", "exceptions.OSError", "builtins.OSError",
                         "__builtin__.FileNotFoundError"), MANY)
    assert isinstance(found[0], pickles.Note) and found[0] is found[1]
    assert found[0].name.endswith("Error") and found[0].args == (2, "no", "x")


def test_what_is_not_allowed_is_named_and_not_run() -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(ValueError, match=r"wants to run (posix|nt)\.getcwd"):
            pickles.read(pickle.dumps(os.getcwd, protocol), ("os.getcwd",), MANY)


OTHERS = [code for code in pickletools.opcodes if code.name not in (*pickles._ACTIONS, "STOP")]


@pytest.mark.parametrize("code", OTHERS, ids=[code.name for code in OTHERS])
def test_instructions_that_plain_data_never_need_are_refused(code: Any) -> None:
    """Subclass registries, persistent ids, doubled tops of the stack and the like."""
    program = b"N" + code.code.encode("latin1") + b"1\n1\n\0\0\0\0\0\0\0\0."
    with pytest.raises(ValueError, match=f"uses the instruction {code.name},"):
        pickles.read(program, (), MANY)


def pushes(n: int) -> bytes:
    """[[...], [...]]: each list holds the one before twice, 2^n in all."""
    step = b"".join(b"(h%bh%b\x74q%b" % ((bytes([i]),) * 2 + (bytes([i + 1]),)) for i in range(n))
    return b"Nq\0" + step


HOSTILE = {
    "a memo of 16 GB": b"\x80\x02}r\xff\xff\xff\xff.",
    "a memo index far beyond": b"}p99999999999999\n.",
    "a text of 4 GB": b"X\xff\xff\xff\xffabc.",
    "bytes without an end": b"\x8e" + b"\xff" * 8 + b"abc.",
    "a number of 2 GB": b"\x8b\xff\xff\xff\x7f1.",
    "no mark": b"e.",
    "an empty stack": b".",
    "a get of what is not there": b"h\x05.",
    "a state of a number": b"K\x01Nb.",
    "a key without a value": b"}(K\x01u.",
    "a list that is no list": b"NNa.",
    "a call of a number": b"K\x01)R.",
    "a name that is no text": b"K\x01K\x02\x93.",
    "a nested key, whose hash takes for ever": b"}" + pushes(100) + b"K\x01s.",
    "a deep key, whose hash overflows the stack": b"}N" + b"\x85" * 5_000 + b"K\x01s.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_programs_cost_nothing(name: str) -> None:
    tracemalloc.start()
    try:
        for program in (HOSTILE[name], b"\x80\x02" + HOSTILE[name]):
            try:
                pickles.read(program, (), MANY)
            except Exception as error:
                assert len(str(error)) < 1000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000


def test_a_value_that_holds_itself_a_million_times_is_only_pointed_at() -> None:
    assert isinstance(pickles.read(pushes(100) + b".", (), MANY), tuple)


def test_a_program_that_is_too_long_is_refused() -> None:
    assert pickles.read(b"]" + b"Na" * 4 + b".", (), 10) == [None] * 4
    with pytest.raises(ValueError, match="more than 9 instructions"):
        pickles.read(b"]" + b"Na" * 4 + b".", (), 9)
    with pytest.raises(ValueError, match=r"exhausted|no end"):
        pickles.read(b"]" + b"Na" * 4, (), 10)


def test_a_long_name_is_cut() -> None:
    with pytest.raises(ValueError, match="wants to run") as caught:
        pickles.read(b"c" + b"x" * 100_000 + b"\n" + b"y" * 100_000 + b"\n.", (), MANY)
    assert len(str(caught.value)) < 400
