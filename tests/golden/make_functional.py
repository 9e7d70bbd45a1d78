"""Writes functional.npz: what PyTorch computes, in float64, for the cases of this list.

    python -m tests.golden.make_functional        (needs torch; the tests do not)

Inputs are not stored: both sides draw them from tinynet's counter-based generator, which gives
the same bits everywhere. Stored are, for each case, the output and the gradients of
sum(output * cotangent), and the list of cases itself.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from tinynet import random

GOLDEN = Path(__file__).with_name("functional.npz")

Case = dict[str, Any]  # name, function, inputs {argument: shape}, constants, options


def draw(case: Case, what: str, shape: list[int]) -> np.ndarray:
    """Numbers for one array of a case: uniform in [-2, 2), but what is called var is positive."""
    low, high = (0.5, 1.5) if "var" in what or what == "prob" else (-2.0, 2.0)
    key = random.key(zlib.crc32(f"{case['name']}/{what}".encode()))
    return random.uniform(key, tuple(shape), low, high, dtype=np.float64)


def constants(case: Case) -> dict[str, np.ndarray]:
    """Arrays that are not differentiated: {"labels": 5} draws labels below 5, shapes draw floats.

    A target called prob is normalised along axis 1.
    """
    made = {}
    for argument, (kind, shape, *more) in case["constants"].items():
        if kind == "labels":
            key = random.key(zlib.crc32(f"{case['name']}/{argument}".encode()))
            made[argument] = random.integers(key, 0, more[0], tuple(shape))
        else:
            made[argument] = draw(case, kind, shape)
            if kind == "prob":
                made[argument] = made[argument] / made[argument].sum(axis=1, keepdims=True)
    return made


def case(function: str, inputs: dict[str, list[int]], constants: dict[str, Any] | None = None,
         **options: Any) -> Case:
    label = ",".join(f"{name}={value}" for name, value in options.items()) or "plain"
    shapes = ";".join("x".join(map(str, shape)) for shape in inputs.values())
    extra = "".join(f",{name}={kind}" for name, (kind, *_) in (constants or {}).items())
    return {"name": f"{function}[{shapes}][{label}{extra}]", "function": function,
            "inputs": inputs, "constants": constants or {}, "options": options}


def conv(x: list[int], weight: list[int], bias: bool = True, **options: Any) -> Case:
    return case("conv2d", {"x": x, "weight": weight} | ({"bias": weight[:1]} if bias else {}),
                **options)


CASES: list[Case] = [
    *(case(name, {"x": [3, 5]}) for name in
      ("relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "softplus", "tanh", "sigmoid",
       "softmax", "log_softmax")),
    case("leaky_relu", {"x": [3, 5]}, negative_slope=0.3),
    case("elu", {"x": [3, 5]}, alpha=0.7),
    case("gelu", {"x": [3, 5]}, approximate="tanh"),
    case("softplus", {"x": [3, 5]}, beta=2.5),
    case("softmax", {"x": [2, 4, 3]}, axis=1),
    case("log_softmax", {"x": [2, 4, 3]}, axis=1),
    case("linear", {"x": [4, 3], "weight": [5, 3], "bias": [5]}),
    case("linear", {"x": [2, 4, 3], "weight": [5, 3]}),
    conv([2, 3, 7, 6], [4, 3, 3, 3], padding=1),
    conv([2, 3, 7, 6], [4, 3, 3, 2], stride=[2, 1], padding=[1, 0]),
    conv([2, 4, 8, 7], [6, 2, 3, 3], groups=2, padding=1),
    conv([1, 4, 7, 7], [8, 1, 3, 3], groups=4, stride=2, padding=1),
    conv([1, 2, 9, 8], [3, 2, 3, 3], dilation=2, padding=2),
    conv([1, 2, 9, 9], [3, 2, 3, 2], dilation=[1, 2], stride=2),
    conv([2, 5, 4, 4], [3, 5, 1, 1], bias=False),
    conv([2, 5, 5, 5], [3, 5, 1, 1], stride=2),
    conv([1, 16, 8, 8], [16, 16, 3, 3], padding=1, bias=False),
    conv([1, 16, 6, 5], [4, 16, 3, 3], padding=1),
    conv([1, 2, 5, 5], [2, 2, 5, 5]),
    conv([1, 2, 6, 5], [2, 2, 4, 3], padding="same"),
    conv([1, 2, 6, 5], [2, 2, 4, 3], padding="valid"),
    case("unfold", {"x": [2, 2, 5, 4]}, kernel_size=[3, 2], dilation=[1, 2], padding=1, stride=2),
    case("fold", {"columns": [1, 12, 6]}, output_size=[5, 4], kernel_size=[3, 2],
         dilation=[1, 2], padding=1, stride=2),
    case("max_pool2d", {"x": [2, 3, 6, 8]}, kernel_size=2),
    case("max_pool2d", {"x": [2, 3, 7, 6]}, kernel_size=3, stride=2, padding=1),
    case("max_pool2d", {"x": [2, 2, 6, 7]}, kernel_size=[3, 2], stride=[1, 2]),
    case("avg_pool2d", {"x": [2, 3, 6, 8]}, kernel_size=2),
    case("avg_pool2d", {"x": [2, 3, 7, 6]}, kernel_size=3, stride=2, padding=1),
    case("avg_pool2d", {"x": [2, 2, 7, 6]}, kernel_size=[3, 2], stride=[2, 1], padding=1,
         count_include_pad=False),
    case("adaptive_avg_pool2d", {"x": [2, 3, 6, 8]}, output_size=[3, 2]),
    case("adaptive_avg_pool2d", {"x": [2, 3, 7, 5]}, output_size=[3, 4]),
    case("adaptive_max_pool2d", {"x": [2, 3, 6, 8]}, output_size=[3, 2]),
    case("adaptive_max_pool2d", {"x": [2, 3, 7, 5]}, output_size=[3, 4]),
    *(case("batch_norm", {"x": x, "weight": [3], "bias": [3]},
           {"running_mean": ["mean", [3]], "running_var": ["var", [3]]}, training=training)
      for x in ([6, 3], [4, 3, 5], [4, 3, 3, 2]) for training in (True, False)),
    case("batch_norm", {"x": [4, 3, 3, 2]}, {"running_mean": ["mean", [3]],
                                             "running_var": ["var", [3]]},
         training=True, momentum=0.3, eps=0.1),
    case("layer_norm", {"x": [3, 4, 5], "weight": [5], "bias": [5]}, normalized_shape=[5]),
    case("layer_norm", {"x": [3, 4, 5]}, normalized_shape=[4, 5], eps=0.01),
    case("group_norm", {"x": [2, 6, 3, 4], "weight": [6], "bias": [6]}, num_groups=3),
    case("group_norm", {"x": [3, 4, 5]}, num_groups=2, eps=0.01),
    case("group_norm", {"x": [3, 6], "weight": [6], "bias": [6]}, num_groups=2),
    *(case("cross_entropy", {"logits": [5, 4]}, {"target": ["labels", [5], 4]} | weight, **options)
      for weight in ({}, {"weight": ["var", [4]]})
      for options in ({}, {"reduction": "sum"}, {"reduction": "none"}, {"label_smoothing": 0.2},
                      {"label_smoothing": 0.2, "reduction": "none"})),
    *(case("cross_entropy", {"logits": [5, 4]}, {"target": ["prob", [5, 4]]} | weight, **options)
      for weight in ({}, {"weight": ["var", [4]]})
      for options in ({}, {"label_smoothing": 0.2}, {"reduction": "none"})),
    case("cross_entropy", {"logits": [2, 4, 3]}, {"target": ["labels", [2, 3], 4],
                                                  "weight": ["var", [4]]}),
    case("cross_entropy", {"logits": [2, 4, 3, 2]}, {"target": ["labels", [2, 3, 2], 4]},
         reduction="none"),
    case("cross_entropy", {"logits": [2, 4, 3]}, {"target": ["prob", [2, 4, 3]]}),
    case("nll_loss", {"log_probs": [5, 4]}, {"target": ["labels", [5], 4],
                                             "weight": ["var", [4]]}),
    *(case(name, {"x": [4, 3], "target": [4, 3]}, **options) for name in ("mse_loss", "l1_loss")
      for options in ({}, {"reduction": "sum"}, {"reduction": "none"})),
    case("binary_cross_entropy_with_logits", {"logits": [4, 3]}, {"target": ["prob", [4, 3]]}),
    case("hinge_loss", {"scores": [5, 4]}, {"target": ["labels", [5], 4]}),
    case("hinge_loss", {"scores": [5, 4]}, {"target": ["labels", [5], 4]}, margin=0.5,
         reduction="none"),
]

RENAMED = {"logits": "input", "scores": "input", "log_probs": "input", "x": "input",
           "columns": "input", "axis": "dim"}


def expected(case: Case) -> dict[str, np.ndarray]:
    """The output and gradients of one case, by PyTorch."""
    import torch
    from torch.nn import functional as F

    arguments = {name: torch.tensor(draw(case, name, shape), requires_grad=True)
                 for name, shape in case["inputs"].items()}
    buffers = {name: torch.tensor(value) for name, value in constants(case).items()}
    named = {RENAMED.get(name, name): value
             for name, value in (arguments | buffers | case["options"]).items()}
    if "softmax" in case["function"]:
        named.setdefault("dim", -1)
    classes = named["input"].shape[1] if named["input"].ndim > 1 else 1
    if case["function"] == "hinge_loss":  # PyTorch divides by the number of classes, too
        y = classes * F.multi_margin_loss(**named)
    else:
        y = getattr(F, case["function"])(**named)
    g = torch.tensor(draw(case, "cotangent", list(y.shape)))
    found = torch.autograd.grad(y, list(arguments.values()), g)
    results = {"y": y.detach().numpy()}
    results |= {f"d{name}": value.numpy() for name, value in zip(arguments, found, strict=True)}
    if case["options"].get("training"):
        results |= {name: value.numpy() for name, value in buffers.items()}
    return results


def main() -> None:
    names = [case["name"] for case in CASES]
    assert len(set(names)) == len(names), "two cases of one name"
    arrays = {f"{case['name']}/{what}": value for case in CASES
              for what, value in expected(case).items()}
    np.savez_compressed(GOLDEN, cases=np.array(json.dumps(CASES)), **arrays)
    print(f"{GOLDEN.name}: {len(CASES)} cases, {GOLDEN.stat().st_size} bytes")


if __name__ == "__main__":
    main()
