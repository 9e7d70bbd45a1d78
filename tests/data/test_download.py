"""Downloads: one quick attempt, resume, hash check, atomic files; archives cannot lead elsewhere.

A server on this machine stands for the official one; nothing leaves the machine.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.data import fake_cifar10 as fake
from tests.data.test_cifar10 import BINARY, check
from tinynet.data import DownloadError, cifar10, download, load_cifar10

ARCHIVE = fake.archive()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[fake.Server]:
    """Stands for the official address."""
    monkeypatch.setattr(cifar10, "RECORDS", fake.RECORDS)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with fake.serve(ARCHIVE) as running:
        monkeypatch.setattr(cifar10, "URL", running.url)
        monkeypatch.setattr(cifar10, "HASH", f"md5:{hashlib.md5(ARCHIVE).hexdigest()}")
        yield running


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


COMPLETE = sorted([*(f"{BINARY}/{b}.bin" for b in fake.BATCHES), f"{BINARY}/SHA256SUMS"])


def test_downloaded_once_and_nothing_else_is_left(server: fake.Server, tmp_path: Path) -> None:
    check(load_cifar10(tmp_path / "new"))
    assert files(tmp_path / "new") == COMPLETE
    check(load_cifar10(tmp_path / "new"))
    assert server.asked == [None]
    damaged = tmp_path / "new" / BINARY / "data_batch_1.bin"
    damaged.write_bytes(bytes(damaged.stat().st_size))  # later damage is found
    with pytest.raises(ValueError, match=r"data_batch_1\.bin differs from its entry"):
        load_cifar10(tmp_path / "new")


def test_a_partial_download_is_resumed(server: fake.Server, tmp_path: Path) -> None:
    server.cut = 150_000
    with pytest.raises(DownloadError, match=r"failed \(.*131,072 bytes are kept in .*\.part: run "
                                            r"again to go on from there\. CIFAR-10 is not in"):
        load_cifar10(tmp_path)
    assert files(tmp_path) == ["cifar-10-binary.tar.gz.part"]
    server.cut = 70_000  # cut off again, further on
    with pytest.raises(DownloadError, match="196,608 bytes are kept"):
        load_cifar10(tmp_path)
    server.cut = None
    check(load_cifar10(tmp_path))
    assert server.asked == [None, "bytes=131072-", "bytes=196608-"]
    assert files(tmp_path) == COMPLETE


def test_a_server_without_ranges_starts_again(server: fake.Server, tmp_path: Path) -> None:
    (tmp_path / "cifar-10-binary.tar.gz.part").write_bytes(ARCHIVE[:1000])
    server.ranges = False
    check(load_cifar10(tmp_path))
    assert server.asked == ["bytes=1000-"]


def test_a_complete_partial_file_is_taken_over(server: fake.Server, tmp_path: Path) -> None:
    (tmp_path / "cifar-10-binary.tar.gz.part").write_bytes(ARCHIVE)
    check(load_cifar10(tmp_path))
    assert files(tmp_path) == COMPLETE


def test_a_wrong_hash_is_refused_and_the_next_try_is_fresh(server: fake.Server,
                                                           tmp_path: Path) -> None:
    (tmp_path / "cifar-10-binary.tar.gz.part").write_bytes(b"\0" * 1000)  # of something else
    with pytest.raises(DownloadError, match=r"arrived damaged and was removed.*run again"):
        load_cifar10(tmp_path)
    assert files(tmp_path) == []
    check(load_cifar10(tmp_path))


def test_an_error_of_the_server_is_told(server: fake.Server, tmp_path: Path) -> None:
    server.status = 503
    with pytest.raises(DownloadError, match=r"failed .*503.* By hand: fetch .* set TINYNET_DATA"):
        load_cifar10(tmp_path)
    assert len(server.asked) == 1


def test_no_network_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts: list[str] = []

    def offline(url: str, **options: object) -> None:
        attempts.append(url)
        assert options["timeout"] == 5.0
        raise requests.ConnectionError("Name or service not known")

    monkeypatch.setattr(requests, "get", offline)
    with pytest.raises(DownloadError, match=r"Name or service not known.* By hand: fetch"):
        load_cifar10(tmp_path)
    assert attempts == [cifar10.URL]
    assert cifar10.URL == "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"


def test_a_silent_network_is_given_up_after_five_seconds(tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking up a name may hang far beyond any socket timeout."""
    assert download.CONNECT_SECONDS == 5.0
    monkeypatch.setattr(download, "CONNECT_SECONDS", 0.1)
    released = threading.Event()
    monkeypatch.setattr(requests, "get", lambda *_, **__: released.wait(30))
    start = time.perf_counter()
    with pytest.raises(DownloadError, match=r"no connection to https.*no answer within 0\.1 s\. "
                                            "CIFAR-10 is not in"):
        load_cifar10(tmp_path)
    assert time.perf_counter() - start < 5.0
    released.set()


def test_only_the_expected_members_are_extracted(tmp_path: Path) -> None:
    evil = {"../evil.txt": b"x", "/tmp/evil.txt": b"x", f"{BINARY}/../../evil.txt": b"x"}
    path = tmp_path / "a.tar.gz"
    path.write_bytes(fake.archive(evil))
    size = fake.RECORDS * 3073
    members = {f"{BINARY}/{b}.bin": size for b in fake.BATCHES}
    download.extract(path, members, tmp_path / "out" / BINARY)
    assert files(tmp_path) == ["a.tar.gz", *(f"out/{name}" for name in COMPLETE)]


def test_incomplete_or_odd_archives_leave_nothing_behind(tmp_path: Path) -> None:
    size = fake.RECORDS * 3073
    members = {f"{BINARY}/{b}.bin": size for b in fake.BATCHES}
    path = tmp_path / "a.tar.gz"
    path.write_bytes(fake.archive(leave_out="data_batch_2"))
    with pytest.raises(ValueError, match=r"a\.tar\.gz lacks .*data_batch_2\.bin: remove it and"):
        download.extract(path, members, tmp_path / "out")
    path.write_bytes(fake.archive({f"{BINARY}/data_batch_2.bin": b"short"}))
    with pytest.raises(ValueError, match=r"data_batch_2\.bin is not a file of 61,460 bytes"):
        download.extract(path, members, tmp_path / "out")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        link = tarfile.TarInfo(f"{BINARY}/data_batch_1.bin")
        link.type, link.linkname, link.size = tarfile.SYMTYPE, "/etc/passwd", 0
        tar.addfile(link)
    path.write_bytes(stream.getvalue())
    with pytest.raises(ValueError, match=r"data_batch_1\.bin is not a file"):
        download.extract(path, members, tmp_path / "out")
    assert files(tmp_path) == ["a.tar.gz"]
    assert [p.name for p in tmp_path.iterdir()] == ["a.tar.gz"]
