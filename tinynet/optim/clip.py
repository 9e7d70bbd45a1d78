r"""Gradient clipping: by the norm of all gradients together, or value by value.

A single bad batch can give a gradient a thousand times the usual one, and the step it makes ends
the run. Clipping by norm keeps the direction, clipping by value does not.
The functions here replace ``.grad`` by new arrays: two tensors that share one gradient array get
it scaled once each, not twice. ``Optimizer(..., clip_norm=, clip_value=)`` does the same inside
`step`. Read next: `averaging.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from ..backend import Array, accumulator, get_default_dtype, wide, xp
from ..tensor import Tensor
from .parameters import named_tensors


def global_norm(arrays: Sequence[Array], norm_type: float = 2.0) -> Array:
    """(sum over all elements of all arrays of |g|^p)^(1/p), a 0-d array; p = inf: the largest.

    Of float16 it is float32: the norm of many gradients is easily larger than 65504.
    """
    arrays = [wide(g) for g in arrays if g.size] or [xp.zeros(1, get_default_dtype())]
    if norm_type == math.inf:
        return xp.stack([xp.abs(g).max() for g in arrays]).max()
    if norm_type == 2.0:  # one BLAS call each, no temporary array
        parts = [xp.dot(flat, flat) for flat in (g.reshape(-1) for g in arrays)]
        return xp.sqrt(xp.stack(parts).sum())
    parts = [(xp.abs(g) ** norm_type).sum() for g in arrays]
    return xp.stack(parts).sum() ** (1.0 / norm_type)


def clipped_by_norm(arrays: Sequence[Array], max_norm: float,
                    norm_type: float = 2.0) -> tuple[list[Array], Array]:
    """g * min(1, max_norm / norm) for every array, and the norm; stays on the device."""
    norm = global_norm(arrays, norm_type)
    scale = max_norm / xp.maximum(norm, max_norm)  # = min(1, max_norm / norm), also at norm 0
    return [_scaled(g, scale) for g in arrays], norm


def _scaled(g: Array, scale: Array) -> Array:
    """g * scale in the dtype of g, computed in that of the norm's sum."""
    return (wide(g) * scale.astype(accumulator(g.dtype))).astype(g.dtype, copy=False)


def clip_grad_norm_(params: Iterable[Any], max_norm: float, norm_type: float = 2.0) -> Tensor:
    """Scale all gradients by min(1, max_norm / norm); returns the norm they had before.

    `params` are tensors or (name, tensor) pairs; those without a gradient are passed over. The
    norm is that of all gradients as one long vector. PyTorch divides by norm + 1e-6; this does not.

    >>> w = Tensor([0.0, 0.0], requires_grad=True)
    >>> (w * Tensor([3.0, 4.0])).sum().backward()
    >>> clip_grad_norm_([w], max_norm=1.0), w.grad
    (Tensor(5.), Tensor([0.6, 0.8]))
    """
    for name, value in (("max_norm", max_norm), ("norm_type", norm_type)):
        if not value > 0.0:
            raise ValueError(f"{name} must be positive, got {value}")
    live = [(p, p.grad.data) for _, p in named_tensors(params) if p.grad is not None]
    if not live:
        return Tensor(0.0)
    arrays, norm = clipped_by_norm([g for _, g in live], max_norm, norm_type)
    for (p, _), g in zip(live, arrays, strict=True):
        p.grad = Tensor(g)
    return Tensor(norm)


def clip_grad_value_(params: Iterable[Any], clip_value: float) -> None:
    """Clip every element of every gradient to [-clip_value, clip_value]."""
    if not clip_value > 0.0:
        raise ValueError(f"clip_value must be positive, got {clip_value}")
    for _, p in named_tensors(params):
        if p.grad is not None:
            p.grad = Tensor(xp.clip(p.grad.data, -clip_value, clip_value))
