"""What mpiexec runs in the tests: ``program.py WHAT FOLDER``; rank 0 writes FOLDER/rank0.npz.

    equal        train, and leave the weights
    resume       the same with checkpoints, from the newest one there is
    kill         the same, and the last rank is killed in step 4
    error        the last rank raises in step 4
    nan          the last rank's pictures become nan in epoch 2
    weights      the last rank begins with other weights
    data         the last rank has other pictures
    settings     the last rank has another learning rate
    stop         the last rank asks to stop after the first epoch
    own          a loop of one's own, in three lines more than alone
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

import tinynet as tn
import tinynet.functional as F
from tests.train.ranks import run
from tinynet import data, nn, optim
from tinynet.train import Callback, Checkpoints, World


class Fault(Callback):
    """What goes wrong on the last rank."""

    only_watches = True

    def __init__(self, what: str, world: World) -> None:
        self.what = what
        self.last = world.rank == world.size - 1

    def before_update(self, trainer: Any) -> None:
        if self.last and trainer.step == 4:
            if self.what == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.what == "error":
                raise ArithmeticError("the last rank has had enough")

    def on_epoch(self, trainer: Any) -> None:
        if self.last and self.what == "stop":
            trainer.stop("the last rank wants to")
        if self.last and self.what == "nan":
            for p in trainer.model.parameters():
                p.data[...] = np.nan


def own_loop(world: World, ranks: int) -> dict[str, Any]:
    model = run.made(0.3)
    images, labels = run.pictures(96)
    loader = data.DataLoader(images, labels, 32 // ranks, transform=run.augment, seed=3)
    optimizer = optim.SGD(model.named_parameters(), 0.05, momentum=0.9)
    loader.shard(world)
    for _ in range(2):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(tn.tensor(x)), y).backward()
            world.average_gradients(model)
            optimizer.step()
    return {name: tn.to_numpy(a) for name, a in model.state_dict().items()}


def main() -> None:
    what, folder = sys.argv[1], Path(sys.argv[2])
    world = World()
    last = world.rank == world.size - 1
    if what == "own":
        weights = own_loop(world, world.size)
    else:
        model = run.made(0.3)
        if last and what == "weights":
            nn.init.ones_(model.head.weight)

        def callbacks() -> list[Callback]:
            found: list[Callback] = [Fault(what, world)]
            if what in ("resume", "kill", "error"):
                found.append(Checkpoints(folder / "checkpoints", every=2))
            return found

        resume = folder / "checkpoints" if what == "resume" else None
        weights = run.trained(
            world, world.size, model=model, callbacks=callbacks, resume=resume, epochs=3,
            shift=int(last and what == "data"), lr=0.1 if last and what == "settings" else 0.05,
        )["weights"]
    if world.is_first:
        np.savez(folder / "rank0.npz", **weights)
    print(f"rank {world.rank} of {world.size} is done, {tn.get_num_workers()} workers", flush=True)


if __name__ == "__main__":
    main()
