"""One contender in a process of its own: ``python -m bench.worker CONTENDER NET TASK BATCH``.

Prints a JSON line when it is warm; then answers each line "N" with the seconds of N runs and the
process's peak memory. `drive.py` holds many of these and lets them take turns.
Tasks: ``train`` (a full step), ``infer`` (forward in evaluation mode).
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time


def peak_mb() -> float:
    """Peak resident memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    contender, net, task, size = sys.argv[1:5]
    out = os.fdopen(os.dup(1), "w")  # peers may print; their words go to stderr
    os.dup2(2, 1)
    peer, _, mode = contender.partition("-")
    module = importlib.import_module(f"bench.peers.{peer}")
    after_import = peak_mb()
    run = module.make(net, task, int(size), mode)
    losses = [float(run()) for _ in range(module.WARM_UP)]
    ready = {"ready": True, "losses": losses, "version": module.VERSION, "import_mb": after_import}
    print(json.dumps(ready), file=out, flush=True)
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        print(json.dumps({"seconds": seconds, "peak_mb": peak_mb()}), file=out, flush=True)


if __name__ == "__main__":
    main()
