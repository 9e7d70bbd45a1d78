r"""The recipe's report: one HTML file with everything inside, to read, keep or send.

The page around it is `page.py`'s. A section for each step: what was seen, the
lecture's advice for it, a picture, the numbers. While a run goes on, the report of
what is finished so far is written again and again:

    tune.recipe.run(..., report=lambda found: viz.write_report(found, "report.html"))

Read next: `viz/card.py`.
"""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ..train.history import History, smooth
from ..tune.recipe import WHY, Found
from ..tune.search import Search, Trial
from ..tune.space import LogUniform
from ..tune.workbench import Step
from .curves import Panel, plot_history, plot_panels
from .page import cell, picture, table, tag, write_page
from .search import plot_searches

_BY_FACTOR = LogUniform(1e-12, 1.0)  # rates and decays have logarithmic axes
_MARK = {"ok": "passed", "warning": "look here", "fault": "mend this first"}


def write_report(found: Found, path: str | os.PathLike[str],
                 title: str = "Choosing hyper-parameters") -> None:
    """Write what the recipe found so far to the HTML file `path`."""
    spent = f"The seven steps of CS231n lecture 8; {found.seconds:.0f} s of training."
    doubtful = found.fault or (found.best is None and found.stopped)
    kind = "chosen doubt" if doubtful else "chosen"
    body = [tag("p", spent), tag("p", _summary(found), kind)]
    body += [_drawn(json.dumps(step.to_dict())) for step in found.steps]
    write_page(path, title, body)


def _summary(found: Found) -> str:
    if found.fault:
        last = found.steps[-1]
        what = escape(f"Stopped at step {last.number}: {last.fault}.")
        return f"{tag('b', what)} {escape(last.advice)}"
    if found.best is None and found.stopped and found.first_rate:
        rate = tag("b", f"No setting is better than guessing yet ({escape(found.stopped)}).")
        return (f"{rate} Step 3 learned most with lr = {found.first_rate:.3g}: begin there, "
                "and give the search more time.")
    if found.best is None:
        return "The checks are going on."
    chosen = ", ".join(f"{name} = {value:.3g}" for name, value in found.best.config.items())
    state = found.stopped or "the search goes on"
    return (f"{tag('b', escape(chosen))}: score {found.best.score:.4g} on the "
            f"validation set ({escape(state)}).")


@functools.lru_cache(maxsize=32)
def _drawn(step: str) -> str:
    """The section of a step that is given as JSON: drawn once, although written again and again."""
    return _section(Step(**json.loads(step)))


def _section(step: Step) -> str:
    label = step.fault if step.number == 6 else _MARK[step.status]
    mark = tag("span", escape(label), step.status)
    parts = [tag("h2", f"Step {step.number}: {escape(step.title)}{mark}"),
             tag("p", escape(WHY[step.number]), "why"), tag("p", escape(step.said))]
    if step.advice:
        parts.append(tag("p", escape(step.advice), "advice"))
    if any(step.data.values()):
        parts += _SHOWN[step.number](step)
    plain = {name: x for name, x in step.numbers.items() if not isinstance(x, list)}
    if plain:
        parts.append(tag("details", tag("summary", "numbers") + table([plain])))
    return "\n".join(parts)


def _grid(step: Step) -> list[str]:
    """Step 4: rates down, decays across; the greener the better, the best one framed."""
    rows = step.data["trials"]
    scores = {(row["lr"], row["weight_decay"]): row["score"] for row in rows}
    decays = list(dict.fromkeys(row["weight_decay"] for row in rows))
    real = [score for score in scores.values() if score is not None]
    low = min(real, default=0.0)
    high = max(real, default=1.0)
    heads = ["lr \\ weight decay", *(f"{decay:g}" for decay in decays)]
    lines = ["".join(tag("th", head) for head in heads)]
    for lr in sorted({row["lr"] for row in rows}, reverse=True):
        cells = [tag("th", f"{lr:g}")]
        for decay in decays:
            score = scores.get((lr, decay))
            share = ((low if score is None else score) - low) / (high - low or 1.0)
            best = "best" if score == high else ""
            cells.append(f"<td class='{best}' style='background: rgba(0, 158, 115, "
                         f"{0.75 * share:.2f})'>{cell(score)}</td>")
        lines.append("".join(cells))
    return [tag("table", "".join(tag("tr", line) for line in lines))]


def _overfit(step: Step) -> list[str]:
    """Step 2: the loss, and the accuracy on the same minibatches."""
    history = History.from_dict(step.data["history"])
    accuracy = [100 * value for value in history.epochs.get("val_accuracy", [])]
    right = Panel({"after each pass": (range(1, len(accuracy) + 1), accuracy)},
                  "Accuracy on the same minibatches", "pass", "right answers (%)",
                  bottom=0, top=103)
    return [picture("loss", plot_panels([_losses({"": history.steps["loss"]})])),
            picture("accuracy", plot_panels([right]))]


def _rates(step: Step) -> list[str]:
    """Step 3: the losses of all rates, and of one who does not look at the pictures
    ("blind")."""
    curves = {f"lr {row['lr']:g}": _numbers(row["loss"]) for row in step.data["curves"]}
    panel = _losses(curves)
    entropy = step.numbers["label entropy"]
    if entropy is not None:
        ends = (0, max(map(len, curves.values())) - 1)
        line = {"blind": (ends, (entropy, entropy))}
        panel = panel._replace(lines={**panel.lines, **line})
    return [picture("losses", plot_panels([panel])),
            table(step.numbers["ranked"])]


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]


def _losses(curves: Mapping[str, list[float]]) -> Panel:
    """Every step, and the moving average; what explodes leaves the picture."""
    lines: dict[str, tuple[Any, Any]] = {}
    for name, values in curves.items():
        steps = range(len(values))
        if len(curves) == 1:
            lines["each step"] = (steps, values)
        lines[name or "moving average"] = (steps, smooth(values, 0.9))
    first = max((v[0] for v in curves.values() if math.isfinite(v[0])), default=0.0)
    title = "Loss" if len(curves) == 1 else "Loss, moving averages"
    return Panel(lines, title, "step", "loss", bottom=0, top=2 * first or 1.0)


def _trials(step: Step) -> list[str]:
    """Step 5: where the trials lie, and their validation curves."""
    rows = step.data["trials"]
    names = ("lr", "weight_decay")
    scores = _numbers([row["score"] for row in rows])
    trials = [Trial(i, {name: row[name] for name in names}, scores[i], 0.0)
              for i, row in enumerate(rows)]
    found = {"random points": Search(trials, dict.fromkeys(names, _BY_FACTOR))}
    lines: dict[str, tuple[Any, Any]] = {}
    for row in rows:
        epochs = History.from_dict(row["history"]).epochs
        values = epochs.get("val_accuracy", epochs.get("val_loss", []))
        lines[f"lr {row['lr']:.3g}"] = (range(1, len(values) + 1), values)
    curves = Panel(lines, "Validation, at a constant learning rate", "epoch")
    plain = [{k: v for k, v in row.items() if k != "history"} for row in rows]
    where = plot_searches(found, None, *names, title="What was tried (circle: best)")
    return [picture("where the trials lie", where, 5.2, 5.2),
            picture("validation curves", plot_panels([curves])),
            table(plain)]


def _curves(step: Step) -> list[str]:
    history = History.from_dict(step.data["history"])
    return [picture(name, plot_history(history, smooth=0.95, panels=[name]))
            for name in ("loss", "accuracy", "lr", "ratio")]


_SHOWN = {2: _overfit, 3: _rates, 4: _grid, 5: _trials, 6: _curves}
