"""The layers that are one function of `functional` each, and Sequential, which holds them.

A layer keeps what the function needs besides its input: parameters, and settings that
are checked once, when it is made. Formulas and gradients stand with the functions. A
layer prints itself: what its `__init__` was given, where that is not the default.

Read next: `nn/losses.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self, overload

from .. import functional as F
from ..checks import (
    Pair,
    check_choice,
    check_positive,
    check_whole,
    convolution_padding,
    pair,
    pool_windows,
)
from ..graph import is_watched
from ..ops.shape import reshape
from ..tensor import Tensor
from . import init
from .module import (
    Buffer,
    Module,
    Parameter,
    check_dtype,
    empty,
    empty_parameter,
    is_observed,
)

# Linear, and two layers without numbers of their own


class Linear(Module):
    """y = x weight^T + bias

    Shapes: x (..., in_features), weight (out_features, in_features), y (...,
    out_features). Initial weights and bias are uniform in +-1/sqrt(in_features),
    PyTorch's default.

    >>> Linear(3, 2)(tn.zeros((4, 3))).shape
    (4, 2)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        self.in_features = check_whole("in_features", in_features)
        self.out_features = check_whole("out_features", out_features)
        self.weight = Parameter(empty(out_features, in_features))
        self.bias = empty_parameter(bias, out_features)
        for parameter in self.own_parameters():
            init.default_(parameter, fan_in=in_features)

    def forward(self, x: Any) -> Tensor:
        check_dtype(x, self.weight)
        return F.linear(x, self.weight, self.bias)

    def multiply_adds(self, inputs: tuple[Any, ...], output: Any) -> int:
        return int(math.prod(output.shape) * self.in_features)


class Flatten(Module):
    """All axes from `start_axis` (1: keep the batch) to `end_axis` as one, in row-major order.

    >>> Flatten()(tn.zeros((8, 16, 4, 4))).shape
    (8, 256)
    """

    def __init__(self, start_axis: int = 1, end_axis: int = -1) -> None:
        self.start_axis = start_axis
        self.end_axis = end_axis

    def forward(self, x: Any) -> Tensor:
        ndim = len(x.shape)
        first = self.start_axis + ndim * (self.start_axis < 0)
        last = self.end_axis + ndim * (self.end_axis < 0)
        if not 0 <= first <= last < ndim:
            raise ValueError(f"Flatten(start_axis={self.start_axis}, "
                             f"end_axis={self.end_axis}) does not fit an input of "
                             f"shape {tuple(x.shape)}")
        merged = math.prod(x.shape[first : last + 1])
        return reshape(x, (*x.shape[:first], merged, *x.shape[last + 1 :]))


class Identity(Module):
    """y = x, to stand where a layer may be left out."""

    def forward(self, x: Any) -> Tensor:
        return x


# Convolution: the same small linear layer at every place of an image


