"""Downloads: one quick attempt, resume, hash check, atomic files; archives cannot lead elsewhere.

A server on this machine stands for the official one; nothing leaves the machine.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import os
import resource
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
import urllib3

from tests.data import fake_cifar10 as fake
from tests.data.test_cifar10 import BINARY, check
from tests.processes import environment
from tinynet.data import DownloadError, cifar10, download, load_cifar10

ARCHIVE = fake.archive()
MD5 = f"md5:{hashlib.md5(ARCHIVE).hexdigest()}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[fake.Server]:
    """Stands for the official address."""
    monkeypatch.setattr(cifar10, "RECORDS", fake.RECORDS)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with fake.serve(ARCHIVE) as running:
        monkeypatch.setattr(cifar10, "URL", running.url)
        monkeypatch.setattr(cifar10, "HASH", MD5)
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


PART = "cifar-10-binary.tar.gz.part"


@pytest.mark.parametrize("answer", ["a portal's page", "a longer page", "an empty page",
                                    "another range", "an error", "a cut-off whole"])
def test_a_bad_answer_leaves_what_has_arrived(server: fake.Server, tmp_path: Path, answer: str
                                              ) -> None:
    (tmp_path / PART).write_bytes(ARCHIVE[:100_000])
    changes: dict[str, dict[str, Any]] = {
        "a portal's page": {"portal": b"<html>Please log in</html>"},
        "a longer page": {"portal": b"<html>" + b"x" * 200_000},
        "an empty page": {"portal": b""},
        "another range": {"shift": 1000},
        "an error": {"status": 404},
        "a cut-off whole": {"ranges": False, "cut": 150_000},
    }
    for name, value in changes[answer].items():
        setattr(server, name, value)
    with pytest.raises(DownloadError, match=r"failed \(.*100,000 bytes are kept in .*\.part: run "
                                            r"again to go on from there\. CIFAR-10 is not in"):
        load_cifar10(tmp_path)
    assert files(tmp_path) == [PART]
    assert (tmp_path / PART).read_bytes() == ARCHIVE[:100_000]
    for field in dataclasses.fields(fake.Server):
        if field.name in changes[answer]:
            setattr(server, field.name, field.default)
    check(load_cifar10(tmp_path))
    assert server.asked == ["bytes=100000-"] * 2 and files(tmp_path) == COMPLETE


@pytest.mark.parametrize("extra", [0, 1, 5000], ids=["as long", "longer", "much longer"])
def test_a_part_that_is_no_beginning_is_replaced_by_the_whole(server: fake.Server, tmp_path: Path,
                                                              extra: int) -> None:
    """The server says that nothing follows (416), but the hash is wrong."""
    (tmp_path / PART).write_bytes(bytes(len(ARCHIVE) + extra))
    check(load_cifar10(tmp_path))
    assert server.asked == [f"bytes={len(ARCHIVE) + extra}-", None]
    assert files(tmp_path) == COMPLETE


def test_an_answer_that_ends_early_is_resumed_whatever_notices_it(
        server: fake.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older versions of requests take a short answer for the whole."""
    stream = urllib3.HTTPResponse.stream

    def lenient(self: Any, *args: Any, **options: Any) -> Iterator[bytes]:
        self.enforce_content_length = False
        return stream(self, *args, **options)

    monkeypatch.setattr(urllib3.HTTPResponse, "stream", lenient)
    server.cut = 150_000
    with pytest.raises(DownloadError, match=r"cut off after 150,000 of .* bytes.*are kept"):
        load_cifar10(tmp_path)
    server.cut = None
    check(load_cifar10(tmp_path))
    assert server.asked == [None, "bytes=150000-"]


def test_a_length_that_is_not_told_is_not_needed(server: fake.Server, tmp_path: Path) -> None:
    server.length = False
    check(load_cifar10(tmp_path))


