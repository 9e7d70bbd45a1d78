r"""Who made the first nan? The operation that was given finite numbers, and made it.

    with find_nonfinite():
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
    FloatingPointError: log in layer 'head.1' made 3 inf of finite numbers ...

A loss of nan says nothing about its origin: one operation overflowed, and all after it
carried it on, back into every weight. Inside `find_nonfinite` every recorded operation,
and every derivative in the backward pass, is looked at when it is made. That reads each
array on the host, so it is for a single step: `NanGuard` watches a run with one number
per step, and when that is not finite repeats the step under the detective, with the
same pictures and the same dropout masks, before the weights are spoilt.

Read next: `train/anatomy.py`.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import math
from collections import Counter
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
            inputs = _named(inspect.signature(compute), values)
            _check(what, inputs, result, self.passed_on)
        return result


def _named(signature: inspect.Signature, values: Iterable[Any]) -> dict[str, Any]:
    """Values by the names of their parameters; those of a variadic one are numbered."""
    names = [p.name for p in signature.parameters.values()
             if p.kind is not p.VAR_POSITIONAL]
    numbers = map(str, itertools.count(len(names)))
    return dict(zip(itertools.chain(names, numbers), values, strict=False))


def _check(what: str, inputs: Mapping[str, Any], output: Any, passed_on: list[str]
           ) -> None:
    """Raise if `output` has nan where no input has, or inf of finite inputs alone."""
    made = _odd(output)
    if not made:
        return
    given = _odd([*inputs.values()])
    report = "".join(f"\n  {name}: {_describe(x)}"
                     for name, x in [*inputs.items(), ("result", output)] if x is not None)
    if not given:
        raise FloatingPointError(f"{what} made {_first(made)} of finite "
                                 f"numbers{report}")
    if made["nan"] and not given["nan"]:
        raise FloatingPointError(
            f"{what} made {_first(made)} of numbers with inf among them{report}")
    if not passed_on:
        passed_on.append(f"{what} was given numbers that are not finite{report}")


def _first(counts: Counter[str]) -> str:
    kind = max(counts)  # of "inf" and "nan" the latter
    return f"{counts[kind]} {kind}"


def _odd(x: Any) -> Counter[str]:
    """How many nan and how many infinite numbers `x` holds; empty if none."""
    if isinstance(x, Tensor):
        x = x.data
    if isinstance(x, list | tuple):
        return sum(map(_odd, x), Counter())
    if not isinstance(x, float) and not (is_array(x) and x.dtype.kind == "f"):
        return Counter()
    # unary plus leaves out what was not found
    return +Counter(nan=int(xp.isnan(x).sum()), inf=int(xp.isinf(x).sum()))


def _describe(x: Any) -> str:
    if isinstance(x, Tensor):
        x = x.data
    if not is_array(x):
        return f"{x!r:.80}"
    text = f"{x.dtype} {tuple(x.shape)}"
    if x.dtype.kind != "f" or not x.size:
        return text
    finite = x[xp.isfinite(x)]
    if finite.size:
        text += f", from {float(finite.min()):.4g} to {float(finite.max()):.4g}"
    if odd := _odd(x):
        counts = [f"{count} {name}" for name, count in odd.items()]
        text += f", and {' and '.join(counts)} of {x.size}"
    return text


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
        gradients = [p.grad for p in trainer.model.parameters()]
        watched = [trainer.batch_loss.reshape(-1)]
        watched += [gradient.data for gradient in gradients if gradient is not None]
        if math.isfinite(float(global_norm(watched))):
            return
        if not _odd(watched):  # a norm that overflows is no nan yet
            return
        trainer.read_metrics()
        ratio = "not measured yet"
        if ratios := trainer.history.ratios.get("update_ratio"):
            ratio = f"{ratios[-1]:.1e}"
        raise FloatingPointError(
            f"step {trainer.step} (epoch {trainer.epoch + 1}), lr "
            f"{trainer.optimizer.lr:.4g}, last update ratio {ratio}: "
            f"{self._investigate(trainer)}")

    def _investigate(self, trainer: Run) -> str:
        images, labels = trainer.batch
        given = {"the inputs of the batch": images, "the labels of the batch": labels}
        for name, x in [*given.items(), *trainer.model.named_parameters()]:
            if _odd(x):
                return f"{name}: {_describe(x)}, before the first operation"
        set_noise_state(trainer.model, self._random)
        try:
            with find_nonfinite() as passed_on:
                trainer.optimizer.zero_grad()
                trainer.loss(trainer.model(images), labels).backward()
        except FloatingPointError as error:
            return str(error)
        if passed_on:
            return passed_on[0]
        return ("the gradients were not finite, and repeating the step gave finite "
                "ones: something in the model is random, and not from tinynet.random")
