"""What the lecture claims, measured: the claims that small runs can answer, in a minute or two.

    python examples/lecture/claims.py                  all of them, one line each
    python examples/lecture/claims.py --only saddle    these

Each function answers one claim with a text of numbers, n and spread included; every seed is fixed.
examples/lecture/README.md shows them beside the claims, with those that longer runs answered.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

if __package__ in (None, ""):  # run as a script: its folder is a package
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import tinynet as tn
from tinynet import calculus, functional as F, models, nn, optim
from tinynet.optim import landscapes
from tinynet.optim.landscapes import trace

Make = Callable[[Any], optim.Optimizer]


def sgd(lr: float, momentum: float = 0.0, nesterov: bool = False) -> Make:
    return functools.partial(optim.SGD, lr=lr, momentum=momentum, nesterov=nesterov)


THREE = {"GD": (0.0, False), "momentum": (0.9, False), "Nesterov": (0.9, True)}


def spread(values: Any, form: str = ".0f") -> str:
    """Mean, lowest and highest of several runs."""
    low, high = np.min(values), np.max(values)
    return f"{np.mean(values):{form}} ({low:{form}} to {high:{form}}, n = {len(values)})"


# Optimizers on losses whose answers are known

def linear() -> str:
    tn.manual_seed(0)
    layers = [nn.Linear(6, 6).double() for _ in range(4)]
    x = tn.Generator(0).normal((50, 6), dtype="float64")

    def gap(between: Callable[[Any], Any]) -> float:
        """How far f(a) + f(b) - f(a + b) - f(0) is from 0: it is 0 for a linear net."""
        def f(z: Any) -> Any:
            out = tn.tensor(z)
            for layer in layers:
                out = between(layer(out))
            return tn.to_numpy(out.data)

        a, b = x[:25], x[25:]
        return float(np.abs(f(a) + f(b) - f(a + b) - f(0 * a)).max())

    return f"4 layers: off linear by {gap(lambda z: z):.0e}; with ReLU by {gap(F.relu):.2f}"


def minibatches() -> str:
    ratios = []
    for batch in (1, 4, 16, 64, 256):
        loss = landscapes.regression(batch, tn.Generator(batch))
        gradients = [tn.to_numpy(tn.grad(loss(x), x).data)[0]
                     for x in [tn.tensor([0.0, 0.0], requires_grad=True, dtype="float64")]
                     for _ in range(2000)]
        ratios.append(np.std(gradients) * np.sqrt(batch))
    return (f"std x sqrt(B) for B = 1 ... 256 stays within {np.ptp(ratios) / np.mean(ratios):.0%} "
            "(2,000 batches each)")


def zigzag() -> str:
    def steps(make: Make, k: int) -> int | None:
        return landscapes.steps_until(make, landscapes.bowl(k), (1.0, 1.0), lambda x: bool(
            np.linalg.norm(x) < 1e-6 * np.sqrt(2)))

    plain = [steps(sgd(2 / (1 + k)), k) for k in (10, 100, 1000)]
    heavy = [steps(sgd(4 / (1 + np.sqrt(k)) ** 2,
                       ((np.sqrt(k) - 1) / (np.sqrt(k) + 1)) ** 2), k) for k in (10, 100, 1000)]
    return ("steps to a millionth, k = 10, 100, 1000, best rates: GD "
            f"{', '.join(map(str, plain))}; momentum {', '.join(map(str, heavy))}")


def saddle() -> str:
    makes: dict[str, Make] = {name: sgd(0.01, *how) for name, how in THREE.items()}
    makes |= {"RMSProp": functools.partial(optim.RMSprop, lr=0.01),
              "Adam": functools.partial(optim.Adam, lr=0.01),
              "AdaGrad": functools.partial(optim.Adagrad, lr=0.01)}
    out = {name: landscapes.steps_until(make, landscapes.saddle, (1.0, 1e-3),
                                        lambda x: abs(x[1]) > 1) for name, make in makes.items()}
    return "steps to leave, all at rate 0.01: " + ", ".join(f"{k} {v}" for k, v in out.items())


def many_saddles() -> str:
    rng = np.random.default_rng(0)
    shares = []
    for n in (2, 3, 4, 6):
        a = rng.standard_normal((20_000, n, n))
        values = np.linalg.eigvalsh(a + a.transpose(0, 2, 1))
        shares.append(f"{((values[:, 0] < 0) & (values[:, -1] > 0)).mean():.1%} ({n} x {n})")
    return "of 20,000 random symmetric matrices have both signs: " + ", ".join(shares)


def well() -> str:
    ends = [trace(sgd(0.01, rho), landscapes.double_well, [x0], 5000)[-1, 0]
            for x0, rho in ((2.0, 0.0), (2.0, 0.9), (1.5, 0.9), (1.5, 0.99))]
    return (f"from 2: GD ends at {ends[0]:.4f}, momentum at {ends[1]:.4f} (the lower one); from "
            f"1.5: rho .9 at {ends[2]:.3f}, .99 at {ends[3]:.3f}")


def smoother() -> str:
    bowl = landscapes.bowl(10)
    angles = {name: [landscapes.turning_angle(trace(
        sgd(0.01, *how), landscapes.noisy(bowl, 3.0, tn.Generator(seed)), (4.0, 4.0), 200))
        for seed in range(20)] for name, how in THREE.items()}
    return "degrees between steps under noise: " + ", ".join(
        f"{name} {spread(values)}" for name, values in angles.items())


def longer() -> str:
    paths = {name: trace(sgd(0.01, *how), landscapes.bowl(100), (1.0, 1.0), 100)
             for name, how in THREE.items()}
    return "length of the path without noise, k = 100, rate 1/k: " + ", ".join(
        f"{name} {landscapes.path_length(path):.2f}" for name, path in paths.items())


def stable_rates() -> str:
    edges = {}
    for name, how in THREE.items():
        low, high = 0.1, 5.0
        while high - low > 1e-3:
            lr = (low + high) / 2
            end = trace(sgd(lr, *how), landscapes.bowl(1), (1.0, 0.0), 4000)[-1, 0]
            if abs(end) < 1:
                low = lr
            else:
                high = lr
        edges[name] = low
    return "highest stable rate at curvature 1: " + ", ".join(
        f"{name} {lr:.2f}" for name, lr in edges.items())


def two_faces() -> str:
    changed = trace(sgd(0.001, 0.9, True), landscapes.rosenbrock, (-1.2, 1.0), 200)
    ahead = trace(lambda p: optim.Nesterov(p, 0.001, momentum=0.9), landscapes.rosenbrock,
                  (-1.2, 1.0), 201)
    moved = ahead[1:] + 0.9 * np.diff(ahead, axis=0)  # x + rho v
    return f"x~ and x + rho v differ by at most {np.abs(changed[1:] - moved[:200]).max():.0e}"


def sharp() -> str:
    x = np.linspace(-2, 2, 1001)[:, None]
    depths = []
    for n in (10, 100, 1000):
        dips = [(x[:, 0] ** 2 / 2 - tn.to_numpy(landscapes.sampled(n, seed)(tn.tensor(x)).data)
                 ).max() for seed in range(10)]
        depths.append(f"{np.mean(dips):.2f} (N = {n})")
    return "deepest chance dip of the mean of N losses: " + ", ".join(depths) + ", 10 seeds"


def adagrad() -> str:
    steps = trace(functools.partial(optim.Adagrad, lr=1.0), lambda x: x.sum(), [0.0], 10_000)[:, 0]
    lengths = np.abs(np.diff(steps))
    return ("step 1, 4, 100, 10000 at a constant gradient, over the rate: "
            + ", ".join(f"{lengths[t - 1]:.3g}" for t in (1, 4, 100, 10_000)))


def axes() -> str:
    def turned(x: Any) -> Any:
        return ((x[0] + x[1]) ** 2 + 1000 * (x[1] - x[0]) ** 2) / 4

    make = functools.partial(optim.Adagrad, lr=0.5)
    found = [landscapes.steps_until(make, f, start, lambda x: bool(np.linalg.norm(x) < 1e-3))
             for f, start in ((landscapes.bowl(1000), (1.0, 1.0)), (turned, (0.0, np.sqrt(2))))]
    return f"k = 1000, rate 0.5, steps to 0.001: along the axes {found[0]}, turned by 45 degrees " \
           f"{found[1] or 'more than 10,000'}"


def first_steps() -> str:
    def lengths(make: Make) -> Any:
        return np.abs(np.diff(trace(make, lambda x: x.sum(), [0.0], 1000)[:, 0])) / 0.01

    raw = lengths(functools.partial(optim.Adam, lr=0.01, bias_correction=False))
    whole = lengths(functools.partial(optim.Adam, lr=0.01))
    leaky = [lengths(functools.partial(optim.RMSprop, lr=0.01, alpha=a))[0] for a in (0.9, 0.99)]
    return (f"over the rate: uncorrected Adam {raw[0]:.2f}, at most {raw.max():.2f} (t = "
            f"{raw.argmax() + 1}); corrected {whole[0]:.2f}; RMSProp {leaky[0]:.2f} (.9), "
            f"{leaky[1]:.2f} (.99)")


# Second order

def newton() -> str:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((10, 10))
    a = a @ a.T + np.eye(10)

    def quadratic(x: Any) -> Any:
        return (x * (tn.tensor(a) @ x)).sum() / 2

    def step(f: Any, x: Any) -> Any:
        h = tn.to_numpy(calculus.hessian(f, x).data)
        g = tn.to_numpy(calculus.jacobian(f, x).data)
        return x - np.linalg.solve(h, g)

    one = np.abs(step(quadratic, rng.standard_normal(10))).max()
    there = step(landscapes.saddle.f, np.array([1.0, 1e-3]))
    return (f"10-d quadratic: one step ends {one:.0e} from the minimum; on the saddle one step "
            f"ends at ({there[0]:.3g}, {there[1]:.3g}): the saddle itself")


def models_of_loss() -> str:
    f, x, d = landscapes.rosenbrock.f, np.array([-1.2, 1.0]), np.array([1.0, -0.5])
    a, b, c = calculus.taylor(f, x, d)
    t = np.geomspace(1e-4, 1e-2, 9)
    loss = tn.to_numpy(f(tn.tensor(x + t[:, None] * d)).data)
    slopes = [np.polyfit(np.log(t), np.log(np.abs(loss - guess)), 1)[0]
              for guess in (a + b * t, a + b * t + c * t * t / 2)]
    return f"error of the tangent ~ step^{slopes[0]:.2f}, of the parabola ~ step^{slopes[1]:.2f}"


# Nets

def spirals(rng: tn.Generator, n: int = 32) -> tuple[Any, Any]:
    """n points on three noisy spiral arms, and which arm each is on."""
    arm = rng.integers(0, 3, n)
    r = rng.uniform(n, dtype=np.float64)
    angle = 4 * (arm + r) + rng.normal(n, std=0.3, dtype=np.float64)
    points = 2 * np.stack([r * np.sin(angle), r * np.cos(angle)], axis=1)
    return tn.tensor(points.astype("float32")), arm


def on_spirals(net: nn.Module, optimizer: optim.Optimizer, steps: int, seed: int) -> list[float]:
    rng = tn.Generator(seed + 100)

    def loss() -> Any:
        points, arms = spirals(rng)
        return F.cross_entropy(net(points), arms)

    with np.errstate(all="ignore"):
        return [optimizer.step(loss).item() for _ in range(steps)]


def eps() -> str:
    ends = []
    for value in (1e-4, 1e-5, 1e-6, 1e-7, 1e-8):
        tn.manual_seed(0)
        net = models.mlp([2, 32, 3])
        losses = on_spirals(net, optim.Adam(net.named_parameters(), 0.01, eps=value), 600, 0)
        ends.append(np.mean(losses[-100:]))
    return f"final loss {np.mean(ends):.3f}, changed by {np.ptp(ends) / np.mean(ends):.1%} over " \
           "eps = 1e-4 ... 1e-8"


def ruined() -> str:
    """A deep ReLU net that the first steps of uncorrected Adam throw where nothing is learnt."""
    ends: dict[bool, list[float]] = {True: [], False: []}
    for corrected, seed in itertools.product((True, False), range(5)):
        tn.manual_seed(seed)
        net = models.mlp([2, 32, 32, 32, 32, 3])
        optimizer = optim.Adam(net.named_parameters(), 0.05, bias_correction=corrected)
        ends[corrected].append(float(np.mean(on_spirals(net, optimizer, 400, seed)[-80:])))
    stuck = sum(end > 1.05 for end in ends[False])
    return (f"4 hidden ReLU layers, rate 0.05, loss after 400 steps: corrected "
            f"{spread(ends[True], '.2f')}, uncorrected {spread(ends[False], '.2f')}: {stuck} of 5 "
            "know no more than chance (1.10)")


def start_high() -> str:
    def ends(lr: Any) -> list[float]:
        found = []
        for seed in range(3):
            tn.manual_seed(seed)
            net = models.mlp([2, 64, 3])
            optimizer = optim.SGD(net.named_parameters(), lr, momentum=0.9)
            found.append(float(np.mean(on_spirals(net, optimizer, 800, seed)[-100:])))
        return found

    runs = {"0.1": 0.1, "0.6": 0.6, "0.6 down a cosine": optim.schedule.cosine(0.6, 800)}
    return "final loss of a net on spirals: " + "; ".join(
        f"rate {name} {spread(ends(lr), '.2f')}" for name, lr in runs.items())


def ratio() -> str:
    """|dw| / |w| of plain SGD's first weight matrix, and the loss, by rate."""
    said = []
    for lr in (0.001, 0.01, 0.1, 0.5):
        tn.manual_seed(0)
        net = models.mlp([2, 64, 3])
        weight = net.parameters()[0]
        optimizer = optim.SGD(net.named_parameters(), lr)
        ratios, losses, rng = [], [], tn.Generator(100)
        for _ in range(600):
            before = tn.to_numpy(weight.data).copy()
            points, arms = spirals(rng)
            losses.append(optimizer.step(
                lambda net=net, x=points, y=arms: F.cross_entropy(net(x), y)).item())
            moved = tn.to_numpy(weight.data) - before
            ratios.append(np.linalg.norm(moved) / np.linalg.norm(before))
        said.append(f"{lr:g}: {np.median(ratios):.0e}, {np.mean(losses[-100:]):.2f}")
    return "rate: median ratio, final loss: " + "; ".join(said)


