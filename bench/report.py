"""Figures as a Markdown table, and as a bar chart."""

from __future__ import annotations

from pathlib import Path

from bench.drive import Result


def table(results: list[Result]) -> str:
    """Medians, quartiles and ratios to PyTorch eager (of the same run), and memory.

    "memory" is the peak resident memory of the process; "less import" is that minus what the
    process held after its imports, before the first array.
    """
    rows = ["| contender | median ms | quartiles ms | n | ratio | memory MB | less import MB |",
            "|---|---:|---:|---:|---:|---:|---:|"]
    for r in sorted(results, key=lambda r: r.ratio):
        low, high = r.quartiles()
        name = f"**{r.label}**" if r.contender == "tinynet" else r.label
        rows.append(f"| {name} | {r.median * 1e3:.1f} | {low * 1e3:.1f} - {high * 1e3:.1f} | "
                    f"{len(r.seconds)} | {r.ratio:.2f} | {r.peak_mb:.0f} | "
                    f"{r.peak_mb - r.import_mb:.0f} |")
    return "\n".join(rows)


def chart(groups: dict[str, list[Result]], path: Path) -> None:
    """One panel of horizontal bars per net: time of a step as a multiple of PyTorch eager's."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 0.9 + 0.42 * max(len(g) for g in groups.values())),
                    layout="constrained")
    axes = figure.subplots(1, len(groups), squeeze=False)[0]
    for axis, (title, results) in zip(axes, groups.items(), strict=True):
        ordered = sorted(results, key=lambda r: -r.ratio)
        ratios = [r.ratio for r in ordered]
        colours = ["tab:orange" if r.contender == "tinynet" else "tab:gray" for r in ordered]
        bars = axis.barh([r.label for r in ordered], ratios, color=colours)
        axis.bar_label(bars, [f" {ratio:.2f}" for ratio in ratios])
        axis.axvline(1.0, color="black", linewidth=0.8, linestyle=":")
        if max(ratios) > 4:  # slow peers would press the others into a corner
            axis.set_xscale("log")
            axis.set_xlim(min(ratios) * 0.7, max(ratios) * 2)
        else:
            axis.set_xlim(0, max(ratios) * 1.2)
        axis.set_title(title)
        axis.set_xlabel("training step, PyTorch eager = 1")
    FigureCanvasAgg(figure).print_png(path)
