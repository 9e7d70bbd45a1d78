"""One training run on any number of ranks, to be compared with one process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinynet as tn
from tinynet import data, nn, optim
from tinynet.train import Callback, Trainer, World

CLASSES = 4


class Net(nn.Module):
    """Batch norm, dropout and a block that may be dropped: all that sees a batch as a whole."""

    def __init__(self, noise: float) -> None:
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6, relu=True)
        self.block = nn.Residual(
            nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)), p=noise)
        self.drop = nn.Dropout(noise)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x: Any) -> Any:
        x = self.block(self.norm(self.conv(x)))
        return self.head(self.drop(x.mean(axis=(2, 3))))


def pictures(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, n)
    images = rng.integers(0, 256, (n, 3, 8, 8)).astype("uint8")
    images[np.arange(n), labels % 3, labels] //= 4
    return images, labels


def augment(images: Any, keys: Any) -> Any:
    steps = data.Compose([data.RandomHorizontalFlip(), data.RandomCrop(8, padding=1),
                          data.Normalize(120.0, 60.0)])
    return steps(images, keys).astype("float64")


def made(noise: float) -> Net:
    """The net with weights in float64, the same on every rank.

    The default generator is shared by threads, so noise layers get one of their own.
    """
    model = Net(noise)
    generator = tn.Generator(0)
    for p in model.parameters():
        nn.init.normal_(p, std=0.3, generator=generator)
    for _, module in model.named_modules():
        if hasattr(module, "generator"):
            module.generator = tn.Generator(7)
    model.astype("float64")
    return model


def trained(world: World | bool, ranks: int = 1, *, samples: int = 96, batch: int = 32,
            noise: float = 0.3, mix: Any = None, optimizer: str = "sgd", epochs: float = 2,
            callbacks: Callable[[], list[Callback]] = list, model: Any = None,
            resume: Any = None, shift: int = 0, lr: float = 0.05, **options: Any
            ) -> dict[str, Any]:
    """Train with `batch` samples of all ranks together; weights, buffers, history, outputs."""
    if model is None:
        model = made(noise)
    images, labels = pictures(samples)
    images[0] += np.uint8(shift)
    loader = data.DataLoader(images, labels, batch // ranks, transform=augment, seed=3,
                             batch_transform=mix)
    validation = data.DataLoader(images[:50], labels[:50], 16, transform=augment)
    if optimizer == "sgd":
        rule: Any = optim.SGD(model.named_parameters(), lr, momentum=0.9, weight_decay=1e-3,
                              clip_norm=1.0)
    elif optimizer == "adam":
        rule = optim.Adam(model.named_parameters(), optim.schedule.cosine(0.01, 10), eps=1e-3)
    else:
        rule = optim.LBFGS(model.named_parameters(), max_iter=3)
    trainer = Trainer(model, rule, progress=False, log_every=2, callbacks=callbacks(),
                      parallel=world, **options)
    history = trainer.fit(loader, validation, epochs=epochs, resume=resume)
    test = trainer.evaluate(data.DataLoader(images[:3], labels[:3], 16, transform=augment))
    return {
        "weights": {name: tn.to_numpy(a).copy() for name, a in model.state_dict().items()},
        "epochs": {name: list(column) for name, column in history.epochs.items()
                   if name != "seconds"},
        "losses": list(history.steps["loss"]),
        "test": tuple(test),
        "outputs": trainer.predict(augment(images[:20], None)),
        "answers": trainer.predict(loader),
    }


def difference(a: dict[str, Any], b: dict[str, Any]) -> float:
    """The largest difference of any number of two runs."""
    worst = 0.0
    assert a["weights"].keys() == b["weights"].keys() and a["epochs"].keys() == b["epochs"].keys()
    for name, x in a["weights"].items():
        worst = max(worst, float(np.abs(x - b["weights"][name]).max()))
    for name, column in a["epochs"].items():
        worst = max(worst, float(np.abs(np.subtract(column, b["epochs"][name])).max()))
    for name in ("losses", "test", "outputs", "answers"):
        worst = max(worst, float(np.abs(np.subtract(a[name], b[name])).max()))
    return worst
