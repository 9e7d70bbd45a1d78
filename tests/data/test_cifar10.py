"""CIFAR-10 is found, checked and read in both formats; hostile and damaged files are refused."""

from __future__ import annotations

import os
import pickle
import subprocess
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import pytest

from tests.data import fake_cifar10 as fake
from tinynet.data import Dataset, cifar10, load_cifar10

BINARY, PYTHON = "cifar-10-batches-bin", "cifar-10-batches-py"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """20 pictures in a file, no TINYNET_DATA, a cache folder of the test's own, no network."""
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    monkeypatch.setattr(cifar10, "RECORDS", fake.RECORDS)
    monkeypatch.setattr(cifar10, "URL", "http://127.0.0.1:9/cifar-10-binary.tar.gz")
    monkeypatch.delenv("TINYNET_DATA", raising=False)


def check(both: tuple[Dataset, Dataset]) -> None:
    """These are the fake pictures, in order."""
    train, test = both
    assert train.images.shape == (100, 3, 32, 32) and test.images.shape == (20, 3, 32, 32)
    assert train.images.dtype == np.uint8 and train.labels.dtype == np.int64
    assert train.classes[3] == "cat" and len(train.classes) == 10 and test.name == "cifar10"
    images, labels = np.concatenate([train.images, test.images]), [*train.labels, *test.labels]
    for i, batch in enumerate(fake.BATCHES):
        pixels, expected = fake.content(batch)
        rows = slice(20 * i, 20 * i + 20)
        assert (images[rows].reshape(20, -1) == pixels).all()
        assert (labels[rows] == expected).all()
    red = fake.content("test_batch")[0][0, :1024].reshape(32, 32)
    assert (test.images[0, 0] == red).all()  # channel by channel, row by row


@pytest.mark.parametrize("form", ["binary", "python"])
@pytest.mark.parametrize("sums", [False, True])
def test_both_formats(tmp_path: Path, form: str, sums: bool) -> None:
    check(load_cifar10(fake.write(tmp_path, form, sums)))


@pytest.mark.parametrize("inner", [".", BINARY, PYTHON])
def test_found_under_tinynet_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                  inner: str) -> None:
    fake.write(tmp_path / "data" / inner, "python" if inner == PYTHON else "binary")
    monkeypatch.setenv("TINYNET_DATA", str(tmp_path / "data"))
    check(load_cifar10(download=False))


def test_found_in_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNET_DATA", str(tmp_path))  # other data may lie there
    fake.write(tmp_path / "cache" / "tinynet" / BINARY)
    check(load_cifar10(download=False))


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("order", ["C", "F"])
def test_python_files_saved_again_by_newer_versions(tmp_path: Path, protocol: int,
                                                    order: Any) -> None:
    for batch in fake.BATCHES:
        pixels, labels = fake.content(batch)
        names = [b"a_s_%06d.png" % i for i in range(fake.RECORDS)]
        fields = {"data": np.array(pixels, order=order), "labels": labels.tolist(),
                  b"filenames": names}
        (tmp_path / batch).write_bytes(pickle.dumps(fields, protocol))
    check(load_cifar10(tmp_path))


