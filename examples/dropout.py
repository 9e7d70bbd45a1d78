"""Why dropout helps, and what it is the mean of. Lecture ids E7 and E8.

    python examples/dropout.py

First, redundant cues: cats are told by a loud ear and by a quiet tail, each enough by itself. What
is left of the accuracy when one of them cannot be seen at test? Then, the ensemble: a net with
dropout is 2^n nets with shared weights. For one softmax layer the scaled net is exactly the
geometric mean of all of them; for a deep net one scaled pass stands in for the mean of many.
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np

import tinynet as tn
from tinynet import functional as F, nn, optim

CUES = {"both cues": slice(0), "no ear": slice(0, 2), "no tail": slice(2, 8)}  # what is hidden


def cats(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Two classes told apart by an ear (2 loud features) and a tail (6 quiet ones), each enough
    by itself, among 50 features that say nothing."""
    y = rng.integers(0, 2, n)
    sign = 2.0 * y[:, None] - 1
    ear = 3.0 * (sign + 0.2 * rng.standard_normal((n, 2)))
    tail = 0.5 * (sign + 0.5 * rng.standard_normal((n, 6)))
    return np.concatenate([ear, tail, rng.standard_normal((n, 50))], 1).astype("f4"), y


def accuracy_by_cues(p: float, seed: int) -> dict[str, float]:
    """A small net is trained on both cues with dropout `p`; its test accuracy with one hidden."""
    rng = np.random.default_rng(seed)
    tn.manual_seed(seed)
    (x, y), (tests, labels) = cats(rng, 200), cats(rng, 1000)
    net = nn.Sequential(nn.Dropout(p), nn.Linear(58, 32), nn.ReLU(), nn.Dropout(p),
                        nn.Linear(32, 2))
    optimizer = optim.Adam(net.named_parameters(), lr=0.01)
    inputs = tn.tensor(x)
    for _ in range(150):
        optimizer.zero_grad()
        F.cross_entropy(net(inputs), y).backward()
        optimizer.step()
    net.eval()

    def accuracy(hidden: slice) -> float:
        seen = tests.copy()
        seen[:, hidden] = 0.0
        return float((net(tn.tensor(seen)).numpy().argmax(1) == labels).mean())

    return {name: accuracy(hidden) for name, hidden in CUES.items()}


def all_masks_of_a_softmax_layer() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities by the 64 nets of one layer with 6 inputs: the geometric mean (renormalised),
    the arithmetic mean, and the scaled net (vanilla dropout at test)."""
    net = nn.Sequential(nn.Dropout(0.5, inverted=False), nn.Linear(6, 3)).astype("float64")
    net[1].weight.copy_(2.0 * tn.Generator(0).normal((3, 6), dtype="float64"))
    x = tn.tensor(tn.Generator(2).normal(6, dtype="float64"))
    masks = np.array(list(itertools.product((0.0, 1.0), repeat=6)))
    every = F.softmax(net[1](tn.tensor(masks) * x)).numpy()
    geometric = np.exp(np.log(every).mean(0))
    scaled = nn.marginalize(net, x, transform=F.softmax).numpy()
    return geometric / geometric.sum(), every.mean(0), scaled


def deep_net() -> tuple[nn.Sequential, tn.Tensor]:
    """Three hidden layers, each with dropout, and 32 inputs."""
    layers: list[nn.Module] = []
    for before in (10, 64, 64):
        layers += [nn.Linear(before, 64), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*layers, nn.Linear(64, 4)), tn.randn(32, 10)


def main(argv: list[str] | None = None) -> None:
    argparse.ArgumentParser(description=__doc__,  # there are no options
                            formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    print("Redundant cues: test accuracy, mean and lowest of 4 seeds\n")
    print("              " + "".join(f"{name:>16}" for name in CUES))
    for name, p in (("no dropout", 0.0), ("dropout, 0.5", 0.5)):
        found = [accuracy_by_cues(p, seed) for seed in range(4)]
        columns = [[row[cue] for row in found] for cue in CUES]
        print(f"{name:14}" + "".join(f"{np.mean(c):10.1%}{min(c):6.0%}" for c in columns))

    geometric, arithmetic, scaled = all_masks_of_a_softmax_layer()
    print("\nOne softmax layer, all 64 masks: largest difference from the net with scaled weights\n"
          f"  geometric mean   {abs(geometric - scaled).max():.0e}\n"
          f"  arithmetic mean  {abs(arithmetic - scaled).max():.3f}")

    tn.manual_seed(0)
    net, x = deep_net()
    mean = nn.marginalize(net, x, how="sample", n=2000).numpy()
    print("\nThree hidden layers: mean distance of the scores from the mean of 2,000 passes")
    for n in (1, 10, 100):
        other = nn.marginalize(net, x, how="sample", n=n, seed=1).numpy()
        print(f"  mean of {n:3} passes{abs(other - mean).mean():9.4f}")
    print(f"  one scaled pass   {abs(nn.marginalize(net, x).numpy() - mean).mean():9.4f}")


if __name__ == "__main__":
    main()
