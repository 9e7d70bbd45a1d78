"""One contender in a process of its own: ``python -m bench.worker CONTENDER NET TASK BATCH CORES``.

Prints a JSON line when it is warm; then answers each line "N" with the seconds of N runs and the
process's peak memory. `drive.py` holds many of these and lets them take turns.
Tasks: ``train`` (a full step), ``infer`` (forward in evaluation mode), ``update`` (the optimizer's
part of a step, NET being its rule), ``layer`` (one layer, NET being its name). CORES 0 means all.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import sys
import time
from pathlib import Path


def peak_mb() -> float:
    """Peak resident memory of this process in MB.

    From Linux itself if possible: `getrusage` counts the peak of the process that started this
    one, too.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main() -> None:
    contender, net, task, size, cores = sys.argv[1:6]
    if int(cores):  # before anything counts them
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
    out = os.fdopen(os.dup(1), "w")  # peers may print; their words go to stderr
    os.dup2(2, 1)
    peer, _, mode = contender.partition("-")
    module = importlib.import_module(f"bench.peers.{peer}")
    after_import = peak_mb()
    run = module.make(net, task, int(size), mode)

    # Of a layer on one core the processor's time: the work of others does not count.
    clock = time.process_time if task == "layer" and int(cores) == 1 else time.perf_counter

    def timed() -> tuple[float, float]:
        if task == "update":
            run.before()
        start = clock()
        value = run()
        seconds = clock() - start
        return round(seconds, 7), float(run.after() if task == "update" else value)

    warm = [timed() for _ in range(module.WARM_UP)]
    print(json.dumps({"losses": [value for _, value in warm], "seconds": warm[-1][0],
                      "version": module.VERSION, "import_mb": after_import}), file=out, flush=True)
    for line in sys.stdin:
        seconds = [timed()[0] for _ in range(int(line))]
        print(json.dumps({"seconds": seconds, "peak_mb": peak_mb()}), file=out, flush=True)


if __name__ == "__main__":
    main()