def initial_loss() -> str:
    losses = []
    images = tn.tensor(tn.Generator(0).normal((64, 3, 32, 32)))
    labels = tn.Generator(1).integers(0, 10, (64,))
    for seed in range(5):
        tn.manual_seed(seed)
        losses.append(F.cross_entropy(models.small_conv_net()(images), labels).item())
    return f"log 10 = 2.303; a fresh conv net has {spread(losses, '.2f')}"


# Noise, and where it is taken out

def dropout_mean() -> str:
    rng = np.random.default_rng(0)
    w, x = rng.standard_normal(6), rng.standard_normal(6)
    masks = np.array(list(itertools.product((0.0, 1.0), repeat=6)))
    off = abs((masks @ (w * x)).mean() - 0.5 * w @ x)
    weights = rng.standard_normal((3, 6))
    scores = (masks * x) @ weights.T
    each = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    geometric = np.exp(np.log(each).mean(axis=0))
    geometric /= geometric.sum()
    scaled = np.exp(0.5 * weights @ x)
    scaled /= scaled.sum()
    return (f"all 64 masks of a linear unit: mean off p (w . x) by {off:.0e}; of a softmax layer: "
            f"geometric mean off by {np.abs(geometric - scaled).max():.0e}, arithmetic mean by "
            f"{np.abs(each.mean(axis=0) - scaled).max():.2f}")


