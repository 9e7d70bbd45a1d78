"""What a user writes, for type checkers: mypy --strict and pyright must find nothing wrong here.

Never run, but read by type checkers: `python -m tests.typing.check` compares what they say with the
lines marked "error:" at the end, which are wrong on purpose, and with the types that lines marked
"is:" name: an editor completes after an expression what its type has.
"""

from __future__ import annotations

from typing import reveal_type

import numpy as np

import tinynet as tn
import tinynet.functional as F
from tinynet import Tensor, data, nn, optim, train


class Net(nn.Module):
    """A small net of layers, a list of layers and a parameter of its own."""

    def __init__(self, width: int = 16) -> None:
        self.conv = nn.Conv2d(3, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.layers = [nn.Linear(width, width) for _ in range(2)]
        self.head = nn.Linear(width, 10)
        self.scale = nn.Parameter([1.0])

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.conv(x)))
        x = F.max_pool2d(x, 2)
        x = x.mean(axis=(2, 3))
        for layer in self.layers:
            x = F.gelu(layer(x)) + x
        return self.head(F.dropout(x, 0.1)) * self.scale


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share of pictures whose largest output is the label."""
    with tn.no_grad():
        predicted = model(images).argmax(axis=1)
    return float((predicted == labels).mean())


def hessian_times(x: Tensor, v: Tensor) -> Tensor:
    """The product of a Hessian and a vector."""
    y = (x**4).sum()
    (slope,) = tn.grad(y, [x], create_graph=True)
    return tn.grad((slope * v).sum(), x)


def arithmetic() -> list[Tensor]:
    """Operators, methods and functions return tensors."""
    a = tn.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    b = tn.randn(2, 2)
    found = [a + b, 2.0 - a, a @ b, -a, a[0], a[:, 1:], a / 2, 2 / a, a**2, a.T.reshape(-1)]
    found += [a.sum(axis=0, keepdims=True), a.exp(), tn.exp(a), a.reshape(4, 1)]
    found += [tn.concatenate([a, b]), tn.stack([a, b]).mean(), F.softmax(a, axis=1), a.std()]
    found += [tn.where(a > 1, a, b), a.clip(0.0, 1.0), *a.split(2), a.max(axis=1), abs(a)]
    found += [*a, F.linear(a, b), F.cross_entropy(a, np.array([0, 1])), tn.zeros((2, 3))]
    rows, columns = a.shape
    found.append(tn.ones((columns, rows)))
    found[0].sum().backward()
    gradient = a.grad
    if gradient is not None:
        found.append(gradient * 2)
    return found


def training(images: np.ndarray, labels: np.ndarray) -> float:
    """A loop by hand, and the same by a trainer."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 900, 10))
    schedule = optim.schedule.warmup(0.1, 5) >> optim.schedule.cosine(0.1, 100)
    optimizer = optim.SGD(model.named_parameters(), lr=schedule, momentum=0.9)
    loader = data.DataLoader(images, labels, batch_size=32)
    loss = tn.zeros(())
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(tn.tensor(x)), y)
        loss.backward()
        optimizer.step()
    trainer = train.Trainer(model, optimizer)
    history = trainer.fit(loader, epochs=1)
    print(history)
    model.eval()
    return float(loss)


def completed(model: Net, x: Tensor, weight: Tensor) -> None:
    """After each of these an editor completes the methods of what the line says."""
    reveal_type(F.conv2d(x, weight))  # is: Tensor
    reveal_type(F.cross_entropy(x, [0, 1]))  # is: Tensor
    reveal_type(F.softmax(x))  # is: Tensor
    reveal_type(F.mse_loss(x, x))  # is: Tensor
    reveal_type(tn.mean(x))  # is: Tensor
    reveal_type(model(x))  # is: Tensor
    reveal_type(model.conv(x).sum(axis=1))  # is: Tensor
    reveal_type(nn.Sequential(nn.Linear(2, 2))(x))  # is: Tensor
    reveal_type(tn.tensor([1.0]))  # is: Tensor
    reveal_type(tn.exp(x) + 1)  # is: Tensor
    reveal_type(x @ weight)  # is: Tensor
    reveal_type(tn.grad(x.sum(), x))  # is: Tensor
    reveal_type(model.scale)  # is: Parameter


def wrong(x: Tensor) -> None:
    """What a type checker must refuse."""
    x.summ()  # error:
    x.reshpae(2, 3)  # error:
    x.sum(dim=0)  # error:
    F.relu(x).maen()  # error:
    nn.Dense(3, 8)  # error:
    tn.cat([x, x])  # error:
    train.Trianer()  # error:
    nn.Linear(3, 8).modules()  # error:
    optim.schedule.cosine(0.1, 5).step()  # error:
