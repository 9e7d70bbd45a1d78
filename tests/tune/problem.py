"""A task for the recipe that trains in milliseconds, and five ways to get it wrong."""

from __future__ import annotations

from typing import Any

from tinynet import models, nn, random, to_numpy, xp
from tinynet.data import DataLoader
from tinynet.optim import SGD, param_groups

CLASSES, SIZE = 5, 30


def clouds(n: int, seed: int) -> tuple[Any, Any]:
    """(n, 30) points around 5 random centres, and their labels; about 90 % can be told apart."""
    centres = random.normal(random.key(seed, 1), (CLASSES, SIZE), std=0.55)
    labels = random.integers(random.key(seed, 2, n), 0, CLASSES, n)
    points = centres[labels] + random.normal(random.key(seed, 3, n), (n, SIZE))
    return to_numpy(points / 1.3**0.5), to_numpy(labels)  # variance 1


def problem(seed: int = 0, bug: str = "", n: int = 1760, dropout: float = 0.0) -> dict[str, Any]:
    """Arguments of `recipe.run`, with one of the bugs, or none."""
    points, labels = clouds(n, seed)
    random.manual_seed(seed)
    model = models.mlp([SIZE, 64, CLASSES], dropout=dropout)
    if bug == "bad init":
        for parameter in model.parameters():
            parameter.copy_(10.0 * parameter.data)
    if bug == "batch norm":
        model = nn.Sequential(nn.Linear(SIZE, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(),
                              nn.Dropout(dropout), nn.Linear(64, CLASSES))
    model[-1].weight.copy_(0.5 * model[-1].weight.data)  # scores near 0 at first
    if bug == "shuffled labels":
        labels = labels[to_numpy(random.permutation(random.key(seed, 4), n))]
    if bug == "unshuffled data":
        order = labels.argsort(kind="stable")
        points, labels = points[order], labels[order]
    lr = 0.05 * {"lr x 1000": 1000.0, "lr / 1000": 0.001}.get(bug, 1.0)
    shuffle = bug not in ("unshuffled data", "same order")
    train = DataLoader(points, labels, 16, shuffle=shuffle, seed=seed)
    val = DataLoader(*clouds(400, seed), batch_size=200, shuffle=False)
    optimizer = SGD(param_groups(model, weight_decay=1e-4), lr, momentum=0.9)
    return {"model": model, "optimizer": optimizer, "train_loader": train, "val_loader": val}


def images(n: int, shape: tuple[int, ...], seed: int = 0) -> Any:
    return xp.asarray(random.normal(random.key(seed, 5), (n, *shape)))
