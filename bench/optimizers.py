"""One update of all parameters of a net: ``python -m bench.optimizers``.

SGD with momentum and Adam, with weight decay, on net R's parameters (2.4 million) plus one large
matrix: 2.7 million float32 values in all. tinynet's fused update and plain rule, PyTorch's loop
over parameters (``foreach=False``), ``foreach=True`` and ``fused=True`` take turns, each in a
process of its own: in one process PyTorch's threads, which keep spinning for a while after their
work, would slow down whoever comes next. The first weight must agree in all of them.
``--repeat 3`` makes three whole runs, ``--write`` replaces the results in ``bench/RESULTS.md`` and
``results.jsonl``.
"""

from __future__ import annotations

import math

from bench import nets, report
from bench.drive import Contender, Line, Work, compare

CONTENDERS = [Contender("tinynet", "tinynet, fused"),
              Contender("torch", "PyTorch, loop over parameters"),
              Contender("torch-foreach", "PyTorch, foreach=True"),
              Contender("torch-fused", "PyTorch, fused=True"),
              Contender("tinynet-plain", "tinynet, plain rule")]


def measure(rule: str, rounds: int = 7) -> list[Line]:
    """A whole run of "SGD" or "Adam": a line for each contender."""
    lines = compare(CONTENDERS, Work(rule, "update"), rounds)
    truth = lines[0]["losses"]
    for line in lines:
        if any(abs(a - b) > 1e-6 for a, b in zip(line["losses"], truth, strict=True)):
            raise AssertionError(f"{rule}, {line['label']}: the first weight became "
                                 f"{line['losses']}, not {truth}")
        del line["peak_mb"]  # what is added to elsewhere counts in it
    return lines


def main() -> None:
    options = report.parser("bench.optimizers", __doc__, repeat=True).parse_args()
    values = sum(map(math.prod, nets.shapes()))
    text = (f"### Optimizer updates\n\n{values:,} float32 values in {len(nets.shapes())} "
            "parameters, with weight decay; before each update, a number is added to "
            f"{nets.ELSEWHERE >> 18} MB elsewhere, as a training step would, which is not timed.")
    every: list[Line] = []
    for rule, name in (("SGD", "SGD with momentum"), ("Adam", "Adam")):
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
