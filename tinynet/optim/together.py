"""Several optimizers as one: each updates its own parameters by its own rule.

    hidden, rest = optim.matrices_and_rest(model)
    optimizer = optim.Together(optim.Muon(hidden, lr=0.02), optim.SGD(rest, lr=0.1, momentum=0.9))

It is used like one: a step happens as a whole or not at all, schedules keep step, and
one state holds all.

Read next: `optim/loss_scale.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .optimizer import Change, Optimizer, Work, as_settings, check_bound
from .states import check_entries


class Together(Optimizer):
    """The `optimizers`, each with parameters of its own, as one.

    ``param_groups`` are the groups of all of them, in this order; ``lr`` is that of the
    first, and setting ``lr`` (or ``weight_decay``, ``l1``, ``max_norm``) sets it in all.
    ``clip_norm`` and ``clip_value`` are of all gradients together, so no member has its
    own.
    A member whose parameters got no gradient in this step waits, and its schedule goes
    on. Members that evaluate the loss themselves (`Nesterov`, `LBFGS`, the Newtons)
    cannot join: their steps are of another kind.

    >>> from tinynet import Tensor, optim
    >>> a, b = Tensor([1.0], requires_grad=True), Tensor([1.0], requires_grad=True)
    >>> both = Together(optim.SGD([("a", a)], lr=0.1), optim.Adam([("b", b)], lr=0.01))
    >>> (a * b).sum().backward(); both.step(); a, b
    (Tensor([0.9], requires_grad=True), Tensor([0.99], requires_grad=True))
    """

    def __init__(self, *optimizers: Optimizer, clip_norm: float | None = None,
                 clip_value: float | None = None) -> None:
        if not optimizers:
            raise ValueError("Together needs optimizers: Together(Muon(...), SGD(...))")
        names: set[str] = set()
        tensors: set[int] = set()
        for place, member in enumerate(optimizers):
            self._check_member(place, member)
            for name, p in member._tensors().items():
                if name in names or id(p) in tensors:
                    raise ValueError(f"parameter {name!r} is given to two optimizers, or "
                                     "two parameters have this name: give each to one, as "
                                     "(name, tensor) pairs with names that differ")
                names.add(name)
                tensors.add(id(p))
        self.optimizers = optimizers
        self.settings = {name: own for member in optimizers
                         for name, own in member.settings.items()}
        steps = {member.t for member in optimizers}
        if len(steps) > 1:
            raise ValueError(f"the optimizers have made {sorted(steps)} steps: those that go "
                             "together must have made equally many")
        self.param_groups = [group for member in optimizers for group in member.param_groups]
        check_bound("clip_norm", clip_norm)
        check_bound("clip_value", clip_value)
        self.clip_norm = clip_norm
        self.clip_value = clip_value
        self.t = optimizers[0].t

    def _check_member(self, place: int, member: Any) -> None:
        if not isinstance(member, Optimizer):
            raise TypeError(f"optimizers[{place}] is {type(member).__name__}: Together "
                            "takes optimizers, Together(Muon(...), SGD(...))")
        if type(member).step is not Optimizer.step:
            raise TypeError(f"optimizers[{place}], {member.kind}, evaluates the loss in a "
                            "step of its own: only optimizers of one gradient can go "
                            "together")
        if member.clip_norm is not None or member.clip_value is not None:
            raise ValueError(f"optimizers[{place}], {member.kind}, clips gradients for "
                             "itself: give clip_norm or clip_value to Together, which "
                             "clips all")

    @property
    def fused(self) -> bool:
        """Whether every member may use the fused twins of its rules; set for all."""
        return all(member.fused for member in self.optimizers)

    @fused.setter
    def fused(self, value: bool) -> None:
        for member in self.optimizers:
            member.fused = value

    @property
    def state(self) -> dict[str, dict[str, Any]]:  # type: ignore[override]
        """The state of every parameter, by name; a new dict of the members' own."""
        return {name: own for member in self.optimizers for name, own in member.state.items()}

    def set_in_all_groups(self, name: str, value: Any) -> None:
        """``group[name] = value`` in every group that has this setting."""
        having = [member for member in self.optimizers if name in member.settings]
        for member in having:  # all are asked before one is changed
            for group in member.param_groups:
                member.check(as_settings(group | {name: value}))
        for member in having:
            member.set_in_all_groups(name, value)

    def check_groups(self) -> None:
        """Have every member check its groups."""
        for member in self.optimizers:
            member.check_groups()

    def _work(self) -> list[Work]:
        return [each for member in self.optimizers for each in member._work()]

    def _write(self, changes: list[Change]) -> None:
        for member in self.optimizers:
            own = member._tensors()
            member._write([change for change in changes if change.name in own])
        self.t += 1

    def _tell_schedules(self) -> None:
        for member in self.optimizers:
            member._tell_schedules()

    def state_dict(self) -> dict[str, Any]:
        """``{"optimizer": "Together", "t": steps, "groups": [...], "members": [...]}``.

        The members' own states; the groups of all stand beside them, to be compared.
        """
        members = [member.state_dict() for member in self.optimizers]
        groups = [group for saved in members for group in saved["groups"]]
        return {"optimizer": self.kind, "t": self.t, "groups": groups, "members": members}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; one that does not fit changes nothing."""
        check_entries("optimizer", state, ("optimizer", "t"))
        saved = [member["optimizer"] for member in state.get("members", [state])]
        if "members" not in state or len(saved) != len(self.optimizers):
            raise ValueError(f"the state was saved by {', '.join(saved)}, this optimizer is "
                             f"{', '.join(member.kind for member in self.optimizers)} "
                             "together: make the one that saved it")
        before = [member.state_dict() for member in self.optimizers]
        try:
            for member, own in zip(self.optimizers, state["members"], strict=True):
                member.load_state_dict(own)
        except BaseException:
            for member, own in zip(self.optimizers, before, strict=True):
                member.load_state_dict(own)
            raise
        self.t = self.optimizers[0].t

    def __repr__(self) -> str:
        return f"Together({', '.join(map(repr, self.optimizers))})"
