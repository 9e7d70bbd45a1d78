r"""What all optimizers share; what differs is one `rule` of a few lines, as on the slide.

    class Adam(Optimizer):
        slots = ("m", "v")                     # arrays kept for each parameter, first 0
        betas = setting(check_betas)           # what else `h` holds, and its check
        def rule(self, h, x, g, m, v): ...     # pure: returns the new x, m, v

`step` does for every parameter that has a gradient, in this order:

    g = clip(g)                              clip_value, then clip_norm (one for all)
    g = g + weight_decay * x + l1 * sign(x)  of weight_decay/2 |x|^2 (with 1/2: L2) and
                                             l1 sum |x|; both: the elastic net
    x = x * (1 - lr * weight_decay)          in place of the L2 term, if `decoupled`
    x, *slots = rule(h, x, g, *slots)
    x = x * min(1, max_norm / |x_i|)         row by row (a row: the weights of one unit)

`h` holds the settings of the parameter's group at this step: ``h.lr`` (a number, also
if a schedule says it), ``h.momentum`` and so on; ``h.t`` says which update of this
parameter it is (1 at its first: the lecture's t). A step happens as a whole or not at
all: everything is computed and checked first, then written. Rules compute in float32 or
wider: for weights in float16 the slots and the step are float32, and the weights are
rounded once.

Read next: `optim/parameters.py`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, NamedTuple

from ..backend import Array, accumulator, on_gpu, out_of_memory, wide, xp
from ..checks import answer_init, check_number, check_positive, check_whole
from ..foreign import Unset, explain, table
from ..graph import enable_grad
from ..kernels import kernel, update
from ..tensor import Tensor
from .clip import clipped_by_norm, clipped_by_value
from .interrupts import held
from .parameters import make_groups
from .schedule import Schedule
from .states import check_entries, copied

Closure = Callable[[], Any]
Settings = SimpleNamespace
Arrays = tuple[Array, ...]
Twin = update.Update | None

_NO_SETTINGS = ("names", "params")  # what else a group holds


class Work(NamedTuple):
    """A parameter to update and its gradient: by whose rule, with which settings."""

    owner: Optimizer
    h: Settings
    name: str
    p: Tensor
    g: Array


class Change(NamedTuple):
    """What a step will do to one parameter: new arrays, or an update in place."""

    name: str
    p: Tensor
    state: dict[str, Any]
    arrays: list[tuple[Array, Array]]  # (written to, written), the weights first
    fused: update.Update | None


class setting:
    """What each group has a value of: ``momentum = setting(check_below_1)``.

    As an attribute it reads the first group (of a schedule what it says for the next
    step), and sets all of them. ``check(name, value)`` refuses by a ValueError.
    """

    def __init__(self, check: Callable[[str, Any], Any] | None = None,
                 default: Any = None) -> None:
        self.check = check
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Optimizer | None, owner: type) -> Any:
        if optimizer is None:
            return self
        value = optimizer.param_groups[0][self.name]
        return float(value(optimizer.t)) if callable(value) else value

    def __set__(self, optimizer: Optimizer, value: Any) -> None:
        optimizer.set_in_all_groups(self.name, value)


def _settings_of(kind: type) -> dict[str, setting]:
    """The settings of a class and of those it is made of, its own first."""
    found: dict[str, setting] = {}
    for each in kind.__mro__:
        for name, value in vars(each).items():
            if isinstance(value, setting):
                found.setdefault(name, value)
    return found


def check_below_1(name: str, value: Any) -> None:
    """Refuse what is no number in [0, 1)."""
    check_number(name, value, below=1)


def check_rate(name: str, value: Any) -> None:
    """Refuse what is neither a number >= 0 nor a schedule (asked in a step alone)."""
    if not callable(value):
        check_number(name, value, instead=" or a schedule")


def check_bound(name: str, value: Any) -> None:
    """Refuse what is neither a number above 0 nor None."""
    if value is not None:
        check_positive(name, value, " or None")


class Optimizer:
    """Base of all optimizers: groups, penalties, clipping, write-back and state.

    ``params``: tensors, (name, tensor) pairs such as ``model.named_parameters()``, or
    groups, dicts of "params" and settings of their own: ``{"params": [...], "lr": 1}``.
    ``lr``: a number, or a `schedule` that is called with the step (0 at the first).
    ``weight_decay=0.0, decoupled=False, l1=0.0, max_norm=None``: see the module's text.
    Weight decay acts on every parameter it is given; `param_groups` leaves biases out.
    ``fused=False`` always computes by the plain rule (its *twin*, the same rule in one
    pass over memory, gives the same numbers).

    Attributes: ``t`` counts finished steps; ``lr`` is the learning rate that the next
    `step` will use (while one runs: the one in use), of the first group if there are
    several; read it *before* `step` to log the value a step used. ``state[name][slot]``
    are the arrays behind a parameter. Setting ``lr``, ``momentum`` ... sets it in all
    groups, ``param_groups[k]["lr"] = 0.1`` in one.

    >>> class Sign(Optimizer):
    ...     def rule(self, h, x, g):
    ...         return (x - h.lr * xp.sign(g),)
    >>> w = Tensor([1.0, -1.0], requires_grad=True)
    >>> (w * w).sum().backward(); Sign([w], lr=0.25).step(); w
    Tensor([ 0.75, -0.75], requires_grad=True)
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        answer_init(cls)

    slots: tuple[str, ...] = ()
    lr = setting(check_rate)
    weight_decay = setting(check_number, 0.0)
    decoupled = setting(default=False)
    l1 = setting(check_number, 0.0)
    max_norm = setting(check_bound)

    def __init__(self, params: Iterable[Any], lr: float | Schedule, *,
                 clip_norm: float | None = None, clip_value: float | None = None,
                 fused: bool = True, **settings: Any) -> None:
        self.settings = _settings_of(type(self))
        settings["lr"] = lr
        unknown = sorted(settings.keys() - self.settings.keys())
        # A class without an __init__ takes any settings, for its rule.
        if unknown and type(self).__init__ is not Optimizer.__init__:
            known = ", ".join(sorted(self.settings, key=lambda name: name != "lr"))
            fix = explain(unknown, self.settings)
            raise TypeError(f"{self.kind} has no option {unknown[0]!r}: it has {known}, "
                            f"clip_norm, clip_value, fused{fix and '; '}{fix}")
        defaults = {name: own.default for name, own in self.settings.items()}
        self.param_groups = make_groups(params, defaults | settings)
        check_bound("clip_norm", clip_norm)
        check_bound("clip_value", clip_value)
        self.clip_norm = clip_norm
        self.clip_value = clip_value
        self.fused = fused
        self.state: dict[str, dict[str, Any]] = {}
        self.t = 0
        self.check_groups()
        self._tell_schedules()

    @property
    def kind(self) -> str:
        """The name of the class."""
        return type(self).__name__

    # What a subclass fills in

    def rule(self, h: Settings, x: Array, g: Array, *slots: Array) -> Arrays:
        """The lecture's lines: new x and slots from x, its gradient g and the slots."""
        raise TypeError(f"{self.kind} has no rule(self, h, x, g, ...)")

    def in_place(self, h: Settings, x: Array, g: Array, *slots: Array) -> Twin:
        """The fast twin: what will overwrite x and slots as h.decay and `rule` would.

        None: there is no twin for these arrays and settings.
        """
        return None

    def start(self, slot: str) -> float:
        """What `slot` is filled with before a parameter's first update."""
        return 0.0

    def check(self, h: Settings) -> None:
        """Refuse settings that the rule cannot work with, by name and value.

        Called for each group when it is made, set, loaded or used, so that ``h.lr`` may
        be a schedule (which is asked in a step alone) as well as a number.
        """
        for name, own in self.settings.items():
            if own.check is not None:
                own.check(name, getattr(h, name))

    # Settings

    def set_in_all_groups(self, name: str, value: Any) -> None:
        """``param_groups[k][name] = value`` for every group, if all can take it."""
        for group in self.param_groups:
            self.check(as_settings(group | {name: value}))
        for group in self.param_groups:
            group[name] = value
        self._tell_schedules()

    def check_groups(self) -> None:
        """`check` all groups as they are now."""
        for group in self.param_groups:
            self.check(as_settings(group))

    def _settings(self, group: Mapping[str, Any]) -> Settings:
        """The settings of a group in this step; a schedule is asked once."""
        h = as_settings(group)
        self.check(h)
        if callable(h.lr):
            h.lr = float(h.lr(self.t))
            if not math.isfinite(h.lr):
                raise FloatingPointError(f"lr is {h.lr} at step {self.t}, so nothing "
                                         "was updated: its schedule must give finite "
                                         "numbers")
            check_number("lr", h.lr)
        if h.decoupled:
            h.decay = update.Decay(shrink=1.0 - h.lr * h.weight_decay)
        else:
            h.decay = update.Decay(l2=h.weight_decay)
        return h

    def _tell_schedules(self) -> None:
        """How many steps are done: a `Plateau` then knows whether it is its turn."""
        for group in self.param_groups:
            if isinstance(group["lr"], Schedule):
                group["lr"].follow(self.t)

    # One step

    def step(self, closure: Closure | None = None) -> Any:
        """Update every parameter that has a gradient; returns what `closure` returned.

        `closure` computes the loss and returns it. It may call ``zero_grad()`` and
        ``loss.backward()`` itself, as in PyTorch; if it does not, `step` does.
        A step that fails (no memory, an error in a rule, Ctrl-C) has changed nothing.
        """
        loss = None if closure is None else self.evaluate(closure)
        changes = self._changes()
        # What can fail does so in the first line: nothing is written yet. A debugger's
        # ctrl-C does not wait.
        with nullcontext() if kernel.reading else held():
            self._run(changes)
            self._write(changes)
        return loss

    def _write(self, changes: list[Change]) -> None:
        """Make the step what holds: new weights, new state, one step more."""
        for change in changes:
            for old, new in change.arrays:
                old[...] = new
            change.state["count"] += 1
            self.state[change.name] = change.state
            change.p.mark_changed()
        self.t += 1
        self._tell_schedules()

    def evaluate(self, closure: Closure) -> Any:
        """Run `closure`; then each ``.grad`` is the gradient of the loss it returns."""
        with enable_grad():
            loss = closure()
            if graph_is_alive(loss):
                self.zero_grad()
                loss.backward()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients (``.grad`` becomes None in any case): `backward` starts afresh."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad = None

    def _work(self) -> list[Work]:
        """What this step is about: every parameter that has a gradient."""
        work = []
        for group in self.param_groups:
            h = self._settings(group)
            for name, p in zip(group["names"], group["params"], strict=True):
                if p.grad is not None:
                    work.append(Work(self, h, name, p, p.grad.data))
        return work

    def _changes(self) -> list[Change]:
        """All that this step will write, computed but not yet written."""
        work = self._work()
        if not work:
            raise RuntimeError("no parameter has a gradient: call loss.backward() "
                               "before step(), with a loss computed from these "
                               "parameters")
        arrays = [each.g for each in work]  # what memory is needed for
        changes = []
        try:
            for each, g in zip(work, self._clipped(arrays), strict=True):
                arrays = [each.p.data]
                changes.append(each.owner._change(each.h, each.name, each.p, g))
        except MemoryError as error:
            raise self._out_of_memory(arrays, error) from None
        return changes

    def _run(self, changes: list[Change]) -> None:
        """The updates in place."""
        updates = [change.fused for change in changes if change.fused is not None]
        if not updates:
            return
        try:
            update.run(updates)
        except MemoryError as error:
            raise self._out_of_memory([change.p.data for change in changes], error) from None

    def _out_of_memory(self, arrays: list[Array], error: MemoryError) -> MemoryError:
        """The error with the name of the step and the largest of `arrays`."""
        largest = max(arrays, key=lambda a: int(a.nbytes))
        return out_of_memory(f"{self.kind}.step", (largest,), error)

    def _clipped(self, gradients: list[Array]) -> list[Array]:
        if self.clip_value is not None:
            gradients = [clipped_by_value(g, self.clip_value) for g in gradients]
        if self.clip_norm is not None:
            gradients, _ = clipped_by_norm(gradients, self.clip_norm)
        return gradients

    def _change(self, h: Settings, name: str, p: Tensor, g: Array) -> Change:
        """One parameter: penalties and rule, or the update in place, still to do."""
        state = self._state_of(name, p)
        slots = [state[slot] for slot in self.slots]
        h.t = state["count"] + 1
        x = p.data
        if not on_gpu and not x.flags.writeable:
            raise ValueError(f"the memory of parameter {name!r} is read-only: make the "
                             "tensor from a copy of its array")
        if g.dtype != x.dtype or x.dtype.char == "e":
            g = g.astype(accumulator(x.dtype), copy=False)
        if h.l1:
            g = g + h.l1 * xp.sign(x)
        bounded = h.max_norm is not None and x.ndim > 1
        if self.fused and not bounded and not kernel.reading:
            fused = self.in_place(h, x, g, *slots)
            if fused is not None:
                return Change(name, p, state, [], fused)
        x = wide(x)
        if h.decay.l2:
            g = g + h.decay.l2 * x
        if h.decay.shrink != 1.0:
            x = h.decay.shrink * x
        x, *new = self.rule(h, x, g, *slots)
        if bounded:
            x = _rows_at_most(x, h.max_norm)
        if x.shape != p.shape or len(new) < len(slots):
            raise ValueError(f"{self.kind}.rule must return the new x, of shape "
                             f"{p.shape}, {' '.join(('and', *self.slots))}; got x of "
                             f"shape {x.shape} and {len(new)} slots")
        arrays = [(p.data, x), *zip(slots, new, strict=False)]
        return Change(name, p, state, arrays, None)

    def _state_of(self, name: str, p: Tensor) -> dict[str, Any]:
        """The state of a parameter, with the slots it lacks; kept when a step is done."""
        state = self.state.get(name, {"count": 0})
        lacking = [slot for slot in self.slots if slot not in state]
        if not lacking:
            return state
        made = dict(state)
        for slot in lacking:
            made[slot] = xp.full_like(p.data, self.start(slot), dtype=accumulator(p.dtype))
        return made

    # Saving and resuming

    def state_dict(self) -> dict[str, Any]:
        """All that the next steps depend on, as copied arrays and plain numbers.

        ``{"optimizer": class name, "t": steps, "groups": [{"names": [...], "lr": 0.1,
        ...}], "state": {name: {slot: array, "count": updates}}}``. A schedule is code
        and is not saved (but for what a `Plateau` has seen): it is a function of t.
        Load into an optimizer made by the same code, and training goes on bit for bit.
        """
        groups = []
        for group in self.param_groups:
            saved = {k: v for k, v in group.items() if k != "params" and not callable(v)}
            if isinstance(group["lr"], Schedule) and (seen := group["lr"].state_dict()):
                saved["schedule"] = seen
            groups.append(saved)
        state = {}
        for name, slots in self.state.items():
            state[name] = {k: v if k == "count" else v.copy() for k, v in slots.items()}
        return {"optimizer": self.kind, "t": self.t, "groups": groups, "state": state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; parameters are matched by name.

        Numbers that were changed by hand during training (lr, momentum ...) come back,
        too; a schedule stays the one this optimizer was made with. A state that does
        not fit is refused and changes nothing.
        """
        self._check_fits(state)
        loaded = copy.copy(self)  # filled and checked before anything is taken over
        loaded.t = check_whole("t", state["t"], 0)
        loaded.param_groups = []
        for group, saved in zip(self.param_groups, state["groups"], strict=True):
            loaded.param_groups.append(_with_saved(group, saved))
        loaded.check_groups()
        loaded.state = {}
        for name, p in self._tensors().items():
            if name in state["state"]:
                loaded.state[name] = loaded._loaded(name, p, state["state"][name])
        for group, saved in zip(self.param_groups, state["groups"], strict=True):
            if isinstance(group["lr"], Schedule):
                group["lr"].load_state_dict(saved.get("schedule", {}))
        for group, new in zip(self.param_groups, loaded.param_groups, strict=True):
            group |= new
        self.state = loaded.state
        self.t = loaded.t
        self._tell_schedules()

    def _tensors(self) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = {}
        for group in self.param_groups:
            tensors |= zip(group["names"], group["params"], strict=True)
        return tensors

    def _check_fits(self, state: Mapping[str, Any]) -> None:
        """Refuse the state of another kind of optimizer, or of other parameters."""
        if state.get("optimizer", self.kind) != self.kind:
            raise ValueError(f"the state was saved by {state['optimizer']}, this "
                             f"optimizer is {self.kind}: make the one that saved it")
        check_entries("optimizer", state, ("optimizer", "t", "groups", "state"))
        if len(state["groups"]) != len(self.param_groups):
            raise ValueError(f"the state has {len(state['groups'])} parameter groups, "
                             f"this optimizer {len(self.param_groups)}")
        own = self._tensors().keys()
        saved = {name for group in state["groups"] for name in group["names"]}
        if saved != own:
            raise ValueError("the state is of other parameters: it misses "
                             f"{sorted(own - saved)} and has, unexpected, "
                             f"{sorted(saved - own)}")

    def _loaded(self, name: str, p: Tensor, saved: Mapping[str, Any]) -> dict[str, Any]:
        """The state of one parameter, with copies of the saved slots."""
        if missing := {*self.slots, "count"} - saved.keys():
            raise ValueError(f"the state of {name!r} lacks {sorted(missing)}: it was "
                             f"saved by another optimizer than {self.kind}")
        own = {"count": check_whole(f"count of {name!r}", saved["count"], 0)}
        dtype = accumulator(p.dtype)
        for slot in self.slots:
            own[slot] = copied(f"{slot} of {name!r}", saved[slot], p.data, dtype)
        return own

    def __repr__(self) -> str:
        n = sum(len(group["params"]) for group in self.param_groups)
        shown = vars(as_settings(self.param_groups[0]))
        settings = ", ".join(f"{k}={v!r}" for k, v in shown.items() if v not in (None, False))
        return f"{self.kind}({n} parameters, {settings})"


def as_settings(group: Mapping[str, Any]) -> Settings:
    """The settings of a parameter group, as a rule reads them."""
    return Settings(**{k: v for k, v in group.items() if k not in _NO_SETTINGS})


def _with_saved(group: Mapping[str, Any], saved: Mapping[str, Any]) -> dict[str, Any]:
    """A group with the settings of a saved one; a schedule stays."""
    mine = {*_NO_SETTINGS, "schedule"}
    if callable(group["lr"]):
        mine.add("lr")
    settings = {}
    for name in saved.keys() - mine:
        settings[name] = saved[name]
        if isinstance(saved[name], list):  # JSON knows no tuples
            settings[name] = tuple(saved[name])
    return {**group, **settings}


def graph_is_alive(loss: Any) -> bool:
    """Whether `loss` is a tensor whose graph no backward() has freed."""
    node = loss.node if isinstance(loss, Tensor) else None
    return node is not None and node.inputs is not None


def _rows_at_most(x: Array, max_norm: float) -> Array:
    """`x`, every row x[i] (all other axes together) held to a norm of `max_norm`."""
    axes = tuple(range(1, x.ndim))
    norm = xp.sqrt((x * x).sum(axis=axes, keepdims=True))
    return x * (max_norm / xp.maximum(norm, max_norm))


for _name in table()["Optimizer"]:
    setattr(Optimizer, _name, Unset("Optimizer", _name))
