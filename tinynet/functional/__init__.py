"""Functions of tensors that layers are made of, conventionally imported as ``F``.

Shapes are PyTorch's. A file is a family: `activation`, `dense`, `conv`, `pool`, `norm`,
`regularize`, `dropconnect`, `fractional`, `loss`. Operations of many steps are fused for speed,
each beside a reference composed of primitives, which is its meaning, its test and its derivative of
higher order.
"""

from ..ops.shape import pad
from .activation import (
    elu,
    gelu,
    leaky_relu,
    log_softmax,
    relu,
    relu6,
    sigmoid,
    silu,
    softmax,
    softplus,
    tanh,
)
from .conv import conv2d
from .dense import linear
from .dropconnect import dropconnect_conv2d, dropconnect_linear, expected_relu
from .fractional import fractional_max_pool2d
from .loss import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    hinge_loss,
    l1_loss,
    mse_loss,
    nll_loss,
)
from .norm import batch_norm, batch_norm_relu, group_norm, layer_norm
from .pool import (
    adaptive_avg_pool2d,
    adaptive_max_pool2d,
    avg_pool2d,
    global_avg_pool2d,
    global_max_pool2d,
    max_pool2d,
)
from .regularize import drop_path, dropout, dropout2d, l1_penalty, l2_penalty
from .windows import fold, unfold

__all__ = [
    "adaptive_avg_pool2d", "adaptive_max_pool2d", "avg_pool2d", "batch_norm", "batch_norm_relu",
    "binary_cross_entropy_with_logits", "conv2d", "cross_entropy", "drop_path",
    "dropconnect_conv2d", "dropconnect_linear", "dropout", "dropout2d", "elu", "expected_relu",
    "fold", "fractional_max_pool2d", "gelu", "global_avg_pool2d", "global_max_pool2d", "group_norm",
    "hinge_loss", "l1_loss", "l1_penalty", "l2_penalty", "layer_norm", "leaky_relu", "linear",
    "log_softmax", "max_pool2d", "mse_loss", "nll_loss", "pad", "relu", "relu6", "sigmoid", "silu",
    "softmax", "softplus", "tanh", "unfold",
]
