"""L-BFGS on the full batch and on mini-batches, beside Adam: lecture id C7.

    python examples/lbfgs_batches.py              a conv net, 3 seeds: 1 to 3 minutes
    python examples/lbfgs_batches.py --net mlp    a net of one hidden layer: 10 seconds

All get the same number of evaluations (a loss with its gradient). On all 500 pictures at once the
loss is one fixed function: L-BFGS learns its curvature and passes the best of four Adams by far.
On mini-batches each step sees another function. The differences of gradients that L-BFGS learns
from are then mostly differences between batches, its line search spends evaluations on a step
that suits this batch alone, and it falls behind; the library says so by a warning.
"""

from __future__ import annotations

import argparse
import statistics
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

import tinynet as tn
from tinynet import data, functional as F, models, nn, optim
from tinynet.train import Pace

NETS: dict[str, Callable[[], nn.Module]] = {
    "conv": lambda: models.small_conv_net(image_size=16, widths=(8, 16)),
    "mlp": lambda: models.mlp([3 * 16 * 16, 32, 10]),
}
ADAM_RATES = (1e-3, 3e-3, 1e-2, 3e-2)


class Result(NamedTuple):
    """What came of a run."""

    loss: float  # on all pictures, at the end
    steps: int
    warned: int  # steps in which the library said that the loss had changed


def pictures(n: int = 500) -> tuple[Any, Any]:
    """`n` pictures of the built-in set at half size, (n, 3, 16, 16), and their labels."""
    shapes, _ = data.load_shapes(train=n, test=0)
    halved = shapes.images.reshape(n, 3, 16, 2, 16, 2).mean(axis=(3, 5))
    return tn.tensor((halved.astype("float32") - 128.0) / 64.0), shapes.labels


def batches(n: int, size: int, seed: int) -> Iterator[Any]:
    """Row numbers of one batch after the other, shuffled anew each epoch; all rows if size is n."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(n) if size < n else np.arange(n)
        for i in range(0, n - size + 1, size):
            yield order[i : i + size]


def train(net: str, make: Callable[[Any], optim.Optimizer], batch_size: int, evaluations: int,
          seed: int, pace: Pace) -> Result:
    """Step until `evaluations` are used up, or nothing is left to gain."""
    x, y = pictures()
    tn.manual_seed(seed)
    model = NETS[net]()
    optimizer = make(model.named_parameters())
    used, steps, warned = 0, 0, 0

    for rows in batches(len(y), batch_size, seed):
        inputs, labels = tn.tensor(x.data[rows]), y[rows]

        def closure() -> tn.Tensor:
            nonlocal used
            used += 1
            pace.step(len(labels))  # noqa: B023
            return F.cross_entropy(model(inputs), labels)  # noqa: B023

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            optimizer.step(closure)
        steps += 1
        warned += any("at the same weights" in str(w.message) for w in caught)
        at_the_minimum = batch_size == len(y) and getattr(optimizer, "converged", False)
        if used >= evaluations or at_the_minimum:
            pace.step(max(0, evaluations - used) * batch_size)  # they are not needed
            break
    with tn.no_grad():
        return Result(F.cross_entropy(model(x), y).item(), steps, warned)


def compare(net: str, seeds: int, full: int = 200, mini: int = 400,
            pace: Pace | None = None) -> dict[str, list[Result]]:
    """All rows of the table: `full` evaluations of all pictures, `mini` of 50."""
    n = len(pictures()[1])
    lbfgs = lambda p: optim.LBFGS(p, max_iter=1)  # noqa: E731
    pace = pace or Pace()
    pace.total = seeds * (1 + len(ADAM_RATES)) * (full * n + mini * 50)
    rows = {}
    for name, size, evaluations in ((f"all {n}", n, full), ("50", 50, mini)):
        makers: dict[str, Callable[[Any], optim.Optimizer]] = {"L-BFGS": lbfgs}
        makers |= {f"Adam {lr:g}": lambda p, lr=lr: optim.Adam(p, lr) for lr in ADAM_RATES}
        for what, make in makers.items():
            rows[f"{what} | {name} | {evaluations}"] = [
                train(net, make, size, evaluations, seed, pace) for seed in range(seeds)]
    return rows


def table(rows: dict[str, list[Result]]) -> str:
    """The rows as Markdown."""
    lines = ["| optimizer | pictures | evaluations | loss on all (lowest - highest) | warned |",
             "|---|---|---:|---:|---:|"]
    for name, results in rows.items():
        losses = [r.loss for r in results]
        steps, warned = sum(r.steps for r in results), sum(r.warned for r in results)
        lines.append(f"| {name} | {statistics.median(losses):.2g} ({min(losses):.2g} - "
                     f"{max(losses):.2g}) | {warned} of {steps} steps |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", choices=sorted(NETS), default="conv")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    with Pace(what="pictures") as pace:
        rows = compare(options.net, options.seeds, pace=pace)
    print(table(rows))


if __name__ == "__main__":
    main()
