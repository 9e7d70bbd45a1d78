"""Normalisation: subtract a mean, divide by a standard deviation, then scale and shift.

BatchNorm takes them over the batch, for each channel; LayerNorm and GroupNorm over each
sample. The operations are pure: `batch_norm` gets the batch's statistics back from its
operation as an auxiliary result and updates the running ones once, also when gradients
of gradients compute everything again.

Read next: `functional/regularize.py`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

from ..backend import Array, DType, accumulator, wide, xp
from ..checks import check_positive, check_probability, check_whole, float_of_one_dtype
from ..kernels import (
    channels,
    group_norm as group_kernels,
    layer_norm as rows,
    norm as kernels,
)
from ..kernels.late_norm import Finished, Normed, NormGradient, normed
from ..kernels.pending import array_of
from ..kernels.precision import centred, variance
from ..kernels.ranks import Ranks
from ..operation import fused, may_wait, primitive
from ..ops.arithmetic import astype, square, widened
from ..ops.reduction import mean, sum as total, var
from ..ops.shape import reshape
from ..random import current_share
from ..rules import operands
from ..tensor import Tensor
from ..text import shown
from .activation import _relu_slope, relu


def _channels(v: Any, ndim: int) -> Any:
    """A value for each channel, shaped to meet axis 1 of an array of `ndim` axes."""
    return reshape(v, (-1,) + (1,) * (ndim - 2))


def _all_but_channels(x: Any) -> tuple[int, ...]:
    return (0, *range(2, len(x.shape)))


def batch_norm_reference(x: Any, weight: Any = None, bias: Any = None, *, eps: float,
                         with_relu: bool, wait: bool = False,
                         running: channels.Running | None = None
                         ) -> tuple[Any, tuple[Array, Array, int]]:
    """Centre, divide by the deviation, scale, shift, ReLU: a line each; and the statistics.

    These are mean and variance of each channel, and of how many values: those of all
    ranks, if `running` names some.
    """
    ranks = _ranks_of(running)
    axes = _all_but_channels(x)
    dtype = x.dtype
    x = astype(x, accumulator(dtype))
    count = math.prod(x.shape) // max(1, x.shape[1])
    average = functools.partial(mean, axis=axes, keepdims=True)
    if ranks is not None:
        count = round(float(ranks.total(xp.array([float(count)]))[0]))
        average = functools.partial(_mean_over, ranks, count)
    m = average(x)
    rest = average(x - m)  # what the rounding of m left, of a mean far from zero
    distance = x - m - rest
    v = average(square(distance))
    y = _scaled(distance * (v + eps) ** -0.5, weight, bias, with_relu)
    return astype(y, dtype), (_data(m + rest).reshape(-1), _data(v).reshape(-1), count)


def _mean_over(ranks: Ranks, count: int, x: Any) -> Any:
    """The mean of each channel of all ranks' x, which have `count` values together."""
    sums = _over_ranks(total(x, _all_but_channels(x)), ranks, ranks.weight)
    return _channels(sums / count, len(x.shape))


@primitive(lambda g, ranks, weight: _over_ranks(g * weight, ranks, weight) * (1.0 / weight))
def _over_ranks(x: Array, ranks: Ranks, weight: float) -> Array:
    """The sum of x over all ranks, to each of them.

    Its gradient is the sum of theirs, weighed as `kernels/ranks.py` says.
    """
    return ranks.total(x)


def _scaled(y: Any, weight: Any, bias: Any, with_relu: bool) -> Any:
    """Scale, shift and ReLU of what is normalised, as far as they are wanted."""
    ndim = len(y.shape)
    if weight is not None:
        y = y * _channels(weight, ndim)
    if bias is not None:
        y = y + _channels(bias, ndim)
    return relu(y) if with_relu else y


@fused(reference=batch_norm_reference, has_aux=True, by_blocks=True)
def _batch_norm(x: Array, weight: Array | None, bias: Array | None, *, eps: float,
                with_relu: bool, wait: bool = False,
                running: channels.Running | None = None, needs: Sequence[bool]) -> Any:
    """The norm, or with `wait` what its readers will compute (`kernels/pending.py`)."""
    ranks = _ranks_of(running)
    if wait or ranks is not None:
        statistics = kernels.measure(x, eps, ranks)
        pending = normed(x, weight, bias, statistics, with_relu) if wait else None
        if pending is not None:
            return pending, functools.partial(_gradients, pending), _found(statistics, x)
        y = kernels.normalised(x, weight, bias, statistics, with_relu)
    else:
        y, statistics = kernels.batch_norm(x, weight, bias, eps, with_relu, running)
    gate = y if with_relu else None

    def backward(g: Any, wanted: Sequence[bool]) -> list[Array | None]:
        found = kernels.batch_norm_backward(array_of(g), x, weight, statistics, wanted[0], gate)
        return [dx if w else None for dx, w in zip(found, wanted, strict=True)]

    return y, backward, _found(statistics, x)


