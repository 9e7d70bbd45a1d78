"""Which tensors an optimizer updates: names, and groups with settings of their own.

State is kept by name, so a checkpoint fits a net whose parameters come in another
order. A name comes from the pair ``(name, tensor)`` (what ``model.named_parameters()``
gives), else from the tensor's own ``name`` (which a model writes there), else it is
"param0", "param1" by position.

Read next: `optim/states.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..tensor import Tensor

Pairs = list[tuple[str, Tensor]]
Group = dict[str, Any]


def named_tensors(params: Iterable[Any], first: int = 0) -> Pairs:
    """`params` as (name, tensor) pairs; `first` numbers the first nameless one."""
    if isinstance(params, Tensor):
        raise TypeError("params is a single tensor: put it in a list, [tensor]")
    if hasattr(params, "named_parameters"):
        raise TypeError(f"params is a {type(params).__name__}: pass its "
                        ".named_parameters()")
    pairs = []
    for place, item in enumerate(params, first):
        name, tensor = item if isinstance(item, tuple) and len(item) == 2 else (None, item)
        if not isinstance(tensor, Tensor):
            raise TypeError(f"params[{place}] is {type(tensor).__name__}: params are "
                            "tensors, (name, tensor) pairs, or dicts with a 'params' "
                            "entry")
        if not tensor.is_leaf:
            raise ValueError(f"params[{place}] was computed by an operation: an "
                             "optimizer updates leaf tensors, those made with "
                             "requires_grad=True")
        pairs.append((name or getattr(tensor, "name", None) or f"param{place}", tensor))
    return pairs


def make_groups(params: Iterable[Any], defaults: Mapping[str, Any]) -> list[Group]:
    """Groups, each with "names", "params" and every setting (or its default)."""
    groups: list[Group] = []
    names: set[str] = set()
    tensors: set[int] = set()
    for own in _as_groups(params):
        unknown = sorted(own.keys() - defaults.keys() - {"params"})
        if unknown or "params" not in own:
            what = f"does not know {unknown}" if unknown else "has no 'params'"
            raise ValueError(f"a parameter group {what}: its entries are 'params' and, "
                             f"of this optimizer, {', '.join(sorted(defaults))}")
        pairs = named_tensors(own["params"], len(tensors))
        for name, tensor in pairs:
            if id(tensor) in tensors:
                raise ValueError(f"parameter {name!r} is given twice: it would be "
                                 "updated twice")
            if type(tensor) is Tensor and not tensor.requires_grad:  # no frozen Parameter
                raise ValueError(f"parameter {name!r} does not require a gradient, so "
                                 "no step would change it: make it with "
                                 "requires_grad=True")
            if name in names:
                raise ValueError(f"two parameters are called {name!r}, and state is "
                                 "kept by name: pass (name, tensor) pairs with names "
                                 "that differ")
            names.add(name)
            tensors.add(id(tensor))
        group = {**defaults, **own}
        group |= {"names": [name for name, _ in pairs], "params": [p for _, p in pairs]}
        groups.append(group)
    if not tensors:
        raise ValueError("params is empty: there is nothing to optimize (was a "
                         "generator of parameters used up before?)")
    if not any(p.requires_grad for group in groups for p in group["params"]):
        raise ValueError("none of the parameters requires a gradient, so no step would "
                         "change anything: unfreeze some, model.requires_grad_(True)")
    return groups


def _as_groups(params: Any) -> list[Any]:
    """`params` if they are groups, else all of them as one group."""
    if isinstance(params, Tensor) or hasattr(params, "named_parameters"):
        return [{"params": params}]  # which `named_tensors` refuses
    if not isinstance(params, Iterable):
        raise TypeError(f"params is {params!r}: pass a list of tensors, (name, tensor) "
                        "pairs or groups")
    params = list(params)
    groups = [isinstance(item, Mapping) for item in params]
    if any(groups) and not all(groups):
        raise TypeError("params has groups and tensors side by side: put the tensors into a group, "
                        "{'params': [...]}")
    return params if any(groups) else [{"params": params}]


def param_groups(params: Any, weight_decay: float) -> list[Group]:
    """Weights with `weight_decay`, and biases and norm parameters (ndim <= 1) without.

    `params` is a model, its ``named_parameters()``, or tensors. Decay keeps a net from
    leaning on a few large weights; a bias multiplies nothing, and a norm's scale near 0
    switches its unit off.

    >>> from tinynet import ones
    >>> weight, bias = ones((2, 3)), ones(2)
    >>> groups = param_groups([("weight", weight), ("bias", bias)], weight_decay=1e-4)
    >>> [(group["weight_decay"], [name for name, _ in group["params"]]) for group in groups]
    [(0.0001, ['weight']), (0.0, ['bias'])]
    """
    if hasattr(params, "named_parameters"):
        params = params.named_parameters()
    pairs = named_tensors(params)
    decayed = [pair for pair in pairs if pair[1].ndim > 1]
    spared = [pair for pair in pairs if pair[1].ndim <= 1]
    groups = [{"params": decayed, "weight_decay": weight_decay},
              {"params": spared, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
