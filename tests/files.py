"""Files that a test writes a thousand times."""

from __future__ import annotations

from pathlib import Path


def write_anew(path: Path, data: bytes | bytearray) -> None:
    """Write `data` into a new file of this name: to shorten an old one would wait for the disk."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)
