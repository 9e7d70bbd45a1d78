"""Ranks as threads: the interface of MPI's communicator, without processes.

For many ranks on a small machine, and for faults in the order of messages. All ranks meet at a
barrier, so a rank that stays away is noticed by a timeout.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from tinynet.train.distributed import World

WAIT = 60.0  # seconds for the slowest rank


class Room:
    """Where the ranks of one run meet."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.things: list[Any] = [None] * size
        self.barrier = threading.Barrier(size, timeout=WAIT)
        self.messages = 0


class Seat:
    """One rank's place: what a `World` asks of a communicator."""

    local_size = 1

    def __init__(self, room: Room, rank: int) -> None:
        self.room = room
        self.rank = rank
        self.size = room.size

    def every(self, thing: Any) -> list[Any]:
        self.room.things[self.rank] = thing
        self.room.barrier.wait()
        found = list(self.room.things)
        self.room.barrier.wait()
        if self.rank == 0:
            self.room.messages += 1
        return found

    def add(self, a: np.ndarray) -> None:
        parts = self.every(a.copy())
        assert len({(part.shape, part.dtype) for part in parts}) == 1, "ranks add unlike arrays"
        total = np.zeros_like(a)
        for part in parts:
            total += part
        a[...] = total

    def abort(self) -> None:
        self.room.barrier.abort()


def on_ranks(size: int, work: Callable[[World], Any], **options: Any) -> list[Any]:
    """What ``work(world)`` returns on each of `size` ranks; the first error, if any."""
    room = Room(size)
    found: list[Any] = [None] * size
    errors: list[tuple[int, BaseException]] = []

    def run(rank: int) -> None:
        try:
            found[rank] = work(World(Seat(room, rank), **options))
        except BaseException as error:
            errors.append((rank, error))
            room.barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    broken = [error for _, error in errors if not isinstance(error, threading.BrokenBarrierError)]
    if broken or errors:
        raise (broken or [error for _, error in errors])[0]
    return found

