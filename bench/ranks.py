r"""What several ranks gain: ``python -m bench.ranks``, measured on this machine, projected to 64.

Measured, in turns of short programs (nets S and R, a whole batch of 128): one rank with one
worker; one rank with two; two ranks with one each, that average gradients, with batch norm over
all ranks and over each rank's rows. Then messages alone, by their size.

Projected, by

    T(P) = T(1) + M (2 log2 P) l + 2 (P - 1) / P  B / w

T(1) is the measured step of one rank with its own 128 pictures, M the messages of a step, B their
bytes, l the latency and w the bandwidth of a network, which are stated, not measured. It is a
projection: it leaves out that ranks wait for the slowest. ``--write`` replaces
``bench/RESULTS-ranks.md`` and the lines in ``results.jsonl``. Needs ``pip install -e ".[mpi]"``.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import tinynet as tn
import tinynet.functional as F
from bench import report
from bench.drive import Line
from tinynet import models, optim
from tinynet.train.distributed import World, alone

NETS = {"S": models.net_s, "R": models.net_r}
BATCH = 128
SIZES = [1 << 10, 1 << 15, 1 << 20, 1 << 23]  # bytes of a message
# ranks, workers of each, batch norm over
SETUPS = {"1 rank, 1 worker": (1, 1, "global"), "1 rank, 2 workers": (1, 2, "global"),
          "2 ranks, 1 worker each": (2, 1, "global"),
          "2 ranks, 1 worker each, local batch norm": (2, 1, "local")}
# seconds until a message begins to arrive, bytes in a second
NETWORKS = {"1 Gbit/s": (50e-6, 0.117e9), "10 Gbit/s": (30e-6, 1.17e9),
            "100 Gbit/s": (3e-6, 11.7e9)}
RANKS = (2, 4, 8, 16, 32, 64)


class Counted:
    """The messages of another communicator, counted."""

    def __init__(self, messages: Any) -> None:
        self.messages = messages
        self.rank = messages.rank
        self.size = messages.size
        self.local_size = messages.local_size
        self.count = 0
        self.bytes = 0

    def add(self, a: Any) -> None:
        self.count += 1
        self.bytes += a.nbytes
        self.messages.add(a)

    def every(self, thing: Any) -> Any:
        return self.messages.every(thing)

    def abort(self) -> None:
        self.messages.abort()


def steps_of(net: str, world: World, workers: int, steps: int) -> Line:
    """Seconds of single steps on this rank's rows of a batch of 128, after two to warm up."""
    tn.set_num_workers(workers)
    tn.manual_seed(0)
    model = NETS[net]()
    optimizer = optim.SGD(model.named_parameters(), lr=0.01, momentum=0.9)
    rows = BATCH // world.size
    rng = np.random.default_rng(world.rank)
    x = tn.tensor(rng.standard_normal((rows, 3, 32, 32), dtype=np.float32))
    y = rng.integers(0, 10, rows)
    times = []
    for _ in range(steps + 2):
        start = time.perf_counter()
        with world.sharing(world.rank * rows, rows, BATCH):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            world.average_gradients(model)
            optimizer.step()
        times.append(time.perf_counter() - start)
    messages = world.messages
    if isinstance(messages, Counted):
        return {"seconds": times[2:], "messages": messages.count / (steps + 2),
                "bytes": messages.bytes / (steps + 2)}
    return {"seconds": times[2:], "messages": 0.0, "bytes": 0.0}


