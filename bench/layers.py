"""Single layers against PyTorch: ``python -m bench.layers``, forward and backward.

Each layer of `shapes.py` is built by both, from the same weights and for the same input; a process
each, which take turns of a third of a second, so that a busy machine harms both alike. What they
compute must agree first. The ratio is of medians; beside it stands that of the quickest runs, and
the load of the machine is recorded with each layer.

    python -m bench.layers                       all of them (15 minutes)
    python -m bench.layers --only GELU linear    those whose names hold one of these words
    python -m bench.layers --cores 1             one core each, in seconds of the processor
    python -m bench.layers --write               ... and replace their rows in bench/RESULTS.md

On a busy machine trust the figures of one core: no threads that wait for each other, and what
others compute is not counted.
"""

from __future__ import annotations

import os
import sys

from bench import report
from bench.drive import Contender, Line, Work, compare
from bench.shapes import LAYERS

SECTION = "layers against PyTorch"
ONE_CORE = f"{SECTION}, one core"
CLOCK = ("", "; a core each, in seconds of the processor")  # of all cores, of one
CONTENDERS = [Contender("tinynet", "tinynet"), Contender("torch", "PyTorch eager (default)")]
GOOD, BAD = 1.5, 2.0  # times of PyTorch's time
FAR = 0.03  # relative difference of results: what dropout's chance may make of it


def measure(name: str, rounds: int, cores: int = 0) -> Line | None:
    """The line of one layer; None if PyTorch or tinynet is missing."""
    found = compare(CONTENDERS, Work(name, "layer", cores=cores), rounds, runs=1)
    if len(found) < len(CONTENDERS):
        return None
    ours, theirs = found
    if abs(ours["losses"][-1] / theirs["losses"][-1] - 1) > FAR:
        raise AssertionError(f"{name}: results differ: {ours['losses']}, {theirs['losses']}")
    return {"layer": name, "ratio": ours["ratio"],
            "quickest": min(ours["seconds"]) / min(theirs["seconds"]),
            "tinynet": ours["median"], "torch": theirs["median"], "n": len(ours["seconds"]),
            "load": round(os.getloadavg()[0], 1),
            "version": f"{ours['version']}, {theirs['version']}"}


def behind(line: Line) -> float:
    """The larger of both ratios: on a busy machine either contender's median may be the wait."""
    return max(line["ratio"], line["quickest"])


def row(line: Line) -> list[str]:
    mark = "**" if behind(line) > GOOD else ""
    return [line["layer"], f"{1e3 * line['torch']:.3g}", f"{1e3 * line['tinynet']:.3g}",
            f"{mark}{line['ratio']:.2f}{mark}", f"{mark}{line['quickest']:.2f}{mark}",
            str(line["n"]), str(line["load"])]


def table(lines: list[Line]) -> str:
    """All layers, and how many of them are how far behind."""
    ratios = [behind(line) for line in lines]
    ahead, good, bad = (sum(r <= most for r in ratios) for most in (1.0, GOOD, BAD))
    about = (f"By the larger of both ratios, of {len(lines)} layers tinynet is ahead in {ahead}, "
             f"within {GOOD} times PyTorch's time in {good}, within {BAD:g} in {bad}; the worst "
             f"takes {max(ratios):.1f}.")
    head = ["layer", "PyTorch ms", "tinynet ms", "ratio", "of the quickest", "n", "load"]
    return f"{about}\n\n{report.markdown(head, map(row, lines))}"


def main() -> None:
    parser = report.parser("bench.layers", __doc__)
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD",
                        help="layers whose names hold one of these words (all)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each (7)")
    parser.add_argument("--cores", type=int, choices=(0, 1), default=0,
                        help="1: one core each, in seconds of the processor (0: all)")
    options = parser.parse_args()
    names = [name for name in LAYERS if any(word in name for word in options.only)]
    if not names or options.rounds < 1:
        parser.error("--only must name layers of bench/shapes.py, --rounds be at least 1; got "
                     f"{options.only}, {options.rounds}")
    lines: list[Line] = []
    for name in names:
        line = measure(name, options.rounds, options.cores)
        if line is None:
            print(f"{name}: not compared", file=sys.stderr)
            continue
        print(f"{line['ratio']:6.2f} {line['quickest']:6.2f}  {name}", flush=True)
        lines.append(line)
    if not lines:
        return
    print(f"\n{table(lines)}")
    if options.write:
        section = ONE_CORE if options.cores else SECTION
        known = {line["layer"]: line for line in [*report.read_lines(section), *lines]}
        every = [known[name] for name in LAYERS if name in known]
        about = f"Forward and backward, float32, batch 128 where not said{CLOCK[options.cores]}."
        title = section[0].upper() + section[1:]
        text = f"### {title}\n\n{about}\n\n{table(every)}\n\n{lines[0]['version']}."
        report.record(section, text, every)


if __name__ == "__main__":
    main()
