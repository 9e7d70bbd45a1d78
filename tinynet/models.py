"""Reference networks: the ones that the examples train and the benchmarks time.

Each function returns a fresh network of `nn` layers. Parameters and multiply-adds are
for the defaults: 10 classes, and multiply-adds of one 3x32x32 picture (``nn.summary``
prints them layer by layer). They take and give what PyTorch's nets do: images (N, C, H,
W), class scores (N, classes). A net remembers the function and the arguments that made
it, so that a saved file can say them and `make` can make its like again.

Read next: `optim/__init__.py`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, ParamSpec

import numpy as np

from . import nn
from .checks import answering as _answering
from .names import lister as _lister

__all__ = ["Made", "made_by", "make", "mlp", "net_r", "net_s", "resnet", "resnet_small",
           "small_conv_net"]

__dir__ = _lister(__name__)

_P = ParamSpec("_P")
_Maker = Callable[_P, nn.Sequential]
_makers: dict[str, Callable[..., nn.Sequential]] = {}  # all that is ever called by name


class Made(NamedTuple):
    """The function that made a net, and all its arguments as JSON holds them."""

    name: str
    arguments: dict[str, Any]
    looks: str  # the net's repr when it was new


def _remembered(function: _Maker[_P]) -> _Maker[_P]:
    """The same function; its nets know how they were made."""
    signature = inspect.signature(function)
    function = _answering(function)
    name = getattr(function, "__name__", "")

    @functools.wraps(function)
    def maker(*args: _P.args, **kwargs: _P.kwargs) -> nn.Sequential:
        net = function(*args, **kwargs)
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        net._made = None  # also where a maker called another one
        try:
            arguments = {name: _plain(value) for name, value in given.arguments.items()}
            net._made = Made(name, arguments, repr(net))
        except TypeError:  # such as an activation of one's own: no file can say it
            pass
        return net

    _makers[name] = maker
    return maker


def _plain(value: Any) -> Any:
    """An argument as JSON holds it; a layer's class of `nn` by its name."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.integer | np.floating):
        return value.item()
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    name = getattr(value, "__name__", "")
    if vars(nn).get(name) is value:
        return {"nn": name}
    raise TypeError(f"{value!r} cannot be written down")


def _layer_class(value: Any) -> Any:
    """What `_plain` made a dict of, again; all else as it is."""
    if not isinstance(value, dict):
        return value
    found = vars(nn).get(str(value.get("nn")))
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ValueError(f"{value!r} is no layer of nn")
    return found


def made_by(net: nn.Module) -> Made | None:
    """How `net` was made; None if not by a function of this module, or changed since.

    >>> made = made_by(mlp([4, 2]))
    >>> made.name, made.arguments["sizes"]
    ('mlp', [4, 2])
    >>> made_by(nn.Sequential(nn.Linear(4, 2))) is None
    True
    """
    made: Made | None = getattr(net, "_made", None)
    if made is None or made.looks != repr(net):
        return None
    return made


def make(name: str, arguments: Mapping[str, Any]) -> nn.Sequential:
    """The net of the function `name` of this module; `arguments` as in `Made`.

    ValueError for another name, or for arguments that the function does not take.

    >>> make("mlp", {"sizes": [4, 2]})[1]
    Linear(in_features=4, out_features=2)
    """
    if name not in _makers:
        raise ValueError(f"name must be one of {', '.join(sorted(_makers))}, got {name!r}")
    function = _makers[name]
    try:
        given = {key: _layer_class(value) for key, value in arguments.items()}
        inspect.signature(function).bind(**given)
    except TypeError as error:
        raise ValueError(f"models.{name}: {error}") from error
    return function(**given)


@_remembered
def mlp(sizes: Sequence[int], activation: Callable[[], nn.Module] = nn.ReLU,
        dropout: float = 0.0) -> nn.Sequential:
    """Linear layers of these sizes with an activation (and dropout) between, none at the end.

    Takes (N, sizes[0]), or images of that many numbers. mlp([3072, 100, 10]) has
    308,310 parameters and 308,200 multiply-adds.

    >>> mlp([4, 8, 2])(tn.zeros((5, 4))).shape
    (5, 2)
    """
    if isinstance(sizes, int) or isinstance(activation, str):
        raise TypeError("mlp takes a list of sizes and a class: mlp([8, 16, 4], "
                        f"activation=nn.ReLU), got {sizes!r} and {activation!r}")
    if len(sizes) < 2:
        raise ValueError("sizes must hold the input and output size at least, got "
                         f"{list(sizes)}")
    layers: list[nn.Module] = [nn.Flatten()]
    for i in range(len(sizes) - 1):
        if i > 0:
            layers += [activation(), *([nn.Dropout(dropout)] if dropout else [])]
        layers.append(nn.Linear(sizes[i], sizes[i + 1]))
    return nn.Sequential(*layers)


@_remembered
def small_conv_net(num_classes: int = 10, in_channels: int = 3, image_size: int = 32,
                   widths: Sequence[int] = (32, 64, 128), dropout: float = 0.0) -> nn.Sequential:
    """For each width: 3x3 convolution without bias, batch norm, ReLU, 2x2 max pool; then linear.

    The smallest net here that is worth training on pictures: 113,962 parameters, 10.3
    million multiply-adds, a quarter of `net_s`. `image_size` is halved by each width.

    >>> small_conv_net(widths=(4, 8))(tn.zeros((2, 3, 32, 32))).shape
    (2, 10)
    """
    layers: list[nn.Module] = []
    for before, width in zip([in_channels, *widths], widths, strict=False):
        layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width),
                   nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, *_classifier(image_size, widths, dropout, num_classes))