class Conv2d(Module):
    """y[n, o] = bias[o] + sum over c of weight[o, c] correlated with x[n, c]

    Shapes: x (N, in_channels, H, W), weight (out_channels, in_channels / groups, kH,
    kW), y (N, out_channels, H', W') with H' = floor((H + 2 padding - dilation (kH - 1)
    - 1) / stride) + 1. Sizes are one integer or two (height, width); `padding` may be
    "same" or "valid". ``groups`` cuts the channels into that many parts, each convolved
    by itself. Initial weights and bias are uniform in +-1/sqrt(fan_in), PyTorch's
    default.

    >>> Conv2d(3, 8, kernel_size=3, stride=2, padding=1)(tn.zeros((1, 3, 32, 32))).shape
    (1, 8, 16, 16)
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int | Pair,
                 stride: int | Pair = 1, padding: int | Pair | str = 0,
                 dilation: int | Pair = 1, groups: int = 1, bias: bool = True) -> None:
        self.in_channels = check_whole("in_channels", in_channels)
        self.out_channels = check_whole("out_channels", out_channels)
        self.groups = check_whole("groups", groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"groups={groups} must divide in_channels={in_channels} "
                             f"and out_channels={out_channels}")
        self.kernel_size = pair("kernel_size", kernel_size, 1)
        self.stride = pair("stride", stride, 1)
        self.dilation = pair("dilation", dilation, 1)
        self.padding = convolution_padding(padding, self.stride)
        self.weight = Parameter(empty(out_channels, in_channels // groups, *self.kernel_size))
        self.bias = empty_parameter(bias, out_channels)
        for parameter in self.own_parameters():
            init.default_(parameter, init.fans(self.weight.shape)[0])

    def forward(self, x: Any) -> Tensor:
        check_dtype(x, self.weight)
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation,
                        self.groups)

    def multiply_adds(self, inputs: tuple[Any, ...], output: Any) -> int:
        return int(math.prod(output.shape) * math.prod(self.weight.shape[1:]))


# Pools: images (N, C, H, W) become smaller, channel by channel


class _Pool(Module):
    def __init__(self, kernel_size: int | Pair, stride: int | Pair | None = None,
                 padding: int | Pair = 0) -> None:
        self.kernel_size, self.stride, self.padding = pool_windows(kernel_size, stride, padding)


class MaxPool2d(_Pool):
    """The largest value of each window; `stride` is the window's size by default.

    >>> MaxPool2d(2)(tn.arange(16.0).reshape(1, 1, 4, 4)).tolist()
    [[[[5.0, 7.0], [13.0, 15.0]]]]
    """

    def forward(self, x: Any) -> Tensor:
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding)


class AvgPool2d(_Pool):
    """The mean of each window (zeros of the padding count); `stride` is its size by default."""

    def forward(self, x: Any) -> Tensor:
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding)


class AdaptiveAvgPool2d(Module):
    """Means over windows chosen such that the output has `output_size`, for any input size."""

    def __init__(self, output_size: int | Pair) -> None:
        self.output_size = pair("output_size", output_size, 1)

    def forward(self, x: Any) -> Tensor:
        return F.adaptive_avg_pool2d(x, self.output_size)


class GlobalAvgPool2d(Module):
    """The mean of each channel: (N, C, H, W) -> (N, C)."""

    def forward(self, x: Any) -> Tensor:
        return F.global_avg_pool2d(x)


class GlobalMaxPool2d(Module):
    """The largest value of each channel: (N, C, H, W) -> (N, C)."""

    def forward(self, x: Any) -> Tensor:
        return F.global_max_pool2d(x)


# Activations: what keeps a stack of linear layers from being one linear layer


class ReLU(Module):
    """max(x, 0); slope 0 at 0. Nothing is computed in place: `inplace` is a habit."""

    def __init__(self, inplace: bool = False) -> None:
        pass

    def forward(self, x: Any) -> Tensor:
        return F.relu(x)


class ReLU6(ReLU):
    """min(max(x, 0), 6); slope 0 at both bounds."""

    def forward(self, x: Any) -> Tensor:
        return F.relu6(x)


class SiLU(ReLU):
    """x sigmoid(x), also known as swish."""

    def forward(self, x: Any) -> Tensor:
        return F.silu(x)


class LeakyReLU(Module):
    """x for x > 0, negative_slope * x for the others."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Tensor:
        return F.leaky_relu(x, self.negative_slope)


class ELU(Module):
    """x for x > 0, alpha (e^x - 1) for the others."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        self.alpha = alpha

    def forward(self, x: Any) -> Tensor:
        return F.elu(x, self.alpha)


class GELU(Module):
    """x Phi(x) with the normal distribution function Phi: exact ("none") or its "tanh" formula."""

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = check_choice("approximate", approximate, ("none", "tanh"))

    def forward(self, x: Any) -> Tensor:
        return F.gelu(x, approximate=self.approximate)


class Softplus(Module):
    """log(1 + e^(beta x)) / beta, a smooth ReLU."""

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = check_positive("beta", beta)

    def forward(self, x: Any) -> Tensor:
        return F.softplus(x, self.beta)


class Tanh(Module):
    """(e^x - e^-x) / (e^x + e^-x), from -1 to 1."""

    def forward(self, x: Any) -> Tensor:
        return F.tanh(x)


class Sigmoid(Module):
    """1 / (1 + e^-x), from 0 to 1."""

    def forward(self, x: Any) -> Tensor:
        return F.sigmoid(x)


class Softmax(Module):
    """e^x / sum(e^x) along `axis`; not before CrossEntropyLoss, which takes raw scores."""

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Tensor:
        if x.shape[self.axis] == 1:
            raise ValueError(f"Softmax over one column, of shape {tuple(x.shape)}, is "
                             "1 whatever the score: use Sigmoid")
        return F.softmax(x, self.axis)


class LogSoftmax(Module):
    """log(softmax(x)) along `axis`, computed without overflow."""

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Tensor:
        return F.log_softmax(x, self.axis)


# Normalisation: only batch norm keeps buffers, and differs in training and evaluation


class _Norm(Module):
    """What they share: eps, and a scale and a shift that start at 1 and 0 (or are None)."""

    def __init__(self, shape: tuple[int, ...], eps: float, affine: bool, bias: bool = True
                 ) -> None:
        check_positive("eps", eps)
        self.eps = eps
        self.weight = empty_parameter(affine, *shape)
        self.bias = empty_parameter(affine and bias, *shape)
        self.reset_parameters()

    def reset_parameters(self) -> Self:
        """Scale 1, shift 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)
        return self