def test_a_disk_that_fills_up_keeps_what_has_arrived(server: fake.Server, tmp_path: Path) -> None:
    """A limit on the size of a file stands for the disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(DownloadError, match=r"\.part cannot be written \(.*File too large.*To "
                                                r"mend it, raise the limit.*100,000 bytes are kept "
                                                r"in .*By hand: fetch"):
            load_cifar10(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / PART).read_bytes() == ARCHIVE[:100_000]
    check(load_cifar10(tmp_path))
    assert server.asked == [None, "bytes=100000-"] and files(tmp_path) == COMPLETE


def test_a_disk_that_fills_up_while_unpacking_keeps_the_archive(
        server: fake.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(DownloadError, match=r"batches-bin cannot be written \(.*No space left.*"
                                            r"free some space on that disk\. CIFAR-10 is not in"):
        load_cifar10(tmp_path)
    monkeypatch.undo()
    assert files(tmp_path) == ["cifar-10-binary.tar.gz"]
    for name, value in {"RECORDS": fake.RECORDS, "URL": server.url, "HASH": MD5}.items():
        monkeypatch.setattr(cifar10, name, value)
    check(load_cifar10(tmp_path))
    assert server.asked == [None] and files(tmp_path) == COMPLETE  # not downloaded again


@pytest.mark.parametrize("error", [errno.EACCES, errno.EROFS, errno.ENOSPC])
@pytest.mark.parametrize("call", ["mkdir", "open"])
def test_a_folder_that_cannot_be_written_is_told_before_the_network_is_asked(
        server: fake.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, call: str
        ) -> None:
    def refuse(*args: Any, **options: Any) -> Any:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(DownloadError, match=r"cannot be written \(.*To mend it, (choose a folder "
                                            r"you may write to|free some space).*By hand: fetch"):
        load_cifar10(tmp_path / "new")
    assert server.asked == []


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match=r"cannot be written .*part of that path is a file"):
        load_cifar10(tmp_path / "file" / "below")


LOAD = """
import sys
from pathlib import Path
from tests.data import fake_cifar10
from tests.data.test_cifar10 import check
from tinynet.data import cifar10, load_cifar10
cifar10.RECORDS = fake_cifar10.RECORDS
cifar10.URL, cifar10.HASH = sys.argv[2:]
check(load_cifar10(sys.argv[1]))
print("right")
"""


def load_elsewhere(server: fake.Server, folder: Path) -> subprocess.Popen[str]:
    """Another process that loads CIFAR-10 from `folder`."""
    return subprocess.Popen([sys.executable, "-c", LOAD, str(folder), server.url, MD5],
                            env=environment(), text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


def test_two_processes_at_once_download_once(server: fake.Server, tmp_path: Path) -> None:
    server.pause = 1.0
    processes = [load_elsewhere(server, tmp_path) for _ in range(2)]
    said = [process.communicate() for process in processes]
    assert [out for out, _ in said] == ["right\n"] * 2, said
    assert server.asked == [None] and files(tmp_path) == COMPLETE


def test_threads_at_once_download_once(server: fake.Server, tmp_path: Path,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    server.pause = 0.3
    with ThreadPoolExecutor(4) as pool:
        for both in pool.map(load_cifar10, [tmp_path] * 4):
            check(both)
    assert server.asked == [None] and files(tmp_path) == COMPLETE
    assert f"another process is downloading to {tmp_path}: waiting" in capsys.readouterr().err


def test_a_download_that_was_killed_leaves_no_lock_and_no_rubbish(server: fake.Server,
                                                                  tmp_path: Path) -> None:
    server.pause = 60.0
    process = load_elsewhere(server, tmp_path)
    while not server.asked:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    leftover = tmp_path / f"{BINARY}.new"  # as if it had been unpacking
    leftover.mkdir()
    (leftover / "data_batch_1.bin").write_bytes(b"half")
    server.pause = 0.0
    check(load_cifar10(tmp_path))
    assert files(tmp_path) == COMPLETE


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


def test_a_machine_that_starts_no_thread_downloads_all_the_same(
        monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    want = download.CONNECT_SECONDS
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert download._within(want, lambda: "answer") == "answer"
    with pytest.raises(OSError, match="no route"):
        download._within(want, raise_no_route)


def raise_no_route() -> None:
    raise OSError("no route")


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
