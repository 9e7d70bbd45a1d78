"""Every optimizer on the proving ground: tables of numbers, pictures of paths, a race.

    python examples/optimizers.py                  all of it, 1 to 2 minutes
    python examples/optimizers.py --quick          the same with fewer runs, half a minute
    python examples/optimizers.py --out FOLDER     where the pictures go (runs/optimizers)

Everything printed and drawn comes from the library's own optimizers. Ids such as A3 are those of
the tests: CS231n, lecture 8.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tinynet as tn
from tinynet import calculus, optim, text, train, viz
from tinynet.optim import landscapes, schedule
from tinynet.optim.landscapes import Landscape, Make, trace

SECOND_ORDER: dict[str, Make] = {  # their step has no length to choose
    "Newton": lambda p: optim.Newton(p),
    "Newton-CG": lambda p: optim.NewtonCG(p, max_iter=1),
    "BFGS": lambda p: optim.BFGS(p, max_iter=1),
    "L-BFGS": lambda p: optim.LBFGS(p, max_iter=1),
}


def first_order(lr: Any, rho: float = 0.9) -> dict[str, Make]:
    """Every first-order optimizer with the learning rate (or schedule) `lr`."""
    return {
        "GD": lambda p: optim.SGD(p, lr),
        "momentum": lambda p: optim.SGD(p, lr, momentum=rho),
        "Nesterov": lambda p: optim.SGD(p, lr, momentum=rho, nesterov=True),
        "Nesterov, look-ahead": lambda p: optim.Nesterov(p, lr, momentum=rho),
        "AdaGrad": lambda p: optim.Adagrad(p, lr),
        "RMSProp": lambda p: optim.RMSprop(p, lr),
        "Adam": lambda p: optim.Adam(p, lr),
        "Adam, no correction": lambda p: optim.Adam(p, lr, bias_correction=False),
        "AdamW": lambda p: optim.AdamW(p, lr),
    }


# Numbers

def numbers(limit: int = 10_000, seeds: int = 20, pace: train.Pace | None = None) -> str:
    """One learning rate, 0.01, for all first-order optimizers: what each does with it."""
    rows = [["lr = 0.01", "saddle", "well", "length", "flips", "past 0", "angle", "apart"]]
    for name, make in (first_order(0.01) | SECOND_ORDER).items():
        out = landscapes.steps_until(make, landscapes.saddle, (1.0, 1e-3),
                                     lambda x: abs(x[1]) > 1, limit)
        well = trace(make, landscapes.double_well, [2.0], min(limit, 5000))[-1, 0]
        valley = trace(make, landscapes.bowl(100), (1.0, 1.0), 100)
        row = [name, str(out or "never"), f"{well:.4f}", f"{landscapes.path_length(valley):.2f}",
               str(landscapes.sign_changes(valley[:51, 1])), f"{max(0.0, -valley[:, 0].min()):.3f}"]
        if name not in SECOND_ORDER:
            row += [f"{mean_angle(make, seeds):.0f}", f"{apart(first_order(0.05)[name]):.0e}"]
        rows.append(row)
        if pace:
            pace.step(2.5)
    return text.table(rows)


def mean_angle(make: Make, seeds: int) -> float:
    """Degrees between one step and the next on a noisy bowl (A9)."""
    bowl = landscapes.bowl(10)
    return float(np.mean([landscapes.turning_angle(trace(
        make, landscapes.noisy(bowl, 3.0, tn.Generator(seed)), (4.0, 4.0), 200))
        for seed in range(seeds)]))


def apart(make: Make) -> float:
    """How far the two coordinates part on the way from (1, 1), though one is 1000 times steeper."""
    path = trace(make, landscapes.bowl(1000), (1.0, 1.0), 300)
    return float(np.abs(path[:, 0] - path[:, 1]).max()) if len(path) > 300 else math.inf


def valleys(ks: tuple[int, ...], limit: int = 10_000) -> str:
    """Steps until a millionth of the distance is left, by condition number (A3)."""
    def near(x: np.ndarray) -> bool:
        return bool(np.linalg.norm(x) < 1e-6 * math.sqrt(2))

    def best(k: int) -> dict[str, list[Make]]:
        root = math.sqrt(k)
        heavy = ((root - 1) / (root + 1)) ** 2
        tries = [first_order(schedule.exponential(lr, 0.02) if decay else lr)
                 for lr in (0.7, 0.2, 0.07) for decay in (False, True)]
        return {"GD, lr 2/(1+k)": [first_order(2 / (1 + k))["GD"]],
                "momentum, best lr and rho": [first_order(4 / (1 + root) ** 2, heavy)["momentum"]],
                "Nesterov, lr 1/k, best rho": [first_order(1 / k, math.sqrt(heavy))["Nesterov"]],
                **{f"{name}, best of 6 lr": [each[name] for each in tries]
                   for name in ("AdaGrad", "RMSProp", "Adam")},
                **{name: [make] for name, make in SECOND_ORDER.items()}}

    rows = [["steps to 1e-6 of the way", *(f"k = {k}" for k in ks)]]
    for name in best(1):
        row = [name]
        for k in ks:
            steps = [landscapes.steps_until(make, landscapes.bowl(k), (1.0, 1.0), near, limit)
                     for make in best(k)[name]]
            row.append(str(min((n for n in steps if n is not None), default="-")))
        rows.append(row)
    return text.table(rows)


# Pictures of paths

# landscape: steps, lr of GD, of the momentum methods, of AdaGrad, of RMSProp and of Adam
COURSES: dict[str, tuple[Landscape, int, float, float, float, float, float]] = {
    "bowl": (landscapes.bowl(10), 150, 0.1, 0.03, 0.5, 0.05, 0.05),
    "saddle": (landscapes.saddle, 150, 0.05, 0.01, 0.05, 0.02, 0.02),
    "double_well": (landscapes.double_well, 250, 0.1, 0.02, 0.5, 0.1, 0.1),
    "rosenbrock": (landscapes.rosenbrock, 600, 0.0015, 0.0007, 0.5, 0.03, 0.2),
}


def race(course: str) -> tuple[Landscape, dict[str, np.ndarray]]:
    """The path of every optimizer over one landscape; the adaptive rates decay, as they should."""
    landscape, steps, plain, heavy, adagrad, rmsprop, adam = COURSES[course]
    rates = {"GD": plain, "momentum": heavy, "Nesterov": heavy, "AdaGrad": adagrad,
             "RMSProp": schedule.cosine(rmsprop, steps), "Adam": schedule.cosine(adam, steps)}
    racers = {name: first_order(lr)[name] for name, lr in rates.items()} | SECOND_ORDER
    return landscape, {name: trace(make, landscape, landscape.start, steps)
                       for name, make in racers.items()}


def draw_steps(out: Path) -> None:
    """Step lengths over lr, at a constant gradient (A14 to A19) and behind a cliff (A15)."""
    def lengths(make: Make, f: Callable[[Any], Any], start: float, steps: int) -> np.ndarray:
        return np.abs(np.diff(trace(make, f, [start], steps)[:, 0])) / 0.01

    def cliff(x: Any) -> Any:
        return tn.where(x > 0, 100.0 * x, x).sum()

    every = first_order(0.01)
    names = ("AdaGrad", "RMSProp", "Adam, no correction", "Adam")
    t = np.arange(1, 1001)
    constant = {name: (t, lengths(every[name], lambda x: x.sum(), 0.0, 1000)) for name in names}
    behind = {name: (t, lengths(every[name], cliff, 0.05, 1000)) for name in names}
    viz.plot_panels([
        viz.Panel(constant, "Constant gradient: the first steps", "step t", "step / lr", "xy"),
        viz.Panel(behind, "A gradient of 100, then 1: AdaGrad stalls", "step t", "step / lr", "xy"),
    ], out / "steps.png")


def draw_dips(out: Path, seeds: int = 10) -> str:
    """The mean of N random losses: its sharp dips are noise, and fade as N grows (A13)."""
    x = np.linspace(-2, 2, 1001)[:, None]
    rows, lines = [["sharp dips, mean of N losses", "depth", "top curvature"]], {}
    for n in (10, 100, 1000):
        dips = []
        for seed in range(seeds):
            loss = landscapes.sampled(n, seed)
            values = tn.to_numpy(loss(tn.tensor(x)).data)
            second = calculus.hvp(lambda x, f=loss: f(x).sum(), x, np.ones_like(x))
            dips.append(((x[:, 0] ** 2 / 2 - values).max(), tn.to_numpy(second.data).max() - 1))
            lines.setdefault(f"N = {n}", (x[:, 0], values))
        depth, curvature = np.mean(dips, axis=0)
        rows.append([f"N = {n}", f"{depth:.3f}", f"{curvature:.1f}"])
    viz.plot_panels([viz.Panel(lines, "The mean of N random losses", "x", "loss")],
                    out / "dips.png")
    return text.table(rows)


COLUMNS = """
saddle         steps from (1, .001) to |y| > 1 on x^2 - y^2 (A4)
well           where it ends on the double well, from 2: local .9143, lowest -1.0679 (A5)
length         of the path over 100 steps on a bowl with k = 100 (A9, A12)
flips          sign changes of the steep coordinate in its first 50 steps (A9, A12)
past 0         how far the flat coordinate overshoots (A12)
angle          degrees between steps on a noisy bowl: smoother is less (A9)
apart          how far the coordinates part, from (1, 1) with k = 1000 and lr .05
"""


BLIND = """AdaGrad, RMSProp and Adam do not notice k, since this valley runs along an axis.
"""


# Seconds on 2 cores of an AMD EPYC: a measure of what is still to do on any machine.
WORK = {"numbers": 32.5, "valleys": 20.0, "a course": 3.3, "small ones": 2.0}
QUICK = {"numbers": 32.5, "valleys": 5.0, "a course": 6.5, "small ones": 6.0}  # numbers: 10 s


def show(quick: bool, out: Path, pace: train.Pace) -> None:
    """Print the numbers, draw the pictures."""
    work = QUICK if quick else WORK
    pace.total = sum(work.values()) + work["a course"] * (len(COURSES) - 1)
    size = (2000, 5) if quick else (10_000, 20)
    print(numbers(*size, pace), COLUMNS, sep="\n", flush=True)
    print(valleys((10, 100) if quick else (10, 100, 1000), 1000 if quick else 10_000), BLIND,
          sep="\n", flush=True)
    pace.step(work["valleys"])
    for course in COURSES:
        landscape, paths = race(course)
        viz.plot_paths(landscape, paths, out / f"{course}.png")
        if not quick or course == "double_well":
            viz.race_gif(landscape, paths, out / f"race_{course}.gif", frames=40 if quick else 100)
        pace.step(work["a course"])
    draw_steps(out)
    print(draw_dips(out, 3 if quick else 10), end="\n\n")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer runs, half a minute")
    parser.add_argument("--out", type=Path, default=Path("runs/optimizers"),
                        help="folder for the pictures (default: runs/optimizers)")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    # Newton says so where a Hessian is not positive definite: here that is what we came to see.
    with (warnings.catch_warnings(action="ignore", category=RuntimeWarning),
          train.Pace(what="units of work") as pace):
        show(args.quick, args.out, pace)
    print(f"\npictures are in {args.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
