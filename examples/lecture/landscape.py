r"""The loss of a real net around the point that SGD found, with its exact curvature.

    python examples/lecture/landscape.py              two seeds, 1 to 3 minutes
    python examples/lecture/landscape.py --quick      one seed, fewer pictures
    python examples/lecture/landscape.py --out FOLDER (runs/lecture)

A net of two convolutions learns `shapes` twice from the same weights, with batches of 16 and of
512, at one learning rate, until it has reached the same loss. Then, at the point that each found,

    H v        by differentiating v . grad L: exact, no differences, no Hessian   (calculus.hvp)
    lambda_i   the largest eigenvalues of H, from H v alone, by Lanczos' method
    L(a, b)    the loss at the point + a e_1 + b e_2, over the plane of the two steepest axes
    share      how much of the path of SGD, seen from its end, lies in that plane

A picture of a plane shows little of a path in thousands of dimensions: so the share is printed
on it, beside that of the plane that holds most of the path. With curvature lambda SGD with momentum
rho bears rates below 2 (1 + rho) / lambda, so curvatures up to 2 (1 + rho) / lr: large batches come
near that edge, the noise of small ones keeps to flatter ground. Lecture ids A3, A6, A7 and A13.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

if __package__ in (None, ""):  # run as a script: its folder is a package
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import tinynet as tn
from lecture import style
from tinynet import data, functional as F, nn, optim, train

Vector = np.ndarray[Any, Any]
COMMAND = "python examples/lecture/landscape.py"
LR = 0.02
MOMENTUM = 0.9


class Size(NamedTuple):
    """How much is done."""

    pictures: int = 1024
    test: int = 500
    seeds: int = 2
    batches: tuple[int, int] = (16, 512)
    target: float = 1.2  # training loss at which both stop
    limit: int = 3000  # steps, whatever the loss
    grid: int = 19
    lanczos: int = 30


QUICK = Size(pictures=512, test=300, seeds=1, target=1.8, grid=9, lanczos=25)


class Found(NamedTuple):
    """What one training found, and the land around it."""

    batch: int
    steps: int
    loss: float
    accuracy: float  # of the test pictures
    eigenvalues: Vector  # the largest ones, the largest first
    axes: Vector  # (2, weights): the unit vectors of the first two
    path: Vector  # (moments, 2): the path of SGD in their plane, its end at 0
    share: float  # of the squared distances along the path that lie in the plane
    best_share: float  # of those that lie in the best plane for this path
    heights: Callable[[Vector], Vector]  # the loss at places (n, 2) of the plane


def pictures(size: Size) -> tuple[Any, Any, Any, Any]:
    """Pictures of `shapes` and their labels, to train with and to test."""
    training, test = data.load_shapes(train=size.pictures, test=size.test)
    normalise = data.Normalize(*data.channel_statistics(training.images))
    return (normalise(training.images, None), training.labels,
            normalise(test.images, None), test.labels)


def small_net(seed: int) -> nn.Module:
    """Two convolutions and a linear layer, 4,346 weights, smooth so that H exists everywhere."""
    tn.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2, padding=2), nn.SiLU(), nn.AvgPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.SiLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(16 * 16, 10))


# The net as a function of one vector of weights

def weights_of(net: nn.Module) -> Vector:
    """All weights as one vector, a copy."""
    return np.concatenate([tn.to_numpy(p.data).ravel() for p in net.parameters()]).astype(float)


def set_weights(net: nn.Module, w: Vector) -> None:
    """Take `w` apart into the net's parameters."""
    at = 0
    for p in net.parameters():
        p.copy_(tn.xp.asarray(w[at : at + p.size].reshape(p.shape)))
        at += p.size


