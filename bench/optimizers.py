"""One update of all parameters of a net: ``python -m bench.optimizers``.

SGD with momentum and Adam, with weight decay, on net R's parameters (2.4 million) plus one large
matrix: 2.7 million float32 values in all. tinynet's fused update and plain rule, PyTorch's loop
over parameters (its default on a CPU), ``foreach=True`` and ``fused=True`` take turns, each in a
process of its own: in one process PyTorch's threads, which keep spinning for a while after their
work, would slow down whoever comes next. With a tuned malloc PyTorch does not pay for fresh pages
at every step. First every weight must agree after 40 updates, in this process; then, in theirs, all
weights together after each of the first updates.
``--repeat 3`` makes three whole runs, ``--write`` replaces the results in ``bench/RESULTS.md`` and
``results.jsonl``.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence

import numpy as np

from bench import nets, report
from bench.drive import TUNED_MALLOC, Contender, Line, Work, compare

CONTENDERS = [Contender("tinynet", "tinynet, fused"),
              Contender("torch", "PyTorch, loop over parameters"),
              Contender("torch-loop", "PyTorch, loop, tuned malloc", TUNED_MALLOC),
              Contender("torch-foreach", "PyTorch, foreach=True"),
              Contender("torch-foreach", "PyTorch, foreach=True, tuned malloc", TUNED_MALLOC),
              Contender("torch-fused", "PyTorch, fused=True"),
              Contender("tinynet-plain", "tinynet, plain rule")]


def agree(rule: str, contenders: Sequence[Contender] = CONTENDERS) -> None:
    """Make 40 updates with each contender that is installed, and compare all weights."""
    truth: list[np.ndarray] = []
    for contender in contenders:
        peer, _, mode = contender.name.partition("-")
        try:
            update = importlib.import_module(f"bench.peers.{peer}").make(rule, "update", 0, mode)
        except ImportError:  # `compare` names it
            continue
        for _ in range(40):
            update()
        truth = truth or update.weights()
        worst = max(float(abs(a - b).max())
                    for a, b in zip(update.weights(), truth, strict=True))
        if worst > 1e-5:
            raise AssertionError(f"{rule}, {contender.label}: weights differ by {worst}")


def measure(rule: str, rounds: int = 7, contenders: Sequence[Contender] = CONTENDERS
            ) -> list[Line]:
    """A whole run of "SGD" or "Adam": a line for each contender."""
    lines = compare(list(contenders), Work(rule, "update"), rounds)
    truth = lines[0]["losses"]
    for line in lines:
        if any(abs(a / b - 1) > 1e-6 for a, b in zip(line["losses"], truth, strict=True)):
            raise AssertionError(f"{rule}, {line['label']}: the sums of all |x| are "
                                 f"{line['losses']}, not {truth}")
        del line["peak_mb"]  # most of it lies elsewhere
    return lines


def main() -> None:
    options = report.parser("bench.optimizers", __doc__, repeat=True).parse_args()
    values = sum(map(math.prod, nets.shapes()))
    text = (f"### Optimizer updates\n\n{values:,} float32 values in {len(nets.shapes())} "
            "parameters, with weight decay; before each update, work on 128 MB elsewhere empties "
            "the caches, as a training step would, which is not timed.")
    every: list[Line] = []
    for rule, name in (("SGD", "SGD with momentum"), ("Adam", "Adam")):
        agree(rule)
        lines = [{"update": rule, "run": run, **line}
                 for run in range(options.repeat) for line in measure(rule)]
        text += f"\n\n{name}:\n\n{report.table(lines)}"
        every += lines
    text += f"\n\n{report.versions(every)}."
    print(text)
    if options.write:
        report.record("optimizer updates", text, every)


if __name__ == "__main__":
    main()