class Attack:
    """Creates a file when it is unpickled."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.args


@pytest.mark.parametrize("where", ["alone", "in the labels", "after the data"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_pickle_is_refused_by_name_and_never_run(tmp_path: Path, where: str,
                                                             protocol: int) -> None:
    fake.write(tmp_path, "python")
    proof = tmp_path / "owned"
    for attack, name in ((Attack(os.system, f"touch {proof}"), "system"),
                         (Attack(subprocess.check_output, ["touch", str(proof)]), "check_output"),
                         (Attack(eval, f"open({str(proof)!r}, 'w')"), "eval"),
                         (Attack(np.fromfile, str(proof)), "fromfile")):
        pixels, labels = fake.content("data_batch_4")
        content: Any = {"alone": attack, "in the labels": {"data": pixels, "labels": [attack]},
                        "after the data": {"data": pixels, "labels": labels.tolist(), "x": attack}}
        (tmp_path / "data_batch_4").write_bytes(pickle.dumps(content[where], protocol))
        with pytest.raises(ValueError, match=rf"data_batch_4 is refused: .*wants to run .*{name}"):
            load_cifar10(tmp_path)
        assert not proof.exists()


@pytest.mark.parametrize("program", [
    b"c_codecs\nencode\n(Vabc\nVutf7\ntR.",  # an allowed global where a dict should be
    b"}(U\x04datacnumpy\ndtype\nU\x06labels](K\x01eu.",  # a type where the array should be
    b"cnumpy\nndarray\n(I1000000000\ntR.",  # 8 GB, if it were called
    b"}(U\x04datacnumpy.core.multiarray\n_reconstruct\n)RU\x06labels](K\x01eu.",  # no state
    b"\x80\x02}.", b"", b"no pickle", b"\x80\x05\x95",
])
def test_odd_pickles_are_refused_by_name(tmp_path: Path, program: bytes) -> None:
    fake.write(tmp_path, "python")
    (tmp_path / "data_batch_2").write_bytes(program)
    with pytest.raises(ValueError, match=r"data_batch_2 is refused: .*restore it"):
        load_cifar10(tmp_path)


def nested(n: int) -> bytes:
    """A tuple of two, each of two ...: 2^n in all, in 7 n bytes."""
    return b"Nq\0" + b"".join(b"h%bh%b\x86q%b" % (bytes([i]), bytes([i]), bytes([i + 1]))
                              for i in range(n))


def array(shape: bytes, dtype: bytes = b"U\x02u1") -> bytes:
    return (b"cnumpy.core.multiarray\n_reconstruct\n)R(K\x01" + shape + b"cnumpy\ndtype\n"
            + dtype + b"\x85R\x89U\x01xtb")


@pytest.mark.parametrize("program", [
    pytest.param(b"\x80\x02}r\0\0\0\x04.", id="a memo index of 2^26"),
    pytest.param(b"\x80\x02}r\xff\xff\xff\xff.", id="a memo index of 2^32"),
    pytest.param(nested(30) + b".", id="nested tuples"),
    pytest.param(b"}(U\x04data" + array(nested(30)) + b"u.", id="nested tuples as the shape"),
    pytest.param(b"}(U\x04data" + array(b"K\x01", nested(30)) + b"u.", id="and as the dtype"),
    pytest.param(b"}(U\x06labels" + nested(30) + b"u.", id="and as the labels"),
    pytest.param(b"}c_codecs\nencode\n" + nested(30) + b"\x85RK\x01s.", id="and in a key"),
    pytest.param(b"}" + nested(30) + b"K\x01s.", id="and as a key"),
    pytest.param(b"}N" + b"\x85" * 1000 + b"K\x01s.", id="a deep key"),
    pytest.param(b"(" * 1500 + b".", id="marks alone"),
    pytest.param(b"N0" * 900 + b".", id="an unknown instruction"),
    pytest.param(b"c" + b"x" * 50_000 + b"\n" + b"y" * 50_000 + b"\n.", id="a long name"),
    pytest.param(b"S" + b"x" * 100_000 + b"\n.", id="a long text without quotes"),
    pytest.param(b"Na" * 5_000 + b".", id="a long program"),
])
def test_hostile_pickles_are_refused_at_once_in_a_short_text(tmp_path: Path, program: bytes
                                                             ) -> None:
    fake.write(tmp_path, "python")
    (tmp_path / "data_batch_1").write_bytes(program)
    start = time.perf_counter()
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"data_batch_1 is refused: .*restore it") as caught:
            load_cifar10(tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000 and time.perf_counter() - start < 5.0
    error: BaseException | None = caught.value
    while error is not None:  # the causes are printed, too
        assert len(str(error)) < 1000
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("labels", [
    pytest.param([10**30] * 20, id="beyond 64 bits"),
    pytest.param([*[1] * 19, 10**5000], id="beyond what Python prints"),
    pytest.param([-(2**63)] * 19 + [2**63], id="just beyond 64 bits"),
    pytest.param({i: i for i in range(20)}, id="a dict"),
    pytest.param(tuple(range(20)), id="a tuple"),
    pytest.param("01234567890123456789", id="a text"),
    pytest.param([True] * 20, id="truths"),
    pytest.param([None] * 20, id="nothing"),
    pytest.param([[]] * 20, id="lists"),
    pytest.param(20, id="a number"),
    pytest.param(np.zeros(20, np.uint8), id="an array"),
])
def test_labels_that_are_no_list_of_integers_are_refused_by_file(tmp_path: Path, labels: Any
                                                                ) -> None:
    fake.write(tmp_path, "python")
    fields = {"data": fake.content("data_batch_1")[0], "labels": labels}
    for protocol in (2, 4):
        (tmp_path / "data_batch_1").write_bytes(pickle.dumps(fields, protocol))
        with pytest.raises(ValueError, match=r"data_batch_1 is refused: .*restore it") as caught:
            load_cifar10(tmp_path)
        assert len(str(caught.value)) < 1000


def test_a_python_file_damaged_anywhere_is_read_or_refused(tmp_path: Path) -> None:
    """Only ValueError, and no file is taken for another: the pixels' bytes alone may differ."""
    fake.write(tmp_path, "python")
    path = tmp_path / "data_batch_1"
    sound = path.read_bytes()
    places = [*range(400), *range(len(sound) - 700, len(sound))]
    for k, place in enumerate(places):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << (k % 8)
        try:
            pixels, labels = cifar10._python(path, bytes(damaged))
        except ValueError as error:
            assert "data_batch_1 is refused" in str(error) and len(str(error)) < 1000
        else:
            assert pixels.shape == (20, 3072) and pixels.dtype == np.uint8
            assert labels.shape == (20,) and labels.dtype == np.int64


def test_an_odd_sha256sums_is_no_reason_to_fail(tmp_path: Path) -> None:
    fake.write(tmp_path)
    (tmp_path / "SHA256SUMS").write_bytes(b"\xff\xfe\0\x80 \n" * 100)
    check(load_cifar10(tmp_path))


