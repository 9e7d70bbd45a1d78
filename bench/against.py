"""tinynet here against tinynet elsewhere, by a training step: ``python -m bench.against``.

    python -m bench.against --python ../free/bin/python     another, free-threaded interpreter
    python -m bench.against --checkout ../before            another state of the project, made by
                                                            git worktree add ../before COMMIT
    python -m bench.against ... --write                     ... into bench/RESULTS.md

A process each; they take turns of a third of a second, so that a busy machine harms both alike. The
losses of the warm-up are compared bit for bit. Beside the ratio of medians stand that of the
quickest steps and that of CPU time (of all threads, which a busy machine lengthens less), and the
load of the machine.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

from bench import report
from bench.drive import Contender, Line, Work, compare

ASK = """
import platform, sys
lock = getattr(sys, "_is_gil_enabled", lambda: True)()
print("Python", platform.python_version() + " free-threaded" * (not lock))
"""


def about(python: str) -> str:
    """What an interpreter says of itself: "Python 3.13.5 free-threaded"."""
    answer = subprocess.run([python, "-c", ASK], capture_output=True, text=True, check=True)
    return answer.stdout.strip()


def contenders(python: str, checkout: str | None) -> list[Contender]:
    """Here, and elsewhere."""
    label = about(python)
    if checkout is not None:
        found = subprocess.run(["git", "-C", checkout, "log", "-1", "--format=%h"],
                               capture_output=True, text=True, check=True)
        label = f"{label}, commit {found.stdout.strip()}"
    return [Contender("tinynet", about(sys.executable)),
            Contender("tinynet-elsewhere", label, python=python, folder=checkout)]


def measure(work: Work, both: list[Contender], rounds: int) -> list[Line]:
    """A line for each: how often its step takes the time of the one here."""
    lines = compare(both, work, rounds)
    if len(lines) < len(both):
        raise RuntimeError("one of both did not run: see above")
    here = lines[0]
    for line in lines:
        line["quickest"] = min(line["seconds"]) / min(here["seconds"])
        line["of_cpu"] = statistics.median(line["cpu"]) / statistics.median(here["cpu"])
        line["equal"] = line["losses"] == here["losses"]
        line["load"] = round(os.getloadavg()[0], 1)
    return lines


def row(runs: list[Line]) -> list[str]:
    """All whole runs of one contender."""
    times = [1e3 * t for line in runs for t in line["seconds"]]
    low, _, high = statistics.quantiles(times, n=4)
    loads = [line["load"] for line in runs]
    return [runs[0]["label"], f"{1e3 * report.middle(runs, 'median'):.1f}",
            f"{low:.1f} - {high:.1f}", str(len(times)), f"{report.middle(runs, 'ratio'):.2f}",
            f"{max(line['ratio'] for line in runs):.2f}", f"{report.middle(runs, 'quickest'):.2f}",
            f"{report.middle(runs, 'of_cpu'):.2f}",
            "yes" if all(line["equal"] for line in runs) else "**no**",
            f"{min(loads)} - {max(loads)}"]


def table(lines: list[Line]) -> str:
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(line["contender"], []).append(line)
    runs = max(map(len, groups.values()))
    head = ["tinynet in", "median ms", "quartiles ms", "n", "ratio", f"worst of {runs}",
            "of the quickest", "of CPU time", "losses equal bit for bit", "load"]
    return report.markdown(head, map(row, groups.values()))


def main() -> None:
    parser = report.parser("bench.against", __doc__, repeat=True)
    parser.add_argument("--python", default=sys.executable, help="the other interpreter")
    parser.add_argument("--checkout", help="the other checkout of the project")
    parser.add_argument("--nets", nargs="+", default=["S"], choices=["S", "R"])
    parser.add_argument("--cores", type=int, default=0, help="cores for each (all)")
    parser.add_argument("--rounds", type=int, default=12, help="rounds (12)")
    options = parser.parse_args()
    if options.python == sys.executable and options.checkout is None:
        parser.error("give another --python, or another --checkout")
    both = contenders(options.python, options.checkout)
    # Two checkouts of one interpreter are told apart by the folder.
    kind = "another checkout" if options.checkout else both[1].label
    for net in options.nets:
        work = Work(net, cores=options.cores)
        lines = [{"run": run, **line} for run in range(options.repeat)
                 for line in measure(work, both, options.rounds)]
        cores = f", cores {work.cores}" if work.cores else ""
        text = f"### Net {net}: one training step, batch {work.batch}{cores}\n\n{table(lines)}"
        print(text, end="\n\n", flush=True)
        if options.write:
            report.record(f"{work.section}, {kind}", text, lines)


if __name__ == "__main__":
    main()
