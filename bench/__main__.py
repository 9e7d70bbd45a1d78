"""``python -m bench``: nets S and R in tinynet and its peers, as a table and a chart.

    python -m bench                      a training step in everything that is installed
    python -m bench --quick              tinynet and PyTorch eager only (2 minutes)
    python -m bench --only torch jax     these two and what else has a name that begins so
    python -m bench --repeat 3           three whole runs: medians, and tinynet's worst
    python -m bench --task infer         forward in evaluation mode; --batch 1 for its latency
    python -m bench --cores 1            all contenders on one core
    python -m bench --write              ... and replace these results in bench/RESULTS.md,
                                         results.jsonl and results.png

More: ``python -m bench.layers`` (single layers against PyTorch), ``bench.small`` (overhead of small
operations), ``bench.optimizers`` (updates), ``bench.scaling`` (time against batch, width and
depth), ``bench.profile`` (time by layer), ``bench.against`` (tinynet in another Python, or another
commit), with ``--write`` all; ``bench.noise`` and ``bench.augment``.
"""

from __future__ import annotations

from bench import report
from bench.drive import TUNED_MALLOC, Contender, Line, Work, compare

QUICK = [Contender("tinynet", "tinynet"), Contender("torch", "PyTorch eager (default)")]
FAST = [Contender("torch-channels_last", "PyTorch channels_last"),
        Contender("torch-channels_last", "PyTorch channels_last, tuned malloc", TUNED_MALLOC),
        Contender("torch-compile", "torch.compile"),
        Contender("jax", "JAX jit")]
SLOW = [Contender("mygrad", "MyGrad"), Contender("tinygrad", "tinygrad (CPU, clang)"),
        Contender("autograd", "HIPS autograd"),
        Contender("autograd-float32", "HIPS autograd, kept in float32")]


def measure(work: Work, only: tuple[str, ...], rounds: int) -> list[Line]:
    """The fast contenders take turns, then the slow ones, each time beside tinynet and PyTorch."""
    fast, slow = ([c for c in group if c.name.startswith(only)] for group in (FAST, SLOW))
    lines = compare(QUICK + fast, work, rounds)
    if slow:
        quick = [c.name for c in QUICK]
        lines += [line for line in compare(QUICK + slow, work, rounds=min(3, rounds))
                  if line["contender"] not in quick]
    return lines


def title(work: Work) -> str:
    what = "one training step" if work.task == "train" else "forward in evaluation mode"
    cores = {0: "", 1: ", one core"}.get(work.cores, f", {work.cores} cores")
    return f"Net {work.net}: {what}, batch {work.batch}{cores}"


def main() -> None:
    parser = report.parser("bench", __doc__, repeat=True)
    parser.add_argument("--quick", action="store_true", help="tinynet and PyTorch eager only")
    parser.add_argument("--only", nargs="+", default=[""], metavar="NAME",
                        help="beside tinynet and PyTorch, what has such a name (all)")
    parser.add_argument("--nets", nargs="+", default=["S", "R"], choices=["S", "R"])
    parser.add_argument("--task", default="train", choices=["train", "infer"])
    parser.add_argument("--batch", type=int, default=128, help="pictures (128)")
    parser.add_argument("--cores", type=int, default=0, help="cores for each contender (all)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of 3 steps or more each (7)")
    options = parser.parse_args()
    for name, least in (("batch", 1), ("cores", 0), ("rounds", 1), ("repeat", 1)):
        if getattr(options, name) < least:
            parser.error(f"--{name} must be at least {least}, got {getattr(options, name)}")
    only = () if options.quick else tuple(options.only)
    for net in options.nets:
        work = Work(net, options.task, options.batch, options.cores)
        lines = [{"net": net, "task": work.task, "batch": work.batch, "cores": work.cores or "all",
                  "run": run, **line}
                 for run in range(options.repeat)
                 for line in measure(work, only, options.rounds)]
        text = f"### {title(work)}\n\n{report.table(lines)}\n\n{report.versions(lines)}."
        print(text, end="\n\n", flush=True)
        if options.write:
            report.record(work.section, text, lines)
    about = report.machine()
    print(f"{about['cpu']}, {about['cores']} cores, Python {about['python']}, NumPy "
          f"{about['numpy']} ({about['blas']})")
    if options.write:
        names = {"S": "net S, a small VGG, batch 128", "R": "net R, like ResNet-9, batch 128"}
        nets = {text: report.read_lines(Work(net).section) for net, text in names.items()}
        report.chart({name: lines for name, lines in nets.items() if lines})


if __name__ == "__main__":
    main()
