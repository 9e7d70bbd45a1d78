"""A small run with everything on that could make a resumed run differ, and ways to kill it.

    python -m tests.train.resumable FOLDER [MOMENT]

Starts in FOLDER, or goes on from the checkpoint there. MOMENT is when the process kills itself
with SIGKILL (no clean-up, no exception): a hook and the step it is called at, as "on_step 7", or
a stage of saving and which checkpoint, as "write 2": write, fsync, replace, replaced.
"wait 7" stops at step 7 until it is killed, and prints a line.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from tinynet import data, nn, optim, random, train
from tinynet.optim.schedule import cosine, warmup

EPOCHS, STEPS = 3, 6  # steps in each epoch
HOOKS = ("on_start", "before_update", "on_step", "on_log", "on_epoch", "at_rest", "on_end")


def die(*args: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Wait(train.Callback):
    """Stands still at one step, and says so."""

    def __init__(self, step: int) -> None:
        self.at = step

    def on_step(self, trainer: train.Trainer) -> None:
        if trainer.step == self.at:
            print("waiting", flush=True)
            time.sleep(120)


class Kill(train.Callback):
    """SIGKILL in one hook at one step."""

    def __init__(self, hook: str, step: int) -> None:
        def call(trainer: train.Trainer) -> None:
            if trainer.step == step:
                die()

        setattr(self, hook, call)


def kill_in_save(where: str, number: int) -> None:
    """SIGKILL while the number-th checkpoint is being written."""
    write_atomic, saves = train.checkpoint.write_atomic, itertools.count(1)

    def write(path: Path, content: bytes) -> None:
        mine = path.name.startswith("step-") and next(saves) == number
        if mine and where == "write":  # half of it is in the temporary file
            content, os.fsync = content[: len(content) // 2], die
        elif mine and where in ("fsync", "replace"):  # all of it; all of it and on the disk
            setattr(os, where, die)
        write_atomic(path, content)
        if mine:  # "replaced": it has its name, the one that is too old is still there
            die()

    train.checkpoint.write_atomic = write


def run(folder: Path, *extra: train.Callback) -> train.Trainer:
    random.manual_seed(3)
    pictures, test = data.load_shapes(train=16 * STEPS, test=32)
    augment = data.Compose([data.RandomHorizontalFlip(), data.RandomCrop(32, 2),
                            data.Normalize(*data.channel_statistics(pictures.images))])
    loader = data.DataLoader(pictures.images, pictures.labels, 16, seed=1, transform=augment,
                             batch_transform=data.Mixup(10, alpha=0.4), prefetch=2)
    val = data.DataLoader(test.images, test.labels, 16, shuffle=False,
                          transform=augment, augment=False)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3),
        nn.MaxPool2d(3), nn.Flatten(), nn.Linear(100, 10))
    schedule = warmup(cosine(0.02, EPOCHS * STEPS - 4), 4)
    optimizer = optim.Adam(optim.param_groups(model, weight_decay=1e-3), schedule)
    average = train.WeightAveraging(optim.EMA(model.named_parameters(), decay=0.9))
    snapshots = train.Snapshots(folder, period=8)
    trainer = train.Trainer(
        model, optimizer, log_every=5, progress=False, callbacks=[
            train.LogFile(folder / "log.jsonl"), train.LogFile(folder / "epochs.csv", "epochs"),
            train.LogFile(folder / "steps.csv", "steps"), snapshots,
            train.Checkpoints(folder / "checkpoints", every=4), *extra, average])
    trainer.fit(loader, val, EPOCHS, resume=folder / "checkpoints")
    scores = train.Ensemble(snapshots.files(), model).predict(val)
    np.save(folder / "ensemble.npy", scores)
    train.save_model(model, folder / "model.safetensors")
    trainer.history.save(folder / "history.json")
    return trainer


if __name__ == "__main__":
    what, number = (sys.argv[2] if len(sys.argv) > 2 else "never 0").split()
    if what in HOOKS:
        run(Path(sys.argv[1]), Kill(what, int(number)))
    elif what == "wait":
        run(Path(sys.argv[1]), Wait(int(number)))
    else:
        if what != "never":
            kill_in_save(what, int(number))
        run(Path(sys.argv[1]))
