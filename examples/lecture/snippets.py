"""The code on the slides, run: eleven snippets, written anew, each followed beside the library.

    python examples/lecture/snippets.py       how far each is from the library after 100 steps

The slides' code is short because it says one thing each time; typed as it stands some of it would
not run, or would do a little more or less than the text beside it says. `SLIPS` names what was
mended. A loop is a generator here: what the slide does for ever is taken step by step.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

if __package__ in (None, ""):  # run as a script: its folder is a package
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import tinynet as tn
from tinynet import functional as F, models, nn, optim, text, train
from tinynet.optim import landscapes

Array = np.ndarray
Gradient = Callable[[Array], Array]

# Snippet: as printed, as it must be, and why.
SLIPS = {
    "gradient descent": ("weigths", "weights", "the name is misspelled in the call"),
    "momentum": ("lr * v outside, lr * g inside", "either, at a constant rate",
                 "its code keeps the rate outside the velocity, Nesterov's inside"),
    "AdaGrad": ("gard_squared, grad_sqaured, lerarning_rate", "grad_squared, learning_rate",
                "three spellings of two names"),
    "RMSProp": ("gard_squared, grad_sqaured, lerarning_rate", "grad_squared, learning_rate",
                "the same, copied along"),
    "Adam, no correction": ("np,sqrt", "np.sqrt", "a comma for a point: two names, no root"),
    "Adam": ("range(1, num_iterations)", "t from 1",
             "right, and it must be: 1 - beta ** 0 would divide by 0"),
    "dropout": ("p, said to be the probability of dropping", "p, the probability of KEEPING",
                "the two are equal at 0.5 alone; tinynet's Dropout(p) drops with p"),
    "update ratio": ("print update_scale / param_scale", "print(...)", "Python 2"),
}


# The optimizers: x after each step

def gradient_descent(gradient: Gradient, x: Array, step_size: float) -> Iterator[Array]:
    while True:
        x = x - step_size * gradient(x)
        yield x


def momentum(gradient: Gradient, x: Array, learning_rate: float, rho: float) -> Iterator[Array]:
    vx: Any = 0
    while True:
        dx = gradient(x)
        vx = rho * vx + dx
        x = x - learning_rate * vx
        yield x


def nesterov(gradient: Gradient, x: Array, learning_rate: float, rho: float) -> Iterator[Array]:
    """x is the look-ahead point, x + rho v: the gradient is taken where the slide's x~ stands."""
    v: Any = 0
    while True:
        dx = gradient(x)
        old_v = v
        v = rho * v - learning_rate * dx
        x = x - rho * old_v + (1 + rho) * v
        yield x


def adagrad(gradient: Gradient, x: Array, learning_rate: float) -> Iterator[Array]:
    grad_squared: Any = 0
    while True:
        dx = gradient(x)
        grad_squared = grad_squared + dx * dx
        x = x - learning_rate * dx / (np.sqrt(grad_squared) + 1e-7)
        yield x


def rmsprop(gradient: Gradient, x: Array, learning_rate: float, decay_rate: float
            ) -> Iterator[Array]:
    grad_squared: Any = 0
    while True:
        dx = gradient(x)
        grad_squared = decay_rate * grad_squared + (1 - decay_rate) * dx * dx
        x = x - learning_rate * dx / (np.sqrt(grad_squared) + 1e-7)
        yield x


def adam_almost(gradient: Gradient, x: Array, learning_rate: float, beta1: float = 0.9,
                beta2: float = 0.999) -> Iterator[Array]:
    """Both moments begin at 0, and nothing makes up for it: the first steps are too large."""
    first_moment: Any = 0
    second_moment: Any = 0
    while True:
        dx = gradient(x)
        first_moment = beta1 * first_moment + (1 - beta1) * dx
        second_moment = beta2 * second_moment + (1 - beta2) * dx * dx
        x = x - learning_rate * first_moment / (np.sqrt(second_moment) + 1e-7)
        yield x


def adam(gradient: Gradient, x: Array, learning_rate: float, beta1: float = 0.9,
         beta2: float = 0.999) -> Iterator[Array]:
    first_moment: Any = 0
    second_moment: Any = 0
    for t in itertools.count(1):
        dx = gradient(x)
        first_moment = beta1 * first_moment + (1 - beta1) * dx
        second_moment = beta2 * second_moment + (1 - beta2) * dx * dx
        first_unbias = first_moment / (1 - beta1**t)
        second_unbias = second_moment / (1 - beta2**t)
        x = x - learning_rate * first_unbias / (np.sqrt(second_unbias) + 1e-7)
        yield x


