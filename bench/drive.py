"""Contenders take turns: one long-lived process each, one round after another.

A machine's speed drifts by the minute; figures taken one contender after the other would compare
the minutes. Here every round runs each contender once, and ratios are formed within the run.
The variables that slow OpenBLAS down are removed from every contender's environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tqdm import tqdm

TUNED_MALLOC = ("glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=8589934592:"
                "glibc.malloc.top_pad=67108864")


@dataclass
class Contender:
    """Who runs: a module of `peers` and its mode, and what to change in its environment."""

    name: str  # "torch", or "torch-channels_last" with a mode
    label: str
    environment: dict[str, str] = field(default_factory=dict)


@dataclass
class Result:
    """What one contender needed: seconds per run, memory in MB."""

    contender: str
    label: str
    net: str
    task: str
    batch: int
    version: str
    seconds: list[float]
    import_mb: float
    peak_mb: float
    losses: list[float]
    reference: float = 0.0  # PyTorch eager's median in the same run (or the first contender's)

    @property
    def ratio(self) -> float:
        return self.median / self.reference

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def quartiles(self) -> tuple[float, float]:
        ordered = sorted(self.seconds)
        return ordered[len(ordered) // 4], ordered[3 * len(ordered) // 4]


def machine() -> dict[str, str | int]:
    """The machine, in the words that belong beside every figure."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "system": platform.platform(),
            "python": platform.python_version()}


class _Worker:
    """A contender's process."""

    def __init__(self, contender: Contender, net: str, task: str, batch: int) -> None:
        environment = {k: v for k, v in os.environ.items()
                       if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
        environment.update(contender.environment)
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed by close)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.worker", contender.name, net, task, str(batch)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
            env=environment)
        ready = self._answer()
        self.result = Result(contender.name, contender.label, net, task, batch, ready["version"],
                             [], ready["import_mb"], 0.0, ready["losses"])

    def _answer(self) -> dict:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            last = [text for text in self.log.read().splitlines() if text.strip()][-1:]
            raise RuntimeError(last[0] if last else f"exit status {self.process.wait()}")
        return json.loads(line)

    def run(self, n: int) -> None:
        assert self.process.stdin is not None
        print(n, file=self.process.stdin, flush=True)
        answer = self._answer()
        self.result.seconds += answer["seconds"]
        self.result.peak_mb = answer["peak_mb"]

    def close(self) -> None:
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        self.process.wait()
        self.log.close()


def compare(contenders: list[Contender], net: str, task: str = "train", batch: int = 128,
            rounds: int = 7, runs: int = 3) -> list[Result]:
    """`rounds` rounds of `runs` runs each; contenders that cannot start are left out, and named."""
    workers: list[_Worker] = []
    try:
        for contender in tqdm(contenders, desc=f"{net} {task}: start", leave=False):
            try:
                workers.append(_Worker(contender, net, task, batch))
            except (RuntimeError, OSError) as error:
                print(f"{contender.label}: left out ({error})", file=sys.stderr)
        for _ in tqdm(range(rounds), desc=f"{net} {task}: rounds", leave=False):
            for worker in workers:
                worker.run(runs if worker.result.seconds == [] or worker.result.median < 3 else 1)
    finally:
        for worker in workers:
            worker.close()
    results = [worker.result for worker in workers]
    base = next((r for r in results if r.contender == "torch"), results[0])
    for result in results:
        result.reference = base.median
    return results


def write_lines(results: list[Result], path: Path) -> None:
    """One JSON line per result, with the machine."""
    about = machine()
    with path.open("a") as file:
        for result in results:
            row = asdict(result) | {"median": result.median, "ratio": result.ratio,
                                    "machine": about}
            print(json.dumps(row), file=file)