@_remembered
def net_s(num_classes: int = 10, in_channels: int = 3, image_size: int = 32,
          widths: Sequence[int] = (32, 64, 128), dropout: float = 0.5) -> nn.Sequential:
    """Net S of the benchmarks, a small VGG: 32,32,P, 64,64,P, 128,128,P, dropout, linear.

    Numbers are 3x3 convolutions without bias, each with batch norm and ReLU; P is a 2x2
    max pool. 307,946 parameters, 38.7 million multiply-adds. Source of the pattern:
    Simonyan and Zisserman 2015, with batch norm.
    """
    layers: list[nn.Module] = []
    for before, width in zip([in_channels, *widths], widths, strict=False):
        layers += [nn.conv_bn_relu(before, width), nn.conv_bn_relu(width, width),
                   nn.MaxPool2d(2)]
    return nn.Sequential(*layers, *_classifier(image_size, widths, dropout, num_classes))


def _classifier(image_size: int, widths: Sequence[int], dropout: float, num_classes: int
                ) -> list[nn.Module]:
    """From feature maps, halved once for each width, to class scores."""
    size = image_size >> len(widths)
    if size < 1:
        raise ValueError(f"image_size={image_size} cannot be halved {len(widths)} "
                         "times, once for each width: use larger images or fewer "
                         "widths")
    return [nn.Flatten(), *([nn.Dropout(dropout)] if dropout else []),
            nn.Linear(widths[-1] * size * size, num_classes)]


@_remembered
def net_r(num_classes: int = 10, in_channels: int = 3, width: int = 64) -> nn.Sequential:
    """Net R of the benchmarks, like ResNet-9: 64, 128,P, res128, 256,P, 256,P, res256, linear.

    Numbers are 3x3 convolutions without bias, each with batch norm and ReLU; P is a 2x2
    max pool, res two such convolutions with a shortcut around them. The largest value
    of each channel goes to the linear layer. 2,440,266 parameters, 285 million
    multiply-adds, any image size of 8 or more. Source of the pattern: David Page, "How
    to train your ResNet", 2018 (whose last stage has 512 channels).
    """
    w = width
    return nn.Sequential(
        nn.conv_bn_relu(in_channels, w),
        nn.conv_bn_relu(w, 2 * w), nn.MaxPool2d(2), _residual(2 * w),
        nn.conv_bn_relu(2 * w, 4 * w), nn.MaxPool2d(2),
        nn.conv_bn_relu(4 * w, 4 * w), nn.MaxPool2d(2), _residual(4 * w),
        nn.GlobalMaxPool2d(), nn.Linear(4 * w, num_classes),
    )


def _residual(channels: int) -> nn.Residual:
    return nn.Residual(nn.Sequential(nn.conv_bn_relu(channels, channels),
                                     nn.conv_bn_relu(channels, channels)))


@_remembered
def resnet(blocks: int = 54, num_classes: int = 10, in_channels: int = 3,
           widths: Sequence[int] = (16, 32, 64), *, bottleneck: bool = False,
           pre_activation: bool = False, survival: float = 1.0, mode: str = "batch",
           inverted: bool = False) -> nn.Sequential:
    """A ResNet for small pictures: a convolution, then `blocks` residual blocks, then linear.

    The blocks are shared equally by the widths (of bottleneck blocks the output is 4
    times as wide); every width but the first begins with stride 2. With `survival` < 1
    it is trained with stochastic depth: block l of L is skipped with probability l/L (1
    - survival), see `nn.ResidualBlock`. ResNet-110 by default: 1,730,714 parameters,
    253 million multiply-adds. Source: He et al. 2016, section 4.2, with option B
    shortcuts; Huang et al. 2016.

    >>> net = resnet(6, widths=(4, 8), survival=0.5)
    >>> [round(block.p, 3) for block in net if isinstance(block, nn.ResidualBlock)]
    [0.083, 0.167, 0.25, 0.333, 0.417, 0.5]
    """
    if blocks < 1 or blocks % len(widths):
        raise ValueError(f"blocks={blocks} must be a multiple of the {len(widths)} "
                         "widths")
    before = widths[0]
    each = blocks // len(widths)
    layers: list[nn.Module] = []
    if pre_activation:
        layers.append(nn.Conv2d(in_channels, before, 3, padding=1, bias=False))
    else:
        layers.append(nn.conv_bn_relu(in_channels, before))
    for i, skipped in enumerate(nn.linear_decay(blocks, 1.0 - survival)):
        width = widths[i // each] * (4 if bottleneck else 1)
        layers.append(nn.ResidualBlock(
            before, width, stride=2 if i >= each and i % each == 0 else 1, bottleneck=bottleneck,
            pre_activation=pre_activation, p=skipped, mode=mode, inverted=inverted))
        before = width
    if pre_activation:
        layers.append(nn.BatchNorm2d(before, relu=True))
    return nn.Sequential(*layers, nn.GlobalAvgPool2d(), nn.Linear(before, num_classes))


@_remembered
def resnet_small(num_classes: int = 10, in_channels: int = 3, blocks: int = 3,
                 widths: Sequence[int] = (16, 32, 64)) -> nn.Sequential:
    """The smallest `resnet` of its paper: a convolution, `blocks` residual blocks of each width.

    Two convolutions in a block, so 6 blocks + 2 layers with weights: ResNet-20 by
    default, 272,474 parameters, 40.8 million multiply-adds.
    """
    return resnet(blocks * len(widths), num_classes, in_channels, widths)
