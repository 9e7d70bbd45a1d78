r"""The first-order optimizers of CS231n lecture 8, each rule written as on its slide.

x are the weights, g the gradient, rho the momentum ("friction"), v a velocity, s a sum
of squares; m and v in Adam are the leaky means of g and g^2. `compat` makes an
optimizer follow another framework where they differ (a table in `examples/README.md`
says where):

    "lecture"   eps = 1e-7, added to the root; slots start at 0; lr outside the velocity
    "torch"     PyTorch's eps, added to the root
    "keras"     eps = 1e-7 under the root (Adagrad, RMSprop) or before bias correction
                (Adam); Adagrad starts at 0.1; lr inside the velocity

eps only guards the division and is not tuned (A16). It matters where gradients are not
much larger than eps themselves: after a loss divided by a large number, say, or in
units that hardly ever fire.

Read next: `optim/clip.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Real
from typing import Any, Literal

from ..backend import Array, xp
from ..checks import check_number
from ..kernels import update
from ..tensor import Tensor
from .interrupts import held
from .optimizer import Arrays, Closure, Optimizer, Settings, Twin, check_below_1, setting
from .schedule import Schedule

Compat = Literal["lecture", "torch", "keras"]


def _choose(given: Any, compat: str, **choices: Any) -> Any:
    """What was given, else the choice for `compat`; an error that lists its names."""
    if compat not in choices:
        raise ValueError(f"compat={compat!r}: choose one of {', '.join(choices)}")
    if given is None:
        return choices[compat]
    return given


class SGD(Optimizer):
    r"""Stochastic gradient descent, with momentum or Nesterov momentum.

        x <- x - lr g                                       (1)
        v <- rho v + g,     x <- x - lr v                   (2)  momentum: PyTorch
        v <- rho v - lr g,  x <- x + v                      (3)  lr_inside: notes, Keras
        v as in (2),        x <- x - lr (g + rho v)         (4)  nesterov: PyTorch
        v as in (3),        x <- x - rho v_old + (1+rho) v  (5)  both: the slide

    Both forms make the same iterates while lr is constant. When it drops, lr outside
    slows down at once, lr inside only as fast as the old velocity dies. In forms 4 and
    5 the weights held are x~ = x + rho v, the look-ahead point of `Nesterov`.
    Stable on a curvature l for lr < 2/l (1), 2 (1+rho)/l (2), and
    2 (1+rho)/(l (1+2 rho)) (4).

    >>> from tinynet import Tensor
    >>> x = Tensor([1.0], requires_grad=True)
    >>> optimizer = SGD([x], lr=0.1, momentum=0.9)
    >>> for _ in range(2):
    ...     _ = optimizer.step(lambda: (x * x).sum())
    >>> x                                     # 1 - .2 = .8, then v = .9 * 2 + 1.6 = 3.4
    Tensor([0.46], requires_grad=True)
    """

    momentum = setting(check_below_1)
    nesterov = setting()
    lr_inside = setting()

    def __init__(self, params: Iterable[Any], lr: float | Schedule,
                 momentum: float = 0.0, *, nesterov: bool = False,
                 lr_inside: bool | None = None, compat: Compat = "lecture",
                 **common: Any) -> None:
        inside = _choose(lr_inside, compat, lecture=False, torch=False, keras=True)
        super().__init__(params, lr, momentum=momentum, nesterov=nesterov,
                         lr_inside=inside, **common)
        if nesterov and not self.slots:
            raise ValueError("nesterov=True needs momentum > 0, for example "
                             "momentum=0.9")

    @property
    def slots(self) -> tuple[str, ...]:  # type: ignore[override]
        """Without momentum nothing is kept."""
        for group in self.param_groups:
            if group["momentum"]:
                return ("v",)
        return ()

    def rule(self, h: Settings, x: Array, g: Array, v: Any = 0.0) -> Arrays:
        rho = h.momentum
        if h.lr_inside:
            v_old = v
            v = rho * v - h.lr * g
            if h.nesterov:
                return x - rho * v_old + (1 + rho) * v, v
            return x + v, v
        v = rho * v + g
        if h.nesterov:
            return x - h.lr * (g + rho * v), v
        return x - h.lr * v, v

    def in_place(self, h: Settings, x: Array, g: Array, v: Array | None = None) -> Twin:
        if h.lr_inside:
            return None
        return update.sgd(x, g, v, h.lr, h.momentum, h.nesterov, h.decay)


class Nesterov(Optimizer):
    r"""Nesterov momentum: the gradient is taken where the velocity leads.

        v <- rho v - lr grad f(x + rho v)
        x <- x + v

    `step` needs a closure, since it has to evaluate the loss at x + rho v. Between
    steps the weights are x, not the look-ahead point. ``SGD(nesterov=True)`` is the
    same after a change of variables, x~ = x + rho v, and needs no closure.
    """

    slots = ("v",)
    momentum = setting(check_below_1)

    def __init__(self, params: Iterable[Any], lr: float | Schedule,
                 momentum: float = 0.9, **common: Any) -> None:
        super().__init__(params, lr, momentum=momentum, **common)

    def rule(self, h: Settings, x: Array, g: Array, v: Array) -> Arrays:
        v = h.momentum * v - h.lr * g
        return x + v, v

    def step(self, closure: Closure | None = None) -> Any:
        """Look ahead, call `closure`, come back, update; returns the loss ahead."""
        if closure is None:
            raise TypeError("Nesterov.step needs a closure that computes the loss, "
                            "since it looks ahead: step(lambda: loss(model(x), y)); or "
                            "use SGD(nesterov=True)")
        for group in self.param_groups:
            self._settings(group)
        origins: list[tuple[Tensor, Array]] = []
        with held() as signals:
            try:
                self._look_ahead(origins)
                with signals.released():
                    loss = self.evaluate(closure)
            finally:
                for p, x in origins:
                    p.copy_(x)
        super().step()
        return loss

    def _look_ahead(self, origins: list[tuple[Tensor, Array]]) -> None:
        """x + rho v in place of x, which is kept in `origins`."""
        for group in self.param_groups:
            for name, p in zip(group["names"], group["params"], strict=True):
                v = self._state_of(name, p)["v"]
                try:
                    ahead = p.data + group["momentum"] * v
                    origins.append((p, p.data.copy()))
                except MemoryError as error:
                    raise self._out_of_memory([p.data], error) from None
                p.copy_(ahead)


class Adagrad(Optimizer):
    r"""A step size for each weight, smaller where gradients have been large.

        s <- s + g^2
        x <- x - lr g / (sqrt(s) + eps)

    At a constant gradient step t has length lr / sqrt(t): the steps fade, and it can
    stall.
    Source: Duchi, Hazan and Singer 2011, "Adaptive subgradient methods", equation 1.
    """

    slots = ("s",)
    eps = setting(check_number)
    compat = setting()
    initial_accumulator_value = setting(check_number)

    def __init__(self, params: Iterable[Any], lr: float | Schedule = 1e-2, *,
                 eps: float | None = None, initial_accumulator_value: float | None = None,
                 compat: Compat = "lecture", **common: Any) -> None:
        eps = _choose(eps, compat, lecture=1e-7, torch=1e-10, keras=1e-7)
        start = _choose(initial_accumulator_value, compat, lecture=0.0, torch=0.0, keras=0.1)
        super().__init__(params, lr, eps=eps, initial_accumulator_value=start,
                         compat=compat, **common)

    def start(self, slot: str) -> float:
        return float(self.initial_accumulator_value)

    def rule(self, h: Settings, x: Array, g: Array, s: Array) -> Arrays:
        s = s + g * g
        return x - h.lr * g / _root(s, h), s

    def in_place(self, h: Settings, x: Array, g: Array, s: Array) -> Twin:
        return update.squares(x, g, s, h.lr, (1.0, 1.0), h.eps, h.compat == "keras", h.decay)


class RMSprop(Optimizer):
    r"""Leaky AdaGrad: old squares are forgotten, so the steps do not fade.

        s <- alpha s + (1 - alpha) g^2
        x <- x - lr g / (sqrt(s) + eps)

    `alpha` is the lecture's decay rate, .9 or .99 (default .9; compat="torch" .99). s
    starts at 0, so the first step is 1/sqrt(1 - alpha) times lr: 3.16 (.9), 10 (.99).
    Source: Tieleman and Hinton 2012, lecture 6e.
    """

    slots = ("s",)
    alpha = setting(check_below_1)
    eps = setting(check_number)
    compat = setting()

    def __init__(self, params: Iterable[Any], lr: float | Schedule = 1e-2,
                 alpha: float | None = None, *, eps: float | None = None,
                 compat: Compat = "lecture", **common: Any) -> None:
        eps = _choose(eps, compat, lecture=1e-7, torch=1e-8, keras=1e-7)
        alpha = _choose(alpha, compat, lecture=0.9, torch=0.99, keras=0.9)
        super().__init__(params, lr, alpha=alpha, eps=eps, compat=compat, **common)

    def rule(self, h: Settings, x: Array, g: Array, s: Array) -> Arrays:
        s = h.alpha * s + (1 - h.alpha) * g * g
        return x - h.lr * g / _root(s, h), s

    def in_place(self, h: Settings, x: Array, g: Array, s: Array) -> Twin:
        shares = (h.alpha, 1 - h.alpha)
        return update.squares(x, g, s, h.lr, shares, h.eps, h.compat == "keras", h.decay)


def _root(s: Array, h: Settings) -> Array:
    """What a step is divided by: eps outside the root, or (Keras) inside."""
    if h.compat == "keras":
        return xp.sqrt(s + h.eps)
    return xp.sqrt(s) + h.eps


def check_betas(name: str, betas: Any) -> None:
    """Refuse what is not two numbers in [0, 1)."""
    pair = isinstance(betas, tuple | list) and len(betas) == 2
    if not pair or not all(isinstance(beta, Real) and 0 <= float(beta) < 1 for beta in betas):
        raise ValueError(f"{name} must be two numbers in [0, 1), got {betas!r}")


class Adam(Optimizer):
    r"""Momentum and RMSProp together, with bias correction.

        m <- b1 m + (1 - b1) g              v <- b2 v + (1 - b2) g^2
        m_hat = m / (1 - b1^t)              v_hat = v / (1 - b2^t)          t from 1
        x <- x - lr m_hat / (sqrt(v_hat) + eps)

    The first step has length lr whatever the gradient. ``bias_correction=False`` is the
    lecture's first version: m_hat = m, v_hat = v, whose first steps are 3 to 6.6
    times too long. The defaults are a good start for most problems.
    `weight_decay` here adds to g, where the root divides it away for weights with large
    gradients: `AdamW` decays all alike.
    t counts the updates of each parameter, which differs from the optimizer's only for
    parameters that got no gradient in some steps.
    Source: Kingma and Ba 2015, algorithm 1; "keras" is its section 2's reordering
    (eps-hat).

    >>> from tinynet import Tensor
    >>> x = Tensor([1.0, -100.0], requires_grad=True)
    >>> (x * x).sum().backward(); Adam([x], lr=0.01).step(); x
    Tensor([  0.99, -99.99], requires_grad=True)
    """

    slots = ("m", "v")
    betas = setting(check_betas)
    eps = setting(check_number)
    bias_correction = setting()
    compat = setting()

    def __init__(self, params: Iterable[Any], lr: float | Schedule = 1e-3,
                 betas: tuple[float, float] = (0.9, 0.999), *, eps: float | None = None,
                 bias_correction: bool = True, compat: Compat = "lecture",
                 **common: Any) -> None:
        eps = _choose(eps, compat, lecture=1e-7, torch=1e-8, keras=1e-7)
        super().__init__(params, lr, betas=betas, eps=eps,
                         bias_correction=bias_correction, compat=compat, **common)

    def rule(self, h: Settings, x: Array, g: Array, m: Array, v: Array) -> Arrays:
        b1, b2 = h.betas
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        c1, c2 = corrections(h)  # 1 - b1^t and 1 - b2^t
        m_hat = m / c1
        v_hat = v / c2
        return x - h.lr * m_hat / (xp.sqrt(v_hat) + eps_hat(h)), m, v

    def in_place(self, h: Settings, x: Array, g: Array, m: Array, v: Array) -> Twin:
        c1, c2 = corrections(h)
        root = math.sqrt(c2)  # m_hat / (sqrt(v_hat) + eps), both multiplied by it
        return update.adam(x, g, m, v, h.lr / c1 * root, h.betas, eps_hat(h) * root, h.decay)


def corrections(h: Settings) -> tuple[float, float]:
    """1 - b1^t and 1 - b2^t: what m and v still lack, having started at 0."""
    if not h.bias_correction:
        return 1.0, 1.0
    b1, b2 = h.betas
    return 1 - b1**h.t, 1 - b2**h.t


def eps_hat(h: Settings) -> float:
    """eps; in Keras's order of operations it is added before the correction of v."""
    if h.compat == "keras":
        return float(h.eps / math.sqrt(corrections(h)[1]))
    return float(h.eps)


class AdamW(Adam):
    r"""Adam with decoupled weight decay: x <- x - lr weight_decay x, apart from g.

    So every weight decays at the same rate, which an L2 term in g does not do under
    Adam.
    Source: Loshchilov and Hutter 2019, "Decoupled weight decay regularization",
    algorithm 2 (with decay multiplied by lr, as in PyTorch and Keras).
    """

    def __init__(self, params: Iterable[Any], lr: float | Schedule = 1e-3,
                 betas: tuple[float, float] = (0.9, 0.999), *, weight_decay: float = 1e-2,
                 **options: Any) -> None:
        if not options.setdefault("decoupled", True):
            raise ValueError("AdamW is the decoupled one: for an L2 term in the "
                             "gradient use Adam")
        super().__init__(params, lr, betas, weight_decay=weight_decay, **options)
