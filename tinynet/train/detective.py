r"""Who made the first nan? The first operation that turned finite numbers into
something else.

    with find_nonfinite():
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
    FloatingPointError: log in layer 'head.1' made 3 inf of finite numbers ...

A loss of nan says nothing about its origin: one operation overflowed, and all after it
carried it on, back into every weight. Inside `find_nonfinite` every recorded operation,
and every derivative in the backward pass, is looked at when it is made. That reads each
array on the host, so it is for a single step: `NanGuard` watches a run with one number
per step, and when that is not finite repeats the step under the detective, with the
same pictures and the same dropout masks, before the weights are spoilt. Read next:
`recipe.py`.
"""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..backend import Array, is_array, xp
from ..graph import Node, Watcher, watching
from ..nn.module import layer_in_call
from ..nn.noise import noise_state, set_noise_state
from ..operation import hand_out
from ..optim.clip import global_norm
from ..tensor import Tensor
from .callbacks import Callback, Run


@contextlib.contextmanager
def find_nonfinite() -> Iterator[list[str]]:
    """Inside, the first operation that makes nan or inf of finite numbers raises.

    FloatingPointError names the operation, or the backward pass of one, its layer, and
    the ranges of what went in and came out; its traceback leads to the line that called
    it. An operation that only passes on what a constant brought in (a mask of -inf,
    say) does not raise; the first such is described in the list that ``with
    find_nonfinite() as passed_on`` gives. Slow; for all threads at once; operations
    without a gradient are not seen.

    >>> x = Tensor([4.0, 0.0], requires_grad=True)
    >>> with find_nonfinite():
    ...     x.sqrt().sum().backward()
    Traceback (most recent call last):
    FloatingPointError: the backward pass of sqrt made 1 inf of finite numbers
      ...
    """
    detective = _Detective()
    with watching(detective), np.errstate(all="ignore"):  # instead of NumPy's warnings
        yield detective.passed_on


class _Detective(Watcher):
    """Checks what each operation, and each derivative, makes of what it is given."""

    def __init__(self) -> None:
        self.passed_on: list[str] = []
        self._names: dict[Node, str] = {}  # operation and layer of each node

    def made(self, node: Node, y: Array, args: Sequence[Any]) -> None:
        what = node.operation.name.strip("_")
        if layer := layer_in_call():
            what += f" in layer {layer[0]!r} ({type(layer[1]).__name__})"
        self._names[node] = what
        _check(what, _named(node.operation.signature, args), y, self.passed_on)

    def pull(self, node: Node, compute: Callable[..., Any], *values: Any) -> Any:
        result = compute(*values)
        what = f"the backward pass of {self._names.get(node, node.operation.name)}"
        if compute == node.operation.pullbacks:
            if node.vjps is None:  # a fused operation: these are its gradients
                _, raw, _ = node.saved
                inputs = {"g": values[0], **_named(node.operation.signature, raw)}
                for (gradient,) in result[1]:
                    _check(what, inputs, gradient, self.passed_on)
        elif compute is not hand_out:
            _check(what, _named(inspect.signature(compute), values), result, self.passed_on)
        return result


def _named(signature: inspect.Signature, values: Iterable[Any]) -> dict[str, Any]:
    """Values by the names of the parameters they are for; those of a variadic one are numbered."""
    names = [p.name for p in signature.parameters.values() if p.kind is not p.VAR_POSITIONAL]
    return {names[i] if i < len(names) else str(i): x for i, x in enumerate(values)}


def _check(what: str, inputs: Mapping[str, Any], output: Any, passed_on: list[str]) -> None:
    """Raise if `output` has nan where no input has, or inf where all inputs are finite."""
    nan, inf = _odd(output)
    if not nan and not inf:
        return
    counts = [_odd(x) for x in inputs.values()]
    nan_in, inf_in = sum(n for n, _ in counts), sum(i for _, i in counts)
    report = "".join(f"\n  {name}: {_describe(x)}" for name, x in inputs.items()
                     if x is not None) + f"\n  result: {_describe(output)}"
    if not nan_in and (nan or not inf_in):
        made = f"{nan} nan" if nan else f"{inf} inf"
        source = "numbers with inf among them" if inf_in else "finite numbers"
        raise FloatingPointError(f"{what} made {made} of {source}{report}")
    if not passed_on:
        passed_on.append(f"{what} was given numbers that are not finite{report}")