class _BatchNorm(_Norm):
    axes: tuple[int, ...] = ()  # how many axes an input may have
    layout = ""

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1,
                 affine: bool = True, *, relu: bool = False) -> None:
        if momentum is None or not 0.0 <= momentum <= 1.0:
            raise ValueError(f"momentum must lie between 0 and 1, got {momentum}: it "
                             "is the weight of the NEW batch, usually 0.1")
        self.num_features = check_whole("num_features", num_features)
        super().__init__((num_features,), eps, affine)
        self.affine = affine
        self.momentum = momentum
        self.relu = relu
        self.running_mean = Buffer(empty(num_features))
        self.running_var = Buffer(empty(num_features))
        self.reset_running_stats()

    def reset_running_stats(self) -> Self:
        """Forget the past: running mean 0, running variance 1."""
        init.zeros_(self.running_mean)
        init.ones_(self.running_var)
        return self

    def forward(self, x: Any, relu: bool = False) -> Tensor:
        """The norm of x; max(0, y) with `relu`, here or of the layer."""
        check_dtype(x, self.running_mean)
        if len(x.shape) not in self.axes or x.shape[1] != self.num_features:
            raise ValueError(f"{type(self).__name__}({self.num_features}) takes inputs "
                             f"of shape {self.layout} with C = {self.num_features}, "
                             f"got {tuple(x.shape)}")
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias,
                            self.training, self.momentum, self.eps,
                            with_relu=relu or self.relu)


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of feature vectors (N, C) or sequences (N, C, L).

    In training: mean and variance of each channel over the batch, and

        running_mean <- (1 - momentum) running_mean + momentum mean
        running_var  <- (1 - momentum) running_var  + momentum var n / (n - 1)

    so `momentum` is the weight of the NEW value, and the running variance is unbiased.
    In evaluation the running statistics take the place of the batch's. With `relu` the
    output is max(0, y), computed in the same pass over memory. Source: Ioffe and
    Szegedy 2015; CS231n lecture 8.

    >>> norm = BatchNorm1d(1)
    >>> y = norm(tn.tensor([[1.0], [3.0]]))
    >>> norm.running_mean, norm.running_var           # 0.1 * 2, and 0.9 * 1 + 0.1 * 2
    (Buffer([0.2]), Buffer([1.1]))
    """

    axes = (2, 3)
    layout = "(N, C) or (N, C, L)"


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of images (N, C, H, W), see `BatchNorm1d`: each channel over N, H, W."""

    axes = (4,)
    layout = "(N, C, H, W)"


class LayerNorm(_Norm):
    """Each sample by itself, over its last axes, whose lengths are `normalized_shape`.

    The same in training and evaluation. Source: Ba, Kiros and Hinton 2016.
    """

    def __init__(self, normalized_shape: int | Sequence[int], eps: float = 1e-5,
                 elementwise_affine: bool = True, bias: bool = True) -> None:
        lengths: Any = normalized_shape
        if not isinstance(lengths, tuple | list):
            lengths = [lengths]
        self.normalized_shape = tuple(check_whole("normalized_shape", n) for n in lengths)
        self.elementwise_affine = elementwise_affine
        super().__init__(self.normalized_shape, eps, elementwise_affine, bias)

    def forward(self, x: Any) -> Tensor:
        check_dtype(x, self.weight)
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)


