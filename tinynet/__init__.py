"""tinynet: tensors, gradients of any order, and neural networks, readable from top to
bottom.

    import tinynet as tn
    from tinynet import nn, optim
    import tinynet.functional as F

The floors, from the ground up: `backend` and `random`; `kernels` (fast array code
without gradients); `tensor`, `operation` and `ops` (the engine and its primitives);
`functional`, `calculus`; `gradcheck`, `nn`, `optim` and `data`; `train` and `models`;
`tune`; `viz`. A file imports only from lower floors. Start reading with `tensor.py`, or
with ``loss.backward()`` in a debugger.
"""

# Before the function `tensor`: a checker takes the last of the two that have this name.
from .tensor import Tensor, grad

# isort: split
from . import calculus, data, functional, models, nn, optim, train, tune, viz
from .backend import get_default_dtype, set_default_dtype, synchronize, to_numpy, xp
from .gradcheck import GradcheckError, gradcheck
from .graph import enable_grad, is_grad_enabled, no_grad
from .kernels.threads import get_num_workers, set_num_workers
from .nn import profile, summary
from .operation import fused, primitive
from .ops.arithmetic import (
    abs,
    add,
    astype,
    clip,
    cos,
    divide,
    equal,
    erf,
    exp,
    expm1,
    floor,
    greater,
    greater_equal,
    isfinite,
    less,
    less_equal,
    log,
    log1p,
    logical_and,
    logical_not,
    logical_or,
    maximum,
    minimum,
    multiply,
    negative,
    not_equal,
    power,
    sigmoid,
    sign,
    sin,
    sqrt,
    square,
    subtract,
    tanh,
    where,
)
from .ops.creation import (
    arange,
    eye,
    from_dlpack,
    full,
    linspace,
    one_hot,
    ones,
    ones_like,
    rand,
    randn,
    tensor,
    zeros,
    zeros_like,
)
from .ops.indexing import getitem, put, take_along_axis
from .ops.linalg import einsum, matmul
from .ops.reduction import (
    all,
    any,
    argmax,
    argmin,
    argsort,
    cumsum,
    logsumexp,
    max,
    mean,
    median,
    min,
    norm,
    prod,
    sort,
    std,
    sum,
    var,
)
from .ops.shape import (
    broadcast_to,
    concatenate,
    expand_dims,
    flatten,
    flip,
    moveaxis,
    pad,
    reshape,
    split,
    squeeze,
    stack,
    sum_to,
    swapaxes,
    transpose,
)
from .random import Generator, get_state, manual_seed, set_state

__version__ = "0.1.0"

__all__ = [
    "Generator", "GradcheckError", "Tensor", "abs", "add", "all", "any", "arange", "argmax",
    "argmin", "argsort", "astype", "broadcast_to", "calculus", "clip", "concatenate", "cos",
    "cumsum", "data", "divide", "einsum", "enable_grad", "equal", "erf", "exp", "expand_dims",
    "expm1", "eye", "flatten", "flip", "floor", "from_dlpack", "full", "functional", "fused",
    "get_default_dtype", "get_num_workers", "get_state", "getitem", "grad", "gradcheck",
    "greater", "greater_equal", "is_grad_enabled", "isfinite", "less", "less_equal", "linspace",
    "log", "log1p", "logical_and", "logical_not", "logical_or", "logsumexp", "manual_seed",
    "matmul", "max", "maximum", "mean", "median", "min", "minimum", "models", "moveaxis",
    "multiply", "negative", "nn", "no_grad", "norm", "not_equal", "one_hot", "ones",
    "ones_like", "optim", "pad", "power", "primitive", "prod", "profile", "put", "rand",
    "randn", "reshape", "set_default_dtype", "set_num_workers", "set_state", "sigmoid", "sign",
    "sin", "sort", "split", "sqrt", "square", "squeeze", "stack", "std", "subtract", "sum",
    "sum_to", "summary", "swapaxes", "synchronize", "take_along_axis", "tanh", "tensor",
    "to_numpy", "train", "transpose", "tune", "var", "viz", "where", "xp", "zeros", "zeros_like",
]
