"""Arguments of the wrong kind: every function of `tn` and `F` says which one, and what it was.

Numbers and lists are taken for arrays wherever an array is taken.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import functional as F, xp

Call = tuple[Callable[..., Any], list[Any], dict[str, Any]]


def ones(*shape: int) -> Any:
    return xp.ones(shape, "float32")


# Each function that has an option that is a number, a shape, an axis or a word, with right ones.
OPTIONS: dict[str, Call] = {
    "sum": (tn.sum, [ones(2, 3)], {"axis": 0, "keepdims": True}),
    "mean": (tn.mean, [ones(2, 3)], {"axis": 0, "keepdims": True}),
    "var": (tn.var, [ones(2, 3)], {"axis": 0, "ddof": 1, "keepdims": True}),
    "std": (tn.std, [ones(2, 3)], {"axis": 0, "ddof": 1, "keepdims": True}),
    "max": (tn.max, [ones(2, 3)], {"axis": 0, "keepdims": True}),
    "min": (tn.min, [ones(2, 3)], {"axis": 0, "keepdims": True}),
    "prod": (tn.prod, [ones(2, 3)], {"axis": 0, "keepdims": True}),
    "all": (tn.all, [ones(2, 3)], {"axis": 0, "keepdims": True}),
    "any": (tn.any, [ones(2, 3)], {"axis": 0, "keepdims": True}),
    "norm": (tn.norm, [ones(2, 3)], {"axis": 0, "ord": 2, "keepdims": True}),
    "logsumexp": (tn.logsumexp, [ones(2, 3)], {"axis": 0, "keepdims": True}),
    "cumsum": (tn.cumsum, [ones(2, 3)], {"axis": 0}),
    "argmax": (tn.argmax, [ones(2, 3)], {"axis": 0}),
    "argmin": (tn.argmin, [ones(2, 3)], {"axis": 0}),
    "argsort": (tn.argsort, [ones(2, 3)], {"axis": 0}),
    "sort": (tn.sort, [ones(2, 3)], {"axis": 0}),
    "median": (tn.median, [ones(2, 3)], {"axis": 0}),
    "reshape": (tn.reshape, [ones(2, 3)], {"shape": 6}),
    "transpose": (tn.transpose, [ones(2, 3)], {"axes": (1, 0)}),
    "swapaxes": (tn.swapaxes, [ones(2, 3)], {"a": 0, "b": 1}),
    "moveaxis": (tn.moveaxis, [ones(2, 3)], {"source": 0, "destination": 1}),
    "expand_dims": (tn.expand_dims, [ones(2, 3)], {"axis": 0}),
    "squeeze": (tn.squeeze, [ones(1, 3)], {"axis": 0}),
    "flatten": (tn.flatten, [ones(2, 3)], {"start_axis": 0}),
    "broadcast_to": (tn.broadcast_to, [ones(3)], {"shape": (2, 3)}),
    "sum_to": (tn.sum_to, [ones(2, 3)], {"shape": (3,)}),
    "flip": (tn.flip, [ones(2, 3)], {"axis": 0}),
    "pad": (tn.pad, [ones(2, 3)], {"pad_width": 1, "value": 0.0}),
    "concatenate": (tn.concatenate, [[ones(2, 3)]], {"axis": 0}),
    "stack": (tn.stack, [[ones(2, 3)]], {"axis": 0}),
    "split": (tn.split, [ones(2, 3)], {"sizes": 1, "axis": 0}),
    "take_along_axis": (tn.take_along_axis, [ones(2, 3), xp.zeros((2, 1), int)], {"axis": 1}),
    "put": (tn.put, [ones(2), slice(0, 2)], {"shape": (3,)}),
    "clip": (tn.clip, [ones(2)], {"low": 0.0, "high": 1.0}),
    "astype": (tn.astype, [ones(2)], {"dtype": "float32"}),
    "tensor": (tn.tensor, [ones(2)], {"dtype": "float32"}),
    "full": (tn.full, [], {"shape": 2, "value": 1.0}),
    "zeros": (tn.zeros, [], {"shape": 2}),
    "ones": (tn.ones, [], {"shape": 2}),
    "eye": (tn.eye, [], {"n": 2}),
    "linspace": (tn.linspace, [], {"start": 0, "stop": 1, "n": 3}),
    "one_hot": (tn.one_hot, [[0, 1]], {"num_classes": 3}),
    "arange": (lambda bound: tn.arange(bound), [], {"bound": 3}),
    "rand": (lambda shape: tn.rand(shape), [], {"shape": 2}),
    "randn": (lambda shape: tn.randn(shape), [], {"shape": 2}),
    "softmax": (F.softmax, [ones(2, 3)], {"axis": 0}),
    "log_softmax": (F.log_softmax, [ones(2, 3)], {"axis": 0}),
    "leaky_relu": (F.leaky_relu, [ones(2, 3)], {"negative_slope": 0.1}),
    "elu": (F.elu, [ones(2, 3)], {"alpha": 1.0}),
    "softplus": (F.softplus, [ones(2, 3)], {"beta": 1.0}),
    "gelu": (F.gelu, [ones(2, 3)], {"approximate": "none"}),
    "conv2d": (F.conv2d, [ones(2, 4, 6, 6), ones(4, 2, 3, 3)],
               {"stride": 1, "padding": 1, "dilation": 1, "groups": 2}),
    "unfold": (F.unfold, [ones(2, 4, 6, 6)],
               {"kernel_size": 2, "stride": 1, "padding": 1, "dilation": 1}),
    "fold": (F.fold, [ones(2, 16, 25)],
             {"output_size": 6, "kernel_size": 2, "stride": 1, "padding": 0, "dilation": 1}),
    "max_pool2d": (F.max_pool2d, [ones(2, 4, 6, 6)],
                   {"kernel_size": 2, "stride": 1, "padding": 1}),
    "avg_pool2d": (F.avg_pool2d, [ones(2, 4, 6, 6)],
                   {"kernel_size": 2, "stride": 1, "padding": 1}),
    "adaptive_avg_pool2d": (F.adaptive_avg_pool2d, [ones(2, 4, 6, 6)], {"output_size": 2}),
    "adaptive_max_pool2d": (F.adaptive_max_pool2d, [ones(2, 4, 6, 6)], {"output_size": 2}),
    "fractional_max_pool2d": (F.fractional_max_pool2d, [ones(2, 4, 6, 6)],
                              {"output_size": 4, "key": 1}),
    "fractional_max_pool2d, by ratio": (F.fractional_max_pool2d, [ones(2, 4, 6, 6)],
                                        {"ratio": 1.5, "key": 1}),
    "batch_norm": (F.batch_norm, [ones(2, 4), ones(4), ones(4)],
                   {"training": True, "momentum": 0.1, "eps": 1e-5}),
    "layer_norm": (F.layer_norm, [ones(2, 4)], {"normalized_shape": 4, "eps": 1e-5}),
    "group_norm": (F.group_norm, [ones(2, 4)], {"num_groups": 2, "eps": 1e-5}),
    "dropout": (F.dropout, [ones(2, 4)], {"p": 0.5, "key": 1}),
    "dropout2d": (F.dropout2d, [ones(2, 4, 2, 2)], {"p": 0.5, "key": 1}),
    "drop_path": (F.drop_path, [ones(2, 4, 2, 2)], {"p": 0.5, "key": 1}),
    "dropconnect_linear": (F.dropconnect_linear, [ones(2, 4), ones(3, 4)], {"p": 0.5, "key": 1}),
    "dropconnect_conv2d": (F.dropconnect_conv2d, [ones(2, 4, 6, 6), ones(4, 2, 3, 3)],
                           {"stride": 1, "padding": 1, "dilation": 1, "groups": 2, "p": 0.5}),
    "cross_entropy": (F.cross_entropy, [ones(2, 3), [0, 1]],
                      {"label_smoothing": 0.1, "reduction": "mean"}),
    "nll_loss": (F.nll_loss, [ones(2, 3), [0, 1]], {"reduction": "mean"}),
    "hinge_loss": (F.hinge_loss, [ones(2, 3), [0, 1]], {"margin": 1.0, "reduction": "mean"}),
    "mse_loss": (F.mse_loss, [ones(2), ones(2)], {"reduction": "mean"}),
    "l1_loss": (F.l1_loss, [ones(2), ones(2)], {"reduction": "mean"}),
    "binary_cross_entropy_with_logits": (
        F.binary_cross_entropy_with_logits, [ones(2), ones(2)], {"reduction": "mean"}),
}
WRONG = ["a", 2.0, True, None, -1, -7, (1, 2, 3, 4, 5), 3.5, float("nan"), {}, object(), 10**18]
# How an error may call an argument besides by its name.
ALSO = {"a": "axis", "b": "axis", "source": "axis", "destination": "axis", "start_axis": "axis",
        "low": "shapes", "high": "shapes", "key": "seed"}


def _functions(module: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name in dir(module):
        f = getattr(module, name)
        if callable(f) and not inspect.isclass(f) and name[0] != "_":
            yield name, f


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_of_the_wrong_kind_is_named_or_taken(name: str) -> None:
    f, args, options = OPTIONS[name]
    f(*args, **options)
    for option in options:
        for value in WRONG:
            if value == 10**18 and option in ("output_size", "key"):
                continue  # it is no mistake, but takes long
            try:
                f(*args, **{**options, option: value})
            except MemoryError:
                continue
            except (TypeError, ValueError, IndexError) as error:
                text = str(error)
            else:
                continue
            named = option in text or ALSO.get(option, option) in text
            sizes = "kernel spans" in text or "do not fit" in text or "kernel (1, 1)" in text \
                or "cannot be cut" in text
            assert named or sizes or "more than" in text, (option, value, text)


def test_every_function_with_options_is_swept() -> None:
    """A new function of more than one argument joins `OPTIONS`, or the list of those that have
    none of these kinds."""
    without = {
        "tn": "add divide einsum equal getitem grad gradcheck greater greater_equal less "
              "less_equal logical_and logical_or matmul maximum minimum multiply not_equal "
              "power profile subtract summary where fused",
        "F": "linear expected_relu",
    }
    for module, package in (("tn", tn), ("F", F)):
        known = {name.split(",")[0] for name in OPTIONS} | set(without[module].split())
        found = {name for name, f in _functions(package)
                 if len(inspect.signature(f).parameters) > 1}
        assert found <= known, module
        assert set(without[module].split()) <= found, module


NUMBERS = [1, 2.5, True, np.float32(1.5), [1, 2], [1.0, 2.0], (1.0, 2.0), [[1.0, 2.0], [3.0, 4.0]],
           []]
NOTHING = [None, "a", {}, object(), [None], ["a"], [[1.0], [1.0, 2.0]]]
OF_ONE = [name for name, f in (*_functions(tn), *_functions(F))
          if name not in ("set_default_dtype", "set_num_workers", "set_state", "manual_seed",
                          "tensor", "rand", "randn", "arange", "full", "zeros", "ones", "eye",
                          "gradcheck", "primitive", "fused", "plain", "no_grad", "to_numpy",
                          "enable_grad", "synchronize", "summary", "profile", "grad",
                          "from_dlpack", "zeros_like", "ones_like", "get_state", "getitem",
                          "einsum", "l1_penalty", "l2_penalty", "linspace", "put", "where",
                          "is_grad_enabled", "get_default_dtype", "get_num_workers")]


def _call(name: str, x: Any) -> Any:
    """The function of `x` with the fewest other arguments."""
    f = getattr(tn, name, None) or getattr(F, name)
    args, options = OPTIONS.get(name, (f, [], {}))[1:]
    if name in ("concatenate", "stack"):
        x = [x]
    given = [x, *args[1:]]
    needed = [p for p in inspect.signature(f).parameters.values()
              if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    given += [x] * max(0, len([p for p in needed if p.name not in options]) - len(given))
    wanted = {p.name for p in needed}
    return f(*given, **{k: v for k, v in options.items() if k in wanted or k == "key"})


@pytest.mark.parametrize("name", sorted(set(OF_ONE)))
def test_numbers_and_lists_are_arrays_and_nothing_else_is(name: str) -> None:
    for x in NUMBERS:
        results = []
        for given in (x, tn.tensor(x)):
            try:
                y = _call(name, given)
                results.append(y if isinstance(y, list) else tn.to_numpy(tn.tensor(y)))
            except (TypeError, ValueError, IndexError) as error:
                assert "object has no" not in str(error) and "ufunc" not in str(error), (x, error)
                results.append(type(error))
        plain, tensor = results
        if isinstance(plain, type) or isinstance(tensor, type):
            assert plain is tensor, (x, plain, tensor)
        elif not isinstance(plain, list):
            assert plain.shape == tensor.shape, x
            np.testing.assert_allclose(plain.astype(float), tensor.astype(float), rtol=1e-6)
            assert plain.dtype.kind == tensor.dtype.kind
    for x in NOTHING:
        with pytest.raises((TypeError, ValueError)) as caught:
            _call(name, x)
        text = str(caught.value)
        assert "object has no" not in text and "ufunc" not in text and "supported" not in text, x


def test_a_dtype_that_is_none_of_numbers_is_refused() -> None:
    before = tn.get_default_dtype()
    for dtype in (None, "a", 2.0, object, "datetime64[s]"):
        with pytest.raises(TypeError, match="dtype must be one of numbers"):
            tn.set_default_dtype(dtype)
    assert tn.get_default_dtype() == before
    with pytest.raises(TypeError, match="dtype must be one of numbers"):
        tn.tensor([1.0]).astype("a")


@pytest.mark.parametrize("name", ["softmax", "std", "norm", "mse_loss", "erf", "logsumexp"])
def test_complex_numbers_are_refused_by_name(name: str) -> None:
    with pytest.raises(TypeError, match="complex"):
        _call(name, xp.array([1j, 2.0]))
