"""Streams that are all different, shifts that reach every place, batches in any order."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from grading import Answer, close, demand

PICTURE = np.arange(1.0, 26.0).reshape(5, 5)


def check_stream(answer: Answer) -> None:
    def first(*key: int) -> float:
        return float(answer.stream(*key).random())

    demand(hasattr(answer.stream(0, 0, 0), "integers"), "stream returns no random generator",
           "np.random.default_rng([...])")
    demand(first(1, 2, 3) == first(1, 2, 3), "the same key gives two different streams",
           "All of it comes from the key: default_rng() alone is different each time.")
    for what, other in (("seed", (2, 2, 3)), ("epoch", (1, 3, 3)), ("index", (1, 2, 4))):
        demand(first(1, 2, 3) != first(*other), f"another {what} gives the same stream",
               f"The {what} has to be part of the key.")
    keys = list(itertools.product(range(4), repeat=3))
    streams = {first(*key) for key in keys}
    demand(len(streams) == len(keys), f"{len(keys)} keys give only {len(streams)} streams",
           "Added up, different keys become one number: give the list [seed, epoch, index].")


class Scripted:
    """A generator whose numbers are known."""

    def __init__(self, coin: float, corner: tuple[int, int]):
        self.coin = coin
        self.corner = corner

    def random(self, *_: Any) -> float:
        return self.coin

    def integers(self, low: int, high: int | None = None, size: Any = None, **_: Any) -> Any:
        if high is None:
            low, high = 0, low
        demand(low == 0, f"the corner is drawn from {low} on, and should be drawn from 0 on",
               "The picture may lie at the very edge of the border: from 0.")
        demand(high == 5, f"the corner is drawn below {high}, and should be drawn below 5",
               "integers(0, high) never gives high: for 0 to 2 pad it is 2 pad + 1.")
        return np.array(self.corner)


def check_flip_and_shift(answer: Answer) -> None:
    def shifted(x: np.ndarray, top: int, left: int) -> np.ndarray:
        return np.pad(x, 2)[top:top + 5, left:left + 5]

    before = PICTURE.copy()
    close("the shift with the corner (2, 2), which is none,",
          answer.flip_and_shift(PICTURE, Scripted(0.9, (2, 2))), PICTURE,
          "wide[top:top + H, left:left + W]",
          {"The mirror turns for coins below 0.5 alone.": PICTURE[:, ::-1]})
    close("the shift with the corner (1, 4)",
          answer.flip_and_shift(PICTURE, Scripted(0.9, (1, 4))), shifted(PICTURE, 1, 4),
          "wide[top:top + H, left:left + W]",
          {"Rows come first: top and left are swapped.": shifted(PICTURE, 4, 1)})
    close("the mirrored picture", answer.flip_and_shift(PICTURE, Scripted(0.1, (2, 2))),
          PICTURE[:, ::-1], "The columns in reverse: [:, ::-1].",
          {"That stands on its head: turn the columns round, [:, ::-1].": PICTURE[::-1],
           "Both axes are turned round: the columns alone.": PICTURE[::-1, ::-1],
           "The mirror is missing.": PICTURE})
    close("the picture that came in", PICTURE, before, "It must not be changed.")


def check_batch(answer: Answer) -> None:
    pictures = [PICTURE * (i + 1) for i in range(12)]
    alone = np.stack([answer.batch(pictures, [i], 0, 3)[0] for i in range(12)])
    together = answer.batch(pictures, list(range(12)), 0, 3)
    backwards = answer.batch(pictures, list(range(11, -1, -1)), 0, 3)[::-1]
    hint = "A picture's key is its index in the data set, not its place in the batch."
    for what, other in (("with others", together), ("in another order", backwards)):
        place = next((i for i in range(12) if not np.array_equal(alone[i], other[i])), None)
        demand(place is None, f"picture {place} looks different alone and {what}", hint)
    following = answer.batch(pictures, list(range(12)), 0, 4)
    demand(not np.array_equal(together, following), "epoch 4 looks the same as epoch 3",
           "The epoch has to go into the key of each picture.")
    wanted = [answer.flip_and_shift(pictures[i], answer.stream(0, 3, i)) for i in range(12)]
    close("the batch of epoch 3", together, np.stack(wanted), "stream(seed, epoch, i)",
          {"The parts of the key are in another order: stream(seed, epoch, i).":
               np.stack([answer.flip_and_shift(pictures[i], answer.stream(3, 0, i))
                         for i in range(12)])})
