"""Contenders take turns: one long-lived process each, one round after another.

A machine's speed drifts by the minute; figures taken one contender after the other would compare
the minutes. Here every round runs each contender once, and ratios are formed within the run.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

TUNED_MALLOC = {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=4294967296:"
                "glibc.malloc.trim_threshold=8589934592:glibc.malloc.top_pad=67108864"}
SLOW = 3.0  # seconds from which a run is not repeated within a round
ROUND = 0.3  # seconds that quick runs are repeated for within a round

Line = dict[str, Any]


@dataclass(frozen=True)
class Contender:
    """Who runs: a module of `peers` and its mode, and what to change in its environment.

    It may be another Python's process, and one in another checkout of the project.
    """

    name: str  # "torch", or "torch-channels_last" with a mode
    label: str
    environment: dict[str, str] = field(default_factory=dict)
    python: str = sys.executable
    folder: str | None = None


@dataclass(frozen=True)
class Work:
    """What is run: a task on a net for a batch; cores 0 means all.

    Tasks are "train", "infer" and, for an optimizer or a layer instead of a net, "update", "layer".
    """

    net: str
    task: str = "train"
    batch: int = 128
    cores: int = 0

    @property
    def section(self) -> str:
        """The name of its results."""
        cores = f", cores {self.cores}" if self.cores else ""
        return f"{self.task} {self.net}, batch {self.batch}{cores}"


def cpu_seconds(process: int) -> float:
    """What all threads of a process have computed so far, to a hundredth; nan if unknown."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return math.nan


class _Worker:
    """A contender's process."""

    def __init__(self, contender: Contender, work: Work) -> None:
        self.contender = contender
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed by close)
        self.process = subprocess.Popen(
            [contender.python, "-m", "bench.worker", contender.name, work.net, work.task,
             str(work.batch), str(work.cores)], cwd=contender.folder,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
            env=os.environ | contender.environment)
        self.seconds: list[float] = []
        self.cpu: list[float] = []
        try:
            self.ready = self._answer()
        except RuntimeError:
            self.close()
            raise
        self.last: float = self.ready["seconds"]

    def _answer(self) -> Line:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            last = [text for text in self.log.read().splitlines() if text.strip()][-1:]
            raise RuntimeError(last[0] if last else f"exit status {self.process.wait()}")
        answer: Line = json.loads(line)
        return answer

    def run(self, runs: int) -> None:
        """One turn: `runs` runs, more of quick ones, one of a slow one."""
        assert self.process.stdin is not None
        n = 1 if self.last > SLOW else max(runs, min(100, int(ROUND / self.last)))
        before = cpu_seconds(self.process.pid)
        print(n, file=self.process.stdin, flush=True)
        answer = self._answer()
        self.cpu.append((cpu_seconds(self.process.pid) - before) / n)
        self.seconds += answer["seconds"]
        self.last = self.seconds[-1]
        self.peak_mb: float = answer["peak_mb"]

    def close(self) -> None:
        """Its input ends, and so it does."""
        with contextlib.suppress(BrokenPipeError):
            self.process.communicate()
        self.log.close()

    def line(self) -> Line:
        return {"contender": self.contender.name, "label": self.contender.label,
                "version": self.ready["version"], "median": statistics.median(self.seconds),
                "seconds": self.seconds, "cpu": self.cpu, "import_mb": self.ready["import_mb"],
                "peak_mb": self.peak_mb, "losses": self.ready["losses"]}


def compare(contenders: list[Contender], work: Work, rounds: int = 7, runs: int = 3) -> list[Line]:
    """`rounds` rounds of `runs` runs each: a line for each contender, with ratios.

    Contenders that fail are left out, and named.
    """
    workers: list[_Worker] = []
    title = f"{work.net} {work.task}"
    try:
        for contender in tqdm(contenders, desc=f"{title}: start", leave=False, disable=None):
            try:
                workers.append(_Worker(contender, work))
            except (RuntimeError, OSError) as error:
                print(f"{contender.label}: left out ({error})", file=sys.stderr)
        for _ in tqdm(range(rounds), desc=f"{title}: rounds", leave=False, disable=None):
            for worker in list(workers):
                try:
                    worker.run(runs)
                except (RuntimeError, OSError) as error:
                    print(f"{worker.contender.label}: left out ({error})", file=sys.stderr)
                    worker.close()
                    workers.remove(worker)
    finally:
        for worker in workers:
            worker.close()
    return with_ratios([worker.line() for worker in workers])


def take_turns(steps: dict[str, Callable[[], object]], rounds: int, repeat: int = 1
               ) -> dict[str, list[float]]:
    """Seconds of a run of each in this process, for all rounds: the mean of `repeat` runs."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            for _ in range(repeat):
                step()
            seconds[name].append((time.perf_counter() - start) / repeat)
    return seconds


def with_ratios(lines: list[Line]) -> list[Line]:
    """The lines of one run with two ratios of medians.

    "ratio" is to that of PyTorch (of the first line, if PyTorch is missing), "tinynet_ratio"
    tinynet's to the line's own.
    """
    medians = {line["contender"]: line["median"] for line in lines}
    for line in lines:
        line["ratio"] = line["median"] / medians.get("torch", lines[0]["median"])
        line["tinynet_ratio"] = medians.get("tinynet", float("nan")) / line["median"]
    return lines