def _data(x: Any) -> Any:
    return x.data if isinstance(x, Tensor) else x


def _odd(x: Any) -> tuple[int, int]:
    """How many nan and how many infinite numbers `x` holds."""
    x = _data(x)
    if isinstance(x, float):
        return int(math.isnan(x)), int(math.isinf(x))
    if isinstance(x, list | tuple):
        counts = [_odd(item) for item in x]
        return sum(n for n, _ in counts), sum(i for _, i in counts)
    if not is_array(x) or x.dtype.kind != "f":
        return 0, 0
    return int(xp.isnan(x).sum()), int(xp.isinf(x).sum())


def _describe(x: Any) -> str:
    x = _data(x)
    if not is_array(x):
        return f"{x!r:.80}"
    text = f"{x.dtype} {tuple(x.shape)}"
    if x.dtype.kind != "f" or not x.size:
        return text
    nan, inf = _odd(x)
    finite = x[xp.isfinite(x)]
    if finite.size:
        text += f", from {float(finite.min()):.4g} to {float(finite.max()):.4g}"
    odd = [f"{n} {name}" for n, name in ((nan, "nan"), (inf, "inf")) if n]
    return text + (f", and {' and '.join(odd)} of {x.size}" if odd else "")


class NanGuard(Callback):
    """Before each update: are the loss and all gradients finite? If not, who made it?

    FloatingPointError then ends the run, with the weights as they were before the bad
    step: it names the first operation, its layer and the ranges of its inputs (or the
    parameter, or the pictures, that were not finite to begin with), the learning rate
    and the last update ratio. Reads one number per step on the host: little on a CPU,
    on a GPU it waits for the device.
    """

    def __init__(self) -> None:
        self._random: dict[str, Any] = {}

    def on_start(self, trainer: Run) -> None:
        """Note the state of the generators that the first step begins with."""
        self.at_rest(trainer)

    def at_rest(self, trainer: Run) -> None:
        """Note the state of the generators that the next step begins with."""
        self._random = noise_state(trainer.model)

    def before_update(self, trainer: Run) -> None:
        """Check; repeat the step under the detective if need be."""
        watched = [trainer.batch_loss.reshape(-1)]
        watched += [p.grad.data for p in trainer.model.parameters() if p.grad is not None]
        if math.isfinite(float(global_norm(watched))) or not any(any(_odd(x)) for x in watched):
            return  # a norm that overflows is no nan yet
        trainer.read_metrics()
        ratios = trainer.history.ratios.get("update_ratio", [])
        ratio = f"{ratios[-1]:.1e}" if ratios else "not measured yet"
        raise FloatingPointError(f"step {trainer.step} (epoch {trainer.epoch + 1}), "
                                 f"lr {trainer.optimizer.lr:.4g}, last update ratio {ratio}: "
                                 f"{self._investigate(trainer)}")

    def _investigate(self, trainer: Run) -> str:
        images, labels = trainer.batch
        for name, x in (("the pictures of the batch", images), ("the labels of the batch", labels),
                        *trainer.model.named_parameters()):
            if any(_odd(x)):
                return f"{name}: {_describe(x)}, before the first operation"
        set_noise_state(trainer.model, self._random)
        try:
            with find_nonfinite() as passed_on:
                trainer.optimizer.zero_grad()
                trainer.loss(trainer.model(images), labels).backward()
        except FloatingPointError as error:
            return str(error)
        return passed_on[0] if passed_on else (
            "the gradients were not finite, and repeating the step gave finite ones: something in "
            "the model is random, and not from tinynet.random")
