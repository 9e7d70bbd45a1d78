"""Saved models: exact, readable elsewhere, and never silently damaged."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from safetensors.numpy import load_file, save_file

from tests.arrays import equal
from tests.files import write_anew
from tests.train.toy import net
from tinynet import nn, to_numpy, xp
from tinynet.train import (
    load_model,
    read_checkpoint,
    read_model,
    save_checkpoint,
    save_model,
)


class Odd(nn.Module):
    """Parameters of unusual layout, shape and type."""

    def __init__(self, fill: float = 0.0) -> None:
        values = xp.arange(24, dtype="float32").reshape(2, 3, 4) + fill
        self.transposed = nn.Parameter(values.transpose(2, 0, 1))
        self.reversed = nn.Parameter(values[:, ::-1])
        self.scalar = nn.Parameter(xp.asarray(fill, "float64"))
        self.empty = nn.Buffer(xp.zeros((0, 3), "float32"))
        self.count = nn.Buffer(xp.array([3, 1], "int64"))


def test_saves_and_loads_bit_for_bit(tmp_path: Path) -> None:
    model = net(norm=True)
    model.parameters()[0].copy_(xp.asarray([[-0.0, 1e-45]] * 8, "float32"))
    save_model(model, tmp_path / "runs" / "net.safetensors", {"data": "toy"})
    other = load_model(tmp_path / "runs" / "net.safetensors", net(norm=True, seed=1))
    mine, theirs = model.state_dict(), other.state_dict()
    assert list(mine) == list(theirs)
    for name in mine:
        assert to_numpy(mine[name]).tobytes() == to_numpy(theirs[name]).tobytes()
    arrays, metadata = read_model(tmp_path / "runs" / "net.safetensors")
    assert metadata == {"data": "toy", "format": "tinynet model", "version": "1"}
    assert set(arrays) == set(mine)


def test_layouts_shapes_and_types_survive(tmp_path: Path) -> None:
    save_model(Odd(5.0), tmp_path / "odd.safetensors")
    loaded = load_model(tmp_path / "odd.safetensors", Odd())
    for name, x in Odd(5.0).state_dict().items():
        y = loaded.state_dict()[name]
        assert y.dtype == x.dtype and y.shape == x.shape
        np.testing.assert_array_equal(to_numpy(y), to_numpy(x))
    foreign = load_file(tmp_path / "odd.safetensors")  # as any other program reads it
    np.testing.assert_array_equal(foreign["transposed"], to_numpy(Odd(5.0).transposed.data))
    assert foreign["scalar"].shape == ()


def test_a_file_of_another_program_loads(tmp_path: Path) -> None:
    state = {name: to_numpy(x) + 1 for name, x in net().state_dict().items()}
    save_file(state, tmp_path / "foreign.safetensors")
    model = load_model(tmp_path / "foreign.safetensors", net())
    assert all(equal(to_numpy(x), state[n]) for n, x in model.state_dict().items())


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    path = tmp_path / "x.safetensors"
    save_model(model, path)
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            write_anew(path, damaged)
            with pytest.raises(ValueError) as caught:
                read_model(path)
            assert str(path) in str(caught.value)


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_model(nn.Sequential(nn.Linear(2, 2)), path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        write_anew(path, whole[:length])
        with pytest.raises(ValueError, match=r"only the beginning|incomplete"):
            read_model(path)


@given(st.binary(max_size=200), st.booleans())
def test_rubbish_gives_only_the_documented_error(tmp_path_factory: pytest.TempPathFactory,
                                                 data: bytes, header: bool) -> None:
    path = tmp_path_factory.mktemp("rubbish") / "x.safetensors"
    write_anew(path, struct.pack("<Q", len(data)) + data if header else data)
    with pytest.raises(ValueError, match="safetensors"):
        read_model(path)


def test_errors_say_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(FileNotFoundError, match=r"x\.safetensors"):
        load_model(path, net())
    with pytest.raises(ValueError, match=r"is a folder: name the \.safetensors file in it"):
        load_model(tmp_path, net())
    save_model(net(hidden=4), path)
    with pytest.raises(ValueError, match=r"0.weight is \(4, 2\) in the state, \(8, 2\) here") as e:
        load_model(path, net())
    assert str(path) in str(e.value)
    with pytest.raises(ValueError, match="metadata must not use the names"):
        save_model(net(), path, {"sha256": "0"})
    with pytest.raises(ValueError, match="Module has no parameters or buffers to save"):
        save_model(nn.Module(), path)


def test_a_newer_version_and_an_unknown_type_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": np.zeros(2, "float32")}, path, {"format": "tinynet model", "version": "2"})
    with pytest.raises(ValueError, match="format version '2', and this tinynet reads version 1"):
        read_model(path)
    header = json.dumps({"a": {"dtype": "F9", "shape": [1], "data_offsets": [0, 1]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0")
    with pytest.raises(ValueError, match=r"x\.safetensors"):
        read_model(path)


def test_a_model_is_unchanged_when_loading_fails(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_model(net(seed=1), path)
    path.write_bytes(path.read_bytes()[:-1])
    model = net()
    before = {name: to_numpy(x) for name, x in model.state_dict().items()}
    with pytest.raises(ValueError):
        load_model(path, model)
    assert all(equal(before[n], to_numpy(x)) for n, x in model.state_dict().items())


# Types of numbers

STORED = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
          "float16", "float32", "float64"]


def with_buffer(array: object) -> nn.Module:
    model = nn.Linear(2, 2)
    model.mean = nn.Buffer(array)
    model.mean.data = array  # as it is: a new tensor takes the machine's byte order
    return model


@pytest.mark.numpy_only("an array on the device has the machine's byte order")
@pytest.mark.parametrize("dtype", [">f2", ">f4", ">f8", ">i2", ">i4", ">i8", ">u2", ">u4", ">u8"])
def test_an_array_of_the_other_byte_order_can_be_saved_and_loaded(
        tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "x.safetensors"
    save_model(with_buffer(np.arange(3).astype(dtype)), path)
    native = read_model(path)[0]["mean"]
    assert native.tolist() == [0, 1, 2] and native.dtype.isnative
    assert load_file(path)["mean"].tolist() == [0, 1, 2]
    for other in (dtype, np.dtype(dtype).newbyteorder("=")):
        loaded = load_model(path, with_buffer(np.zeros(3, other)))
        assert to_numpy(loaded.mean.data).tolist() == [0, 1, 2]
        assert loaded.mean.dtype == np.dtype(other)


def test_a_checkpoint_holds_arrays_of_the_other_byte_order(tmp_path: Path) -> None:
    state = {"step": 0, "epoch": 0, "seen": np.array([1.5, -2.0], ">f8")}
    save_checkpoint(tmp_path / "x", state)
    assert read_checkpoint(tmp_path / "x")["seen"].tolist() == [1.5, -2.0]


@pytest.mark.parametrize("dtype", STORED)
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)], ids=["scalar", "empty", "matrix"])
def test_every_real_type_survives(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    values = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    save_model(with_buffer(values), tmp_path / "x.safetensors")
    found = read_model(tmp_path / "x.safetensors")[0]["mean"]
    assert found.dtype == dtype and found.shape == shape
    assert found.tolist() == values.tolist()


@pytest.mark.parametrize("view", [
    pytest.param(lambda x: x[::-1, ::2], id="reversed"),
    pytest.param(lambda x: x.T, id="transposed"),
    pytest.param(lambda x: np.broadcast_to(x[0], (3, 4)), id="broadcast")])
def test_views_are_saved_as_they_look(tmp_path: Path, view: Callable[..., Any]) -> None:
    values = view(np.arange(12, dtype="float32").reshape(3, 4))
    model = nn.Module()
    model.x = nn.Buffer(xp.asarray(values))
    save_model(model, tmp_path / "x.safetensors")
    assert read_model(tmp_path / "x.safetensors")[0]["x"].tolist() == values.tolist()


@pytest.mark.parametrize("dtype", [
    "complex64", "complex128", "longdouble", "object", "<U3", "<M8[s]"])
def test_what_cannot_be_stored_is_refused_by_name(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "x.safetensors"
    state = {"step": 0, "epoch": 0, "more": {"seen": np.zeros(2, "int64").astype(dtype)}}
    with pytest.raises(TypeError, match=r"the array '/more/seen' is .*, which a safetensors file"):
        save_checkpoint(path, state)
    assert not path.exists()


def test_a_complex_buffer_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"the array 'mean' is complex64, which a safetensors"):
        save_model(with_buffer(np.zeros(2, "complex64")), tmp_path / "x.safetensors")
    state = {"weight": np.zeros((2, 2), "complex64"), "bias": np.zeros(2)}
    with pytest.raises(TypeError, match="weight in the state is no array of numbers but complex"):
        nn.Linear(2, 2).load_state_dict(state)


def foreign(path: Path, kind: str, shape: list[int], numbers: bytes) -> None:
    """A file of another program with one array, "x"."""
    entry = {"dtype": kind, "shape": shape, "data_offsets": [0, len(numbers)]}
    header = json.dumps({"x": entry}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + numbers)


def test_bfloat16_of_another_program_becomes_float32_exactly(tmp_path: Path) -> None:
    """1.0 is 0x3f80, -2.5 is 0xc020, the largest 0x7f7f, inf 0x7f80, nan 0x7fc0, tiny 0x0001."""
    path = tmp_path / "x.safetensors"
    bits = [0x3F80, 0xC020, 0x7F7F, 0x7F80, 0x7FC0, 0x0001]
    foreign(path, "BF16", [3, 2], struct.pack("<6H", *bits))
    found = read_model(path)[0]["x"]
    assert found.dtype == np.float32 and found.shape == (3, 2)
    largest = (2 - 2.0**-7) * 2.0**127
    np.testing.assert_array_equal(found.ravel(), np.array(
        [1.0, -2.5, largest, np.inf, np.nan, 2.0**-133], "float32"))
    model = nn.Module()
    model.x = nn.Buffer(xp.zeros((3, 2), "float64"))
    assert to_numpy(load_model(path, model).x.data)[0].tolist() == [1.0, -2.5]


@pytest.mark.parametrize("kind, size", [("F8_E4M3", 1), ("F8_E5M2", 1), ("C64", 8)])
def test_types_that_are_not_read_are_refused_by_name(
        tmp_path: Path, kind: str, size: int) -> None:
    path = tmp_path / "x.safetensors"
    foreign(path, kind, [2], bytes(2 * size))
    with pytest.raises(ValueError, match=rf"holds 'x' as {kind}, a type .* save it as float32"):
        read_model(path)


def test_a_state_of_pytorch_in_bfloat16_loads() -> None:
    """A stand-in with the methods of a PyTorch tensor, whose numpy() refuses bfloat16 as there."""
    class Like:
        def __init__(self, values: Any, dtype: str) -> None:
            self.values, self.dtype = values, f"torch.{dtype}"

        def detach(self) -> Like:
            return self

        cpu = detach

        def float(self) -> Like:
            return Like(self.values, "float32")

        def numpy(self) -> Any:
            if self.dtype == "torch.bfloat16":
                raise TypeError("Got unsupported ScalarType BFloat16")
            return np.asarray(self.values, "float32")

    model = nn.Linear(2, 1)
    model.load_state_dict({"weight": Like([[1.0, -2.5]], "bfloat16"),
                           "bias": Like([0.5], "bfloat16")})
    assert to_numpy(model.weight.data).tolist() == [[1.0, -2.5]]


def test_metadata_are_texts(tmp_path: Path) -> None:
    for odd in ({"epoch": 3}, {3: "epoch"}):
        with pytest.raises(TypeError, match="metadata must be texts by name, got"):
            save_model(nn.Linear(2, 2), tmp_path / "x", odd)  # type: ignore[arg-type]


def test_a_foreign_file_may_call_its_metadata_as_it_likes(tmp_path: Path) -> None:
    for metadata in ({"format": "pt"}, {"version": "7"}, {"sha256": "0" * 64}):
        save_file({"x": np.ones(2, "float32")}, tmp_path / "x.safetensors", metadata)
        assert read_model(tmp_path / "x.safetensors")[1] == metadata
