r"""Training in float16: half the memory, and on a GPU the products of tensor cores.

    backward of scale * loss          gradients below 6e-8 would be 0 in float16
    g = float32(p.grad) / scale       if all are finite: update, in float32
    w <- rule(w, g),  p = float16(w)  w are float32 "master" weights: a step of 1e-4 w
                                      is lost in float16, which has 3 digits
    else: scale <- scale / 2          no update; after `every` updates scale <- 2 scale

Arrays are stored as float16; sums inside products, convolutions, normalisation and
losses are float32 or wider on a GPU (on NumPy float16 is slow, and of use for trying
out alone). A number is read back in every step: whether the gradients are finite. The
other way to faster products needs no change: with CUPY_TF32=1 in the environment CuPy
multiplies float32 matrices with 10 bits of mantissa. Source: Micikevicius et al. 2018,
"Mixed precision training", sections 3.1 and 3.2.

Read next: `data/__init__.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ..backend import out_of_memory, xp
from ..tensor import Tensor
from .interrupts import held
from .optimizer import Optimizer
from .parameters import named_tensors
from .states import check_entries, copied


class LossScale:
    """Updates float16 parameters by an optimizer of their float32 copies.

    ``params``: as for an optimizer, such as
    ``model.astype("float16").named_parameters()``.
    ``make``:   makes the optimizer, ``lambda params: Adam(params, lr=1e-3)``.
    ``scale``:  what the loss is multiplied by at first; a power of two rounds nothing.
    ``every``:  so many updates in a row double it.

    `optimizer` is the one that was made, `skipped` counts the steps without an update.

    >>> from tinynet.optim import SGD
    >>> w = Tensor([1.0], dtype="float16", requires_grad=True)
    >>> scaled = LossScale([w], lambda params: SGD(params, lr=0.5))
    >>> scaled.backward((w * w).sum()); scaled.step(), w
    (True, Tensor([0.], dtype=float16, requires_grad=True))
    """

    def __init__(self, params: Iterable[Any], make: Callable[[list[tuple[str, Tensor]]], Optimizer],
                 scale: float = 2.0**12, every: int = 500) -> None:
        if not 1.0 <= scale < np.inf:
            raise ValueError(f"scale must be at least 1 and finite, got {scale}")
        if every < 1:
            raise ValueError(f"every must be at least 1 update, got {every}")
        self.params = list(named_tensors(params))
        self.masters = [(name, Tensor(p.data.astype("float32"), requires_grad=True))
                        for name, p in self.params]
        self.optimizer = make(self.masters)
        self.scale = float(scale)
        self.every = every
        self.updates = 0  # in a row
        self.skipped = 0

    def backward(self, loss: Tensor) -> None:
        """Gradients of scale * loss, a product in float32, which does not overflow."""
        with np.errstate(over="ignore", invalid="ignore"):  # `step` will see
            (loss.astype("float32") * self.scale).backward()

    def step(self) -> bool:
        """Update the weights and forget the gradients; False if these were not finite.

        A step that fails has changed nothing: the gradients are still there.
        """
        with held():
            finite = [xp.isfinite(g.data).all() for g in self._unscaled()]
            good = not finite or bool(xp.stack(finite).all())
            if good:
                self.optimizer.step()
                for (_, p), (_, w) in zip(self.params, self.masters, strict=True):
                    p.copy_(w.data)
                self.updates += 1
                if self.updates % self.every == 0:
                    self.scale *= 2.0
            else:
                self.updates = 0
                self.skipped += 1
                self.scale = max(1.0, self.scale / 2)
            for _, p in self.params:
                p.grad = None
        return good

    def _unscaled(self) -> list[Tensor]:
        """Give the masters the gradients in float32, divided by the scale."""
        found = []
        for (_, p), (_, w) in zip(self.params, self.masters, strict=True):
            w.grad = None
            if p.grad is None:
                continue
            try:
                w.grad = Tensor(p.grad.data.astype("float32") / self.scale)
            except MemoryError as error:
                raise out_of_memory("LossScale.step", (p.data,), error) from None
            found.append(w.grad)
        return found

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's state, the float32 weights and the scale."""
        return {"optimizer": self.optimizer.state_dict(), "scale": self.scale,
                "updates": self.updates, "skipped": self.skipped,
                "masters": {name: w.data.copy() for name, w in self.masters}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        check_entries("LossScale", state, self.state_dict())
        copies = []
        for name, w in self.masters:
            saved = state["masters"].get(name)
            copies.append(copied(f"the master of {name!r}", saved, w.data))
        self.optimizer.load_state_dict(state["optimizer"])
        self.scale = float(state["scale"])
        self.updates = int(state["updates"])
        self.skipped = int(state["skipped"])
        for (_, w), (_, p), x in zip(self.masters, self.params, copies, strict=True):
            w.copy_(x)
            p.copy_(w.data)