def hessian_product(net: nn.Module, loss: Callable[[], Any]) -> Callable[[Vector], Vector]:
    """v -> H v at the net's weights: the gradient's graph is made once, each v walks it again."""
    params = net.parameters()
    slopes = tn.grad(loss(), params, create_graph=True)

    def product(v: Vector) -> Vector:
        at = 0
        along: Any = 0.0
        for p, slope in zip(params, slopes, strict=True):
            part = v[at : at + p.size].reshape(p.shape)
            along = along + (slope * tn.xp.asarray(part)).sum()
            at += p.size
        return np.concatenate([tn.to_numpy(h.data).ravel() for h in tn.grad(along, params)])

    return product


def lanczos(product: Callable[[Vector], Vector], n: int, steps: int, want: int = 5,
            seed: int = 0) -> tuple[Vector, Vector]:
    """The `want` largest eigenvalues of a symmetric matrix of size n, and their unit vectors.

    q_1, q_2 ... is a basis of v, H v, H H v ..., each new one made orthogonal to all before; in
    this basis H is a small matrix, whose largest eigenvalues are soon those of H itself.
    """
    steps = min(steps, n)
    basis = np.zeros((steps, n))
    small = np.zeros((steps, steps))
    q = np.random.default_rng(seed).standard_normal(n)
    for i in range(steps):
        basis[i] = q / np.linalg.norm(q)
        image = product(basis[i])
        small[i, : i + 1] = basis[: i + 1] @ image
        small[: i + 1, i] = small[i, : i + 1]
        q = image
        for _ in range(2):  # once more, since rounding leaves a little behind
            q = q - basis[: i + 1].T @ (basis[: i + 1] @ q)
        if np.linalg.norm(q) < 1e-10 * np.abs(small).max():
            small = small[: i + 1, : i + 1]
            basis = basis[: i + 1]
            break
    values, vectors = np.linalg.eigh(small)
    largest = np.argsort(values)[::-1][:want]
    return values[largest], vectors[:, largest].T @ basis


def share_in_plane(moves: Vector, axes: Vector) -> float:
    """How much of the squared lengths of `moves` (n, weights) lies in the plane of `axes`."""
    return float(((moves @ axes.T) ** 2).sum() / (moves**2).sum())


