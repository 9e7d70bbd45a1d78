r"""What all optimizers share; what differs is one `rule` of a few lines, as on the slide.

    class Adam(Optimizer):
        slots = ("m", "v")                     # arrays kept for each parameter, zeros at the start
        def rule(self, x, g, m, v): ...        # pure: returns the new x, m, v

`step` does for every parameter that has a gradient, in this order:

    g = clip(g)                                clip_value, then clip_norm (one norm for all)
    g = g + weight_decay * x + l1 * sign(x)    of the penalties weight_decay/2 |x|^2 (with 1/2: L2)
                                               and l1 sum |x|; both: the elastic net
    x = x * (1 - lr * weight_decay)            instead of the L2 term, if `decoupled` (AdamW)
    x, *slots = rule(x, g, *slots)
    x = x * min(1, max_norm / |x_i|)           row by row (one row: the weights of one unit)

Inside a rule, ``self.lr``, ``self.momentum`` and so on are the settings of the parameter's group,
and ``self.count`` says which update of this parameter it is (1 at its first: the lecture's t).
Read next: `first_order.py`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import Any

from ..backend import Array, asarray, xp
from ..graph import enable_grad
from ..kernels import update
from ..tensor import Tensor
from .clip import clipped_by_norm
from .parameters import make_groups
from .schedule import Schedule

Closure = Callable[[], Any]

# What a setting may be, in words and as a test.
_SETTINGS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(("weight_decay", "l1", "eps", "initial_accumulator_value", "damping",
                     "tolerance_grad"), ("a number >= 0", lambda v: _lies(v, 0))),
    **dict.fromkeys(("momentum", "alpha"), ("a number in [0, 1)", lambda v: _lies(v, 0, 1))),
    **dict.fromkeys(("max_norm", "clip_norm", "clip_value"),
                    ("a number > 0 or None", lambda v: v is None or (_lies(v, 0) and v > 0))),
    **dict.fromkeys(("max_iter", "cg_iter", "history_size"),
                    ("a whole number >= 1", lambda v: isinstance(v, Integral) and int(v) >= 1)),
    "lr": ("a number >= 0 or a schedule", lambda v: callable(v) or _lies(v, 0)),
    "betas": ("two numbers in [0, 1)", lambda v: isinstance(v, tuple | list) and len(v) == 2
              and all(_lies(b, 0, 1) for b in v)),
}
_NO_OPTIONS = ("self", "params", "common", "options", "settings")


def _lies(value: Any, low: float, high: float = math.inf) -> bool:
    return isinstance(value, Real) and low <= float(value) < high


def check_settings(**settings: Any) -> None:
    """Refuse a setting outside its range, by name and value."""
    for name, value in settings.items():
        wanted, good = _SETTINGS.get(name, ("", lambda v: True))
        if not good(value):
            raise ValueError(f"{name} must be {wanted}, got {value!r}")


def _check_known(kind: type[Optimizer], settings: Mapping[str, Any]) -> None:
    """Refuse an option that no __init__ of the class names: misspelled, it would do nothing.

    A class without an __init__ of its own takes any settings, for its rule.
    """
    makers = [c for c in kind.__mro__ if "__init__" in vars(c) and c is not object]
    if makers[0] is Optimizer:
        return
    known = [name for c in makers for name in inspect.signature(vars(c)["__init__"]).parameters
             if name not in _NO_OPTIONS]
    if unknown := sorted(settings.keys() - set(known)):
        raise TypeError(f"{kind.__name__} has no option {unknown[0]!r}: it has "
                        f"{', '.join(dict.fromkeys(known))}")


class Optimizer:
    """Base of all optimizers: groups, penalties, clipping, write-back and state.

    ``params``: tensors, (name, tensor) pairs such as ``model.named_parameters()``, or groups:
    dicts with "params" and settings of their own, ``{"params": [...], "lr": 0.01}``.
    ``lr``: a number, or a `schedule` that is called with the step (0 at the first).
    ``weight_decay`` acts on every parameter it is given; `param_groups` leaves biases out.
    ``fused=False`` always computes by the plain rule (the fused twin gives the same numbers).

    Attributes: ``t`` counts finished steps; ``lr`` is the learning rate that the next `step` will
    use (while one runs: the one in use), of the first group if there are several; read it *before*
    `step` to log the value a step used. ``state[name][slot]`` are the arrays behind a parameter.
    Setting ``lr``, ``momentum`` ... sets it in all groups, ``param_groups[k]["lr"] = 0.1`` in one.

    >>> class Sign(Optimizer):
    ...     def rule(self, x, g):
    ...         return (x - self.lr * xp.sign(g),)
    >>> w = Tensor([1.0, -1.0], requires_grad=True)
    >>> (w * w).sum().backward(); Sign([w], lr=0.25).step(); w
    Tensor([ 0.75, -0.75], requires_grad=True)
    """

    slots: tuple[str, ...] = ()
    lr: float

    def __init__(self, params: Iterable[Any], lr: float | Schedule, *, weight_decay: float = 0.0,
                 decoupled: bool = False, l1: float = 0.0, max_norm: float | None = None,
                 clip_norm: float | None = None, clip_value: float | None = None,
                 fused: bool = True, **settings: Any) -> None:
        _check_known(type(self), settings)
        settings |= {"lr": lr, "weight_decay": weight_decay, "decoupled": decoupled, "l1": l1,
                     "max_norm": max_norm}
        self.param_groups = make_groups(params, settings)
        for group in self.param_groups:
            check_settings(**group)
        check_settings(clip_norm=clip_norm, clip_value=clip_value)
        self.clip_norm, self.clip_value, self.fused = clip_norm, clip_value, fused
        self.state: dict[str, dict[str, Any]] = {}
        self.t = 0
        self.count = 0
        self._in_hand: dict[str, Any] = {}  # settings of the group that `step` is at

    def rule(self, x: Array, g: Array, *slots: Array) -> tuple[Array, ...]:
        """The lecture's lines: new x and new slots from x, its gradient g and the slots."""
        raise TypeError(f"{type(self).__name__} has no rule(self, x, g, ...)")

    def in_place(self, x: Array, g: Array, weight_decay: float,
                 *slots: Array) -> update.Update | None:
        """The fused twin: what will overwrite x and slots as the L2 term and `rule` would.

        All arrays have one dtype. None: there is no twin for these arrays and settings.
        """
        return None

    def start(self, slot: str) -> float:
        """What `slot` is filled with before a parameter's first update."""
        return 0.0

    def __getattr__(self, name: str) -> Any:
        """A setting (lr, momentum ...) of the group in hand; outside `step`, of the first."""
        try:
            return vars(self)["_in_hand"][name]
        except KeyError:
            groups = vars(self).get("param_groups")
            if not groups or name not in groups[0]:
                raise AttributeError(f"{type(self).__name__} has no attribute {name!r}") from None
            return self._setting(groups[0], name)

    def __setattr__(self, name: str, value: Any) -> None:
        """A setting is set in all groups; whatever the object or its class has, as always."""
        groups = vars(self).get("param_groups")
        if (not groups or name not in groups[0] or name in ("params", "names")
                or name in vars(self) or hasattr(type(self), name)):
            return object.__setattr__(self, name, value)
        check_settings(**{name: value})
        for group in groups:
            group[name] = value
        if self._in_hand:
            self._in_hand[name] = self._setting(groups[0], name)
        return None

    def _setting(self, group: Mapping[str, Any], name: str) -> Any:
        """A setting of a group; of a schedule, what it says for the next step."""
        value = group[name]
        if name != "lr":
            return value
        return float(value(self.t) if callable(value) else value)

    # One step

    def step(self, closure: Closure | None = None) -> Any:
        """Update every parameter that has a gradient; returns what `closure` returned.

        `closure` computes the loss and returns it. It may call ``zero_grad()`` and
        ``loss.backward()`` itself, as in PyTorch; if it does not, `step` does.
        """
        loss = None if closure is None else self.evaluate(closure)
        work = [[(name, p) for name, p in zip(group["names"], group["params"], strict=True)
                 if p.grad is not None] for group in self.param_groups]
        if not any(work):
            raise RuntimeError("no parameter has a gradient: call loss.backward() before step(), "
                               "with a loss computed from these parameters")
        gradients = iter(self._clipped([p.grad.data for of in work for _, p in of]))
        fused: list[update.Update] = []
        try:
            for group, of in zip(self.param_groups, work, strict=True):
                self._in_hand = {**group, "lr": self._setting(group, "lr")}
                fused += filter(None, [self._update(name, p, next(gradients)) for name, p in of])
        finally:
            self._in_hand = {}
        update.run(fused)
        for group, of in zip(self.param_groups, work, strict=True):
            for _, p in of:
                if group["max_norm"] is not None and p.ndim > 1:
                    p.data[...] = _rows_at_most(p.data, group["max_norm"])
                p.mark_changed()
        self.t += 1
        return loss

    def evaluate(self, closure: Closure) -> Any:
        """Run `closure`; afterwards every ``.grad`` is the gradient of the loss it returns."""
        with enable_grad():
            loss = closure()
            if graph_is_alive(loss):
                self.zero_grad()
                loss.backward()
        return loss

    def zero_grad(self) -> None:
        """Forget all gradients (``.grad`` becomes None), so that `backward` starts afresh."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad = None

    def _clipped(self, gradients: list[Array]) -> list[Array]:
        if self.clip_value is not None:
            c = self.clip_value
            gradients = [xp.clip(g, -c, c) for g in gradients]
        if self.clip_norm is not None and gradients:
            gradients, _ = clipped_by_norm(gradients, self.clip_norm)
        return gradients

    def _update(self, name: str, p: Tensor, g: Array) -> update.Update | None:
        """One parameter: penalties, rule, write-back; or the fused update that is still to do."""
        state = self._state_of(name, p)
        state["count"] += 1
        self.count = state["count"]
        slots = [state[slot] for slot in self.slots]
        x, group = p.data, self._in_hand
        decay, l1 = group["weight_decay"], group["l1"]
        if l1:
            g = g + l1 * xp.sign(x)
        if decay and group["decoupled"]:
            x *= 1.0 - group["lr"] * decay
            decay = 0.0
        same = self.fused and g.dtype == x.dtype
        fused = self.in_place(x, g, decay, *slots) if same else None
        if fused is not None:
            return fused
        x, *new = self.rule(x, g + decay * x if decay else g, *slots)
        p.data[...] = x
        for slot, value in zip(self.slots, new, strict=False):
            state[slot][...] = value
        return None

    def _state_of(self, name: str, p: Tensor) -> dict[str, Any]:
        state = self.state.setdefault(name, {"count": 0})
        for slot in self.slots:
            if slot not in state:
                state[slot] = xp.full_like(p.data, self.start(slot))
        return state

    # Saving and resuming

    def state_dict(self) -> dict[str, Any]:
        """All that the next steps depend on, as copied arrays and plain numbers.

        ``{"optimizer": class name, "t": steps, "groups": [{"names": [...], "lr": 0.1, ...}],
        "state": {name: {slot: array, "count": updates}}}``. A schedule is code and is not saved
        (but for what a `Plateau` has seen): it is a function of t. Load into an optimizer made by
        the same code, and training goes on bit for bit.
        """
        groups = []
        for group in self.param_groups:
            saved = {k: v for k, v in group.items() if k != "params" and not callable(v)}
            if isinstance(group["lr"], Schedule) and (seen := group["lr"].state_dict()):
                saved["schedule"] = seen
            groups.append(saved)
        state = {name: {k: v if k == "count" else v.copy() for k, v in slots.items()}
                 for name, slots in self.state.items()}
        return {"optimizer": type(self).__name__, "t": self.t, "groups": groups, "state": state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; parameters are matched by name, not by order.

        Numbers that were changed by hand during training (lr, momentum ...) come back, too;
        a schedule stays the one this optimizer was made with.
        """
        if lacking := {"optimizer", "t", "groups", "state"} - state.keys():
            raise ValueError(f"this is no optimizer's state: it lacks {sorted(lacking)}")
        if state["optimizer"] != type(self).__name__:
            raise ValueError(f"the state was saved by {state['optimizer']}, this optimizer is "
                             f"{type(self).__name__}: make the one that saved it")
        if len(state["groups"]) != len(self.param_groups):
            raise ValueError(f"the state has {len(state['groups'])} parameter groups, this "
                             f"optimizer {len(self.param_groups)}")
        tensors = {name: p for group in self.param_groups
                   for name, p in zip(group["names"], group["params"], strict=True)}
        saved_names = {name for group in state["groups"] for name in group["names"]}
        if saved_names != tensors.keys():
            raise ValueError(
                f"the state is of other parameters: it misses "
                f"{sorted(tensors.keys() - saved_names)} and has, unexpected, "
                f"{sorted(saved_names - tensors.keys())}")
        for name, slots in state["state"].items():
            if missing := {*self.slots, "count"} - slots.keys():
                raise ValueError(f"the state of {name!r} lacks {sorted(missing)}: it was saved by "
                                 f"another optimizer than {type(self).__name__}")
            for slot in self.slots:
                if slots[slot].shape != tensors[name].shape:
                    raise ValueError(f"{slot} of {name!r} has shape {slots[slot].shape}, the "
                                     f"parameter {tensors[name].shape}")
        self.t = int(state["t"])
        for group, saved in zip(self.param_groups, state["groups"], strict=True):
            keep = {"names", "schedule"} | ({"lr"} if callable(group["lr"]) else set())
            group |= {k: tuple(v) if isinstance(v, list) else v
                      for k, v in saved.items() if k not in keep}
            if isinstance(group["lr"], Schedule):
                group["lr"].load_state_dict(saved.get("schedule", {}))
        self.state = {}
        for name, slots in state["state"].items():
            own = self._state_of(name, tensors[name])
            own["count"] = int(slots["count"])
            for slot in self.slots:
                own[slot][...] = asarray(slots[slot])

    def __repr__(self) -> str:
        n = sum(len(group["params"]) for group in self.param_groups)
        shown = {k: v for k, v in self.param_groups[0].items() if k not in ("params", "names")}
        settings = ", ".join(f"{k}={v!r}" for k, v in shown.items() if v not in (None, False))
        return f"{type(self).__name__}({n} parameters, {settings})"


def graph_is_alive(loss: Any) -> bool:
    """Whether `loss` can still be differentiated: a tensor whose graph no backward() has freed."""
    return isinstance(loss, Tensor) and loss.node is not None and loss.node.inputs is not None


def _rows_at_most(x: Array, max_norm: float) -> Array:
    """`x` with every row x[i] (all other axes together) scaled down to a norm of `max_norm`."""
    axes = tuple(range(1, x.ndim))
    norm = xp.sqrt((x * x).sum(axis=axes, keepdims=True))
    return x * (max_norm / xp.maximum(norm, max_norm))
