r"""Newton's method: go to the minimum of the quadratic model (C2, C3).

    J(theta) ~ J(theta_0) + g'd + d'Hd / 2,      d = theta - theta_0 = -H^-1 g

There is no step size in it. Near a minimum the number of right digits doubles at each
step; the price is N^2 numbers for H and N^3 operations to solve with it (C4), hence
toys only. `NewtonCG` never builds H: it needs products H v alone, which cost about two
gradients each.

All second-order optimizers see the parameters as one flat vector and take a closure:
``optimizer.step(closure)`` makes up to `max_iter` iterations on the loss that the
closure returns, which must be the same function each time (the full batch, no dropout).

Read next: `optim/quasi_newton.py`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..backend import Array, out_of_memory, wide, xp
from ..checks import check_number, check_whole
from ..graph import enable_grad
from ..ops.shape import concatenate
from ..tensor import Tensor, grad
from .interrupts import held
from .line_search import LineSearch, Point, strong_wolfe
from .optimizer import Closure, Optimizer, Settings, graph_is_alive


class FlatOptimizer(Optimizer):
    """Base of the second-order optimizers: a flat vector, a direction, a step along it.

    All of them take these options. ``max_iter``: iterations in one `step`.
    ``line_search_fn``: "strong_wolfe", None (a step of length `lr`), or a function
    ``(phi, start, alpha) -> Point`` as in `line_search`. `step` ends early when
    ``max |g| <= tolerance_grad`` or when the search finds nothing lower. A trial point
    where the loss is not finite shrinks the step. With a search every iteration goes
    down, so the parameters are left at the lowest point accepted; without one, at the
    last. A `step` that fails or is interrupted leaves them and all it learned as they
    were. Parameters that are frozen when it is made stay out of the vector, which is
    float32 for weights in float16.

    Attributes: ``evaluations`` counts calls of the closure, ``iterations`` accepted
    steps; ``converged``: the last `step` ended at a gradient below `tolerance_grad`.
    """

    def __init__(self, params: Iterable[Any], lr: float = 1.0, *, max_iter: int = 20,
                 tolerance_grad: float = 1e-7,
                 line_search_fn: str | LineSearch | None = "strong_wolfe") -> None:
        super().__init__(params, lr)
        check_whole("max_iter", max_iter)
        check_number("tolerance_grad", tolerance_grad)
        if len(self.param_groups) > 1:
            raise ValueError(f"{self.kind} sees one long vector: it takes one "
                             f"parameter group, got {len(self.param_groups)}")
        if not (line_search_fn in ("strong_wolfe", None) or callable(line_search_fn)):
            raise ValueError(f"line_search_fn={line_search_fn!r}: choose "
                             "'strong_wolfe', None, or a function (phi, start, alpha) "
                             "-> Point")
        self.search = strong_wolfe if isinstance(line_search_fn, str) else line_search_fn
        self.max_iter = max_iter
        self.tolerance_grad = tolerance_grad
        params = self.param_groups[0]["params"]
        self.params: list[Tensor] = [p for p in params if p.requires_grad]
        self.evaluations = 0
        self.iterations = 0
        self.converged = False
        self._last: Point | None = None  # where the last step ended

    def check(self, h: Settings) -> None:
        super().check(h)
        if h.weight_decay or h.l1 or h.max_norm:
            raise ValueError(f"{self.kind} sees one long vector: penalties belong into "
                             "the loss")

    def direction(self, x: Array, g: Array, closure: Closure) -> Array:
        """The step to the minimum of the model at `x`, where the gradient is `g`."""
        raise TypeError(f"{self.kind} has no direction(self, x, g, closure)")

    def learn(self, s: Array, y: Array) -> None:
        """A step `s` changed the gradient by `y`: learn the curvature from that."""

    def forget(self) -> bool:
        """Drop what was learned; False if nothing was: -g was the direction already."""
        return False

    def first_alpha(self, g: Array) -> float:
        """The step length to try first."""
        return float(self.lr)

    def step(self, closure: Closure | None = None) -> Any:
        """Up to `max_iter` iterations; returns the loss before the first of them."""
        if closure is None:
            raise TypeError(f"{self.kind}.step needs a closure that computes the loss: "
                            "step(lambda: loss(model(x), y))")
        self._settings(self.param_groups[0])
        x = self._flat([p.data for p in self.params])
        before = dict(vars(self))
        with held() as signals:
            try:
                with signals.released():
                    return self._iterate(closure, x)
            except BaseException as error:
                if self.t == before["t"]:
                    vars(self).update(before)
                    self._write(x)
                if isinstance(error, MemoryError):
                    raise out_of_memory(f"{self.kind}.step", (x,), error) from None
                raise

    def _iterate(self, closure: Closure, x: Array) -> float:
        here = self._visit(closure, x)
        if self._last is not None and bool((self._last.x == here.x).all()):
            self._warn_if_changed(self._last, here)
        loss = here.value
        for _ in range(self.max_iter):
            self.converged = float(xp.abs(here.g).max()) <= self.tolerance_grad
            if self.converged or not math.isfinite(here.value):
                break
            there = self._advance(closure, here)
            if there is here:
                self._warn_if_changed(here, self._visit(closure, here.x))
                if self.forget():
                    continue
                break
            self.learn(there.x - here.x, there.g - here.g)
            here = there
            self.iterations += 1
        else:
            self.converged = float(xp.abs(here.g).max()) <= self.tolerance_grad
        with held():
            self._write(here.x)
            self._last = here
            self.t += 1
            self._tell_schedules()
        return loss

    def _advance(self, closure: Closure, here: Point) -> Point:
        """One step along the direction; `here` itself if it leads nowhere lower."""
        self._write(here.x)
        d = self.direction(here.x, here.g, closure)
        slope = float(here.g @ d)
        if self.search is not None and not slope < 0:
            return here
        start = here._replace(alpha=0.0, slope=slope)

        def phi(alpha: float) -> Point:
            return self._visit(closure, here.x + alpha * d, alpha, d)

        if self.search is not None:
            point = self.search(phi, start, self.first_alpha(here.g))
            return point if point.value < here.value else here
        alpha = self.lr
        for _ in range(20):
            point = phi(alpha)
            if math.isfinite(point.value) and math.isfinite(point.slope):
                return point
            alpha *= 0.1
        return here

    def _visit(self, closure: Closure, x: Array, alpha: float = 0.0,
               d: Array | None = None) -> Point:
        """Loss and gradient at `x`, and the slope along `d`."""
        self._write(x)
        if any(p.dtype != x.dtype for p in self.params):
            x = self._flat([p.data for p in self.params])  # as it was rounded
        self.evaluations += 1
        loss = self.evaluate(closure)
        if loss is None or all(p.grad is None for p in self.params):
            raise RuntimeError(f"{self.kind} got no loss or no gradient: its closure "
                               "must return the loss, computed from the parameters")
        grads = [p.grad for p in self.params]
        g = self._flat([xp.zeros_like(p.data) if grad is None else grad.data
                        for p, grad in zip(self.params, grads, strict=True)])
        slope = 0.0 if d is None else float(g @ d)
        return Point(alpha, float(loss), slope, x, g)

    def _warn_if_changed(self, here: Point, again: Point) -> None:
        """A loss that differs at the same weights is that of another batch."""
        before = here.value
        now = again.value
        if abs(now - before) > math.sqrt(np.finfo(here.x.dtype).eps) * (1e-3 + abs(before)):
            warnings.warn(
                f"the closure's loss was {before:.6g} and is now {now:.6g} at the same weights: "
                f"{self.kind} needs the same loss each time (the full batch, no "
                "dropout); on mini-batches use SGD or Adam", RuntimeWarning, stacklevel=3)

    def _flat(self, arrays: list[Array]) -> Array:
        try:
            return xp.concatenate([wide(a).reshape(-1) for a in arrays])
        except MemoryError as error:
            what = f"{self.kind}'s flat vector"
            raise out_of_memory(what, arrays, error) from None

    def _write(self, x: Array) -> None:
        """Put the flat vector back into the parameters."""
        place = 0
        for p in self.params:
            p.data[...] = x[place : place + p.size].reshape(p.shape)
            p.mark_changed()
            place += p.size

    def gradient_graph(self, closure: Closure) -> Tensor:
        """The flat gradient at the present weights, to be differentiated again."""
        self.evaluations += 1
        with enable_grad():
            loss = closure()
            if not graph_is_alive(loss):
                raise RuntimeError(f"{self.kind} differentiates the loss twice: its "
                                   "closure must return the loss and not call "
                                   "backward()")
            parts = grad(loss, self.params, create_graph=True, allow_unused=True)
            return concatenate([g.reshape(-1) for g in parts])

    def pull_back(self, gradient: Tensor, v: Array) -> Array:
        """d(gradient . v) / d weights = H v, flat; `gradient` of `gradient_graph`."""
        if gradient.node is None:  # a linear loss: its gradient is constant
            return xp.zeros_like(v)
        v = v.astype(gradient.dtype, copy=False)
        return self._flat([h.data for h in grad(gradient, self.params, v, allow_unused=True)])


class Newton(FlatOptimizer):
    r"""Newton's method with the explicit Hessian, for toys.

        H d = -g,   x <- x + lr d

    `damping` is added to H's diagonal. Where H is not positive definite, -H^-1 g leads
    to a saddle or up: then the eigenvalues are replaced by their absolute values
    (Dauphin et al. 2014, "saddle-free Newton"), and a RuntimeWarning says so;
    ``fallbacks`` counts these steps.
    Memory: N^2 numbers; time: N gradients of the gradient and N^3 operations.

    >>> x = Tensor([3.0, -1.0], requires_grad=True)
    >>> _ = Newton([x]).step(lambda: (Tensor([1.0, 100.0]) * x * x).sum() + x.sum())
    >>> x                                              # one step, whatever the valley
    Tensor([-0.5  , -0.005], requires_grad=True)
    """

    def __init__(self, params: Iterable[Any], lr: float = 1.0, *, damping: float = 0.0,
                 max_iter: int = 1, tolerance_grad: float = 0.0,
                 line_search_fn: str | LineSearch | None = None) -> None:
        super().__init__(params, lr, max_iter=max_iter, tolerance_grad=tolerance_grad,
                         line_search_fn=line_search_fn)
        self.damping = check_number("damping", damping)
        self.fallbacks = 0

    def hessian(self, closure: Closure) -> Array:
        """The symmetric (N, N) matrix of second derivatives at the present weights."""
        gradient = self.gradient_graph(closure)
        unit = xp.eye(gradient.size, dtype=gradient.dtype)
        h = xp.stack([self.pull_back(gradient, row) for row in unit])
        return (h + h.T) / 2

    def direction(self, x: Array, g: Array, closure: Closure) -> Array:
        h = self.hessian(closure) + self.damping * xp.eye(x.size, dtype=x.dtype)
        try:
            if bool(xp.isfinite(xp.linalg.cholesky(h)).all()):
                return xp.linalg.solve(h, -g)
        except np.linalg.LinAlgError:  # NumPy raises where CuPy fills in NaN
            pass
        self.fallbacks += 1
        warnings.warn("the Hessian is not positive definite: Newton replaces its "
                      "eigenvalues by their absolute "
                      "values", RuntimeWarning, stacklevel=4)
        values, vectors = xp.linalg.eigh(h)
        sizes = xp.abs(values)
        sizes = xp.maximum(sizes, 1e-6 * sizes.max())  # no step is 1e6 times too long
        sizes[sizes == 0] = 1.0  # a loss without any curvature: go along -g
        return -(vectors @ ((vectors.T @ g) / sizes))


class NewtonCG(FlatOptimizer):
    r"""Newton's method for nets: H d = -g by conjugate gradients on products H v.

    The products are gradients of the gradient, so H is never built: memory is a few
    vectors. Conjugate gradients stop when the residual is below min(.5, sqrt|g|) |g|,
    after `cg_iter` products, or at a direction of negative curvature, before which the
    model has no minimum.
    Source: Nocedal and Wright 2006, algorithm 7.1 (line search Newton-CG).
    """

    def __init__(self, params: Iterable[Any], lr: float = 1.0, *, cg_iter: int = 50,
                 **options: Any) -> None:
        super().__init__(params, lr, **options)
        self.cg_iter = check_whole("cg_iter", cg_iter)

    def direction(self, x: Array, g: Array, closure: Closure) -> Array:
        gradient = self.gradient_graph(closure)
        size = float(xp.sqrt(g @ g))
        d = xp.zeros_like(g)
        r = g  # H d + g, the residual
        p = -g
        rr = float(r @ r)
        for i in range(self.cg_iter):
            hp = self.pull_back(gradient, p)
            curvature = float(p @ hp)
            if curvature <= 0:
                return -g if i == 0 else d
            a = rr / curvature
            d = d + a * p
            r = r + a * hp
            before = rr
            rr = float(r @ r)
            if math.sqrt(rr) <= min(0.5, math.sqrt(size)) * size:
                break
            p = rr / before * p - r
        return d
