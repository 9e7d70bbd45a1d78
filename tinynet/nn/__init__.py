"""Layers, and what holds them together: see `module.py` first.

``nn.functional`` are the same operations as functions, ``nn.init`` the initial weights.

Read next: `nn/module.py`.
"""
# ruff: noqa: I001  (exported names stand side by side)

from .. import functional as functional
from . import init as init
from .blocks import (
    Residual as Residual, ResidualBlock as ResidualBlock, conv_bn_relu as conv_bn_relu,
    linear_decay as linear_decay,
)
from .layers import (
    AdaptiveAvgPool2d as AdaptiveAvgPool2d, AvgPool2d as AvgPool2d,
    BatchNorm1d as BatchNorm1d, BatchNorm2d as BatchNorm2d, Conv2d as Conv2d,
    ELU as ELU, Flatten as Flatten, GELU as GELU,
    GlobalAvgPool2d as GlobalAvgPool2d, GlobalMaxPool2d as GlobalMaxPool2d,
    GroupNorm as GroupNorm, Identity as Identity,
    LayerNorm as LayerNorm, LeakyReLU as LeakyReLU,
    Linear as Linear, LogSoftmax as LogSoftmax, MaxPool2d as MaxPool2d, ModuleList as ModuleList,
    ReLU as ReLU, ReLU6 as ReLU6, Sequential as Sequential,
    Sigmoid as Sigmoid, SiLU as SiLU, Softmax as Softmax,
    Softplus as Softplus, Tanh as Tanh,
)
from .losses import (
    BCEWithLogitsLoss as BCEWithLogitsLoss, CrossEntropyLoss as CrossEntropyLoss,
    HingeLoss as HingeLoss, L1Loss as L1Loss, MSELoss as MSELoss, NLLLoss as NLLLoss,
)
from .module import (
    Buffer as Buffer, Call as Call, Module as Module, Parameter as Parameter,
    Unmatched as Unmatched, observe as observe,
)
from .noise import (
    DropConnectConv2d as DropConnectConv2d, DropConnectLinear as DropConnectLinear,
    Dropout as Dropout, Dropout2d as Dropout2d,
    FractionalMaxPool2d as FractionalMaxPool2d, Noise as Noise,
    marginalize as marginalize,
)
from .profile import Profile as Profile, ProfileRow as ProfileRow, profile as profile
from .summary import Row as Row, Summary as Summary, summary as summary
from ..names import lister as _lister

__dir__ = _lister(__name__)