def messages_of(world: World, repeat: int = 30) -> dict[str, float]:
    """Seconds of an all-reduce by its bytes: medians."""
    found = {}
    for size in SIZES:
        a = np.ones(size // 4, np.float32)
        times = []
        for _ in range(repeat):
            start = time.perf_counter()
            world.messages.add(a)
            times.append(time.perf_counter() - start)
            a[...] = 1.0
        found[str(size)] = statistics.median(times)
    return found


def child(argv: list[str]) -> None:
    """What one rank does: ``child NET SETUP STEPS``, or ``child messages``."""
    world = World() if "OMPI_COMM_WORLD_SIZE" in os.environ or "PMI_SIZE" in os.environ \
        else alone()
    if argv[0] == "messages":
        line: Line = {"times": messages_of(world)}
    else:
        _, workers, batch_norm = SETUPS[argv[1]]
        counted = World(Counted(world.messages), batch_norm=batch_norm)
        line = steps_of(argv[0], counted, workers, int(argv[2]))
    if world.is_first:
        print(json.dumps(line), flush=True)


def run(ranks: int, *argv: str) -> Line:
    """Run `child` on so many ranks; what rank 0 said."""
    command = [sys.executable, "-m", "bench.ranks", "child", *argv]
    if ranks > 1:
        launcher = str(Path(sys.executable).parent / "mpiexec")
        command = [launcher, "-n", str(ranks), sys.executable, "-m", "mpi4py", *command[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    line: Line = json.loads(done.stdout.splitlines()[-1])
    return line


def measure(rounds: int, steps: int) -> list[Line]:
    """One line for each net and setup, all of them taking turns."""
    lines: dict[tuple[str, str], Line] = {}
    for _ in range(rounds):
        for net in NETS:
            for setup, (ranks, _, _) in SETUPS.items():
                new = run(ranks, net, setup, str(steps))
                line = lines.setdefault((net, setup), {
                    "label": setup, "net": net, "batch": BATCH, "seconds": [],
                    "version": f"tinynet {tn.__version__}", "load": []})
                line["seconds"] += new.pop("seconds")
                line["load"].append(os.getloadavg()[0])
                line |= new
    for line in lines.values():
        line["median"] = statistics.median(line["seconds"])
    return list(lines.values())


def projected(step: float, messages: float, size: float, ranks: int, network: str) -> float:
    """T(P) in seconds; see the module's text."""
    latency, bandwidth = NETWORKS[network]
    return step + messages * 2 * math.log2(ranks) * latency \
        + 2 * (ranks - 1) / ranks * size / bandwidth


def hidden_batch(line: Line, whole: Line, network: str, ranks: int = 64) -> int:
    """The pictures of one rank at which messages take a twentieth of a step."""
    talk = projected(0.0, line["messages"], line["bytes"], ranks, network)
    return math.ceil(20 * talk / (whole["median"] / BATCH))


def page(lines: list[Line], messages: dict[str, float]) -> str:
    """All tables, as Markdown."""
    by = {(line["net"], line["label"]): line for line in lines}
    one, two = "1 rank, 1 worker", "1 rank, 2 workers"
    pair = "2 ranks, 1 worker each"
    measured = report.markdown(
        ["net, batch 128", "setup", "ms a step", f"of {two}", "messages", "kB"],
        [[line["net"], line["label"], f"{line['median'] * 1e3:.0f}",
          f"{line['median'] / by[line['net'], two]['median']:.2f}",
          f"{line['messages']:.0f}", f"{line['bytes'] / 1e3:,.0f}"] for line in lines], left=2)
    alone_times = report.markdown(["bytes in a message between 2 ranks", "ms"], [
        [f"{int(size):,}", f"{seconds * 1e3:.3f}"] for size, seconds in messages.items()])
    rows = []
    for net in NETS:
        whole = by[net, one]
        talks = by[net, pair]
        for network in NETWORKS:
            shares = [whole["median"] / projected(whole["median"], talks["messages"],
                                                  talks["bytes"], p, network) for p in RANKS]
            rows.append([net, network, *(f"{share:.1%}" for share in shares),
                         f"{hidden_batch(talks, whole, network):,}"])
    table = report.markdown(["net", "network", *(f"{p} ranks" for p in RANKS),
                             "pictures for 95 %"], rows, left=2)
    load = statistics.median(x for line in lines for x in line["load"])
    n = len(lines[0]["seconds"])
    return (f"Measured: medians of {n} steps, load {load:.1f}. With 2 ranks each takes 64 of "
            f"the 128 pictures.\n\n{measured}\n\n{alone_times}\n\n"
            "**A projection, not a measurement:** the efficiency of P ranks, each with 128 "
            "pictures and one worker, from the step measured above, the messages counted, and "
            "the latency and bandwidth stated: "
            + "; ".join(f"{name}: {latency * 1e6:.0f} us, {bandwidth / 1e9:.3g} GB/s"
                        for name, (latency, bandwidth) in NETWORKS.items())
            + ". The last column: how many pictures a rank needs, among 64, for messages to "
              f"take a twentieth of the step.\n\n{table}")


def main() -> None:
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2:])
        return
    parser = report.parser("bench.ranks", __doc__)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each setup (default: 3)")
    parser.add_argument("--steps", type=int, default=5, help="steps in a turn (default: 5)")
    args = parser.parse_args()
    lines = measure(args.rounds, args.steps)
    messages = run(2, "messages")["times"]
    text = page(lines, messages)
    print(text)
    if args.write:
        report.record("ranks", text, lines, report.HERE / "RESULTS-ranks.md")


if __name__ == "__main__":
    main()