def _ranks_of(running: channels.Running | None) -> Ranks | None:
    return None if running is None else running.ranks


def _found(of: channels.Statistics, x: Array) -> tuple[Array, Array, int]:
    """Mean, variance, and of how many values of a channel they are."""
    count = x.size // max(1, x.shape[1]) if of.ranks is None else of.ranks.count
    return of.mean, of.var, count


def _gradients(y: Normed, g: Any, wanted: Sequence[bool]) -> list[Any]:
    """Of x, weight and bias; that of x is pending, too."""
    if not isinstance(g, Finished):
        g = y.collected(array_of(g))
    dx = NormGradient(y, g)
    found = (dx, dx.dw, dx.db)
    return [gradient if w else None for gradient, w in zip(found, wanted, strict=True)]


@widened
@primitive(lambda g, scale: g * _channels(scale, len(g.shape)),
           lambda g, x, centre: _over_pixels(g * _less(x, centre)),
           lambda g: _over_pixels(g))
def _scale_and_shift(x: Array, scale: Array, shift: Array, centre: Array | None = None) -> Array:
    """(x - centre) * scale + shift, with a value of each for each channel."""
    return channels.scale_and_shift(x, scale, shift, False, centre)


@widened
@primitive(lambda g, y, scale: _relu_slope(g, y) * _channels(scale, len(g.shape)),
           lambda g, y, x, centre: _over_pixels(_relu_slope(g, y) * _less(x, centre)),
           lambda g, y: _over_pixels(_relu_slope(g, y)))
def _scale_shift_relu(x: Array, scale: Array, shift: Array, centre: Array | None = None) -> Array:
    """max(0, .) of the same, in one pass."""
    return channels.scale_and_shift(x, scale, shift, True, centre)


def _over_pixels(g: Any) -> Any:
    """The sum of each channel."""
    return total(g, _all_but_channels(g))


def _less(x: Any, centre: Array | None) -> Any:
    return x if centre is None else x - _channels(centre, len(x.shape))


@primitive(lambda g, y, x, axes, eps: (g - mean(g, axes, True) - y * mean(g * y, axes, True))
           * (var(x, axes, 0, True) + eps) ** -0.5)
def _normalise(x: Array, axes: tuple[int, ...], eps: float) -> Array:
    """(x - m) / sqrt(v + eps), m and v over `axes` (each sample by itself)."""
    y, _ = centred(x, axes)
    y /= xp.sqrt(variance(y, axes) + eps).astype(x.dtype)
    return y


@widened
def _sample_norm(x: Any, axes: tuple[int, ...], weight: Any, bias: Any, eps: float) -> Any:
    """weight * (x - m) / sqrt(v + eps) + bias, m and v over `axes`."""
    check_positive("eps", eps)
    y = _normalise(x, axes, eps)
    if weight is not None:
        y = y * weight
    if bias is not None:
        y = y + bias
    return y


def layer_norm_reference(x: Any, weight: Any = None, bias: Any = None, *, eps: float) -> Any:
    """Normalise each row, scale, shift."""
    return _sample_norm(x, (1,), weight, bias, eps)


@fused(reference=layer_norm_reference)
def _layer_norm(x: Array, weight: Array | None, bias: Array | None, *, eps: float,
                needs: Sequence[bool]) -> Any:
    y, moments = rows.layer_norm(x, weight, bias, eps)

    def backward(g: Array, wanted: Sequence[bool]) -> list[Array | None]:
        found = rows.layer_norm_backward(g, x, weight, moments, any(wanted[1:]))
        return [dx if w else None for dx, w in zip(found, wanted, strict=True)]

    return y, backward


@widened
def _layer_norm_of_rows(x: Any, weight: Any, bias: Any, eps: float) -> Any:
    return _layer_norm(x, weight, bias, eps=eps)