def test_a_pickle_cannot_pass_other_shapes_or_types_as_pixels(tmp_path: Path) -> None:
    fake.write(tmp_path, "python")
    pixels, labels = fake.content("data_batch_1")
    for wrong in (pixels[:19], pixels.view(np.int8), pixels.reshape(20, 32, 96), labels):
        fields = {"data": wrong, "labels": labels.tolist()}
        (tmp_path / "data_batch_1").write_bytes(pickle.dumps(fields, 4))
        with pytest.raises(ValueError, match=r"data_batch_1 is refused: .*data should be uint8"):
            load_cifar10(tmp_path)
    for bad in (labels.tolist()[:19], [0.5] * 20, [[0]] * 20):
        fields = {"data": pixels, "labels": bad}
        (tmp_path / "data_batch_1").write_bytes(pickle.dumps(fields, 4))
        with pytest.raises(ValueError, match="labels should be a list of 20 integers"):
            load_cifar10(tmp_path)


@pytest.mark.parametrize("form", ["binary", "python"])
def test_a_truncated_file_is_refused(tmp_path: Path, form: str) -> None:
    fake.write(tmp_path, form)
    path = tmp_path / ("data_batch_3.bin" if form == "binary" else "data_batch_3")
    path.write_bytes(path.read_bytes()[:-1])
    size = "has 61,459 bytes instead of 61,460" if form == "binary" else "is refused"
    with pytest.raises(ValueError, match=rf"data_batch_3\S* {size}.*restore it, or remove"):
        load_cifar10(tmp_path)
    path.write_bytes(path.read_bytes() * 3)  # much too long: not even read
    with pytest.raises(ValueError, match="184,377 bytes" if form == "binary" else "were expected"):
        load_cifar10(tmp_path)


@pytest.mark.parametrize("form", ["binary", "python"])
def test_labels_out_of_range_are_refused(tmp_path: Path, form: str) -> None:
    fake.write(tmp_path, form)
    pixels, labels = fake.content("test_batch")
    if form == "binary":
        path = tmp_path / "test_batch.bin"
        data = bytearray(path.read_bytes())
        data[5 * 3073] = 10
        path.write_bytes(data)
    else:
        path = tmp_path / "test_batch"
        fields = {b"data": pixels, b"labels": [*labels[:5].tolist(), 10, *labels[6:].tolist()]}
        path.write_bytes(pickle.dumps(fields, 2))
    with pytest.raises(ValueError, match=r"labels in .*test_batch\S* must lie in 0..9, got 10 at "
                                         r"position 5\. The file is damaged"):
        load_cifar10(tmp_path)


def test_a_file_that_differs_from_sha256sums_is_refused(tmp_path: Path) -> None:
    fake.write(tmp_path, sums=True)
    path = tmp_path / "data_batch_5.bin"
    data = bytearray(path.read_bytes())
    data[100] ^= 1  # one bit of one pixel
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"data_batch_5\.bin differs from its entry in .*SHA256SUMS"
                                         r".*remove that entry"):
        load_cifar10(tmp_path)
    sums = tmp_path / "SHA256SUMS"
    sums.write_text("\n".join(line for line in sums.read_text().splitlines() if "_5" not in line))
    assert load_cifar10(tmp_path)[0].images.shape == (100, 3, 32, 32)  # as the message says


def test_missing_files_are_named(tmp_path: Path) -> None:
    fake.write(tmp_path)
    (tmp_path / "data_batch_2.bin").unlink()
    (tmp_path / "test_batch.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks data_batch_2\.bin, test_batch\.bin: rest"):
        load_cifar10(tmp_path)


def test_no_data_and_no_download_says_how_to_get_it(tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNET_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"CIFAR-10 is not in .* or .*tinynet yet\. By "
                                                r"hand: fetch http.*set TINYNET_DATA.*=True"):
        load_cifar10(download=False)
    monkeypatch.setenv("TINYNET_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"TINYNET_DATA=.*nowhere is no folder: set it to"):
        load_cifar10()


def has_real_data() -> bool:
    home = Path(os.environ.get("TINYNET_DATA") or "/nowhere")
    return any((home / inner / "test_batch.bin").exists() for inner in (".", BINARY))


if has_real_data():  # these need TINYNET_DATA to point at the real files

    REAL = os.environ["TINYNET_DATA"]

    def test_the_real_files(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cifar10, "RECORDS", 10_000)
        train, test = load_cifar10(REAL)
        assert train.images.shape == (50_000, 3, 32, 32)
        assert test.images.shape == (10_000, 3, 32, 32)
        assert (np.bincount(train.labels) == 5_000).all()
        assert (np.bincount(test.labels) == 1_000).all()
        mean = train.images.mean(axis=(0, 2, 3), dtype=np.float64)
        assert np.allclose(mean, [125.307, 122.950, 113.865], atol=0.001)  # the known statistics
