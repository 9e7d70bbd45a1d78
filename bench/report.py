"""Figures as JSON lines, as sections of a Markdown page, and as a bar chart.

`record` replaces what one command wrote before: its section of ``RESULTS.md``, between two
comments, and its lines of ``results.jsonl``. What else stands on the page is written by hand.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.drive import Line
from bench.nets import cores

HERE = Path(__file__).parent
PAGE, LINES, PICTURE = HERE / "RESULTS.md", HERE / "results.jsonl", HERE / "results.png"


def parser(module: str, about: str | None, repeat: bool = False) -> argparse.ArgumentParser:
    """The command line of a bench: --write, --repeat if it makes whole runs, and what you add."""
    made = argparse.ArgumentParser(prog=f"python -m {module}", description=about,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    if repeat:
        made.add_argument("--repeat", type=int, default=1, help="whole runs (1)")
    made.add_argument("--write", action="store_true", help="replace the committed results")
    return made


def machine() -> dict[str, Any]:
    """The machine and the versions that belong beside every figure."""
    import numpy as np

    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {"cpu": model, "cores": cores(), "system": platform.platform(),
            "python": platform.python_version(), "numpy": np.__version__,
            "blas": f"{blas['name']} {blas['version']}"}


def record(section: str, text: str, lines: Iterable[Line], page: Path = PAGE) -> None:
    """Put `text` in a section of the page, and `lines` with the machine in `results.jsonl`."""
    about, command = machine(), " ".join(["python", *sys.orig_argv[1:]])
    made = (f"Made by `{command}` on {about['cpu']}, {about['cores']} cores, Python "
            f"{about['python']}, NumPy {about['numpy']} ({about['blas']}).")
    write_section(section, f"{text.strip()}\n\n{made}", page)
    old = LINES.read_text().splitlines() if LINES.exists() else []
    kept = [line for line in old if json.loads(line)["section"] != section]
    new = [json.dumps({"section": section, **line, "command": command, "machine": about})
           for line in lines]
    LINES.write_text("\n".join([*kept, *new]) + "\n")


def write_section(name: str, text: str, page: Path) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- end -->``; append it if new.

    A page that is not there yet begins with its name.
    """
    begin, end = f"<!-- {name} -->", "<!-- end -->"
    text_so_far = page.read_text() if page.exists() else f"# {page.stem}\n"
    head, found, rest = text_so_far.partition(begin)
    before = head if found else head.rstrip() + "\n\n"
    after = rest.partition(end)[2] if found else "\n"
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def read_lines(section: str) -> list[Line]:
    """The recorded lines of a section."""
    lines = map(json.loads, LINES.read_text().splitlines()) if LINES.exists() else ()
    return [line for line in lines if line["section"] == section]


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A table; columns after the first `left` are numbers, set to the right."""
    rule = "|".join("---" if k < left else "---:" for k in range(len(head)))
    first, *others = (f"| {' | '.join(row)} |" for row in (head, *rows))
    return "\n".join([first, f"|{rule}|", *others])


def by_contender(lines: Sequence[Line]) -> list[list[Line]]:
    """The lines of each contender, one for each run; the fastest contender first."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(line["label"], []).append(line)
    return sorted(groups.values(), key=lambda runs: middle(runs, "ratio"))


def middle(runs: Sequence[Line], what: str) -> float:
    return statistics.median(line[what] for line in runs)


def table(lines: Sequence[Line], unit: str = "ms") -> str:
    """Contenders compared, over all runs.

    "ratio" is a contender's time to PyTorch's, "tinynet takes" tinynet's time to that contender's,
    both of one run; the median of the runs stands here, and for tinynet the worst run, too.
    "memory" is the largest peak resident memory of the process, "less import" what it held after
    its imports taken off.
    """
    scale = {"ms": 1e3, "us": 1e6}[unit]
    memory = "peak_mb" in lines[0]
    head = ["contender", f"median {unit}", f"quartiles {unit}", "n", "ratio", "tinynet takes",
            f"worst of {max(len(runs) for runs in by_contender(lines))}",
            *(["memory MB", "less import MB"] if memory else [])]
    rows = []
    for runs in by_contender(lines):
        times = [scale * t for line in runs for t in line["seconds"]]
        low, _, high = statistics.quantiles(times, n=4) if len(times) > 1 else times * 3
        label = runs[0]["label"]
        rows.append([f"**{label}**" if runs[0]["contender"] == "tinynet" else label,
                     f"{scale * middle(runs, 'median'):.1f}", f"{low:.1f} - {high:.1f}",
                     str(len(times)), *(_ratio(x) for x in (
                         middle(runs, "ratio"), middle(runs, "tinynet_ratio"),
                         max(line["tinynet_ratio"] for line in runs)))])
        if memory:
            top = max(runs, key=lambda line: line["peak_mb"])
            rows[-1] += [f"{top['peak_mb']:.0f}", f"{top['peak_mb'] - top['import_mb']:.0f}"]
    return markdown(head, rows)


def _ratio(x: float) -> str:
    return f"{x:.2f}" if x > 0.2 else f"{x:.3f}"


def versions(lines: Iterable[Line]) -> str:
    return ", ".join(sorted({line["version"] for line in lines}))


def chart(groups: dict[str, list[Line]], path: Path = PICTURE) -> None:
    """A point for each contender's step as a multiple of PyTorch eager's, net below net.

    Points, since on a logarithmic axis a bar's length means nothing; one axis for all nets, and
    so narrow that it can be read on a phone.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    contenders = {title: by_contender(lines) for title, lines in groups.items()}
    rows = [len(ordered) for ordered in contenders.values()]
    figure = Figure(figsize=(6.4, 0.8 + 0.9 * len(rows) + 0.3 * sum(rows)), layout="constrained",
                    dpi=180)
    axes = figure.subplots(len(groups), 1, squeeze=False, sharex=True, height_ratios=rows)[:, 0]
    ratios = [middle(runs, "ratio") for ordered in contenders.values() for runs in ordered]
    for axis, (title, ordered) in zip(axes, contenders.items(), strict=True):
        for y, runs in enumerate(ordered):
            ratio = middle(runs, "ratio")
            colour = "tab:orange" if runs[0]["contender"] == "tinynet" else "dimgray"
            axis.plot([ratio], [y], "o", color=colour, markersize=8)
            axis.annotate(f"{ratio:.2f}", (ratio, y), (9, 0), textcoords="offset points",
                          va="center", color=colour, fontweight="bold",
                          bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
        axis.axvline(1.0, color="black", linewidth=0.8, linestyle=":", zorder=0)
        axis.set_xscale("log")
        axis.set_xlim(min(ratios) * 0.8, max(ratios) * 2.6)
        axis.set_yticks(range(len(ordered)), labels=[runs[0]["label"] for runs in ordered])
        axis.set_ylim(len(ordered) - 0.5, -0.5)
        axis.grid(axis="y", color="#dddddd", linewidth=0.6)
        axis.set_title(title, loc="left", fontweight="bold", fontsize=10)
    ticks = [tick for tick in (0.2, 0.5, 1, 2, 5, 10, 20, 50)
             if min(ratios) * 0.8 < tick < max(ratios) * 2.6]
    axes[-1].set_xticks(ticks, labels=[f"{t:g}" for t in ticks])
    axes[-1].minorticks_off()
    axes[-1].set_xlabel("PyTorch eager = 1 (logarithmic)")
    figure.suptitle("Time of one training step, shorter is better", x=0.01, ha="left")
    FigureCanvasAgg(figure).print_png(path)
