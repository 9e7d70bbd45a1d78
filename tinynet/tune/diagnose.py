r"""Reading the curves of a run: what is wrong, by which numbers, and what the lecture advises.

    diverging          the loss became nan, or lost more than half of what it had gained
    decayed too early  the learning rate was cut while the loss was falling; then it hardly moved
    still rising       the (validation) accuracy was still gaining at the end, or the loss falling
    overfitting        training accuracy above validation accuracy by more than `gap`
    underfitting       both alike and below `low`, with no rise to be seen
    plateau            the loss fell, then lay flat at a learning rate that was never decayed
    healthy            none of these

Loss curves are noisy, so only moving averages are compared, over windows of a few per
cent of the run. The thresholds were set on 60 little trainings and judged on others
(tests). Accuracies are fractions. Lecture id H6.

Read next: `tune/rates.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from ..train.history import History

ADVICE = {
    "diverging": "Lower the learning rate, by 3 to 10 times, or warm it up. Check that "
                 "the inputs are normalised and finite.",
    "decayed too early": "Keep the high learning rate for longer, and decay when the "
                         "loss has become flat: small steps that come too soon leave "
                         "the weights stuck.",
    "still rising": "Train for longer: it has not stopped improving.",
    "overfitting": "The model learns its training data by heart. Collect more "
                   "data, augment what there is, or regularise more: weight decay, "
                   "dropout, cutout, mixup.",
    "underfitting": "The model learns neither set well. Train for longer, take a "
                    "bigger model, or regularise less.",
    "plateau": "Decay the learning rate where the curve becomes flat (by ten, or along "
               "a cosine): the steps are too long to go deeper.",
    "healthy": "Nothing to mend.",
}


@dataclass(frozen=True)
class Diagnosis:
    """The most urgent verdict, why, and what to do; `findings` are all that hold."""

    verdict: str
    why: str
    findings: dict[str, str] = field(default_factory=dict)  # verdict: why
    numbers: dict[str, float] = field(default_factory=dict)

    @property
    def advice(self) -> str:
        """What the lecture advises, in one or two sentences."""
        return ADVICE[self.verdict]

    def __str__(self) -> str:
        return f"{self.verdict}: {self.why}. {self.advice}"


def diagnose(history: History, *, low: float = 0.6, gap: float = 0.1) -> Diagnosis:
    """What the curves of a finished run say.

    `low` is an accuracy below which a model has not learned enough for the task; `gap`
    is how far training accuracy may exceed validation accuracy. Without validation, or
    without accuracies, what needs them is not looked for. ValueError if there are fewer
    than 10 steps.

    >>> history = History()
    >>> for t in range(300):
    ...     history.add("steps", step=t, loss=0.7 + 1.6 * 0.95**t, lr=0.1)
    >>> found = diagnose(history); found.verdict, round(found.numbers["last loss"], 3)
    ('plateau', 0.7)
    """
    loss = history.steps.get("loss", [])
    if len(loss) < 10 and all(map(math.isfinite, loss)):
        raise ValueError("a run of fewer than 10 steps has no curve to read: train for "
                         "longer")
    numbers: dict[str, float] = {}
    found: dict[str, str] = {}
    for look in (_diverging, _decayed_too_early):
        found |= look(history, numbers)
    if "diverging" not in found:
        found |= _accuracies(history, numbers, low, gap)
        found |= _plateau(history, numbers)
        if not found or "underfitting" in found:
            found = _still_falling(history, numbers, gap) or found
    verdict = next((name for name in ADVICE if name in found), "healthy")
    why = found.get(verdict, "the loss fell and settled, training and validation agree")
    return Diagnosis(verdict, why, found, numbers)


def _diverging(history: History, numbers: dict[str, float]) -> dict[str, str]:
    loss = history.steps["loss"]
    if bad := [t for t, value in enumerate(loss) if not math.isfinite(value)]:
        numbers["not finite at step"] = bad[0]
        return {"diverging": f"the loss is {loss[bad[0]]} at step {bad[0]}"}
    n = max(3, len(loss) // 20)
    first = fmean(loss[:3])
    last = fmean(loss[-n:])
    starts = range(0, len(loss) - n + 1, max(1, n // 2))
    lowest = min(fmean(loss[i : i + n]) for i in starts)
    numbers |= {"first loss": first, "lowest loss": lowest, "last loss": last}
    top = max(first, lowest)
    if last > lowest + 0.5 * (top - lowest) + 0.1 * top:
        return {"diverging": f"the loss had come down from {first:.3g} to {lowest:.3g} and is at "
                             f"{last:.3g} now (means of {n} steps)"}
    return {}


def _decayed_too_early(history: History, numbers: dict[str, float]) -> dict[str, str]:
    """Compare the fall of the loss in a stretch before the cut with that after it."""
    loss = history.steps["loss"]
    total = len(loss)
    cut = _first_cut(history.steps.get("lr", []))
    if not cut or total - cut < total // 3:
        return {}
    stretch = min(3 * cut // 4, (total - cut) // 2)
    n = stretch // 3
    if n < 2:
        return {}
    first = fmean(loss[:3])
    end = fmean(loss[-max(3, total // 20) :])
    before = fmean(loss[cut - stretch : cut - stretch + n]) - fmean(loss[cut - n : cut])
    settled = cut + n  # the cut itself brings a quick fall: the noise goes
    after = fmean(loss[settled : settled + n]) - end
    error = _spread(loss[cut - stretch : cut + stretch]) / math.sqrt(n)
    numbers |= {"lr cut at step": cut, "fall before the cut": before,
                "fall after the cut": after}
    fell = before > 0.12 * abs(first - end) + 2.0 * error
    hardly_moved = after < 0.25 * before + 2.0 * error
    if fell and hardly_moved and end > 0.15 * first:
        return {"decayed too early": f"the loss fell by {before:.3g} in the {stretch} steps before "
                                     f"the learning rate was cut (step {cut}), and by only "
                                     f"{max(after, 0.0):.3g} in the {total - settled} steps after "
                                     "that"}
    return {}


def _first_cut(lr: Sequence[float]) -> int:
    """The first step after the highest rate at less than a fifth of it, or 0."""
    if not lr:
        return 0
    peak = max(range(len(lr)), key=lambda t: (lr[t], t))
    return next((t for t in range(peak, len(lr)) if lr[t] < 0.2 * lr[peak]), 0)


def _accuracies(history: History, numbers: dict[str, float], low: float, gap: float
                ) -> dict[str, str]:
    train = history.epochs.get("train_accuracy", [])
    val = history.epochs.get("val_accuracy", [])
    curve = val or train
    if len(curve) < 3 or not train or not all(map(math.isfinite, [*train, *val])):
        return {}
    found = {}
    k = max(1, (len(curve) + 2) // 6)  # epochs in a mean
    end = fmean(curve[-k:])
    top = fmean(train[-k:])
    numbers |= {"train accuracy": top, "late gain": _gain(curve, k)}
    if val:
        numbers |= {"val accuracy": end, "gap": top - end}
    # Decay itself brings a last small rise.
    least = 0.03 if _decayed(history) else 0.015
    # Training is less noisy.
    for name, rising in (("validation", val), ("training", train)):
        counts = rising is val or top - end < 0.5 * gap
        if rising and counts and _is_rising(rising, k, least):
            found["still rising"] = (f"the {name} accuracy rose by "
                                     f"{_gain(rising, k):.1%} over the last {2 * k} "
                                     f"epochs, to {fmean(rising[-k:]):.1%}")
            break
    if val and top - end > gap:
        found["overfitting"] = (f"{top:.1%} on the training set, {end:.1%} on the "
                                f"validation set: a gap of {100 * (top - end):.0f} "
                                "points")
    if max(top, end) < low and not found:
        on_val = f", {end:.1%} on the validation set" if val else ""
        found["underfitting"] = f"{top:.1%} on the training set{on_val}: alike, and low"
    return found


def _gain(curve: Sequence[float], k: int) -> float:
    """From the mean of k epochs to that of the last k, 2 k epochs later."""
    return fmean(curve[-k:]) - fmean(curve[-3 * k : -2 * k])


def _is_rising(curve: Sequence[float], k: int, least: float) -> bool:
    """Whether it gained `least`, more than its noise, and went on to the end."""
    noise = 2.5 * _spread(curve[-4 * k :]) * math.sqrt(2.0 / k)
    lately = fmean(curve[-k:]) - fmean(curve[-2 * k : -k])
    return _gain(curve, k) > max(least, noise) and lately > 0.25 * _gain(curve, k)


def _plateau(history: History, numbers: dict[str, float]) -> dict[str, str]:
    loss = history.steps["loss"]
    total = len(loss)
    part = max(3, total // 5)
    first = fmean(loss[:3])
    fifths = [fmean(loss[total - (i + 1) * part : total - i * part]) for i in (2, 1, 0)]
    fallen = first - fifths[-1]
    late = max(fifths) - min(fifths)
    error = _spread(loss[-part:]) / math.sqrt(part)
    numbers |= {"fall in all": fallen, "change in the last three fifths": late}
    is_flat = fallen > 0.05 * first and late < 0.03 * fallen + 2.0 * error
    if is_flat and not _decayed(history) and fifths[-1] > 0.15 * first:
        return {"plateau": f"the loss fell from {first:.3g} to {fifths[-1]:.3g}, and moved by only "
                           f"{late:.2g} in the last three fifths of the run, at a learning rate "
                           "that was not decayed"}
    return {}


def _still_falling(history: History, numbers: dict[str, float], gap: float
                   ) -> dict[str, str]:
    """Whether the loss of the steps goes on falling, although single epochs hide it.

    One epoch's accuracy jumps about; a fifth of all steps has a mean to rely on. Not
    where the rate was decayed, which brings a fall of its own, nor where training is
    far above validation.
    """
    loss = history.steps["loss"]
    part = len(loss) // 5
    if part < 10 or _decayed(history) or numbers.get("gap", 0.0) > 0.5 * gap:
        return {}
    early, middle, late = (fmean(loss[len(loss) - i * part :][:part]) for i in (3, 2, 1))
    error = 3.0 * _spread(loss[-part:]) / math.sqrt(part)
    fallen = numbers["fall in all"]
    lately = middle - late
    if early - middle > error and lately > error and early - late > 0.1 * fallen > 0.0 \
            and lately > 0.02 * fallen:
        return {"still rising": f"the loss was still falling, from {early:.3g} to {late:.3g} in "
                                "the last three fifths of the run"}
    return {}


def _decayed(history: History) -> bool:
    """Whether the run ended at a fifth of its highest learning rate, or less."""
    lr = history.steps.get("lr", [])
    return bool(lr) and lr[-1] < 0.2 * max(lr)


def _spread(values: Sequence[float]) -> float:
    """The noise of a curve: root mean square of its second differences, over sqrt(6).

    A straight line has none, and independent noise of standard deviation s gives s.
    """
    triples = zip(values, values[1:], values[2:], strict=False)
    second = [(a - 2.0 * b + c) ** 2 for a, b, c in triples]
    return math.sqrt(sum(second) / (6.0 * max(1, len(second))))
