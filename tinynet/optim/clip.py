r"""Gradient clipping: by the norm of all gradients together, or value by value.

A single bad batch can give a gradient a thousand times the usual one, and the step it
makes ends the run. Clipping by norm keeps the direction, clipping by value does not.
The functions here replace ``.grad`` by new arrays: two tensors that share one gradient
array get it scaled once each, not twice. ``Optimizer(..., clip_norm=, clip_value=)``
does the same inside `step`.

Read next: `optim/schedule.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from ..backend import Array, float_dtype, get_default_dtype, wide, xp
from ..tensor import Tensor
from .interrupts import held
from .parameters import named_tensors


def global_norm(arrays: Sequence[Array], norm_type: float = 2.0) -> Array:
    """(sum of all elements of all arrays, |g|^p)^(1/p), a 0-d array; inf: the largest.

    Gradients in float16 are summed in float32, and so is the result.
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
    """g * min(1, max_norm / norm) for every array, and the norm; stays on the device.

    What was float16 comes back in float32.
    """
    norm = global_norm(arrays, norm_type)
    arrays = [wide(g) for g in arrays]
    if max_norm == math.inf:
        return arrays, norm
    scale = max_norm / xp.maximum(norm, max_norm)  # min(1, max_norm / norm), also at 0
    return [g * scale.astype(g.dtype) for g in arrays], norm


def clipped_by_value(g: Array, limit: float) -> Array:
    """Every element held to [-limit, limit]; what was float16 comes back in float32."""
    return xp.clip(wide(g), -limit, limit)


def clip_grad_norm_(params: Iterable[Any], max_norm: float,
                    norm_type: float = 2.0) -> Tensor:
    """Scale all gradients by min(1, max_norm / norm); returns the norm they had before.

    `params` are tensors or (name, tensor) pairs; those without a gradient are passed
    over. The norm is that of all gradients as one long vector. PyTorch divides by norm
    + 1e-6; this does not.

    >>> w = Tensor([0.0, 0.0], requires_grad=True)
    >>> (w * Tensor([3.0, 4.0])).sum().backward()
    >>> clip_grad_norm_([w], max_norm=1.0), w.grad
    (Tensor(5.), Tensor([0.6, 0.8]))
    """
    _check_above_zero("max_norm", max_norm)
    _check_above_zero("norm_type", norm_type)
    live = _with_gradients(params)
    arrays, norm = clipped_by_norm([p.grad.data for p in live], max_norm, norm_type)
    _replace_gradients(live, arrays)
    return Tensor(norm)


def clip_grad_value_(params: Iterable[Any], clip_value: float) -> None:
    """Clip every element of every gradient to [-clip_value, clip_value]."""
    _check_above_zero("clip_value", clip_value)
    live = _with_gradients(params)
    _replace_gradients(live, [clipped_by_value(p.grad.data, clip_value) for p in live])


def _check_above_zero(name: str, value: float) -> None:
    if not value > 0.0:
        raise ValueError(f"{name} must be positive, got {value}")


def _with_gradients(params: Iterable[Any]) -> list[Any]:
    """The tensors that have a gradient."""
    return [p for _, p in named_tensors(params) if p.grad is not None]


def _replace_gradients(params: Sequence[Any], arrays: Sequence[Array]) -> None:
    """All of them or none; a gradient in float16 stays one."""
    grads = []
    for p, g in zip(params, arrays, strict=True):
        grads.append(Tensor(g.astype(float_dtype(p.grad.dtype), copy=False)))
    with held():
        for p, grad in zip(params, grads, strict=True):
            p.grad = grad
