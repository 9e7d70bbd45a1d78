"""A small memory allocator: large arrays share a few arenas, whose pages stay in use.

A fresh 33 MB array costs more than computing it: the operating system hands out its pages one by
one, zeroed, at the first write. So memory that arrays no longer need is kept, and given to the
next that asks: the first *hole* that is large enough, cut to size. A block that comes back is
merged with the holes beside it. (A list of old blocks for each size would be simpler, but the
sizes of one layer are of no use to the next: it held twice as much memory.)

A block comes back by itself when the last view of it dies, for the block is the base of all of
them. That may happen anywhere, in any thread, even while this code is at work; so a dying block
only leaves a note, which the next call reads.

Cost: a walk along the holes, of which a training step of net S has 2 to 6: about 5 us in all,
against 50 us for each fresh MB. Source: first fit with merging, Knuth, "The art of computer
programming", volume 1, section 2.5. Read next: `memory.py`.
"""

from __future__ import annotations

import threading
from bisect import bisect
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

ARENA_BYTES = 1 << 26  # of an arena, unless an array needs more
KEEP_BYTES = 1 << 30  # unused arenas beyond this are given back to the system
GRAIN = 1 << 12  # blocks are multiples of a page
LINE = 64  # bytes of a cache line and of the widest vector register

Bytes = np.ndarray[Any, Any]
Place = tuple[int, int, int]  # arena, start, end


def aligned(nbytes: int) -> Bytes:
    """Fresh bytes that start at a cache line: vector loads that straddle two cost up to 40 %."""
    memory = np.empty(nbytes + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + nbytes]


class _Block:
    """Owner of a piece of an arena: the base of an array and of all its views."""

    def __init__(self, memory: Bytes, place: Place, note: Callable[[Place], None]) -> None:
        self.memory, self.place, self.note = memory, place, note
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        self.note(self.place)


class Allocator:
    """Arenas and the holes in them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.arenas: dict[int, Bytes] = {}
        self.holes: list[Place] = []  # unused memory in order, no two side by side
        self.returned: deque[Place] = deque()  # the notes of blocks that died

    def take(self, nbytes: int) -> Bytes:
        """`nbytes` uninitialised bytes, which come back when the last view of them dies."""
        size = -(-nbytes // GRAIN) * GRAIN
        with self.lock:
            self.collect()
            k = next((k for k, (_, i, j) in enumerate(self.holes) if j - i >= size), None)
            if k is None:
                k, arena = len(self.holes), max(self.arenas, default=0) + 1
                self.arenas[arena] = aligned(max(size, ARENA_BYTES))
                self.holes.append((arena, 0, len(self.arenas[arena])))
            arena, start, end = self.holes.pop(k)
            if end - start > size:
                self.holes.insert(k, (arena, start + size, end))
            memory = self.arenas[arena][start : start + size]
        block = _Block(memory, (arena, start, start + size), self.returned.append)
        return np.asarray(block)[:nbytes]

    def collect(self) -> None:
        """Make holes of the blocks that have died; arenas beyond KEEP_BYTES go to the system."""
        holes = self.holes
        while self.returned:
            arena, start, end = self.returned.popleft()
            k = bisect(holes, (arena, start, end))
            if k < len(holes) and holes[k][:2] == (arena, end):
                end = holes.pop(k)[2]
            if k and (holes[k - 1][0], holes[k - 1][2]) == (arena, start):
                k -= 1
                start = holes.pop(k)[1]
            holes.insert(k, (arena, start, end))
            if end - start == len(self.arenas[arena]) and self.unused() > KEEP_BYTES:
                del holes[k], self.arenas[arena]

    def unused(self) -> int:
        """Bytes of arenas that no array uses."""
        return sum(end - start for _, start, end in self.holes)
