"""Optimizer steps for CuPy: one launch for all parameters of a net.

A net has many small parameters, and a launch for each would take longer than the work.
So a launch gets a table, by value, of where the weights x, gradients g and slots s and r
of up to `TENSORS` parameters lie; each block looks up whose numbers are its own. Plain
twins: the rules in `optim/first_order.py`. The rules are written in A, the type to
compute in; gradients and slots may be wider than the weights (float32 beside float16):
they have types of their own, G and S.

Read next: `functional/dropconnect.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, xp
from .gpu import NAMES, THREADS, raw

TENSORS = 64  # of a launch: a table may have 4 KB
PART = 2048  # numbers of a block
TABLE = np.dtype([("x", "u8", TENSORS), ("g", "u8", TENSORS), ("s", "u8", TENSORS),
                  ("r", "u8", TENSORS), ("size", "i8", TENSORS), ("block", "u4", TENSORS)])

_RULES = {  # name: its settings, and the line for a number
    "sgd": ("lr, decay", "x = x - lr * (g + decay * x);"),
    "momentum": ("lr, rho, nesterov, decay", """
    const A d = g + decay * x;
    s = rho * s + d;
    x = x - lr * (nesterov ? d + rho * s : s);"""),
    "squares": ("lr, keep, add, eps, inside, decay", """
    const A d = g + decay * x;
    s = keep * s + add * d * d;
    x = x - lr * d / (inside ? sqrt(s + eps) : sqrt(s) + eps);"""),
    "adam": ("rate, b1, c1, b2, c2, eps, decay", """
    const A d = g + decay * x;
    s = b1 * s + c1 * d;
    r = b2 * r + c2 * d * d;
    x = x - rate * s / (sqrt(r) + eps);"""),
}
_SOURCE = """
typedef {G} G;
typedef {S} S;
struct tn_table {{
  T* x[{n}]; const G* g[{n}]; S* s[{n}]; S* r[{n}]; Size size[{n}]; unsigned block[{n}];
}};
extern "C" __global__ void tinynet_{name}(tn_table table, Size tensors, double shrink,
                                          {arguments}) {{
  unsigned t = 0;
  while (t + 1 < tensors && blockIdx.x >= table.block[t + 1]) t++;
  T* xs = table.x[t];
  const G* gs = table.g[t];
  S *ss = table.s[t], *rs = table.r[t];
  const Size begin = (Size)(blockIdx.x - table.block[t]) * {part};
  const Size end = min(begin + {part}, table.size[t]);
  {settings}
  for (Size i = begin + threadIdx.x; i < end; i += THREADS) {{
    A x = (A)(T)((A)xs[i] * (A)shrink);
    A s = ss ? (A)ss[i] : (A)0, r = rs ? (A)rs[i] : (A)0;
    const A g = gs[i];
    {rule}
    xs[i] = x;
    if (ss) ss[i] = s;
    if (rs) rs[i] = r;
  }}
}}
"""


class Rule(NamedTuple):
    """What a launch does: the name of its rule, and all numbers in it."""

    name: str
    settings: tuple[float, ...]
    shrink: float  # what the weights are multiplied by first: decay apart from g


def sgd(slots: int, lr: float, momentum: float, nesterov: bool, decay: float,
        shrink: float) -> Rule:
    """v <- momentum v + g;  x <- x - lr v, or with nesterov x - lr (g + momentum v)."""
    if not slots:
        return Rule("sgd", (lr, decay), shrink)
    return Rule("momentum", (lr, momentum, nesterov, decay), shrink)


def squares(slots: int, lr: float, shares: tuple[float, float], eps: float,
            inside: bool, decay: float, shrink: float) -> Rule:
    """s <- keep s + add g^2;  x <- x - lr g / (sqrt(s) + eps), or sqrt(s + eps).

    `shares` is (keep, add): (1, 1) for Adagrad, (alpha, 1 - alpha) for RMSprop.
    """
    return Rule("squares", (lr, *shares, eps, inside, decay), shrink)


def adam(slots: int, rate: float, betas: tuple[float, float], eps: float, decay: float,
         shrink: float) -> Rule:
    """m, v <- leaky means of g, g^2;  x <- x - rate m / (sqrt(v) + eps).

    `rate` and `eps` carry the bias correction, as in `update.adam`.
    """
    b1, b2 = betas
    return Rule("adam", (rate, b1, 1 - b1, b2, 1 - b2, eps, decay), shrink)


@functools.cache
def _kernel(name: str, chars: str) -> Any:
    """The kernel of a rule, for the dtypes of x, g and the slots."""
    names, rule = _RULES[name]
    settings = names.split(", ")
    source = _SOURCE.format(
        G=NAMES[chars[1]], S=NAMES[chars[2]], n=TENSORS, name=name, part=PART, rule=rule,
        arguments=", ".join(f"double {setting}_" for setting in settings),
        settings=" ".join(f"const A {setting} = {setting}_;" for setting in settings))
    return raw(name, chars[0], source)


def run(updates: Iterable[Any]) -> None:
    """Do all updates, (rule, arrays) each: those of one rule and dtype in one launch."""
    alike: dict[Any, list[Sequence[Array]]] = {}
    for rule, arrays in updates:
        chars = "".join([a.dtype.char for a in (*arrays, arrays[1])[:3]])
        alike.setdefault((rule, chars), []).append(arrays)
    for (rule, chars), several in alike.items():
        for i in range(0, len(several), TENSORS):
            _launch(rule, chars, several[i : i + TENSORS])


def _launch(rule: Rule, chars: str, several: list[Sequence[Array]]) -> None:
    dense = [_lying_alike(arrays) for arrays in several]
    table = np.zeros((), TABLE)
    for name, column in zip("xgsr", zip(*dense, strict=True), strict=False):
        table[name][: len(dense)] = [a.data.ptr for a in column]
    sizes = np.array([arrays[0].size for arrays in dense])
    blocks = np.cumsum(-(-sizes // PART))
    table["size"][: len(dense)] = sizes
    table["block"][1 : len(dense)] = blocks[:-1]
    if blocks[-1]:
        numbers = [float(number) for number in (rule.shrink, *rule.settings)]
        kernel = _kernel(rule.name, chars)
        kernel((int(blocks[-1]),), (THREADS,), (table, len(dense), *numbers))
    for arrays, used in zip(several, dense, strict=True):
        for k, (mine, copy) in enumerate(zip(arrays, used, strict=True)):
            if copy is not mine and k != 1:  # not the gradient
                mine[...] = copy


def _lying_alike(arrays: Sequence[Array]) -> Sequence[Array]:
    """The arrays, if their numbers lie in one order without gaps; else copies."""
    in_c = all(a.flags.c_contiguous for a in arrays)
    if in_c or all(a.flags.f_contiguous for a in arrays):
        return arrays
    return [xp.ascontiguousarray(a) for a in arrays]
