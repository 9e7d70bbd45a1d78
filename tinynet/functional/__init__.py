"""Functions of tensors that layers are made of, conventionally imported as ``F``.

Shapes are PyTorch's. A file is a family: `activation`, `linear`, `conv`, `pool`,
`norm`, `regularize`, `dropconnect`, `fractional`, `loss`. Operations of many steps are
fused for speed, each beside a reference composed of primitives, which is its meaning,
its test and its derivative of higher order.

Read next: `functional/activation.py`.
"""
# ruff: noqa: I001  (exported names stand side by side)

from ..ops.arithmetic import sigmoid as sigmoid, tanh as tanh
from ..ops.shape import pad as pad
from .activation import (
    elu as elu, gelu as gelu, leaky_relu as leaky_relu, log_softmax as log_softmax,
    relu as relu, relu6 as relu6, silu as silu, softmax as softmax,
    softplus as softplus,
)
from .conv import conv2d as conv2d, fold as fold, unfold as unfold
from .dropconnect import (
    dropconnect_conv2d as dropconnect_conv2d, dropconnect_linear as dropconnect_linear,
    expected_relu as expected_relu,
)
from .fractional import fractional_max_pool2d as fractional_max_pool2d
from .linear import linear as linear
from .loss import (
    binary_cross_entropy_with_logits as binary_cross_entropy_with_logits,
    cross_entropy as cross_entropy, hinge_loss as hinge_loss, l1_loss as l1_loss,
    mse_loss as mse_loss, nll_loss as nll_loss,
)
from .norm import (
    batch_norm as batch_norm, group_norm as group_norm, layer_norm as layer_norm,
)
from .pool import (
    adaptive_avg_pool2d as adaptive_avg_pool2d,
    adaptive_max_pool2d as adaptive_max_pool2d, avg_pool2d as avg_pool2d,
    global_avg_pool2d as global_avg_pool2d, global_max_pool2d as global_max_pool2d,
    max_pool2d as max_pool2d,
)
from .regularize import (
    drop_path as drop_path, dropout as dropout, dropout2d as dropout2d,
    l1_penalty as l1_penalty, l2_penalty as l2_penalty,
)
from ..names import lister as _lister

__dir__ = _lister(__name__)
