"""A tiny CIFAR-10 in both official formats, its archive, and a server that can be cut off."""

from __future__ import annotations

import hashlib
import io
import struct
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from tinynet import random
from tinynet.backend import to_numpy

RECORDS = 20  # in each file, instead of 10,000
BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")


def content(batch: str) -> tuple[np.ndarray, np.ndarray]:
    """(pixels (20, 3072) uint8, labels (20,)) of a batch."""
    key = random.key(BATCHES.index(batch))
    pixels = to_numpy(random.integers(key, 0, 256, (RECORDS, 3072))).astype(np.uint8)
    return pixels, to_numpy(random.integers(random.key(key, 1), 0, 10, RECORDS))


def binary(batch: str) -> bytes:
    """A file of the binary format."""
    pixels, labels = content(batch)
    return np.concatenate([labels.astype(np.uint8)[:, None], pixels], axis=1).tobytes()


def python2(batch: str) -> bytes:
    """A file of the python format, opcode by opcode as Python 2 and its NumPy wrote it."""
    pixels, labels = content(batch)

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    array = (b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b")
             + b"\x87R(K\x01" + number(RECORDS) + number(3072) + b"\x86cnumpy\ndtype\n"
             + text(b"u1") + b"K\x00K\x01\x87R(K\x03" + text(b"|") + b"NNN" + number(-1)
             + number(-1) + b"K\x00tb\x89T" + struct.pack("<i", pixels.size) + pixels.tobytes()
             + b"tb")
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels.tolist()) + b"e"
    names = b"](" + b"".join(text(b"a_s_%06d.png" % i) for i in range(RECORDS)) + b"e"
    return (b"\x80\x02}q\x01(" + text(b"batch_label") + text(b"training batch") + text(b"labels")
            + numbers + text(b"data") + array + text(b"filenames") + names + b"u.")


def write(folder: Path, form: str = "binary", sums: bool = False) -> Path:
    """All six files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for batch in BATCHES:
        name = f"{batch}.bin" if form == "binary" else batch
        data = binary(batch) if form == "binary" else python2(batch)
        (folder / name).write_bytes(data)
        lines.append(f"{hashlib.sha256(data).hexdigest()}  {name}\n")
    if sums:
        (folder / "SHA256SUMS").write_text("".join(lines))
    return folder


def archive(extra: dict[str, bytes] | None = None, leave_out: str = "") -> bytes:
    """The official archive, in small, with `extra` members, or others of the same name."""
    members = {"cifar-10-batches-bin/readme.html": b"<html></html>"}
    members |= {f"cifar-10-batches-bin/{b}.bin": binary(b) for b in BATCHES if b != leave_out}
    members |= extra or {}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


@dataclass
class Server:
    """What the server gives, how far (`cut` bytes of an answer), and what it was asked.

    `portal`: a page that it sends instead, whatever it is asked. `shift`: its parts begin so many
    bytes before those that were asked for. `length`: whether it says how long an answer is.
    `pause`: seconds before an answer.
    """

    url: str
    data: bytes
    cut: int | None = None
    ranges: bool = True
    status: int = 200
    portal: bytes | None = None
    shift: int = 0
    length: bool = True
    pause: float = 0.0
    asked: list[str | None] = field(default_factory=list)


@contextmanager
def serve(data: bytes) -> Iterator[Server]:
    """A web server on this machine that knows one file, and Range."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            server.asked.append(wanted)
            time.sleep(server.pause)
            if server.status != 200:
                self.send_error(server.status)
                return
            if server.portal is not None:
                self.answer(200, server.portal, {"Content-Type": "text/html"})
                return
            resume = wanted is not None and server.ranges
            first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and resume else 0
            if resume and first >= len(server.data):
                self.send_error(416)
                return
            if not resume:
                self.answer(200, server.data, {})
                return
            first -= server.shift
            last = len(server.data) - 1
            given = f"bytes {first}-{last}/{len(server.data)}"
            self.answer(206, server.data[first:], {"Content-Range": given})

        def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if server.length:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: server.cut])

        def log_message(self, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = Server(f"http://127.0.0.1:{http.server_address[1]}/cifar-10-binary.tar.gz", data)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
