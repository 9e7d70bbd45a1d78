"""How long a step of nets S and R may take on a GPU: ``python -m bench.gpu_estimate``.

**An estimate: nothing here is measured.** It is made from `gpu_launches.json`, every launch of a
step at batch 128, recorded where the device is emulated (`tests/emulator/test_grids.py`, which
holds the file against the library and also writes it):

    device   the sum over launches of max(2 us, bytes / 80 % of the memory's speed,
             instructions / lanes), and of the products' operations / 60 % of the peak in float32,
             35 % of that in TF32
    host     launches x 15 us; where that is more than the device's time, it sets the pace

Bytes are those of all arrays that a launch is given, each once. Instructions of a thread are those
that NVRTC makes for sm_80 (`tests/emulator/test_nvrtc.py` holds bounds). A factor of two either
way; `gpu_day.sh` measures what is estimated here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from bench import report

FILE = Path(__file__).with_name("gpu_launches.json")
LAUNCH = 2e-6  # seconds that the shortest takes
HOST = 15e-6  # seconds of the host for each
INSTRUCTIONS = {"tinynet_columns": 216, "tinynet_columns_back": 224}  # of a thread, 3x3 windows
Counts = dict[str, Any]


class Card(NamedTuple):
    """What a GPU can do in a second: bytes, operations in float32 and TF32, instructions."""

    memory: float
    single: float
    tf32: float  # 0: it has none
    lanes: float


CARDS = {
    "T4": Card(0.32e12, 8.1e12, 0, 4.1e12),
    "RTX 4090": Card(1.01e12, 82.6e12, 82.6e12, 20.6e12),
    "A100": Card(1.56e12, 19.5e12, 156e12, 9.7e12),
    "H200": Card(4.8e12, 67e12, 495e12, 16.7e12),
}


def device_seconds(of: Counts, card: Card, tf32: bool) -> float:
    """The device's time of a step; see the module's text."""
    found = 0.0
    for launch in of["kernels"]:
        bytes_each = launch["bytes"] / launch["launches"]
        threads = launch["threads"] / launch["launches"]
        work = threads * INSTRUCTIONS.get(launch["kernel"], 0)
        longest = max(LAUNCH, bytes_each / (0.8 * card.memory), work / card.lanes)
        found += launch["launches"] * longest
    speed = max(0.6 * card.single, 0.35 * card.tf32 if tf32 else 0.0)
    return found + max(of["products"] * LAUNCH, of["operations"] / speed)


def launches(of: Counts) -> int:
    """All of a step: kernels and products."""
    return int(of["products"] + sum(launch["launches"] for launch in of["kernels"]))


def table(nets: dict[str, Counts]) -> str:
    """A row for each net and card."""
    rows = []
    for net, of in nets.items():
        for name, card in CARDS.items():
            plain, quick = (1e3 * device_seconds(of, card, tf32) for tf32 in (False, True))
            rows.append([net, name, f"{plain:.1f}", f"{quick:.1f}" if card.tf32 else "-",
                         str(launches(of)), f"{1e3 * HOST * launches(of):.1f}"])
    head = ["net", "card", "device ms, float32", "with TF32", "launches", "host ms"]
    return report.markdown(head, rows, left=2)


def main() -> None:
    nets = json.loads(FILE.read_text(encoding="utf-8"))
    print(f"Estimated, not measured; batch 128.\n\n{table(nets)}")


if __name__ == "__main__":
    main()