# Dropout: a net of three layers, its forward pass as on the slide, the backward pass written out

class ThreeLayers:
    """H1, H2 and out, with a mask after each of the hidden layers; p is that of KEEPING.

    `inverted`: the masks are divided by p in training, and prediction has nothing to do.
    """

    def __init__(self, weights: list[Array], biases: list[Array], p: float, inverted: bool
                 ) -> None:
        self.weights = [w.copy() for w in weights]
        self.biases = [b.copy() for b in biases]
        self.p = p
        self.inverted = inverted

    def train_step(self, X: Array, error: Callable[[Array], Array],
                   draw: Callable[[tuple[int, ...]], Array], learning_rate: float) -> None:
        """`draw` gives a mask of ones and zeros, `error` the gradient of the loss by `out`."""
        W1, W2, W3 = self.weights
        b1, b2, b3 = self.biases
        scale = 1 / self.p if self.inverted else 1.0
        H1 = np.maximum(0, X @ W1.T + b1)
        U1 = draw(H1.shape) * scale
        H1 = H1 * U1
        H2 = np.maximum(0, H1 @ W2.T + b2)
        U2 = draw(H2.shape) * scale
        H2 = H2 * U2
        out = H2 @ W3.T + b3
        # "backward pass: compute gradients (not shown)": what was dropped gets none
        d_out = error(out)
        d2 = (d_out @ W3) * U2 * (H2 > 0)
        d1 = (d2 @ W2) * U1 * (H1 > 0)
        for i, (d, H) in enumerate(((d1, X), (d2, H1), (d_out, H2))):
            self.weights[i] = self.weights[i] - learning_rate * (d.T @ H)
            self.biases[i] = self.biases[i] - learning_rate * d.sum(axis=0)

    def predict(self, X: Array) -> Array:
        """All units are on; without division in training, their outputs are multiplied by p."""
        W1, W2, W3 = self.weights
        b1, b2, b3 = self.biases
        scale = 1.0 if self.inverted else self.p
        H1 = np.maximum(0, X @ W1.T + b1) * scale
        H2 = np.maximum(0, H1 @ W2.T + b2) * scale
        return H2 @ W3.T + b3


def update_ratio(W: Array, dW: Array, learning_rate: float) -> tuple[Array, float]:
    """The new weights, and by how much of their own length they moved: about 1e-3 is good."""
    param_scale = np.linalg.norm(W.ravel())
    update = -learning_rate * dW
    update_scale = np.linalg.norm(update.ravel())
    return W + update, float(update_scale / param_scale)


# Beside the library

class Side(NamedTuple):
    """A snippet with its settings, and the library's optimizer with the same ones."""

    snippet: Callable[[Gradient, Array], Iterator[Array]]
    ours: landscapes.Make


SIDES = {
    "gradient descent": Side(lambda g, x: gradient_descent(g, x, 0.01),
                             lambda p: optim.SGD(p, 0.01)),
    "momentum": Side(lambda g, x: momentum(g, x, 0.01, 0.9),
                     lambda p: optim.SGD(p, 0.01, momentum=0.9)),
    "Nesterov": Side(lambda g, x: nesterov(g, x, 0.01, 0.9),
                     lambda p: optim.SGD(p, 0.01, momentum=0.9, nesterov=True)),
    "AdaGrad": Side(lambda g, x: adagrad(g, x, 0.1), lambda p: optim.Adagrad(p, 0.1)),
    "RMSProp": Side(lambda g, x: rmsprop(g, x, 0.01, 0.9), lambda p: optim.RMSprop(p, 0.01, 0.9)),
    "Adam, no correction": Side(lambda g, x: adam_almost(g, x, 0.01),
                                lambda p: optim.Adam(p, 0.01, bias_correction=False)),
    "Adam": Side(lambda g, x: adam(g, x, 0.01), lambda p: optim.Adam(p, 0.01)),
}


def slope(x: Array) -> Array:
    """The gradient of the double well, by the library."""
    point = tn.tensor(x, requires_grad=True)
    return tn.to_numpy(tn.grad(landscapes.double_well(point), point).data)


