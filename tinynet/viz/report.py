r"""The recipe's report: one HTML file with everything inside, to read, keep or send.

A section for each step: what was seen, the lecture's advice for it, a picture, the numbers. The
pictures are in the file itself (base64 PNG), and nothing is loaded from anywhere. While a run goes
on, the report of what is finished so far is written again and again:

    tune.recipe.run(..., report=lambda found: viz.write_report(found, "report.html"))

Read next: `tune/recipe.py`.
"""

from __future__ import annotations

import base64
import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ..files import write_atomic
from ..train.history import History, smooth
from ..tune.recipe import WHY, Found
from ..tune.search import Search, Trial
from ..tune.workbench import Step
from .canvas import PALETTE, QUIET, entitle, new_figure, save
from .curves import plot_history

_HEADS = {"ratio": "loss ratio", "new": "loss on new pictures", "weight_decay": "weight decay"}
_MARK = {"ok": "passed", "warning": "look here", "fault": "mend this first"}
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60em; margin: 2em auto;
       padding: 0 1em; }
h1 { margin-bottom: 0; } h2 { margin: 2em 0 .3em; border-top: 1px solid #ccc; padding-top: .7em; }
h2 span { font-size: 60%; padding: .2em .6em; border-radius: 1em; color: white; margin-left: .6em;
          vertical-align: middle; font-weight: normal; }
.ok { background: #00785a; } .warning { background: #a86400; } .fault { background: #b3003c; }
.advice { border-left: .3em solid #0072B2; padding: .3em .8em; background: #eef5fa; }
.chosen { font-size: 120%; background: #e7f5ef; padding: .6em .9em; border-radius: .4em; }
.why { color: #666; font-style: italic; margin: 0; }
img { max-width: 100%; } details { color: #555; font-size: 90%; }
table { border-collapse: collapse; margin: .6em 0; }
td, th { border: 1px solid #ccc; padding: .25em .7em; text-align: right; font-weight: normal; }
th { background: #f4f4f4; } td.best { outline: 3px solid #D55E00; outline-offset: -3px; }
"""


def write_report(found: Found, path: str | os.PathLike[str], title: str = "Choosing "
                 "hyper-parameters") -> None:
    """Write what the recipe found so far to the HTML file `path` (replaced in one go)."""
    parts = [f"<!doctype html>\n<html lang='en'>\n<head><meta charset='utf-8'>"
             f"<meta name='viewport' content='width=device-width'><title>{escape(title)}</title>"
             f"<style>{_STYLE}</style></head>\n<body>\n<h1>{escape(title)}</h1>",
             f"<p>The seven steps of CS231n lecture 8; {found.seconds:.0f} s of training.</p>",
             _summary(found), *map(_section, found.steps), "</body>\n</html>\n"]
    write_atomic(path, "\n".join(parts))


def _summary(found: Found) -> str:
    if found.fault:
        last = found.steps[-1]
        return (f"<p class='chosen'><b>Stopped at step {last.number}: {escape(last.fault)}.</b> "
                f"{escape(last.advice)}</p>")
    if found.best is None:
        return "<p class='chosen'>The checks are going on.</p>"
    chosen = ", ".join(f"{name} = {value:.3g}" for name, value in found.best.config.items())
    state = found.stopped or "the search goes on"
    return (f"<p class='chosen'><b>{escape(chosen)}</b>: score {found.best.score:.4g} on the "
            f"validation set ({escape(state)}).</p>")


def _section(step: Step) -> str:
    label = step.fault if step.number == 6 else _MARK[step.status]
    parts = [f"<h2>Step {step.number}: {escape(step.title)}"
             f"<span class='{step.status}'>{escape(label)}</span></h2>",
             f"<p class='why'>{escape(WHY[step.number])}</p>", f"<p>{escape(step.said)}</p>"]
    if step.advice:
        parts.append(f"<p class='advice'>{escape(step.advice)}</p>")
    draw = {2: _draw_overfit, 3: _draw_rates, 5: _draw_trials, 6: _draw_curves}.get(step.number)
    if step.number == 4 and step.data.get("trials"):
        parts.append(_grid_table(step.data["trials"]))
    if draw and any(step.data.values()):
        parts.append(_picture(lambda path: draw(step, path), f"step {step.number}"))
    if step.number == 3 and step.data:
        parts.append(_table(step.numbers["ranked"]))
    if step.number == 5 and step.data.get("trials"):
        parts.append(_table([{k: v for k, v in row.items() if k != "history"}
                             for row in step.data["trials"]]))
    plain = {name: value for name, value in step.numbers.items() if not isinstance(value, list)}
    if plain:
        parts.append(f"<details><summary>numbers</summary>{_table([plain])}</details>")
    return "\n".join(parts)


def _picture(draw: Callable[[Path], None], what: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        draw(path)
        data = base64.b64encode(path.read_bytes()).decode()
    return f"<img alt='{escape(what)}' src='data:image/png;base64,{data}'>"


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    head = "".join(f"<th>{escape(_HEADS.get(name, name))}</th>" for name in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{_cell(v)}</td>" for v in row.values()) + "</tr>"
                   for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(value: Any) -> str:
    if value is None:
        return "nan"
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))


def _grid_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Step 4: learning rates down, decays across; the greener the better, the best one framed."""
    scores = {(row["lr"], row["weight_decay"]): row["score"] for row in rows}
    decays = list(dict.fromkeys(row["weight_decay"] for row in rows))
    real = [score for score in scores.values() if score is not None]
    low, high = min(real, default=0.0), max(real, default=1.0)
    lines = ["<tr><th>lr \\ weight decay</th>" + "".join(f"<th>{d:g}</th>" for d in decays)
             + "</tr>"]
    for lr in dict.fromkeys(row["lr"] for row in rows):
        cells = []
        for decay in decays:
            score = scores.get((lr, decay))
            share = 0.0 if score is None else (score - low) / (high - low or 1.0)
            best = " class='best'" if score == high else ""
            cells.append(f"<td{best} style='background: rgba(0, 158, 115, {0.75 * share:.2f})'>"
                         f"{_cell(score)}</td>")
        lines.append(f"<tr><th>{lr:g}</th>{''.join(cells)}</tr>")
    return f"<table>{''.join(lines)}</table>"


def _draw_overfit(step: Step, path: Path) -> None:
    history = History.from_dict(step.data["history"])
    figure, (loss, accuracy) = new_figure(1, 2, (10, 3.4))
    _losses(loss, {"loss": history.steps["loss"]})
    entitle(accuracy, "Accuracy on the same minibatches", "right answers (%)")
    if history.epochs:
        accuracy.plot(history.epochs["epoch"], [100 * v for v in history.epochs["val_accuracy"]],
                      "o-", color=PALETTE[0], markersize=3)
    accuracy.set(xlabel="pass", ylim=(0, 103))
    save(figure, path)


def _draw_rates(step: Step, path: Path) -> None:
    figure, (panel,) = new_figure(1, 1, (10, 3.8))
    curves = {f"lr {row['lr']:g}": [math.nan if v is None else v for v in row["loss"]]
              for row in step.data["curves"]}
    _losses(panel, curves)
    entropy = step.numbers["label entropy"]
    if entropy is not None:
        panel.axhline(entropy, color=QUIET, linestyle="--", linewidth=1,
                      label="without a look at the pictures")
    panel.legend(frameon=False, loc="upper right")
    save(figure, path)


def _losses(panel: Any, curves: Mapping[str, Sequence[float]]) -> None:
    """Every step as a dot, the moving average as a line (H6); what explodes leaves the picture."""
    top = 0.0
    for colour, (label, values) in zip(PALETTE, curves.items(), strict=False):
        panel.plot(values, ".", color=colour, alpha=0.25, markersize=4)
        panel.plot(smooth(values, 0.9), color=colour, linewidth=1.8, label=label)
        top = max(top, values[0] if math.isfinite(values[0]) else 0.0)
    entitle(panel, "Loss: each step, and moving average", "loss")
    panel.set(xlabel="step", ylim=(0, 2 * top or 1.0))


def _draw_trials(step: Step, path: Path) -> None:
    figure, (space, curves) = new_figure(1, 2, (10, 3.8))
    rows = step.data["trials"]
    found = Search([Trial(i, {}, math.nan if row["score"] is None else row["score"], 0.0)
                    for i, row in enumerate(rows)])
    for i, row in enumerate(rows):
        colour = PALETTE[i % len(PALETTE)]
        best = found.trials[i] is found.best
        space.plot([row["lr"]], [row["weight_decay"]], "*" if best else "o", color=colour,
                   markersize=15 if best else 8)
        history = History.from_dict(row["history"])
        column = "val_accuracy" if "val_accuracy" in history.epochs else "val_loss"
        if column in history.epochs:
            curves.plot(history.epochs["epoch"], history.epochs[column], "o-", color=colour,
                        markersize=3, linewidth=2.4 if best else 1.0, label=f"lr {row['lr']:.3g}")
            entitle(curves, "Validation, at a constant learning rate", column.replace("_", " "))
    entitle(space, "What was tried (star: best)", "weight decay")
    space.set(xlabel="learning rate", xscale="log", yscale="log")
    space.margins(0.15)
    curves.set_xlabel("epoch")
    if curves.lines:
        curves.legend(frameon=False, fontsize=8)
    save(figure, path)


def _draw_curves(step: Step, path: Path) -> None:
    plot_history(History.from_dict(step.data["history"]), path, smooth=0.95)
