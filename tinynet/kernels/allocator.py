"""A small memory allocator: large arrays share a few arenas, whose pages stay in use.

A fresh 33 MB array costs more than computing it: the operating system hands out its
pages one by one, zeroed, at the first write. So memory that arrays no longer need is
kept, and given to the next that asks: the first *hole* that is large enough, cut to
size. A block that comes back is merged with the holes beside it. (A list of old blocks
for each size would be simpler, but the sizes of one layer are of no use to the next: it
held twice as much memory.)

A block comes back by itself when the last view of it dies, for the block is the base of
all of them. That may happen anywhere, in any thread, even while this code is at work;
so a dying block only leaves a note, which the next call reads. No line of Python runs
then: ctrl-C cannot fall into it. The notes of living blocks are the truth and the holes
follow from them, so what an interrupt in the midst of this code loses is found again
before a new arena is taken.

Cost: a walk along the holes, of which a training step of net S has 2 to 6: about 5 us
in all, against 50 us for each fresh MB. Source: first fit with merging, Knuth, "The art
of computer programming", volume 1, section 2.5.

Read next: `kernels/memory.py`.
"""

from __future__ import annotations

import weakref
from bisect import bisect
from collections import deque
from typing import Any

import numpy as np

from ..locks import thread_lock

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

    __slots__ = ("__array_interface__", "__weakref__", "memory")

    def __init__(self, memory: Bytes) -> None:
        self.memory = memory
        self.__array_interface__ = memory.__array_interface__


class _Note(weakref.ref[_Block]):
    """Which place a block has; goes to the allocator's `returned` when the block dies."""

    __slots__ = ("place",)

    place: Place


class Allocator:
    """Arenas and the holes in them."""

    def __init__(self) -> None:
        self.arenas: dict[int, Bytes] = {}
        self.holes: list[Place] = []  # unused memory in order, no two side by side
        self.notes: dict[Place, _Note] = {}  # of the blocks that live
        self.returned: deque[_Note] = deque()  # of blocks that died

    def take(self, nbytes: int) -> Bytes:
        """`nbytes` uninitialised bytes, which come back when the last view of them dies."""
        size = -(-nbytes // GRAIN) * GRAIN
        with _lock:
            self.collect()
            k = self.first_fit(size)
            arena, start, end = self.holes[k]
            place = (arena, start, start + size)
            block = _Block(self.arenas[arena][start : start + size])
            note = _Note(block, self.returned.append)
            note.place = place
            if end - start > size:
                self.holes[k] = (arena, start + size, end)
            else:
                del self.holes[k]
            self.notes[place] = note
        return np.asarray(block)[:nbytes]

    def first_fit(self, size: int) -> int:
        """The number of the first hole of that size; if there is none, one in a new arena."""
        for search in range(2):
            for k, (_, start, end) in enumerate(self.holes):
                if end - start >= size:
                    return k
            if search == 0:
                self.find_holes()
        arena = max(self.arenas, default=0) + 1
        self.arenas[arena] = aligned(max(size, ARENA_BYTES))
        self.holes.append((arena, 0, len(self.arenas[arena])))
        return len(self.holes) - 1

    def find_holes(self) -> None:
        """All memory of the arenas between the blocks that live."""
        holes = []
        ends = dict.fromkeys(self.arenas, 0)  # of the last block so far
        for arena, start, end in sorted(self.notes):
            if start > ends[arena]:
                holes.append((arena, ends[arena], start))
            ends[arena] = end
        for arena, end in ends.items():
            if end < len(self.arenas[arena]):
                holes.append((arena, end, len(self.arenas[arena])))
        self.holes = sorted(holes)

    def collect(self) -> None:
        """Make holes of the blocks that have died; arenas beyond KEEP_BYTES go to the system."""
        holes = self.holes
        while self.returned:
            note = self.returned[0]
            known = self.notes.pop(note.place, None)
            self.returned.popleft()
            if known is None:  # seen before an interrupt
                continue
            arena, start, end = note.place
            k = bisect(holes, note.place)
            if k < len(holes) and holes[k][:2] == (arena, end):  # the hole that begins at its end
                end = holes.pop(k)[2]
            if k and (holes[k - 1][0], holes[k - 1][2]) == (arena, start):  # that ends at its start
                k -= 1
                start = holes.pop(k)[1]
            holes.insert(k, (arena, start, end))
            if end - start == len(self.arenas[arena]) and self.unused() > KEEP_BYTES:
                del holes[k]
                del self.arenas[arena]

    def unused(self) -> int:
        """Bytes of arenas that no array uses."""
        return sum(end - start for _, start, end in self.holes)


_lock = thread_lock()  # of all allocators