def mixup_of_three() -> str:
    rng = tn.Generator(0)
    scores = tn.tensor(rng.normal((40, 10), dtype="float64"))
    labels = [tn.to_numpy(rng.integers(0, 10, (40,))) for _ in range(3)]
    shares = (0.5, 0.3, 0.2)
    mixed = sum(share * np.eye(10)[y] for share, y in zip(shares, labels, strict=True))
    whole = F.cross_entropy(scores, mixed).item()
    parts = sum(share * F.cross_entropy(scores, y).item()
                for share, y in zip(shares, labels, strict=True))
    return f"shares .5, .3, .2: loss of the blended label less the shares of three losses: " \
           f"{abs(whole - parts):.0e}"


def random_hits() -> str:
    draws = np.random.default_rng(0).uniform(size=(100_000, 9))
    hits = ((draws > 0.62) & (draws < 0.72)).any(axis=1).mean()
    grid = any(0.62 < g < 0.72 for g in (1 / 6, 1 / 2, 5 / 6))
    return f"a peak over a tenth of the axis: nine random trials hit it in {hits:.1%} of 100,000 " \
           f"draws (1 - .9^9 = 61.3 %), the 3 x 3 grid {'does' if grid else 'never does'}"


CLAIMS: dict[str, Callable[[], str]] = {f.__name__: f for f in (
    linear, minibatches, zigzag, saddle, many_saddles, well, smoother, longer, stable_rates,
    two_faces, sharp, adagrad, axes, first_steps, newton, models_of_loss, eps, ruined, start_high,
    ratio, initial_loss, dropout_mean, mixup_of_three, random_hits)}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--only", nargs="+", choices=sorted(CLAIMS), metavar="NAME",
                        help=f"of {', '.join(CLAIMS)}")
    args = parser.parse_args(argv)
    for name in args.only or CLAIMS:
        print(f"{name}: {CLAIMS[name]()}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
