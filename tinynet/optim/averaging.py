r"""Averages of the weights along the run, to test with or to go on from.

    EMA (D5, Polyak)    a <- decay a + (1 - decay) x      after every step
    SWA                 a <- a + (x - a) / n              n-th update; every epoch, say
    Lookahead           a <- a + alpha (x - a), x <- a    every k-th step; training goes on there

Late in training the weights jump around a minimum; their mean lies deeper in it.
BatchNorm's running statistics belong to the weights they were measured with: before
testing with an average, measure them anew (`train.recompute_batch_norm`;
`train/averaging.py` compares the choices).

Read next: `optim/muon.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

from ..backend import Array, out_of_memory, wide
from ..checks import check_choice, check_number, check_probability, check_whole
from .interrupts import held
from .parameters import named_tensors
from .states import check_entries, copied


class Average:
    """Base of `EMA` and `SWA`: the arrays ``averages[name]``, how to test with them.

    ``params`` are tensors or (name, tensor) pairs. ``n`` counts updates. Averages of
    float16 are kept in float32. Of integers and truth values (counters, masks) the
    newest are kept.
    """

    def __init__(self, params: Iterable[Any]) -> None:
        pairs = named_tensors(params)
        self.params = dict(pairs)
        if not pairs or len(self.params) < len(pairs):
            raise ValueError("params is empty, or two of them have the same name, and "
                             "averages are kept by name: "
                             f"{sorted(name for name, _ in pairs)}")
        self.averages = {name: _wide(p.data.copy()) for name, p in self.params.items()}
        self.n = 0

    def rule(self, a: Array, x: Array) -> Array:
        """The new average from the old one and the weights; `n` updates came before."""
        raise TypeError(f"{type(self).__name__} has no rule(self, a, x)")

    def update(self) -> None:
        """Take the weights into the average; if that fails, nothing has changed."""
        averages = {}
        for name, p in self.params.items():
            try:
                x = _wide(p.data.copy())
                if _has_mean(x):
                    x = self.rule(self.averages[name], x)
                averages[name] = x
            except MemoryError as error:
                raise out_of_memory(f"{type(self).__name__}.update", (p.data,), error) from None
        with held():
            self.averages = averages
            self.n += 1

    def result(self) -> dict[str, Array]:
        """The averaged weights by name (the arrays themselves, not copies)."""
        return self.averages

    def copy_to(self, params: Iterable[Any] | None = None) -> None:
        """Write the average into `params`, by name (default: the averaged tensors)."""
        targets = self.params if params is None else dict(named_tensors(params))
        averages = self.result()
        if missing := sorted(targets.keys() - averages.keys()):
            raise ValueError(f"there is no average of {missing}: names must be those "
                             "of the averaged parameters")
        with held():
            for name, p in targets.items():
                p.copy_(averages[name])

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, parameters hold the average; then their own values, bit for bit.

        >>> from tinynet import Tensor
        >>> w = Tensor([1.0]); ema = EMA([w], decay=0.5); _ = w.copy_(3.0); ema.update()
        >>> with ema.applied():
        ...     print(w)
        Tensor([2.])
        >>> w
        Tensor([3.])
        """
        own = {name: p.data.copy() for name, p in self.params.items()}
        with held() as signals:
            try:
                self.copy_to()
                with signals.released():
                    yield
            finally:
                for name, p in self.params.items():
                    p.copy_(own[name])

    def state_dict(self) -> dict[str, Any]:
        """``{"n": updates, "averages": {name: array}}``, copied."""
        return {"n": self.n, "averages": {name: a.copy() for name, a in self.averages.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned, by name."""
        check_entries("average", state, ("n", "averages"))
        saved = {(name, a.shape) for name, a in state["averages"].items()}
        own = {(name, a.shape) for name, a in self.averages.items()}
        if saved != own:
            raise ValueError("the state averages other parameters, or of other shapes: "
                             f"{sorted(saved ^ own)}")
        n = check_whole("n", state["n"], 0)
        averages = {}
        for name, a in self.averages.items():
            averages[name] = copied(f"the average of {name!r}", state["averages"][name], a)
        self.averages = averages
        self.n = n


def _has_mean(a: Array) -> bool:
    """A counter or a mask (integers, truth values) has none: its newest is kept."""
    return bool(a.dtype.kind == "f")


def _wide(x: Array) -> Array:
    """In float16 a step of an average is mostly lost in rounding."""
    return wide(x) if _has_mean(x) else x


class EMA(Average):
    r"""Exponential moving average (Polyak): a <- decay a + (1 - decay) x.

    start="copy": a begins as the weights at construction (PyTorch: at the first
    update).
    start="zero": a begins at 0 as on the slide; constant weights x give (1 - decay^n) x
    after n updates, .99335 x after 1000, half after 138. ``debias=True`` divides that
    factor out.
    """

    def __init__(self, params: Iterable[Any], decay: float = 0.995,
                 start: Literal["copy", "zero"] = "copy", debias: bool = False) -> None:
        check_number("decay", decay, below=1)  # it is the weight of the old average
        check_choice("start", start, ("copy", "zero"))
        if debias and start == "copy":
            raise ValueError("debias=True corrects a start at zero: use it with "
                             "start='zero'")
        super().__init__(params)
        self.decay = decay
        self.debias = debias
        if start == "zero":
            for a in filter(_has_mean, self.averages.values()):
                a[...] = 0

    def rule(self, a: Array, x: Array) -> Array:
        return self.decay * a + (1 - self.decay) * x

    def result(self) -> dict[str, Array]:
        """The averaged weights by name; with `debias`, divided by 1 - decay^n."""
        if not self.debias or self.n == 0:
            return self.averages
        weight = 1 - self.decay**self.n
        return {name: a / weight if _has_mean(a) else a for name, a in self.averages.items()}


class SWA(Average):
    r"""Stochastic weight averaging: the plain mean of the weights at every update.

    Call `update` once an epoch (or at the end of each learning-rate cycle) in the last
    quarter of a run, with a constant or cyclic learning rate. Before the first update
    it is the weights at construction. Source: Izmailov et al. 2018, "Averaging weights
    leads to wider optima".
    """

    def rule(self, a: Array, x: Array) -> Array:
        if self.n == 0:
            return x
        return a + (x - a) / (self.n + 1)


class Lookahead(Average):
    r"""Slow weights that follow the fast ones, which start anew from them every k steps.

        every k-th update:    a <- a + alpha (x - a),    x <- a

    Between, the optimizer runs ahead; what it finds is taken over in part. The averaged
    step is shorter along directions that swing, as long along those that persist.
    `alpha` is a number, or a schedule of the update's number (0 at the first): 1 keeps
    the fast weights. Call `update` after every step. The tensors are written, so at the
    end they are the result; `applied` is not needed.
    Source: Zhang et al. 2019, "Lookahead optimizer: k steps forward, 1 step back".

    >>> from tinynet import Tensor
    >>> w = Tensor([0.0]); slow = Lookahead([w], every=2, alpha=0.5)
    >>> for _ in range(2):
    ...     _ = w.copy_(w.numpy() + 1.0); slow.update()
    >>> w                                                # went to 2, came back half the way
    Tensor([1.])
    """

    def __init__(self, params: Iterable[Any], every: int = 5,
                 alpha: float | Callable[[float], float] = 0.5) -> None:
        self.every = check_whole("every", every, 1)
        if not callable(alpha):
            check_probability("alpha", alpha)
        super().__init__(params)
        self.alpha = alpha

    def rule(self, a: Array, x: Array) -> Array:
        alpha = self.alpha
        if callable(alpha):
            alpha = check_probability("alpha", alpha(self.n))
        return a + alpha * (x - a)

    def update(self) -> None:
        """Count a step; at every k-th take the weights in, and put the average in place."""
        if (self.n + 1) % self.every:
            self.n += 1
            return
        super().update()
        self.copy_to()
