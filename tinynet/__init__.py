"""tinynet: tensors, gradients of any order, and neural networks, readable from top to bottom.

Start with `tensor.py` (the walk) and `operation.py` (how operations are made).
"""

from .backend import name as backend
from .backend import get_default_dtype, set_default_dtype, synchronize, to_numpy, xp
from .operation import fused, primitive
from .ops.arithmetic import (
    abs, add, astype, clip, cos, divide, equal, erf, exp, expm1, floor, greater, greater_equal,
    isfinite, less, less_equal, log, log1p, logical_and, logical_not, logical_or, maximum, minimum,
    multiply, negative, not_equal, power, sigmoid, sign, sin, sqrt, square, subtract, tanh, where,
)
from .ops.creation import (
    arange, eye, from_dlpack, full, linspace, one_hot, ones, ones_like, rand, randn, tensor, zeros,
    zeros_like,
)
from .ops.indexing import getitem, put, take_along_axis
from .ops.linalg import einsum, matmul
from .ops.reduction import (
    all, any, argmax, argmin, argsort, cumsum, logsumexp, max, mean, median, min, norm, prod, sort,
    std, sum, var,
)
from .ops.shape import (
    broadcast_to, concatenate, expand_dims, flatten, flip, moveaxis, pad, reshape, split, squeeze,
    stack, sum_to, swapaxes, transpose,
)
from .random import Generator, get_state, manual_seed, set_state
from .tensor import Tensor, enable_grad, grad, is_grad_enabled, no_grad

__version__ = "0.1.0"
