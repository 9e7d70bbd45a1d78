"""Every number is computed once, whatever the sizes; bits do not depend on the threads."""

from __future__ import annotations

import numpy as np
from grading import Answer, close, demand


def check_blocks(answer: Answer) -> None:
    close("blocks(6, 2)", answer.blocks(6, 2), [(0, 2), (2, 4), (4, 6)], "start, start + size")
    last = list(answer.blocks(7, 3))[-1]
    demand(tuple(last) != (3, 6), "blocks(7, 3) end with (3, 6): the last number is lost",
           "A last block that is shorter counts too: range(0, n, size).")
    close("the last of blocks(7, 3)", last, (6, 7), "min(start + size, n)",
          {"It ends where the array ends: min(start + size, n).": (6, 9)})
    close("blocks(2, 5)", answer.blocks(2, 5), [(0, 2)], "One block, of 2.")


def check_one_block(answer: Answer) -> None:
    x = np.array([0.0, 3.0, -0.75])
    before = x.copy()
    out = np.full(3, np.nan)
    answer.one_block(x, out)
    demand(bool((x == before).all()), "one_block has changed x", "Write into `out` alone.")
    close("what stands in `out` after one_block", out, np.sqrt(before**2 + 1) - 1,
          "x*x, + 1, the root, - 1: all into `out`.",
          {"Only x*x has arrived: later results went into new arrays. Use out= or +=.": before**2,
           "The root went into a new array: np.sqrt(out, out=out).": before**2,
           "The last step is missing: - 1.": np.sqrt(before**2 + 1)})


def check_fast(answer: Answer) -> None:
    # other numbers each time: the memory of `out` may still hold the answer of before
    x = np.random.default_rng().normal(size=1003)
    wanted = answer.plain(x)
    for size, workers in ((100, 2), (1003, 3), (5000, 2), (1, 4)):
        got = answer.fast(x, size, workers)
        demand(got is not None, "fast returns nothing", "return out")
        demand(bool(np.array_equal(got, wanted)),
               f"fast with blocks of {size} and {workers} threads differs from plain at "
               f"{np.flatnonzero(got != wanted)[:3]}",
               "Each block is written into its own part: x[i:j] and out[i:j].")


def check_fast_sum(answer: Answer) -> None:
    x = np.random.default_rng(1).normal(size=1003)
    in_order = 0.0
    for i in range(0, 1003, 100):
        in_order += float(answer.plain(x[i:i + 100]).sum())
    for workers in (1, 2, 4):
        close(f"fast_sum in blocks of 100, {workers} threads,",
              answer.fast_sum(x, 100, workers), in_order, "sum(pool.map(part, blocks(...)))")
        demand(answer.fast_sum(x, 100, workers) == in_order,
               f"the last bits of fast_sum with {workers} threads are others",
               "Add the blocks' sums in the order of the blocks: pool.map keeps it.")