def group_norm_reference(x: Any, weight: Any = None, bias: Any = None, *, groups: int,
                         eps: float) -> Any:
    """A group's channels get an axis of their own: (N, groups, C / groups, ...)."""
    shape = tuple(x.shape)
    grouped = (groups, shape[1] // groups)
    meets = (*grouped, *(1,) * (len(shape) - 2))
    if weight is not None:
        weight = reshape(weight, meets)
    if bias is not None:
        bias = reshape(bias, meets)
    x = reshape(x, (shape[0], *grouped, *shape[2:]))
    return reshape(_sample_norm(x, tuple(range(2, len(shape) + 1)), weight, bias, eps), shape)


@fused(reference=group_norm_reference)
def _group_norm(x: Array, weight: Array | None, bias: Array | None, *, groups: int, eps: float,
                needs: Sequence[bool]) -> Any:
    y, moments = group_kernels.group_norm(x, groups, weight, bias, eps)

    def backward(g: Array, wanted: Sequence[bool]) -> list[Array | None]:
        found = group_kernels.group_norm_backward(g, x, groups, weight, moments,
                                                  (wanted[0], any(wanted[1:])))
        return [d if w else None for d, w in zip(found, wanted, strict=True)]

    return y, backward


@widened
def _group_norm_of(x: Any, weight: Any, bias: Any, groups: int, eps: float) -> Any:
    return _group_norm(x, weight, bias, groups=groups, eps=eps)


def _check_channels(what: str, shape: tuple[int, ...], **arrays: Any) -> None:
    """Arrays must be None or hold one value for each channel, which are axis 1."""
    for name, a in arrays.items():
        if a is not None and not hasattr(a, "shape"):
            raise TypeError(f"{what}: {name} must be a tensor or an array, got {shown(a)}")
        if a is not None and tuple(a.shape) != shape[1:2]:
            raise ValueError(f"{what}: {name} must have shape {shape[1:2]}, one value "
                             f"for each channel of x of shape {shape}, got "
                             f"{tuple(a.shape)}")


def _check_count(count: int, shape: tuple[int, ...]) -> None:
    """One value of a channel is its own mean, and has no variance."""
    if count < 2:
        raise ValueError("batch_norm: training needs more than one value for each "
                         f"channel, got x of shape {tuple(shape)}: use a larger batch (drop a "
                         "last batch of one), evaluation mode, or GroupNorm or "
                         "LayerNorm")


def _data(running: Any) -> Array:
    return running.data if isinstance(running, Tensor) else running


@operands("x")
def batch_norm(x: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None,
               training: bool = False, momentum: float = 0.1, eps: float = 1e-5, *,
               with_relu: bool = False) -> Tensor:
    r"""y = weight (x - m) / sqrt(v + eps) + bias, for each channel (axis 1) of x

    In training m and v are the mean and (biased) variance of the batch, and the running
    arrays move by `momentum`, the share of the NEW value: running <- (1 - momentum)
    running + momentum batch; there the variance is the unbiased one. In evaluation m
    and v are the running arrays, so what comes out for a sample does not depend on its
    batch. `with_relu` gives max(y, 0), in one operation that saves two passes over the
    images.

    Shapes: x (N, C), (N, C, L) or (N, C, H, W), the others (C,) or None (without
    running arrays the batch's statistics are used). Source: Ioffe and Szegedy 2015,
    algorithm 1.

    >>> from tinynet import xp
    >>> mean, var = xp.zeros(1), xp.ones(1)
    >>> batch_norm(xp.array([[1.0], [3.0]]), mean, var, training=True).round(2).tolist()
    [[-1.0], [1.0]]
    >>> mean.tolist(), var.tolist()                  # 0.1 * 2, and 0.9 * 1 + 0.1 * 2
    ([0.2], [1.1])
    """
    shape = tuple(x.shape)
    if len(shape) not in (2, 3, 4):
        raise ValueError("batch_norm: x must have shape (N, C), (N, C, L) or (N, C, H, "
                         f"W), got {shape}")
    check_positive("batch_norm: eps", eps)
    check_probability("batch_norm: momentum", momentum)
    float_of_one_dtype("batch_norm", x=x)
    _check_channels("batch_norm", shape, running_mean=running_mean, running_var=running_var,
                    weight=weight, bias=bias)
    if not training and running_mean is not None and running_var is not None:
        folded = _folded(_data(running_mean), _data(running_var), weight, bias, eps, x.dtype)
        return (_scale_shift_relu if with_relu else _scale_and_shift)(x, *folded)
    share = current_share()
    running = channels.Running(_data(running_mean), _data(running_var), momentum)
    if training and share is not None and getattr(share.over, "batch_norm", "") == "global":
        running.ranks = Ranks(share.over.total, share.over.weight)
    else:
        count = math.prod(shape) // max(1, shape[1])
        _check_count(count, shape)
        running.factor = count / (count - 1)
    y, (m, v, count) = _batch_norm(x, weight, bias, eps=eps, with_relu=with_relu,
                                   wait=may_wait(x, "conv2d", "max_pool2d"),
                                   running=running if training else None)
    if training and not running.is_done:
        _check_count(count, shape)
        running.factor = count / (count - 1)
        move(running, m, v)
    return y


def move(running: channels.Running, m: Array, v: Array) -> None:
    """running <- (1 - share) running + share batch, in place, for the mean and the variance."""
    for array, value in ((running.mean, m), (running.var, v * running.factor)):
        if array is not None:
            array *= 1.0 - running.share
            array += (running.share * value).astype(array.dtype)
    running.is_done = True


def _folded(running_mean: Array, running_var: Array, weight: Any, bias: Any, eps: float,
            dtype: DType) -> tuple[Any, Any, Array | None]:
    """The running statistics as one factor and one summand for each channel, and a centre."""
    moved = wide(running_mean)
    deviation = xp.sqrt(wide(running_var) + eps)
    scale = 1.0 / deviation
    if weight is not None:
        scale = weight * scale
    centre = channels.far_centre(moved, deviation, accumulator(dtype))
    if centre is not None:
        moved = moved - centre
    shift = -moved * scale
    if bias is not None:
        shift = bias + shift
    return scale, shift, centre


@operands("x")
def layer_norm(x: Any, normalized_shape: int | Sequence[int], weight: Any = None,
               bias: Any = None, eps: float = 1e-5) -> Tensor:
    r"""y = weight (x - m) / sqrt(v + eps) + bias, m and v over the last axes of each sample

    Shapes: x (..., *normalized_shape); weight and bias have `normalized_shape` or are
    None. Source: Ba, Kiros and Hinton 2016.

    >>> from tinynet import xp
    >>> layer_norm(xp.array([[1.0, 3.0], [0.0, 8.0]]), 2).round(2).tolist()
    [[-1.0, 1.0], [-1.0, 1.0]]
    """
    lengths: Any = normalized_shape
    if not isinstance(lengths, tuple | list):
        lengths = (lengths,)
    wanted = tuple([check_whole("layer_norm: normalized_shape", n) for n in lengths])
    shape = tuple(x.shape)
    if not wanted or shape[-len(wanted):] != wanted:
        raise ValueError("layer_norm: the last axes of x must be normalized_shape "
                         f"{wanted}, got x of shape {shape}")
    for name, a in (("weight", weight), ("bias", bias)):
        if a is not None and tuple(a.shape) != wanted:
            raise ValueError(f"layer_norm: {name} must have normalized_shape {wanted}, "
                             f"got {tuple(a.shape)}")
    float_of_one_dtype("layer_norm", x=x)
    check_positive("layer_norm: eps", eps)
    n = math.prod(wanted)
    if len(shape) == 2 and len(wanted) == 1:
        return _layer_norm_of_rows(x, weight, bias, eps)
    if weight is not None:
        weight = reshape(weight, (n,))
    if bias is not None:
        bias = reshape(bias, (n,))
    x = reshape(x, (math.prod(shape[: -len(wanted)]), n))
    return reshape(_layer_norm_of_rows(x, weight, bias, eps), shape)


@operands("x")
def group_norm(x: Any, num_groups: int, weight: Any = None, bias: Any = None,
               eps: float = 1e-5) -> Tensor:
    r"""y = weight (x - m) / sqrt(v + eps) + bias, m and v over a group of channels of a sample

    Shapes: x (N, C, ...), C a multiple of `num_groups`; weight and bias (C,) or None.
    Source: Wu and He 2018.
    """
    shape = tuple(x.shape)
    num_groups = check_whole("group_norm: num_groups", num_groups)
    if len(shape) < 2 or shape[1] % num_groups:
        raise ValueError("group_norm: x must have shape (N, C, ...) with C a multiple "
                         f"of num_groups, got shape {shape} and "
                         f"num_groups={num_groups}")
    check_positive("group_norm: eps", eps)
    float_of_one_dtype("group_norm", x=x)
    _check_channels("group_norm", shape, weight=weight, bias=bias)
    return _group_norm_of(x, weight, bias, int(num_groups), eps)
