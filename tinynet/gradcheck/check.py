r"""Are the gradients right? Compare them with differences of the function itself.

    analytic   v . grad s                            what `backward` computes, along a direction v
    numeric    (s(x + h v) - s(x - h v)) / 2h        where s = sum(c f); c and v are random

Both are numbers, so one comparison looks at all elements of all inputs and outputs at
once, and v and c are random, so a wrong element cannot hide. Order 2 does the same to
the gradient, as a function of the inputs and of c; and so on. If they differ, halving
the direction again and again finds the element. Numbers are float64.

Three things are told from an error: a kink, where differences are wrong and not the
gradient; a slope too small to rise above the rounding of f; and what a smaller step
settles. The report says which.

Read next: `gradcheck/level.py`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .. import random
from ..backend import asarray
from ..graph import enable_grad
from ..ops.shape import concatenate, reshape
from ..tensor import Tensor
from . import kinks
from .level import Level, Settings, length
from .report import Comparison, GradcheckError, Report

_MOST_KINKS = 100  # elements on a kink that are looked at before giving up


@enable_grad()
def gradcheck(f: Callable[..., Any], *inputs: Any, order: int = 1, directions: int = 2,
              elementwise: bool | int = False, check: bool = True, names: Sequence[str] = (),
              **settings: Any) -> Report:
    """Compare the gradients of ``f(*inputs)``, of every order up to `order`, with differences.

    The floats among `inputs` (numbers, arrays, tensors) are converted to float64 and
    differentiated; other inputs are handed on. `f` returns a tensor, or a tuple of
    which the tensors count. The library's random numbers are the same in every
    evaluation, so dropout may be inside; anything else that changes from call to call
    is refused.

    Each order is compared along `directions` random directions, or with `elementwise`
    for every element (a number: for so many elements of each input). What fails raises
    `GradcheckError`, or with ``check=False`` makes the report false. Settings, by name:

    eps         1e-4   the step; smaller ones follow if it disagrees
    tolerance   1e-6   a relative error up to this passes
    seed        0      of the random directions

    >>> from tinynet import exp, primitive
    >>> gradcheck(exp, [0.5, -1.0], order=2).worst.band
    'good'
    >>> cube = primitive(lambda g, x: 2 * g * x * x)(lambda x: x * x * x)
    >>> print(gradcheck(lambda x: cube(x).sum(), [1.0, 2.0], check=False).worst)
    order 1, input 0 (x), index (1,): analytic 8, numeric 12, relative error 3.3e-01: wrong
    """
    before = random.get_state()
    report = Report()
    try:
        level = _first_level(f, inputs, names, _settings(settings, before))
        level.refuse_nondeterminism()
        for k in range(1, order + 1):
            if k > 1:
                plain = level.gradient(level.cotangent())
                level = level.derivative()
                report.append(level.same_as(plain))
            report += _elements(level, elementwise) if elementwise else _along(level, directions)
            if not report:  # the next order would build on what is wrong already
                break
    finally:
        random.set_state(before)
    if check and not report:
        raise GradcheckError(repr(report))
    return report


def gradcheck_module(model: Any, *inputs: Any, loss: Callable[[Any], Any] | None = None,
                     **options: Any) -> Report:
    """`gradcheck` of a network: its float inputs and all its trainable parameters, by name.

    The parameters and buffers are float64 during the check, and as before afterwards;
    running statistics do not move. `loss` is applied to the output; `options` are those
    of `gradcheck`.

    >>> from tinynet import nn
    >>> bool(gradcheck_module(nn.Linear(3, 2), [[1.0, 2.0, 3.0]], order=2))
    True
    """
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    tensors = [*parameters.values(), *(b for _, b in model.named_buffers())]
    before = [(t, t.data, t.node) for t in tensors]

    def f(*values: Any) -> Any:
        for t, data, _ in before:
            t.data = data.astype(float) if data.dtype.kind == "f" else data.copy()
        for p, value in zip(parameters.values(), values[len(inputs) :], strict=True):
            p.data, p.node = value.data, value.node
        y = model(*values[: len(inputs)])
        return y if loss is None else loss(y)

    names = [*(f"input {i}" for i in range(len(inputs))), *parameters]
    try:
        return gradcheck(f, *inputs, *(p.data for p in parameters.values()), names=names, **options)
    finally:
        for t, data, node in before:
            t.data, t.node = data, node


def _along(level: Level, directions: int) -> Iterator[Comparison]:
    """Random directions; what differs is traced to an element."""
    for d in range(directions):
        yield _with_hint(_along_one(level, d))


def _along_one(level: Level, d: int) -> Comparison:
    c = level.cotangent(d)
    v = level.draw(level.x.shape, d, 1)
    gradient = level.gradient(c)
    note = ""
    for _ in range(_MOST_KINKS):
        found = level.compare(f"random direction {d}", v / length(v), c, gradient)
        if found.passed:
            return found._replace(note=found.note or note)
        places, note = kinks.locate(level, v, c, gradient)
        if not note:
            if len(places) != 1:
                return found
            found = kinks.element(level, int(places[0]), c, gradient)
            if not found.passed:
                return found
            note = found.note
        v[places] = 0.0  # go on without these
    return found._replace(passed=False, note=(
        f"more than {_MOST_KINKS} elements sit exactly on a kink, or no step can show "
        "whether their gradient is right: move the inputs away, for example by adding "
        "small random numbers"))


def _elements(level: Level, wanted: bool | int) -> Iterator[Comparison]:
    """Every element, or `wanted` random ones of each input."""
    c = level.cotangent()
    gradient = level.gradient(c)
    start = 0
    for k, part in enumerate(level.point):
        key = random.key(level.settings.seed, "places", level.order, k)
        places = random.permutation(key, part.size).tolist()
        for place in sorted(places if wanted is True else places[:wanted]):
            yield _with_hint(kinks.element(level, start + place, c, gradient, alone=True))
        start += part.size


def _with_hint(found: Comparison) -> Comparison:
    if found.passed or found.note:
        return found
    return found._replace(note=kinks.hint(found))


# What it is given

def _settings(given: dict[str, Any], random_state: dict[str, int]) -> Settings:
    known = [name for name in Settings._fields if name != "random_state"]
    for name in given:
        if name not in known:
            raise TypeError(f"gradcheck has no option {name!r}: there are order, "
                            "directions, elementwise, check, names, "
                            f"{', '.join(known)}")
    return Settings(random_state, **given)


def _is_float(x: Any) -> bool:
    dtype = getattr(x, "dtype", None)
    return bool((asarray(x).dtype if dtype is None else dtype).kind == "f")


def _first_level(f: Callable[..., Any], inputs: Sequence[Any], names: Sequence[str],
                 settings: Settings) -> Level:
    """The function of its float inputs alone, and its point."""
    floats = [i for i, x in enumerate(inputs) if _is_float(x)]
    if not floats:
        raise TypeError("gradcheck needs an input of floats to differentiate, got "
                        + (", ".join(type(x).__name__ for x in inputs) or "no input"))

    def of_floats(*values: Tensor) -> Tensor:
        args = list(inputs)
        for i, value in zip(floats, values, strict=True):
            args[i] = value
        return _checked_output(f(*args))

    names = names or _names(f, len(inputs))
    point = [Tensor(inputs[i], dtype=float).numpy() for i in floats]
    return Level(1, of_floats, point, [names[i] for i in floats], settings)


def _names(f: Callable[..., Any], count: int) -> list[str]:
    """The inputs by number, and by name as far as f has names for them."""
    try:
        found = [p.name for p in inspect.signature(f).parameters.values()
                 if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    except (TypeError, ValueError):  # some built-in callables have no signature
        found = []
    names = [f"input {i}" for i in range(count)]
    for i, name in enumerate(found[:count]):
        names[i] += f" ({name})"
    return names


def _checked_output(y: Any) -> Tensor:
    """The output, or the tensors of a tuple in a row; float64, or else an error that says why."""
    if isinstance(y, tuple | list) and any(isinstance(part, Tensor) for part in y):
        y = concatenate([reshape(part, (-1,)) for part in y if isinstance(part, Tensor)])
    if not isinstance(y, Tensor):
        raise TypeError(f"gradcheck: f returned {type(y).__name__}, and nothing "
                        "differentiates that: it must return a Tensor (was .data or "
                        ".item() used?)")
    if y.dtype != float:
        raise TypeError(f"gradcheck: f returned {y.dtype}, although its inputs are "
                        "float64: differences need float64, so nothing inside f may "
                        f"convert to {y.dtype} (x.astype, or a tensor made with that "
                        "dtype)")
    checked: Tensor = y
    return checked
