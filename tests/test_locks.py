"""Locks: one run at a time, whoever holds it and however it ends."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes import kill, starting
from tinynet.locks import Lock, locked


@pytest.fixture
def start() -> Iterator[Callable[..., Any]]:
    with starting() as start:
        yield start


def lock_of(folder: Path) -> Lock:
    return Lock(folder / ".lock", folder)


HOLD = """
import sys, time
from pathlib import Path
if "plain" in sys.argv:
    sys.modules["fcntl"] = None
from tinynet.locks import Lock
folder = Path(sys.argv[1])
lock = Lock(folder / ".lock", folder)
lock.acquire()
print("held", flush=True)
if "done" not in sys.argv:
    time.sleep(60)
lock.release()
"""


def test_a_second_process_is_refused_until_the_first_one_is_killed(
        tmp_path: Path, start: Callable[..., Any]) -> None:
    holder = start(HOLD, tmp_path / "run")
    lock = lock_of(tmp_path / "run")
    with pytest.raises(BlockingIOError, match=rf"run is in use by process {holder.pid} on .*: "
                                              "wait until that has ended, or choose another"):
        lock.acquire()
    lock_of(tmp_path / "other").acquire()  # another folder is free
    kill(holder)
    lock.acquire()
    lock.release()
    assert os.listdir(tmp_path / "run") == []


def test_a_process_that_is_done_leaves_nothing(
        tmp_path: Path, start: Callable[..., Any]) -> None:
    assert start(HOLD, tmp_path, "done").wait() == 0
    assert os.listdir(tmp_path) == []


def test_two_runs_of_one_process_are_refused_too(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    first, second = lock_of(tmp_path / "run"), lock_of(tmp_path / "link")
    first.acquire()
    first.acquire()  # it has it
    with pytest.raises(BlockingIOError, match="in use by another run of this process"):
        second.acquire()
    first.release()
    second.acquire()
    first.release()  # it is not the first one's to release
    assert (tmp_path / "run" / ".lock").exists()
    second.release()
    assert os.listdir(tmp_path / "run") == []


FORK = """
import os, sys, time
from pathlib import Path
if "plain" in sys.argv:
    sys.modules["fcntl"] = None
from tinynet.locks import Lock
folder = Path(sys.argv[1])
lock = Lock(folder / ".lock", folder)
lock.acquire()
child = os.fork()
if child == 0:
    lock.release()  # a child's own clean-up must not free its parent's lock
    try:
        Lock(folder / ".lock", folder).acquire()
    except BlockingIOError as error:
        print(os.getpid(), os.getppid(), error, flush=True)
    time.sleep(60)
time.sleep(60)
"""


def no_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)


def no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    def lockf(*args: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.lockf", lockf)


@pytest.mark.parametrize("mode", ["locked", "plain"])
def test_a_forked_child_neither_has_nor_frees_nor_keeps_the_lock(
        tmp_path: Path, start: Callable[..., Any], mode: str,
        monkeypatch: pytest.MonkeyPatch) -> None:
    if mode == "plain":
        no_module(monkeypatch)
    parent = start(FORK, tmp_path, mode)
    child, of, said = parent.first_line.split(" ", 2)
    try:
        assert int(of) == parent.pid and f"is in use by process {parent.pid} on" in said
        lock = lock_of(tmp_path)
        with pytest.raises(BlockingIOError):
            lock.acquire()
        kill(parent)
        lock.acquire()  # though the child still runs
        lock.release()
    finally:
        os.kill(int(child), signal.SIGKILL)


@pytest.mark.parametrize("lack", [no_module, no_service], ids=["no-module", "no-service"])
def test_without_locks_of_the_system_the_process_number_decides(
        tmp_path: Path, start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch,
        lack: Callable[[pytest.MonkeyPatch], None]) -> None:
    holder = start(HOLD, tmp_path, "plain")
    lack(monkeypatch)
    lock = lock_of(tmp_path)
    with pytest.raises(BlockingIOError, match=f"in use by process {holder.pid} on"):
        lock.acquire()
    kill(holder)
    lock.acquire()
    lock.release()
    (tmp_path / ".lock").write_text("process 1 on elsewhere\n")
    with pytest.raises(BlockingIOError, match="in use by process 1 on elsewhere"):
        lock.acquire()


def test_a_lock_file_that_is_rubbish_is_nobodys(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        for content in (b"", b"\xff\xfe", b"process x on y\n", b"\0" * 1000):
            (tmp_path / ".lock").write_bytes(content)
            lock = lock_of(tmp_path)
            lock.acquire()
            lock.release()
        no_module(monkeypatch)


RACE = """
import sys, time
from pathlib import Path
from tinynet.locks import locked
folder = Path(sys.argv[1])
print("ready", flush=True)
for _ in range(100):
    with locked(folder / "lock", wait=True):
        (folder / "mark").open("x").close()  # fails if somebody else is inside
        (folder / "mark").unlink()
"""


def test_two_processes_are_never_inside_however_often_they_try(
        tmp_path: Path, start: Callable[..., Any]) -> None:
    processes = [start(RACE, tmp_path) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert os.listdir(tmp_path) == []


def test_a_lock_lets_one_thread_in_at_a_time(tmp_path: Path) -> None:
    """It is removed and made again by each: nobody may be left with a removed one."""
    inside = 0
    most = 0
    rounds = 0

    def work() -> None:
        nonlocal inside, most, rounds
        for _ in range(50):
            with locked(tmp_path / "lock", wait=True):
                inside += 1
                most = max(most, inside)
                rounds += 1
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1 and rounds == 200 and list(tmp_path.iterdir()) == []


def test_an_error_inside_a_lock_lets_the_next_one_in(tmp_path: Path) -> None:
    with pytest.raises(KeyError), locked(tmp_path / "lock"):
        raise KeyError
    with locked(tmp_path / "lock"), pytest.raises(BlockingIOError), locked(tmp_path / "lock"):
        pass
    assert list(tmp_path.iterdir()) == []
