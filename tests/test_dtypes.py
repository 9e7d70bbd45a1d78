"""float16, integers and bools through everything that adds up or is calculus, against float64.

A row is a function of one array. A new operation must have a row in `ROWS`, or stand in `OTHERS`
with those that compute each element by one rounded step, or only move elements.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.arrays import host
from tinynet import Tensor, functional as F, grad, operation, optim
from tinynet.backend import xp
from tinynet.functional import activation, loss
from tinynet.ops import reduction

Function = Callable[[Any], Any]
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]


def functions_of(module: Any) -> set[str]:
    """The public functions that a file of the library defines."""
    return {name for name, f in vars(module).items() if not name.startswith("_")
            and getattr(f, "__module__", "") == module.__name__ and hasattr(f, "__code__")}


def labels(x: Any) -> Any:
    return xp.arange(len(x)) % x.shape[1]


def spread_target(x: Any) -> Any:
    """Probabilities 0, 1/2 and 1, in float16 for a float16 x."""
    part = xp.arange(math.prod(x.shape)).reshape(x.shape) % 3
    return Tensor((part / 2).astype(x.dtype if x.dtype.kind == "f" else "float32"))


def clipped(x: Any, norm_type: float) -> Any:
    """The norm that clipping finds, and one gradient after it."""
    w = Tensor(xp.zeros(x.shape, x.dtype if x.dtype.kind == "f" else "float32"), requires_grad=True)
    w.grad = Tensor(x.data.astype(w.dtype))
    norm = optim.clip_grad_norm_([w], 1.0, norm_type)
    return tn.stack([norm, w.grad.reshape(-1)[-1].astype(norm.dtype)])


REDUCTIONS: dict[str, Function] = {
    "sum": tn.sum, "mean": tn.mean, "var": tn.var, "std": tn.std, "max": tn.max, "min": tn.min,
    "prod": lambda x: tn.prod(x, axis=1), "cumsum": lambda x: tn.cumsum(x, 0),
    "logsumexp": tn.logsumexp, "norm": tn.norm, "norm of order 1": lambda x: tn.norm(x, 1),
    "norm of order inf": lambda x: tn.norm(x, math.inf), "median": lambda x: tn.median(x, 0),
    "sort": lambda x: tn.sort(x, 0), "clip_grad_norm": lambda x: clipped(x, 2.0),
    "clip_grad_norm of order 3": lambda x: clipped(x, 3.0),
    "clip_grad_norm of order inf": lambda x: clipped(x, math.inf),
    "sum over axis 0": lambda x: tn.sum(x, 0), "mean over axis 0": lambda x: tn.mean(x, 0),
    "sum_to": lambda x: x.sum_to((1, x.shape[1])),
    "l1_penalty": lambda x: F.l1_penalty([x, x]), "l2_penalty": lambda x: F.l2_penalty([x, x]),
}
ACTIVATIONS: dict[str, Function] = {
    **{name: getattr(F, name) for name in sorted(functions_of(activation) | {"sigmoid", "tanh"})},
    "gelu by tanh": lambda x: F.gelu(x, "tanh"), "softmax over axis 0": lambda x: F.softmax(x, 0),
    "log_softmax over axis 0": lambda x: F.log_softmax(x, 0), "erf": tn.erf,
    "leaky_relu of slope 0": lambda x: F.leaky_relu(x, 0.0),
}
CALCULUS: dict[str, Function] = {
    "exp": lambda x: tn.exp(x * -0.01), "exp itself": tn.exp, "expm1": tn.expm1,
    "log": lambda x: tn.log(tn.where(x > 0, x, 1.0)), "log1p": lambda x: tn.log1p(tn.abs(x)),
    "sqrt": lambda x: tn.sqrt(tn.where(x > 0, x, 1.0)), "sin": tn.sin, "cos": tn.cos,
}
LOSSES: dict[str, Function] = {
    "mse_loss": lambda x: F.mse_loss(x, spread_target(x)),
    "mse_loss summed": lambda x: F.mse_loss(x, spread_target(x), "sum"),
    "l1_loss": lambda x: F.l1_loss(x, spread_target(x)),
    "binary_cross_entropy_with_logits":
        lambda x: F.binary_cross_entropy_with_logits(x, spread_target(x)),
    "cross_entropy": lambda x: F.cross_entropy(x, labels(x)),
    "cross_entropy smoothed": lambda x: F.cross_entropy(x, labels(x), label_smoothing=0.1),
    "cross_entropy of probabilities": lambda x: F.cross_entropy(x, spread_target(x)),
    "cross_entropy weighted": lambda x: F.cross_entropy(x, labels(x), xp.arange(1.0, 3.0)),
    "nll_loss": lambda x: F.nll_loss(x, labels(x)),
    "hinge_loss": lambda x: F.hinge_loss(x, labels(x)),
}
ROWS = REDUCTIONS | ACTIVATIONS | CALCULUS | LOSSES

# These need no row: every element is one rounded step, or elements only move.
OTHERS = {
    "add", "subtract", "multiply", "divide", "negative", "power", "square", "abs", "maximum",
    "minimum", "where", "_astype", "alias", "reshape", "transpose", "broadcast_to", "flip", "pad",
    "_concatenate", "_get", "_where_positive", "_masked",
    "argmax", "argmin", "argsort", "all", "any",
}
# Known to the rows by another name, or in a table of their own below.
INSIDE = {"_root": "std", "_centred": "std", "_euclidean": "norm",
          "_mean_squared_error": "mse_loss",
          "_binary_cross_entropy": "binary_cross_entropy_with_logits",
          "_softmax_cross_entropy": "cross_entropy"}

rng = np.random.default_rng(0)
FLOATS = {
    "many halves": np.full((35_000, 2), 0.5),
    "many of both signs": rng.standard_normal((35_000, 2)),
    "large": np.array([[300.0, -300.0], [60_000.0, 10.0], [-60_000.0, 1.0]]),
    "small": np.array([[1e-4, 0.0], [2e-4, -1e-4], [3e-4, 1e-4]]),
    "subnormal": np.array([[6e-8, 1e-6], [1e-5, -2e-6], [0.0, 5e-5]]),
    "usual": rng.standard_normal((6, 2)) * 3,
}


def value_and_slope(f: Function, x: np.ndarray[Any, Any]) -> tuple[Any, Any]:
    leaf = Tensor(xp.asarray(x), requires_grad=x.dtype.kind == "f")
    y = f(leaf)
    if not y.requires_grad:
        return y, None
    g = xp.cos(xp.arange(y.size).reshape(y.shape)).astype("float16").astype(y.dtype)
    return y, grad(y, leaf, g)


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")
@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("name", ROWS)
def test_float16_is_float64_rounded_once(name: str, kind: str) -> None:
    x = FLOATS[kind].astype(np.float16)
    with np.errstate(over="ignore", invalid="ignore"):
        y, slope = value_and_slope(ROWS[name], x)
        truth, true_slope = value_and_slope(ROWS[name], x.astype(np.float64))
    assert y.dtype == ("float32" if name.startswith("clip_grad") else "float16")
    assert truth.dtype == "float64"
    assert is_rounded(host(y), host(truth), 2**-10)
    if slope is not None:
        assert slope.dtype == "float16"
        # The slopes of element-wise functions are products of rounded values: a few roundings.
        assert is_rounded(host(slope), host(true_slope), 2**-8)


def is_rounded(found: Any, truth: Any, digits: float) -> bool:
    """Whether `found` is `truth` in float16, but for `digits` and the smallest number of float16.

    An error is measured against the largest element of an array where those are 1 or smaller.
    """
    with np.errstate(over="ignore"):
        wanted = truth.astype(np.float16).astype(float)
    scale = np.abs(truth) + (truth.ndim > 1) * min(1.0, float(np.abs(truth).max()))
    close = np.abs(found.astype(float) - truth) <= digits * scale + 2**-24
    return bool(np.all(close | (found == wanted) | (np.isnan(found) & np.isnan(wanted))))


def whole(dtype: str) -> np.ndarray[Any, Any]:
    if dtype == "bool":
        return np.array([[True, False], [True, True], [False, True]])
    return np.array([[1, 20], [20, 20], [0, 80]]).astype(dtype)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("name", ROWS)
def test_integers_give_what_float64_gives(name: str, dtype: str) -> None:
    x = whole(dtype)
    with np.errstate(over="ignore"):
        y = ROWS[name](Tensor(xp.asarray(x)))
        truth = ROWS[name](Tensor(xp.asarray(x.astype(float))))
    assert np.allclose(host(y).astype(float), host(truth).astype(np.float32), 2e-6, 1e-7)
    if y.dtype.kind == "f":
        assert y.dtype == "float32"
    else:
        assert y.dtype in (dtype, "int64", "uint64")


@pytest.mark.parametrize("dtype", INTEGERS)
def test_sums_and_products_of_integers_are_those_of_numpy(dtype: str) -> None:
    x = whole(dtype)
    for f, numpy_f in ((tn.sum, np.sum), (tn.prod, np.prod)):
        for given in (xp.asarray(x), Tensor(xp.asarray(x))):
            y = f(given, axis=0)
            wanted = numpy_f(x, axis=0)
            assert y.dtype == wanted.dtype and host(y).tolist() == wanted.tolist()
    running = tn.cumsum(Tensor(xp.asarray(x)), 0)
    assert running.dtype == np.cumsum(x, 0).dtype
    assert running.tolist() == np.cumsum(x, 0).tolist()


def test_everything_that_adds_up_or_is_calculus_has_a_row() -> None:
    families = {name for name, f in {**operation.primitives, **operation.fusions}.items()
                if f.__module__.startswith(("tinynet.ops", "tinynet.functional.activation",
                                            "tinynet.functional.loss"))}
    families |= functions_of(reduction) | functions_of(activation)
    families |= {name for name in functions_of(loss) if hasattr(F, name)}
    known = set(ROWS) | OTHERS | set(INSIDE) | set(MORE)
    assert families <= known
    assert {INSIDE[name] for name in INSIDE} <= set(ROWS)


# Of several arrays: sums of 70,000 products or of as many picked elements

MORE: dict[str, Function] = {
    "_matmul": lambda x: x.reshape(1, -1) @ x.reshape(-1, 1),
    "_einsum": lambda x: tn.einsum("ij,ij->j", x, x),
    "_linear": lambda x: F.linear(x.reshape(1, -1), x.reshape(1, -1)),
    "_put": lambda x: tn.put(x, np.zeros(len(x), int), (2, 2)),
    "a bias": lambda x: x + tn.mean(x, 0),
}


@pytest.mark.parametrize("name", MORE)
def test_float16_products_are_added_up_in_float32(name: str) -> None:
    x = (FLOATS["many of both signs"] * 0.25 + 0.25).astype(np.float16)
    y, slope = value_and_slope(MORE[name], x)
    truth, true_slope = value_and_slope(MORE[name], x.astype(float))
    assert y.dtype == slope.dtype == "float16"
    assert is_rounded(host(y), host(truth), 2**-10)
    assert is_rounded(host(slope), host(true_slope), 2**-8)


def test_a_broadcast_bias_gets_the_sum_of_all_its_gradients() -> None:
    bias = Tensor(xp.zeros(2, "float16"), requires_grad=True)
    y = bias + xp.ones((5000, 2), "float16")
    assert grad(y, bias, xp.ones(y.shape, "float16")).tolist() == [5000.0, 5000.0]
