"""tinynet: tensors, gradients of any order, and neural networks, readable from top to bottom.

    import tinynet as tn
    from tinynet import nn, optim
    import tinynet.functional as F

The floors, from the ground up: `backend` and `random`; `kernels` (fast array code
without gradients); `tensor`, `operation` and `ops` (the engine and its primitives);
`functional`, `calculus`; `gradcheck`, `nn`, `optim` and `data`; `train` and `models`;
`tune`; `viz`. A file imports only from lower floors. Start reading with `tensor.py`, or
with ``loss.backward()`` in a debugger; the words of the house (vjp, twin, slot ...) stand in
`examples/READING.md`. An id such as A19 at the head of a file is a statement of CS231n's
lecture 8; `tests/ledger/ledger.toml` lists them, each with its tests.

Read next: `backend.py`.
"""
# ruff: noqa: I001  (exported names stand side by side)

# Before the function `tensor`: a checker takes the last of the two that have this name.
from .tensor import Tensor as Tensor, grad as grad

# isort: split
from . import foreign as _foreign
from . import (
    calculus as calculus, data as data, functional as functional, models as models,
    nn as nn, optim as optim, train as train, tune as tune, viz as viz,
)
from .backend import (
    get_default_dtype as get_default_dtype, set_default_dtype as set_default_dtype,
    synchronize as synchronize, to_numpy as to_numpy, xp as xp,
)
from .gradcheck import GradcheckError as GradcheckError, gradcheck as gradcheck
from .graph import (
    enable_grad as enable_grad, is_grad_enabled as is_grad_enabled, no_grad as no_grad,
)
from .kernels.kernel import plain as plain
from .kernels.threads import (
    get_num_workers as get_num_workers, set_num_workers as set_num_workers,
)
from .nn import profile as profile, summary as summary
from .operation import fused as fused, primitive as primitive
from .ops.arithmetic import (
    abs as abs, add as add, astype as astype, clip as clip, cos as cos,
    divide as divide, equal as equal, erf as erf, exp as exp, expm1 as expm1,
    floor as floor, greater as greater, greater_equal as greater_equal,
    isfinite as isfinite, less as less, less_equal as less_equal, log as log,
    log1p as log1p, logical_and as logical_and, logical_not as logical_not,
    logical_or as logical_or, maximum as maximum, minimum as minimum,
    multiply as multiply, negative as negative, not_equal as not_equal, power as power,
    sigmoid as sigmoid, sign as sign, sin as sin, sqrt as sqrt, square as square,
    subtract as subtract, tanh as tanh, where as where,
)
from .ops.creation import (
    arange as arange, eye as eye, from_dlpack as from_dlpack, full as full,
    linspace as linspace, one_hot as one_hot, ones as ones, ones_like as ones_like,
    rand as rand, randn as randn, tensor as tensor, zeros as zeros,
    zeros_like as zeros_like,
)
from .ops.indexing import (
    getitem as getitem, put as put, take_along_axis as take_along_axis,
)
from .ops.linalg import einsum as einsum, matmul as matmul
from .ops.reduction import (
    all as all, any as any, argmax as argmax, argmin as argmin, argsort as argsort,
    cumsum as cumsum, logsumexp as logsumexp, max as max, mean as mean,
    median as median, min as min, norm as norm, prod as prod, sort as sort, std as std,
    sum as sum, var as var,
)
from .ops.shape import (
    broadcast_to as broadcast_to, concatenate as concatenate,
    expand_dims as expand_dims, flatten as flatten, flip as flip, moveaxis as moveaxis,
    pad as pad, reshape as reshape, split as split, squeeze as squeeze, stack as stack,
    sum_to as sum_to, swapaxes as swapaxes, transpose as transpose,
)
from .train import distributed as distributed
from .random import (
    Generator as Generator, get_state as get_state, manual_seed as manual_seed,
    set_state as set_state,
)
from .names import lister as _lister

__dir__ = _lister(__name__)

_foreign.attach()  # names of other libraries are answered with ours
__version__ = "0.1.0"