def explore(batch: int, seed: int, size: Size, sets: tuple[Any, Any, Any, Any]) -> Found:
    """Train with batches of `batch`, then look around."""
    images, labels, test_images, test_labels = sets
    net = small_net(seed)
    optimizer = optim.SGD(net.named_parameters(), LR, momentum=MOMENTUM)
    loader = data.DataLoader(images, labels, batch, seed=seed, drop_last=True)

    def whole() -> Any:  # in the precision of the weights
        x = tn.tensor(images, dtype=net.parameters()[0].dtype)
        return F.cross_entropy(net(x), labels)

    path = [weights_of(net)]
    every = max(1, len(loader) // 4)
    steps = 0
    loss = np.inf
    while loss > size.target and steps < size.limit:
        for x, y in loader:
            optimizer.step(lambda x=x, y=y: F.cross_entropy(net(tn.tensor(x)), y))
            steps += 1
            if steps % every == 0:
                path.append(weights_of(net))
        with tn.no_grad():
            loss = whole().item()
    net.double()
    end = weights_of(net)
    values, vectors = lanczos(hessian_product(net, whole), end.size, size.lanczos)
    axes = vectors[:2] * np.sign(vectors[:2] @ (path[0] - end))[:, None]  # the start is upper right
    moves = np.array(path) - end
    squares = np.linalg.svd(moves, compute_uv=False) ** 2
    with tn.no_grad():
        right = tn.to_numpy(net(tn.tensor(test_images, dtype="float64")).data).argmax(axis=1)

    def heights(places: Vector) -> Vector:
        found = []
        with tn.no_grad():
            for place in places:
                set_weights(net, end + place @ axes)
                found.append(whole().item())
        set_weights(net, end)
        return np.array(found)

    return Found(batch, steps, float(loss), float((right == tn.to_numpy(test_labels)).mean()),
                 values, axes, moves @ axes.T, share_in_plane(moves, axes),
                 float(squares[:2].sum() / squares.sum()), heights)


# The picture

def draw(found: list[Found], size: Size) -> Any:
    """For each batch size: the plane with the path, and the loss along the steepest axis."""
    figure, panels = style.sheet(2, len(found), (9.2, 7.6))
    across = np.linspace(-1.0, 1.0, 41)
    for one, panel, below in zip(found, panels[: len(found)], panels[len(found) :], strict=True):
        reach = 1.25 * np.abs(one.path).max()
        side = np.linspace(-reach, reach, size.grid)
        a, b = np.meshgrid(side, side)
        z = one.heights(np.stack([a.ravel(), b.ravel()], axis=1)).reshape(a.shape)
        panel.contourf(a, b, np.log10(z), 16, cmap=style.HEIGHTS + "_r")
        panel.plot(*one.path.T, "-", color="white", linewidth=3.2)
        panel.plot(*one.path.T, "-", color=style.BLACK, linewidth=1.3)
        panel.plot(*one.path[0], "o", color="white", markeredgecolor=style.BLACK, markersize=8)
        panel.plot(0, 0, "*", color="#F0E442", markeredgecolor=style.BLACK, markersize=15)
        style.title(panel, f"batch {one.batch}: {one.steps} steps to a loss of {one.loss:.2f}")
        panel.set(xlabel="along e1, the steepest axis", ylabel="along e2")
        style.say(panel, -reach * 0.95, -reach * 0.92,
                  f"this plane holds {one.share:.1%} of the path, the best one "
                  f"{one.best_share:.0%}", fontsize=8.5)
        line = one.heights(np.stack([across, 0 * across], axis=1))
        below.plot(across, line, color=style.BLUE, label="loss along e1")
        bottom = line[across.size // 2]
        below.plot(across, bottom + one.eigenvalues[0] * across**2 / 2, ":", color=style.RED,
                   label="by H alone (slope left out)")
        below.set(xlabel="along e1", ylabel="loss", ylim=(0, 2.5 * bottom))
        top = ", ".join(f"{value:.3g}" for value in one.eigenvalues)
        style.title(below, f"eigenvalues of H: {top} ...")
        style.legend(below, loc="upper center")
    return figure


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="one seed, fewer pictures")
    parser.add_argument("--out", type=Path, default=Path("runs/lecture"),
                        help="folder for landscape.png and landscape.json (runs/lecture)")
    args = parser.parse_args(argv)
    size = QUICK if args.quick else Size()
    sets = pictures(size)
    rows = []
    with train.Pace(2 * size.seeds + 1, "parts") as pace:
        for seed in range(size.seeds):
            for batch in size.batches:
                one = explore(batch, seed, size, sets)
                rows.append((seed, one))
                print(f"seed {seed}, batch {batch:3}: {one.steps:4} steps, loss {one.loss:.3f}, "
                      f"test {one.accuracy:.1%}, eigenvalues "
                      f"{', '.join(f'{v:.1f}' for v in one.eigenvalues)}; in the plane "
                      f"{one.share:.1%} of the path, in the best {one.best_share:.1%}", flush=True)
                pace.step(1)
        first = [one for seed, one in rows if seed == 0]
        numbers = {f"seed {seed}, batch {one.batch}": {
            "steps": one.steps, "loss": one.loss, "test accuracy": one.accuracy,
            "eigenvalues": one.eigenvalues.tolist(), "share": one.share,
            "best share": one.best_share} for seed, one in rows}
        caption = (f"shapes, {size.pictures} pictures, {weights_of(small_net(0)).size} "
                   f"weights; SGD, rate {LR}, momentum {MOMENTUM}, for both: stable up to a "
                   f"curvature of {2 * (1 + MOMENTUM) / LR:.0f}\nred is higher; circle: start, "
                   "star: end")
        picture = style.Picture(draw(first, size), caption, numbers)
        style.save(picture, args.out / "landscape.png", COMMAND + " --quick" * args.quick)
    train.write_atomic(args.out / "landscape.json", json.dumps(numbers, indent=1) + "\n")
    print(f"landscape.png and landscape.json are in {args.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
