"""``python -m bench``: nets S and R in tinynet and its peers, as a table and a chart.

    python -m bench              everything that is installed (15 minutes)
    python -m bench --quick      tinynet and PyTorch eager (2 minutes)
    python -m bench --only torch         these two and whatever else has a name that begins so
    python -m bench --write      ... and rewrite bench/RESULTS.md, results.jsonl and results.png

``python -m bench.small`` measures small operations, ``python -m bench.scaling`` how time grows
with batch, width and depth.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.drive import TUNED_MALLOC, Contender, Result, compare, machine, write_lines
from bench.report import chart, table

HERE = Path(__file__).parent
MALLOC = {"GLIBC_TUNABLES": TUNED_MALLOC}
QUICK = [Contender("tinynet", "tinynet"), Contender("torch", "PyTorch eager (default)")]
FAST = [*QUICK,
        Contender("torch-channels_last", "PyTorch channels_last"),
        Contender("torch-channels_last", "PyTorch channels_last, tuned malloc", MALLOC),
        Contender("torch-compile", "torch.compile"),
        Contender("jax", "JAX jit")]
SLOW = [*QUICK, Contender("mygrad", "MyGrad"), Contender("tinygrad", "tinygrad (CPU, clang)"),
        Contender("autograd", "HIPS autograd")]


def measure(net: str, quick: bool, only: tuple[str, ...], rounds: int) -> list[Result]:
    """The fast contenders take turns, then the slow ones, each time beside PyTorch."""
    fast, slow = ([] if quick else [c for c in group[len(QUICK):] if c.name.startswith(only)]
                  for group in (FAST, SLOW))
    results = compare(QUICK + fast, net, rounds=rounds)
    if slow:
        results += compare(QUICK + slow, net, rounds=3, runs=1)[len(QUICK):]
    return results


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tinynet and PyTorch eager only")
    parser.add_argument("--only", nargs="+", default=[""], metavar="NAME",
                        help="beside tinynet and PyTorch, what has such a name (all)")
    parser.add_argument("--nets", nargs="+", default=["S", "R"], choices=["S", "R"])
    parser.add_argument("--rounds", type=int, default=7, help="rounds of 3 steps each (7)")
    parser.add_argument("--write", action="store_true", help="rewrite the committed results")
    options = parser.parse_args()
    about = machine()
    sections = []
    groups = {}
    for net in options.nets:
        results = measure(net, options.quick, tuple(options.only), options.rounds)
        groups[f"net {net}"] = results
        versions = ", ".join(sorted({r.version for r in results}))
        sections.append(f"### Net {net}: one training step, batch 128\n\n{table(results)}\n\n"
                        f"{versions}.\n")
        print(sections[-1])
    print(f"{about['cpu']}, {about['cores']} cores, Python {about['python']}")
    if options.write:
        lines = HERE / "results.jsonl"
        lines.unlink(missing_ok=True)
        for results in groups.values():
            write_lines(results, lines)
        chart(groups, HERE / "results.png")
        text = (HERE / "RESULTS.md").read_text().partition("<!-- measured -->")[0]
        command = " ".join(["python -m bench", *sys.argv[1:]])
        made = (f"<!-- measured -->\nMade by `{command}` on {about['cpu']}, "
                f"{about['cores']} cores, Python {about['python']}.\n\n")
        (HERE / "RESULTS.md").write_text(text + made + "\n".join(sections))


if __name__ == "__main__":
    main()
