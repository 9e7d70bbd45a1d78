"""Curves to be diagnosed: little real trainings that go well, and the lecture's cases, drawn.

`healthy(seed)` trains a small net on points in the plane: the task, the net, the optimizer, the
schedule and the length all follow from the seed. `drawn(case, seed)` makes a history by formula,
with noise, of any length.
"""

from __future__ import annotations

import math
from typing import Any

from tinynet import models, random, xp
from tinynet.optim import SGD, Adam, RMSprop, param_groups
from tinynet.optim.schedule import cosine, linear, multistep, one_cycle, warmup
from tinynet.train import History, Trainer

CASES = ("diverging", "decayed too early", "still rising", "overfitting", "underfitting",
         "plateau")


def points(task: int, n: int, key: int) -> tuple[Any, Any]:
    """(n, 2) points and labels: clouds, rings, moons, or a chessboard's four fields."""
    labels = xp.arange(n) % (3 if task in (0, 1) else 2)
    noise = random.normal(random.key(key, 1), (n, 2), dtype="float64")
    along = random.uniform(random.key(key, 2), n, dtype="float64")
    if task == 0:
        angle = 2 * math.pi / 3 * labels
        x = 2.2 * xp.stack([xp.cos(angle), xp.sin(angle)], axis=1) + 1.1 * noise
    elif task == 1:
        radius, angle = 0.5 + labels, 2 * math.pi * along
        x = radius[:, None] * xp.stack([xp.cos(angle), xp.sin(angle)], axis=1) + 0.22 * noise
    elif task == 2:
        angle = math.pi * (along + labels)
        x = xp.stack([xp.cos(angle) - 0.5 + labels, xp.sin(angle) + 0.25 * (2 * labels - 1)],
                     axis=1) + 0.3 * noise
    else:
        x = noise + 0.15 * random.normal(random.key(key, 3), (n, 2), dtype="float64")
        labels = (noise[:, 0] * noise[:, 1] > 0).astype("int64")
    return x.astype("float32"), labels


def batches(x: Any, labels: Any, size: int) -> list[tuple[Any, Any]]:
    return [(x[i : i + size], labels[i : i + size]) for i in range(0, len(x), size)]


def healthy(seed: int) -> History:
    """A run as it should be: enough data, a net that fits, a rate that is decayed in good time."""
    def pick(what: int, options: int) -> int:
        return int(random.integers(random.key(seed, 0x6865, what), 0, options))

    task, n, size = pick(1, 4), (384, 512, 640)[pick(2, 3)], (16, 32)[pick(3, 2)]
    epochs, hidden = (20, 25, 30)[pick(4, 3)], (16, 32)[pick(5, 2)]
    train, val = points(task, n, 2 * seed), points(task, 400, 2 * seed + 1)
    random.manual_seed(seed)
    model = models.mlp([2, hidden, hidden, 3 if task in (0, 1) else 2])
    kind = pick(6, 3)
    lr = (0.1, 0.01, 0.01)[kind]
    steps = epochs * len(range(0, n, size))
    schedule = (cosine(lr, steps), linear(lr, steps), warmup(cosine(lr, steps - 20), 20),
                multistep(lr, [int(0.6 * steps), int(0.85 * steps)]),
                one_cycle(1.5 * lr, steps))[pick(7, 5)]
    groups = param_groups(model, weight_decay=1e-4)
    optimizer = (SGD(groups, schedule, momentum=0.9), Adam(groups, schedule),
                 RMSprop(groups, schedule))[kind]
    trainer = Trainer(model, optimizer, progress=False, keep_best=False)
    return trainer.fit(batches(*train, size), batches(*val, 400), epochs)


def drawn(case: str, seed: int) -> History:
    """A run of one of the `CASES`, its length, noise and levels drawn from the seed."""
    def draw(what: int, low: float, high: float) -> float:
        return float(random.uniform(random.key(seed, 0x6472, what), (), low, high, "float64"))

    epochs, per_epoch = int(draw(1, 10, 40)), int(draw(2, 20, 100))
    total = epochs * per_epoch
    noise = draw(3, 0.01, 0.08) * random.normal(random.key(seed, 9), total, dtype="float64")
    shake = 0.006 * random.normal(random.key(seed, 8), (epochs, 2), dtype="float64")
    fall, floor, cut = draw(4, 0.04, 0.08), draw(5, 0.5, 1.2), draw(6, 0.1, 0.2)
    history = History()
    for t in range(total):
        share, lr = t / total, 0.1
        if case == "plateau":
            loss, train, val = floor + (2.3 - floor) * math.exp(-share / fall), 0.78, 0.74
            train, val = (level * (1 - math.exp(-share / fall)) for level in (train, val))
        elif case == "decayed too early":
            slope = 2.3 - (2.3 - 0.8) * min(share, cut) / 0.4
            loss, lr = slope - 0.03 * min(1.0, max(0.0, share - cut) / 0.05), 0.1 if share < cut \
                else 0.001
            train = val = 0.7 - 0.2 * loss
        elif case == "still rising":
            loss, train = 2.3 - 1.2 * share**0.7, 0.1 + 0.6 * share**0.7
            val = train - 0.03
        elif case == "overfitting":
            loss = 2.3 * math.exp(-share / 0.15) + 0.02
            train, val = 1 - 0.9 * math.exp(-share / 0.15), draw(7, 0.6, 0.8) - 0.05 * share
            val *= 1 - math.exp(-share / 0.06)
        elif case == "underfitting":
            level = draw(7, 0.3, 0.5)
            loss, train = 2.3 - 0.6 * (1 - math.exp(-share / fall)) - 0.05 * share, level
            train *= 1 - math.exp(-share / fall)
            val = train - 0.01
        else:
            loss = 2.3 * math.exp(-min(share, 0.5) / 0.2) + 8.0 * max(0.0, share - 0.5)
            train = val = 0.7 - 0.2 * loss
        history.add("steps", step=t, loss=max(0.0, loss + loss * float(noise[t])), lr=lr)
        if (t + 1) % per_epoch == 0:
            row = (t + 1) // per_epoch - 1
            history.add("epochs", epoch=row + 1, step=t + 1, train_accuracy=min(1.0, train +
                        float(shake[row, 0])), val_accuracy=val + float(shake[row, 1]), lr=lr)
    return history
