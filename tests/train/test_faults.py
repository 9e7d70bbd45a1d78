"""Faults, tried one by one: no checkpoint is lost, and the message says what to do.

    fault                        what the user reads                                  what is left
    disk full (file size limit)  File too large: ... was not written, and what it     step 12, whole
                                 held before is untouched. To mend it, raise the
                                 limit on file sizes (ulimit -f), or write to
                                 another disk
    disk full (no space)         No space left on device: ... free some space on      step 12, whole
                                 that disk
    read-only folder             Permission denied: ... choose a folder you may       step 12, whole
                                 write to
    killed while writing         (nothing: SIGKILL)                                   step 4, whole
    truncated file               ... is damaged or incomplete (...): copy or save it  going on from
                                 again. Going on from step-00000012.safetensors       step 12
    empty file                   ... is no safetensors file, or only the beginning    step 12
                                 of one (...). Going on from ...
    flipped byte in the numbers  ... is damaged: its numbers do not match the         step 12
                                 checksum they were saved with. Use another copy. ...
    flipped byte in the header   the same, or "no safetensors file"                   step 12
    wrong version                ... has format version '3', and this tinynet reads   step 12
                                 version 1 and 2: update tinynet. Going on from ...
    foreign file                 ... is no checkpoint of a run: its format is None.   step 12
                                 Weights alone are read by load_model. Going on ...
    all damaged                  no checkpoint in ... can be read: (each with its     an error
                                 reason)

After each, the run is started again and ends with the weights of one that met no fault.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import struct
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from safetensors.numpy import save, save_file

from tests.data import fake_cifar10
from tests.files import write_anew
from tests.train.toy import batches, net, trainer
from tinynet import data, to_numpy
from tinynet.optim.schedule import cosine
from tinynet.train import (
    Callback,
    Checkpoints,
    History,
    LogFile,
    Trainer,
    read_checkpoint,
    read_model,
    read_newest,
    save_model,
)
from tinynet.train.checkpoint import CHECKPOINT, write_file


def fit(folder: Path, *callbacks: Callback) -> Trainer:
    """Three epochs of six steps, saved after each; resumed if there is something."""
    t = trainer(net(norm=True), lr=cosine(0.1, 18), callbacks=[*callbacks, Checkpoints(folder)])
    t.fit(batches(), batches(32, seed=1), 3, resume=folder)
    return t


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return {n: to_numpy(x) for n, x in fit(tmp_path_factory.mktemp("sound")).model
            .state_dict().items()}


def ends_as(t: Trainer, sound: dict[str, Any]) -> bool:
    state = t.model.state_dict()
    return all(np.array_equal(to_numpy(state[name]), sound[name]) for name in sound)


# Faults while a checkpoint is written

@contextmanager
def file_size_limit() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def no_space() -> Iterator[None]:
    real = os.fsync

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    os.fsync = full
    try:
        yield
    finally:
        os.fsync = real


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """No write permission; root, whom that does not stop, becomes `nobody` meanwhile."""
    root = os.geteuid() == 0
    folder.chmod(0o555)
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)


class Spoil(Callback):
    """A fault that lasts while the third epoch is saved: it is given before `Checkpoints`."""

    def __init__(self, fault: Callable[[], Any]) -> None:
        self.fault, self.now = fault, None  # type: Any, Any

    def at_rest(self, trainer: Trainer) -> None:
        if trainer.epoch == 3:
            self.now = self.fault()
            self.now.__enter__()

    def on_end(self, trainer: Trainer) -> None:
        if self.now is not None:
            self.now.__exit__(None, None, None)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.parametrize("fault, message", [
    ("disk full (file size limit)", r"File too large: .*\.safetensors was not written, "
     "and what it held before is untouched. To mend it, raise the limit on file sizes"),
    ("disk full (no space)", "No space left on device: .*To mend it, free some space on that disk"),
    ("read-only folder", "Permission denied: .*To mend it, choose a folder you may write to"),
])
def test_a_fault_while_saving_leaves_the_checkpoint_before(
        fault: str, message: str, open_folder: Path, sound: dict[str, Any]) -> None:
    folder = open_folder
    faults: dict[str, Callable[[], Any]] = {
        "disk full (file size limit)": file_size_limit, "disk full (no space)": no_space,
        "read-only folder": lambda: read_only(folder)}
    with pytest.raises(OSError, match=message):
        fit(folder, Spoil(faults[fault]))
    path, state = read_newest(folder) or pytest.fail("no checkpoint")
    assert path.name == "step-00000012.safetensors" and state["step"] == 12
    assert not list(folder.glob(".*"))  # and no half of a file
    assert ends_as(fit(folder), sound)
    assert fault in (__doc__ or "")


def test_a_folder_that_cannot_be_written_is_noticed_before_the_first_step(
        open_folder: Path) -> None:
    t = trainer(callbacks=[Checkpoints(open_folder)])
    with read_only(open_folder), pytest.raises(OSError, match="choose a folder you may write to"):
        t.fit(batches())
    assert t.step == 0
    (open_folder / "file").write_text("")
    with pytest.raises(OSError, match="part of that path is a file: choose a folder"):
        trainer(callbacks=[Checkpoints(open_folder / "file")]).fit(batches())


def test_a_killed_writer_leaves_the_checkpoint_before(tmp_path: Path, run_python: Any) -> None:
    result = run_python("-m", "tests.train.resumable", str(tmp_path), "write 2")
    assert result.returncode == -signal.SIGKILL
    folder = tmp_path / "checkpoints"
    assert [path.name[:14] for path in folder.glob(".step-*.tmp")] == [".step-00000006"]
    path, state = read_newest(folder) or pytest.fail("no checkpoint")
    assert path.name == "step-00000004.safetensors" and state["step"] == 4
    assert "killed while writing" in (__doc__ or "")
    nobody = 2**30  # no process has this number
    for name in (f".best.safetensors.{nobody}.tmp", f".notes.{nobody}.tmp"):  # the second: not ours
        (folder / name).write_text("half")
    resumed = trainer()
    resumed.step = state["step"]
    Checkpoints(folder).on_start(resumed)
    assert [p.name for p in folder.glob(".*.tmp")] == [f".notes.{nobody}.tmp"]


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    t = trainer(log_every=1, callbacks=[LogFile(tmp_path / "log.jsonl", "steps")])
    with file_size_limit(), pytest.raises(OSError, match=r"log.jsonl was not written, .* raise"):
        t.fit(batches(), epochs=20)


# Faults of a file that is read

def flip(path: Path, place: Callable[[int, int], int]) -> None:
    """Flip a bit; `place` is given the length of the header and of the file."""
    content = bytearray(path.read_bytes())
    (header,) = struct.unpack("<Q", content[:8])
    content[place(header, len(content))] ^= 4
    path.write_bytes(content)


def wrong_version(path: Path) -> None:
    arrays, metadata = read_model(path)
    path.write_bytes(save(arrays, metadata=metadata | {"version": "3"}))


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "truncated file": (lambda p: p.write_bytes(p.read_bytes()[:-100]),
                       r"is damaged or incomplete \(.*\): copy or save it again"),
    "empty file": (lambda p: p.write_bytes(b""), "is no safetensors file, or only the beginning"),
    "flipped byte in the numbers": (lambda p: flip(p, lambda header, n: (8 + header + n) // 2),
                                    "is damaged: its numbers do not match the checksum"),
    "flipped byte in the header": (  # in the checksum: the order of the keys is random
        lambda p: flip(p, lambda *_: p.read_bytes().index(b"sha256") + 12),
        "is damaged|is no safetensors file"),
    "wrong version": (wrong_version, "has format version '3', and this tinynet reads version "
                                     "1 and 2: update tinynet"),
    "foreign file": (lambda p: save_file({"w": np.ones(3)}, p),
                     "is no checkpoint of a run: its format is None"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_cannot_be_read_gives_way_to_the_one_before(
        fault: str, tmp_path: Path, sound: dict[str, Any]) -> None:
    fit(tmp_path)
    spoil, message = FAULTS[fault]
    newest = tmp_path / "step-00000018.safetensors"
    spoil(newest)
    content = newest.read_bytes()
    with pytest.raises(ValueError, match=message) as error:
        read_checkpoint(newest)
    assert str(newest) in str(error.value)
    with pytest.warns(RuntimeWarning, match=message) as warned:
        t = fit(tmp_path)
    assert "Going on from step-00000012.safetensors instead" in str(warned[0].message)
    assert ends_as(t, sound)
    assert newest.with_name(newest.name + ".old").read_bytes() == content  # nothing is thrown away
    assert read_checkpoint(newest)["step"] == 18
    assert fault in (__doc__ or "")


def test_when_all_are_damaged_each_is_named_and_nothing_is_overwritten(tmp_path: Path) -> None:
    fit(tmp_path)
    files = sorted(tmp_path.glob("step-*"))
    for path in files:
        path.write_bytes(path.read_bytes()[:99])
    with pytest.raises(ValueError, match=r"no checkpoint in .* can be read") as error:
        fit(tmp_path)
    assert all(str(path) in str(error.value) for path in files)
    assert all(path.stat().st_size == 99 for path in files)


# Malformed input: whatever a file holds, only the documented errors come out

MANY = pytest.mark.parametrize("examples", [
    100, pytest.param(1000, marks=pytest.mark.slow)])
small = st.one_of(st.none(), st.booleans(), st.integers(-9, 2**70), st.floats(), st.text(
    max_size=9))
trees = st.recursive(small, lambda inner: st.one_of(
    st.lists(inner, max_size=4), st.dictionaries(
        st.sampled_from(["$array", "step", "model", "0.weight", "steps", "loss", "x"]), inner,
        max_size=4)), max_leaves=12)


def damaged(content: bytes) -> st.SearchStrategy[bytes]:
    """Rubbish, or `content` cut, lengthened, and with bytes changed."""
    cut = st.integers(0, len(content)).map(lambda n: content[:n])
    spots = st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(1, 255)), min_size=1,
                     max_size=4)

    def changed(places: list[tuple[int, int]]) -> bytes:
        new = bytearray(content)
        for place, bits in places:
            new[place] ^= bits
        return bytes(new)

    head = content[: 8 + struct.unpack("<Q", content[:8])[0]][:4096]
    return st.one_of(st.binary(max_size=300), cut, spots.map(changed),
                     st.binary(max_size=50).map(lambda b: content + b),
                     st.binary(max_size=50).map(lambda b: head + b))


@MANY
@pytest.mark.parametrize("reader", [read_checkpoint, read_model])
def test_malformed_models_and_checkpoints(reader: Any, examples: int, tmp_path: Path) -> None:
    t = trainer(callbacks=[Checkpoints(tmp_path)])
    t.fit(batches(), epochs=1)
    path = next(tmp_path.glob("step-*"))
    if reader is read_model:
        save_model(t.model, path)

    @settings(max_examples=examples)
    @given(damaged(path.read_bytes()))
    def check(content: bytes) -> None:
        write_anew(path, content)
        try:
            reader(path)
        except ValueError as error:
            assert str(path) in str(error)

    check()


@MANY
def test_malformed_states_in_sound_files(examples: int, tmp_path: Path) -> None:
    """Files whose checksum is right and whose content makes no sense: forged, not damaged."""
    t = trainer()
    t.fit(batches(), epochs=1)
    whole = json.loads(json.dumps(t.state_dict(), default=lambda x: x.tolist()))
    before = {n: to_numpy(x) for n, x in t.model.state_dict().items()}
    path = tmp_path / "forged"

    @settings(max_examples=examples)
    @given(st.one_of(trees, st.tuples(st.sampled_from(sorted(whole)), trees)))
    def check(tree: Any) -> None:
        if isinstance(tree, tuple):
            tree = {**whole, "model": before, tree[0]: tree[1]}
            tree = json.loads(json.dumps(tree, default=lambda x: x.tolist()))
        write_file(path, CHECKPOINT, {}, {"state": json.dumps(tree)})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nan to int and the like
            try:
                trainer().load_state_dict(read_checkpoint(path))
            except ValueError as error:
                assert "checkpoint" in str(error)

    check()


@MANY
def test_malformed_histories(examples: int, tmp_path: Path) -> None:
    t = trainer()
    t.fit(batches(), epochs=1)
    t.history.save(tmp_path / "history")
    path, content = tmp_path / "spoilt", (tmp_path / "history").read_bytes()

    @settings(max_examples=examples)
    @given(st.one_of(damaged(content), trees.map(lambda x: json.dumps(x).encode()),
                     st.tuples(st.sampled_from(["version", "stopped", "steps", "epochs"]), trees)))
    def check(found: Any) -> None:
        if isinstance(found, tuple):
            found = json.dumps({**json.loads(content), found[0]: found[1]}).encode()
        write_anew(path, found)
        try:
            assert isinstance(repr(History.load(path)), str)
        except ValueError as error:
            assert str(path) in str(error)

    check()


@MANY
@pytest.mark.parametrize("form", ["binary", "python"])
def test_malformed_cifar10_files(form: str, examples: int, tmp_path: Path,
                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data.cifar10, "RECORDS", fake_cifar10.RECORDS)
    fake_cifar10.write(tmp_path, form)
    path = next(p for p in sorted(tmp_path.iterdir()) if p.name.startswith("data_batch_3"))
    content = path.read_bytes()

    @settings(max_examples=examples)
    @given(damaged(content))
    def check(spoilt: bytes) -> None:
        write_anew(path, spoilt)
        try:
            data.load_cifar10(tmp_path, download=False)
        except ValueError as error:
            assert str(path) in str(error)

    check()
