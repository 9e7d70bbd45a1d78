"""The lecture's thirty figures, image01.png to image30.png, each by a live run of tinynet.

    python examples/lecture/figures.py                   all thirty
    python examples/lecture/figures.py --only 6 7        these
    python examples/lecture/figures.py --quick           shorter runs, for a look
    python examples/lecture/figures.py --out FOLDER      where they go (runs/lecture)

Every seed is fixed. Photographs are CIFAR-10's where it is present (TINYNET_DATA), else drawn by
`data.load_shapes`. The numbers behind the figures go to numbers.json beside them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

if __package__ in (None, ""):  # run as a script: its folder is a package
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from lecture import decay, descent, masks, order, photos, search, style, unseen
from tinynet import train


class Figure(NamedTuple):
    """A figure of the lecture: its number, the ledger's ids, a title, and who draws it.

    `seconds` are about what it takes on two cores, for the time that is left.
    """

    number: int
    ids: tuple[str, ...]
    title: str
    draw: Callable[[bool], style.Picture]
    seconds: float = 1.0

    @property
    def name(self) -> str:
        return f"image{self.number:02}.png"


FIGURES = [
    Figure(1, ("A1", "A2"), "Gradient descent over the contours", descent.gradient_descent),
    Figure(2, ("A3",), "SGD zig-zags in a long valley", descent.zig_zag),
    Figure(3, ("A4", "A5"), "Local minimum and saddle point", descent.stuck),
    Figure(4, ("A6",), "SGD's noisy path", descent.mini_batches),
    Figure(5, ("A7", "A9"), "SGD with momentum on the same noise", descent.momentum),
    Figure(6, ("A7", "A8"), "Momentum update: arrows", descent.momentum_arrows),
    Figure(7, ("A10", "A12"), "Nesterov momentum: arrows", descent.nesterov_arrows),
    Figure(8, ("A21",), "Four learning rates", decay.four_rates, 4),
    Figure(9, ("B1",), "ResNet's loss under step decay", decay.staircase, 5),
    Figure(10, ("B2",), "Cosine decay", decay.cosine),
    Figure(11, ("B3",), "The loss under a cosine", decay.cosine_loss, 5),
    Figure(12, ("B4",), "Linear decay", decay.linear),
    Figure(13, ("B5",), "Inverse square root decay", decay.inverse_root),
    Figure(14, ("B6",), "Linear warm-up", decay.warm_up),
    Figure(15, ("C1",), "First order: the tangent's step", order.first),
    Figure(16, ("C2", "C3"), "Second order: to the parabola's minimum", order.second),
    Figure(17, ("D1",), "Training loss, and accuracy on unseen data", unseen.curves, 15),
    Figure(18, ("D2",), "Early stopping", unseen.early_stopping, 15),
    Figure(19, ("E4",), "Dropout: neurons switched off", masks.dropout),
    Figure(20, ("E5",), "A single neuron and its four masks", masks.single_neuron),
    Figure(21, ("F2",), "Horizontal flip", photos.flip),
    Figure(22, ("F3", "F4"), "Random crops and scales", photos.crops),
    Figure(23, ("F5",), "Colour jitter", photos.jitter),
    Figure(24, ("G1",), "DropConnect: connections switched off", masks.drop_connect),
    Figure(25, ("G2",), "Fractional max pooling: random regions", photos.fractional),
    Figure(26, ("G3",), "Stochastic depth: blocks skipped", masks.stochastic_depth),
    Figure(27, ("G4",), "Cutout", photos.cutout),
    Figure(28, ("G5",), "Mixup", photos.mixup),
    Figure(29, ("H8",), "Random search and the grid", search.grid_and_random, 15),
    Figure(30, ("D4",), "Snapshot ensemble", unseen.snapshots),
]


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--only", type=int, nargs="+", metavar="N", help="the numbers of these figures alone")
    add("--quick", action="store_true", help="shorter runs, for a look")
    add("--out", type=Path, default=Path("runs/lecture"),
        help="folder for the pictures (default: runs/lecture)")
    args = parser.parse_args(argv)
    known = {figure.number for figure in FIGURES}
    for number in args.only or []:
        if number not in known:
            parser.error(f"--only {number}: there are figures 1 to {max(known)}")
    args.figures = [figure for figure in FIGURES
                    if not args.only or figure.number in args.only]
    return args


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    numbers = {}
    with train.Pace(sum(figure.seconds for figure in args.figures), "units of work") as pace:
        for figure in args.figures:
            began = time.perf_counter()
            command = f"python examples/lecture/figures.py --only {figure.number}"
            picture = figure.draw(args.quick)
            style.save(picture, args.out / figure.name, command + " --quick" * args.quick)
            numbers[figure.name] = picture.numbers
            pace.step(figure.seconds)
            print(f"{figure.name}  {figure.title:46} {time.perf_counter() - began:5.1f} s",
                  flush=True)
    if not args.only:
        train.write_atomic(args.out / "numbers.json", json.dumps(numbers, indent=1, allow_nan=False)
                            + "\n")
    print(f"{len(args.figures)} figures are in {args.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
