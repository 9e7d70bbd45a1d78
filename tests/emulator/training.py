"""One training run with everything on, for tests that count its traffic or compare backends.

    python -m tests.emulator.training steps DTYPE SEED FILE      what 20 steps do
    python -m tests.emulator.training save|resume FOLDER FILE

Net S (narrower), batch norm, dropout, augmentation on the device, Adam with a warm-up and a cosine.
The test runs it in its own process on one backend, and this file as a program on the other.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

import tinynet as tn
from tests.arrays import host
from tinynet import data, models, optim, train
from tinynet.optim import schedule

STEPS, BATCH, EPOCHS = 20, 8, 4
AUGMENT = data.Compose([data.RandomHorizontalFlip(), data.RandomCrop(16, padding=2),
                        data.Normalize(110.0, 60.0)])
Arrays = dict[str, np.ndarray[Any, Any]]


def pictures(n: int) -> data.Dataset:
    return data.load_shapes(train=n, test=0)[0]


def loader(n: int = BATCH * 5, **options: Any) -> data.DataLoader:
    """Small pictures: every second pixel of the built-in set."""
    images = pictures(n)
    return data.DataLoader(np.ascontiguousarray(images.images[:, :, ::2, ::2]), images.labels,
                           batch_size=BATCH, transform=AUGMENT, **options)


def net(dtype: str = "float32", seed: int = 0) -> tn.nn.Module:
    tn.manual_seed(seed)
    return models.net_s(widths=(8, 12, 16), image_size=16, dropout=0.3).astype(dtype)


def adam(model: tn.nn.Module) -> optim.Optimizer:
    rate = schedule.warmup(schedule.cosine(3e-3, T=STEPS), steps=3)
    return optim.Adam(optim.param_groups(model.named_parameters(), 1e-3), lr=rate)


class Run:
    """A model, its optimizer and its batches, a step at a time."""

    def __init__(self, dtype: str = "float32", seed: int = 0) -> None:
        self.model, self.dtype = net(dtype, seed), dtype
        self.optimizer = adam(self.model)
        self.batches = [batch for _ in range(EPOCHS) for batch in iter(loader())]

    def step(self, t: int) -> Any:
        images, labels = self.batches[t]
        loss = tn.functional.cross_entropy(self.model(tn.Tensor(images.astype(self.dtype))), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss

    def state(self) -> Arrays:
        """Weights, running statistics, the optimizer's slots."""
        arrays = {f"model/{name}": host(x) for name, x in self.model.state_dict().items()}
        for name, slots in self.optimizer.state_dict()["state"].items():
            arrays |= {f"{slot}/{name}": host(x) for slot, x in slots.items()}
        return {name: x.copy() for name, x in arrays.items()}

    def load(self, state: Arrays, t: int) -> None:
        """As the run that `state` was taken from after t steps; random numbers as well."""
        self.model.load_state_dict({name.removeprefix("model/"): x for name, x in state.items()
                                    if name.startswith("model/")})
        saved = self.optimizer.state_dict()
        saved["t"], saved["state"] = t, {}
        for name, x in state.items():
            slot, _, parameter = name.partition("/")
            if slot != "model":
                saved["state"].setdefault(parameter, {})[slot] = int(x) if slot == "count" else x
        self.optimizer.load_state_dict(saved)


def steps(dtype: str, seed: int = 0) -> dict[str, Any]:
    """20 steps: the state before each and after the last, the losses, the random states."""
    run, found = Run(dtype, seed), {}
    for t in range(STEPS + 1):
        found |= {f"{t}/{name}": x for name, x in run.state().items()}
        found[f"random/{t}"] = np.array([tn.get_state()[part] for part in ("seed", "counter")])
        if t < STEPS:
            found[f"loss/{t}"] = host(run.step(t))
    return found


def trained(folder: Path, resume: bool) -> dict[str, Any]:
    """A run of two epochs by the trainer, stopped after 7 of 10 steps if it is not to resume."""
    seen: list[Any] = []

    class Watch(train.Callback):
        """Keep the place in the stream of masks after each step."""

        def on_step(self, trainer: train.Trainer) -> None:
            seen.append(tn.get_state()["counter"])
            if not resume and trainer.step == 7:
                raise KeyboardInterrupt

    model = net()
    checkpoints = train.Checkpoints(folder, every=1, keep=None)
    trainer = train.Trainer(model, adam(model), callbacks=[checkpoints, Watch()], progress=False,
                            keep_best=False, log_every=1)
    trainer.fit(loader(), epochs=2, resume=folder if resume else None)
    found = {f"model/{name}": host(x) for name, x in model.state_dict().items()}
    return found | {"masks": np.array(seen), "loss": np.array(trainer.history["loss"])}


def main(what: str, *args: str) -> None:
    if what == "steps":
        dtype, seed, out = args
        np.savez(out, **steps(dtype, int(seed)))
    else:
        folder, out = args
        np.savez(out, **trained(Path(folder), what == "resume"))


if __name__ == "__main__":
    main(*sys.argv[1:])
