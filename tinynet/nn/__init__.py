"""Layers, and what holds them together: see `module.py` first.

``nn.functional`` are the same operations as functions, ``nn.init`` the initial weights.
"""

from .. import functional as functional
from . import init as init
from .activation import ELU, GELU, LeakyReLU, LogSoftmax, ReLU, Sigmoid, Softmax, Softplus, Tanh
from .blocks import Residual, ResidualBlock, conv_bn_relu, linear_decay
from .container import ModuleList, Sequential
from .conv import Conv2d
from .dropconnect import DropConnectConv2d, DropConnectLinear
from .dropout import Dropout, Dropout2d
from .linear import Flatten, Identity, Linear
from .loss import CrossEntropyLoss, HingeLoss, MSELoss
from .module import Buffer, Call, Module, Parameter, Unmatched, observe
from .noise import Noise, marginalize
from .norm import BatchNorm1d, BatchNorm2d, GroupNorm, LayerNorm
from .pool import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    FractionalMaxPool2d,
    GlobalAvgPool2d,
    GlobalMaxPool2d,
    MaxPool2d,
)
from .profile import Profile, ProfileRow, profile
from .summary import Row, Summary, summary

__all__ = [
    "AdaptiveAvgPool2d", "AvgPool2d", "BatchNorm1d", "BatchNorm2d", "Buffer", "Call", "Conv2d",
    "CrossEntropyLoss", "DropConnectConv2d", "DropConnectLinear", "Dropout", "Dropout2d", "ELU",
    "Flatten", "FractionalMaxPool2d", "GELU", "GlobalAvgPool2d", "GlobalMaxPool2d", "GroupNorm",
    "HingeLoss", "Identity", "LayerNorm", "LeakyReLU", "Linear", "LogSoftmax", "MSELoss",
    "MaxPool2d", "Module", "ModuleList", "Noise", "Parameter", "Profile", "ProfileRow", "ReLU",
    "Residual", "ResidualBlock", "Row", "Sequential", "Sigmoid", "Softmax", "Softplus", "Summary",
    "Tanh", "Unmatched", "conv_bn_relu", "functional", "init", "linear_decay", "marginalize",
    "observe", "profile", "summary",
]