def apart(name: str, steps: int = 100) -> float:
    """The largest difference of any coordinate at any step."""
    start = np.array([2.0, 1.0])
    snippet = list(itertools.islice(SIDES[name].snippet(slope, start), steps))
    library = landscapes.trace(SIDES[name].ours, landscapes.double_well, start, steps)[1:]
    return float(np.abs(np.array(snippet) - library).max())


def dropout_apart(inverted: bool, steps: int = 100, p: float = 0.7) -> float:
    """The same net, the same masks: the largest difference of weights, and of predictions."""
    tn.manual_seed(0)
    sizes = [4, 16, 16, 3]
    drop = [nn.Dropout(1 - p, inverted=inverted, generator=tn.Generator(5)) for _ in range(2)]
    drop[1].generator = drop[0].generator  # one source, as np.random is on the slide
    linear = [nn.Linear(a, b).astype("float64") for a, b in itertools.pairwise(sizes)]
    net = nn.Sequential(linear[0], nn.ReLU(), drop[0], linear[1], nn.ReLU(), drop[1], linear[2])
    optimizer = optim.SGD(net.named_parameters(), lr=0.05)
    slide = ThreeLayers([tn.to_numpy(one.weight.data) for one in linear],
                        [tn.to_numpy(one.bias.data) for one in linear], p, inverted)
    rng = np.random.default_rng(0)
    masks = tn.Generator(5)

    def draw(shape: tuple[int, ...]) -> Array:
        ones = tn.ones(shape, dtype="float64")
        kept = F.dropout(ones, 1 - p, inverted=False, key=masks.key())
        return tn.to_numpy(kept.data)

    for _ in range(steps):
        X = rng.standard_normal((8, 4))
        target = np.stack([X[:, 0] * X[:, 1], X[:, 2], np.abs(X[:, 3])], axis=1)
        optimizer.step(lambda X=X, target=target: F.mse_loss(net(tn.tensor(X)), tn.tensor(target)))
        slide.train_step(X, lambda out, t=target: 2 * (out - t) / out.size, draw, 0.05)
    net.eval()
    weights = [np.abs(tn.to_numpy(one.weight.data) - w).max()
               for one, w in zip(linear, slide.weights, strict=True)]
    answers = np.abs(tn.to_numpy(net(tn.tensor(X)).data) - slide.predict(X)).max()
    return float(max(*weights, answers))


def ratios_apart(steps: int = 100) -> float:
    """The snippet's ratio of each weight at each step, and the one that a Trainer records."""
    tn.manual_seed(0)
    rng = np.random.default_rng(1)
    batches = [(rng.standard_normal((8, 4)), rng.integers(0, 3, 8)) for _ in range(steps)]
    net = models.mlp([4, 8, 3]).astype("float64")
    W = {name: tn.to_numpy(p.data).copy() for name, p in net.named_parameters()}
    trainer = train.Trainer(net, optim.SGD(net.named_parameters(), lr=0.05), log_every=1,
                            progress=False, keep_best=False)
    recorded = trainer.fit(batches).ratios
    twin = models.mlp([4, 8, 3]).astype("float64")
    worst = 0.0
    for step, (x, y) in enumerate(batches):
        for name, p in twin.named_parameters():
            p.copy_(W[name])
        twin.zero_grad()
        F.cross_entropy(twin(tn.tensor(x)), y).backward()
        for name, p in twin.named_parameters():
            W[name], ratio = update_ratio(W[name], tn.to_numpy(p.grad.data), 0.05)
            if np.isfinite(ratio):  # a bias that is still 0 has none
                worst = max(worst, abs(ratio - recorded[name][step]) / ratio)
    return worst


def main(argv: list[str] | None = None) -> int:
    argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0]).parse_args(argv)
    rows = [["snippet", "from the library after 100 steps"]]
    rows += [[name, f"{apart(name):.0e}"] for name in SIDES]
    rows += [["dropout and its prediction", f"{dropout_apart(False):.0e}"],
             ["inverted dropout and its prediction", f"{dropout_apart(True):.0e}"],
             ["update ratio (relative)", f"{ratios_apart():.0e}"]]
    print(text.table(rows), "\nWhat was mended:\n", sep="\n")
    print(text.table([["snippet", "printed", "here", "why"],
                      *([name, *slip] for name, slip in SLIPS.items())]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
