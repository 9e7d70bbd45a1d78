"""What a program does to the device, counted."""

from __future__ import annotations

import contextlib
import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass
class Counts:
    """Numbers of calls; `kernels` says which kernels (and which functions of cuBLAS) ran."""

    launches: int = 0
    h2d: int = 0  # copies from the host to the device
    d2h: int = 0  # copies from the device to the host, each of which waits for the device
    d2d: int = 0
    syncs: int = 0  # waits for the device, those of d2h included
    allocations: int = 0  # of device memory, where CuPy's pool had none
    records: int = 0  # of events, on a stream
    waits: int = 0  # of streams for events: the host goes on
    kernels: Counter[str] = field(default_factory=Counter)

    def __sub__(self, before: Counts) -> Counts:
        values: dict[str, Any] = {f.name: getattr(self, f.name) - getattr(before, f.name)
                                  for f in fields(self)}
        return Counts(**values)

    def recorded(self) -> None:
        self.records += 1

    def waited(self) -> None:
        self.waits += 1

    def launched(self, name: str) -> None:
        self.launches += 1
        self.kernels[name] += 1


counts = Counts()  # since the process began


@contextlib.contextmanager
def counting() -> Iterator[Counts]:
    """What happens inside the block; the numbers are there when it ends.

    >>> with counting() as traffic:
    ...     pass
    >>> traffic.launches, traffic.d2h
    (0, 0)
    """
    inside, before = Counts(), copy.deepcopy(counts)
    yield inside
    inside.__dict__.update((counts - before).__dict__)