class GroupNorm(_Norm):
    """Each sample by itself, over `num_groups` groups of its channels: x (N, C, ...).

    The same in training and evaluation, and for any batch size. Source: Wu and He 2018.
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True
                 ) -> None:
        self.num_groups = check_whole("num_groups", num_groups)
        self.num_channels = check_whole("num_channels", num_channels)
        if num_channels % num_groups:
            raise ValueError(f"num_groups={num_groups} must divide "
                             f"num_channels={num_channels}")
        self.affine = affine
        super().__init__((num_channels,), eps, affine)

    def forward(self, x: Any) -> Tensor:
        check_dtype(x, self.weight)
        if len(x.shape) < 2 or x.shape[1] != self.num_channels:
            raise ValueError(f"GroupNorm takes inputs of shape (N, C, ...) with C = "
                             f"{self.num_channels}, got {tuple(x.shape)}")
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


# Modules made of modules; a plain list or dict of them works as well (see `module.py`)


def _checked(owner: str, name: str, item: object) -> Module:
    if isinstance(item, Module):
        return item
    if isinstance(item, type) and issubclass(item, Module):
        raise TypeError(f"{owner}: item {name} is the class {item.__name__}: write "
                        f"{item.__name__}() to make a layer")
    if isinstance(item, list | tuple):
        raise TypeError(f"{owner}: item {name} is a {type(item).__name__}: unpack it "
                        "with a star, as in Sequential(*layers)")
    raise TypeError(f"{owner}: item {name} is {item!r}, not a Module; a function needs "
                    "one around it whose forward calls it")


class _Listed(Module):
    """Modules kept by name in one dict, in order: "0", "1", ... or names of their own."""

    def __init__(self, items: Mapping[str, Any]) -> None:
        kind = type(self).__name__
        self._items = {name: _checked(kind, name, item) for name, item in items.items()}

    def _attributes(self) -> Iterable[tuple[str, Any]]:
        for key, value in vars(self).items():
            if key == "_items":  # "0.weight", not "_items.0.weight"
                yield from value.items()
            else:
                yield key, value

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._items.values())

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Module | Self:
        """One module, or with a slice a container of the same modules (they are shared)."""
        items = list(self._items.values())
        if isinstance(index, slice):
            return self._like(items[index])
        if isinstance(index, str):
            raise TypeError(f"a number picks a module, not {index!r}: by name it is "
                            f"dict(model.named_children())[{index!r}]")
        if not -len(items) <= index < len(items):
            raise IndexError(f"index {index} is out of range for {len(items)} modules")
        return items[index]

    def __setitem__(self, index: int, module: Module) -> None:
        name = list(self._items)[index]
        self._items[name] = _checked(type(self).__name__, name, module)

    def _like(self, items: list[Module]) -> Self:
        made = type(self).__new__(type(self))
        _Listed.__init__(made, _numbered(items))
        return made


def _numbered(items: Iterable[Any]) -> dict[str, Any]:
    return {str(i): item for i, item in enumerate(items)}


class Sequential(_Listed):
    """y = fn(... f2(f1(x))): layers one after the other, named "0", "1", ...

    A single dict gives them other names. Indexing gives a layer, a slice a shorter
    Sequential that shares the layers. A ReLU behind a batch norm is computed with it,
    in the same pass over memory, unless somebody watches the layers (`observe`).

    >>> from tinynet import nn
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> len(net), net[-1], [name for name, _ in net.named_parameters()]
    (3, Linear(in_features=3, out_features=1),
     ['0.weight', '0.bias', '2.weight', '2.bias'])
    """

    def __init__(self, *layers: Module | Mapping[str, Module]) -> None:
        named = len(layers) == 1 and isinstance(layers[0], Mapping)
        super().__init__(layers[0] if named else _numbered(layers))  # type: ignore[arg-type]

    def forward(self, x: Any) -> Tensor:
        joined = False
        for place, layer in enumerate(self):
            if joined:  # a ReLU that was computed with the norm before it
                joined = False
            elif type(layer) is BatchNorm2d and self._may_join(place + 1):
                joined = True
                x = layer(x, relu=True)
            else:
                x = layer(x)
        return x

    def _may_join(self, place: int) -> bool:
        """Whether a ReLU (no subclass) stands there, and nobody watches the layers."""
        layers = list(self)
        is_relu = place < len(layers) and type(layers[place]) is ReLU
        return is_relu and not is_observed() and not is_watched()


class ModuleList(_Listed):
    """A list of modules; the network that holds it says in its forward how they are used.

    >>> from tinynet import nn
    >>> layers = nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])
    >>> len(layers.append(nn.ReLU())), layers.named_parameters()[-1][0]
    (4, '2.bias')
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__(_numbered(modules))

    def append(self, module: Module) -> Self:
        """Add a module at the end."""
        name = str(len(self))
        self._items[name] = _checked("ModuleList", name, module)
        return self
