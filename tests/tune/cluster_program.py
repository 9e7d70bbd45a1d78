"""Searches on a cluster: ``cluster_program.py dask FOLDER`` or, under mpiexec, ``mpi FOLDER``.

Prints one line of JSON for the test that started it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import tinynet as tn
from tinynet.tune import LogUniform, Search, random_search

SPACE = {"lr": LogUniform(1e-4, 1e-1)}


def objective(config: dict[str, float]) -> dict[str, float]:
    """A score that also depends on the random numbers of the trial."""
    time.sleep(config.get("seconds", 0.1))
    noise = float(tn.rand(1).item())
    return {"score": noise - abs(config["lr"] - 0.01), "pid": os.getpid(),
            "threads": tn.get_num_workers()}


def scores(found: Search) -> list[float]:
    return [trial.score for trial in found.trials]


def facts(found: Search) -> dict[str, Any]:
    return {"scores": scores(found), "pids": len({trial.extra["pid"] for trial in found.trials}),
            "threads": sorted({trial.extra["threads"] for trial in found.trials})}


def dask(folder: Path) -> dict[str, Any]:
    from dask.distributed import Client, LocalCluster

    with (LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
                       local_directory=str(folder)) as cluster, Client(cluster) as client):
        executor = client.get_executor()
        told: dict[str, Any] = {}
        found = random_search(objective, SPACE, trials=6, seed=3, executor=executor,
                              journal=folder / "dask.jsonl")
        told["dask"] = facts(found)
        again = random_search(objective, SPACE, trials=6, seed=3, executor=executor,
                              journal=folder / "dask.jsonl")
        told["seconds again"] = [a.seconds == b.seconds
                                 for a, b in zip(found.trials, again.trials, strict=True)]
        of_closure = random_search(lambda config: -config["lr"], SPACE, trials=3, executor=executor)
        told["closure"] = len(of_closure.trials)

        def kill() -> None:
            time.sleep(0.5)
            os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        told["killed"] = facts(random_search(objective, SPACE, trials=12, seed=3,
                                             executor=executor))
        killer.join()
    return told


def mpi(folder: Path) -> dict[str, Any]:
    from mpi4py.futures import MPIPoolExecutor

    with MPIPoolExecutor() as executor:
        found = random_search(objective, SPACE, trials=6, seed=3, executor=executor,
                              journal=folder / "mpi.jsonl")
    return {"mpi": facts(found)}


if __name__ == "__main__":
    kind = {"dask": dask, "mpi": mpi}[sys.argv[1]]
    told = kind(Path(sys.argv[2]))
    told["alone"] = scores(random_search(objective, SPACE, trials=6, seed=3))
    told["twelve alone"] = scores(random_search(objective, SPACE, trials=12, seed=3))
    print(json.dumps(told), flush=True)
