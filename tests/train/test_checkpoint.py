"""Saved models: exact, readable elsewhere, and never silently damaged."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from tests.arrays import equal
from tests.train.toy import net
from tinynet import nn, to_numpy, xp
from tinynet.train import load_model, read_model, save_model


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
    right = {name: to_numpy(x).tobytes() for name, x in model.state_dict().items()}
    unnoticed = 0
    for place in range(len(whole)):
        for bit in (0, 3, 7):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            try:
                arrays, _ = read_model(path)
            except ValueError as error:
                assert str(path) in str(error)
                continue
            unnoticed += 1
            assert {name: x.tobytes() for name, x in arrays.items()} == right, place
    assert unnoticed < 60  # the word "format" itself: then it is a foreign file, its numbers right


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_model(nn.Sequential(nn.Linear(2, 2)), path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"only the beginning|incomplete"):
            read_model(path)


@given(st.binary(max_size=200), st.booleans())
def test_rubbish_gives_only_the_documented_error(tmp_path_factory: pytest.TempPathFactory,
                                                 data: bytes, header: bool) -> None:
    path = tmp_path_factory.mktemp("rubbish") / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(data)) + data if header else data)
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
