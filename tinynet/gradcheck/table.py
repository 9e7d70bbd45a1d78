"""A row for every operation of the library, and the table of their gradients.

`python -m tinynet gradcheck` prints the table, the tests run the same rows, and both
complain about a registered operation without a row. A row is a name (the registered one
of an operation, or that of a function composed of them), a function of tensors, and the
shapes of its inputs, which are normal numbers unless the row gives bounds.
Broadcasting, options and awkward shapes have rows of their own; an activation that takes
nothing but x needs none.

Read next: `tune/__init__.py`.
"""

from __future__ import annotations

import argparse
import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from .. import functional as F, operation, random, text
from ..backend import Array, xp
from ..functional import activation, loss, norm, pool
from ..kernels.ranks import Ranks
from ..ops import arithmetic as a, indexing, linalg, reduction as r, shape as s
from .check import gradcheck
from .report import Comparison, Report


class Case(NamedTuple):
    """One row: a name, a function, the shapes of its inputs."""

    name: str
    f: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    bounds: tuple[float, float] | None = None  # inputs are uniform between them; None: normal

    def inputs(self, seed: int = 0) -> list[Array]:
        """Random float64 inputs."""
        keyed = [(random.key(seed, "case", i), shape) for i, shape in enumerate(self.shapes)]
        if self.bounds is None:
            return [random.normal(key, shape, dtype=float) for key, shape in keyed]
        low, high = self.bounds
        return [random.uniform(key, shape, low, high, dtype=float) for key, shape in keyed]


def row(name: str, f: Callable[..., Any], *shapes: tuple[int, ...],
        bounds: tuple[float, float] | None = None) -> Case:
    return Case(name, f, shapes, bounds)


def of_x_alone() -> Iterator[Case]:
    """A row for each activation that has no settings."""
    for name, f in operation.primitives.items():
        if f.__module__ == activation.__name__ and len(inspect.signature(f).parameters) == 1:
            yield row(name, getattr(activation, name), (3, 4))


POSITIVE = (0.5, 2.0)
_binary: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2, 3))]
_mask = xp.asarray([[True, False, True], [False, True, True]])
_labels = xp.asarray([0, 3, 1, 1, 2])
_two_alike = Ranks(lambda x: x + x, 0.5)  # machines that hold the same

TABLES: dict[str, list[Case]] = {
    "operation": [
        row("alias", operation.alias, (3,)),
    ],
    "arithmetic": [
        *(row("add", a.add, *shapes) for shapes in _binary),
        *(row("subtract", a.subtract, *shapes) for shapes in _binary),
        *(row("multiply", a.multiply, *shapes) for shapes in _binary),
        row("multiply", lambda x: x * x, (2, 3)),
        row("multiply", lambda x: 2.0 * x, (2, 3)),
        *(row("divide", a.divide, *shapes, bounds=POSITIVE) for shapes in _binary),
        row("divide", lambda x: 2.0 / x, (2, 3), bounds=(-2.0, -0.5)),
        row("negative", a.negative, (2, 3)),
        *(row("power", a.power, *shapes, bounds=POSITIVE) for shapes in _binary),
        *(row("power", lambda x, p=p: x ** p, (2, 3)) for p in (0, 1, 2, 3)),
        row("power", lambda x: x ** -1.5, (2, 3), bounds=POSITIVE),
        row("power", lambda p: 2.0 ** p, (2, 3)),
        row("power", lambda x: x ** xp.asarray([0.0, 1.0, 3.0], "f4"), (2, 3)),
        row("square", a.square, (2, 3)),
        row("exp", a.exp, (2, 3)),
        row("expm1", a.expm1, (2, 3)),
        row("log", a.log, (2, 3), bounds=POSITIVE),
        row("log1p", a.log1p, (2, 3), bounds=(-0.5, 2.0)),
        row("sqrt", a.sqrt, (2, 3), bounds=POSITIVE),
        row("sin", a.sin, (2, 3)),
        row("cos", a.cos, (2, 3)),
        row("tanh", a.tanh, (2, 3)),
        row("sigmoid", a.sigmoid, (2, 3)),
        row("erf", a.erf, (2, 3)),
        row("abs", a.abs, (2, 3)),
        *(row("maximum", a.maximum, *shapes) for shapes in _binary),
        *(row("minimum", a.minimum, *shapes) for shapes in _binary),
        row("clip", lambda x: a.clip(x, -0.5, 0.5), (4, 5)),
        row("where", lambda x, y: a.where(_mask, x, y), (2, 3), (3,)),
        row("where", lambda x: a.where(x > 0, x * x, 0.0), (2, 3)),
        row("_astype", lambda x: a.astype(a.astype(x, "float64"), x.dtype), (2, 3)),
    ],
    "reduction": [
        *(row(name, lambda x, f=f, axis=axis, keep=keep: f(x, axis=axis, keepdims=keep), (2, 3, 4))
          for name, f in (("sum", r.sum), ("mean", r.mean), ("var", r.var), ("max", r.max),
                          ("min", r.min), ("logsumexp", r.logsumexp), ("_euclidean", r.norm))
          for axis, keep in ((None, False), (1, False), (-1, True), ((0, 2), False))),
        row("var", lambda x: r.var(x, axis=0, ddof=1), (4, 3)),
        row("_centred", lambda x: r._centred(x, (0, 2)), (2, 3, 2)),
        row("_root", lambda x: r.std(x, axis=1), (2, 5)),
        row("norm", lambda x: r.norm(x, ord=float("inf"), axis=1), (3, 4)),
        row("norm", lambda x: r.norm(x, ord=1), (3, 4)),
        row("prod", lambda x: r.prod(x, axis=(0, 2)), (2, 3, 3)),
        row("prod", lambda x: r.prod(x * xp.asarray([1.0, 0.0, 1.0], "f4")), (3,)),
        row("cumsum", lambda x: r.cumsum(x, 1), (2, 4)),
        row("sort", lambda x: r.sort(x, axis=0), (4, 3)),
        row("median", lambda x: r.median(x, axis=-1), (3, 4)),
    ],
    "shape": [
        row("reshape", lambda x: s.reshape(x, (-1, 2)), (2, 3, 2)),
        row("flatten", lambda x: s.flatten(x, 1), (2, 3, 2)),
        row("squeeze", lambda x: s.squeeze(s.expand_dims(x, 1)), (2, 3)),
        row("transpose", s.transpose, (2, 3)),
        row("transpose", lambda x: s.transpose(x, (1, -1, 0)), (2, 3, 4)),
        row("moveaxis", lambda x: s.moveaxis(s.swapaxes(x, 0, 1), -1, 0), (2, 3, 4)),
        row("broadcast_to", lambda x: s.broadcast_to(x, (4, 2, 3)), (2, 1)),
        row("broadcast_to", lambda x: s.broadcast_to(x, (100, 3, 50)), (3, 1)),
        row("sum_to", lambda x: s.sum_to(x, (2, 1)), (4, 2, 3)),
        row("flip", lambda x: s.flip(x, (0, 2)), (2, 3, 2)),
        row("pad", lambda x: s.pad(x, 1, 2.0), (2, 3)),
        row("pad", lambda x: s.pad(x, ((1, 2), (0, 1))), (2, 3)),
        row("_concatenate", lambda x, y: s.concatenate([x, y, x], axis=-1), (2, 3), (2, 1)),
        row("stack", lambda x, y: s.stack([x, y], axis=1), (2, 3), (2, 3)),
        row("split", lambda x: s.split(x, (1, 3), axis=1)[1], (2, 4)),
    ],
    "indexing": [
        row("_get", lambda x: x[1:, ::-2], (3, 4)),
        row("_get", lambda x: x[..., None, 0], (3, 4)),
        row("_get", lambda x: x[[0, 0, 2]], (3, 2)),
        row("_get", lambda x: x[_mask], (2, 3)),
        row("_get", lambda x: x[[1, 0], :, [2, 2]], (2, 3, 4)),
        row("take_along_axis", lambda x: indexing.take_along_axis(x, xp.asarray([[1], [0]]), 1),
            (2, 3)),
        row("_put", lambda x: indexing.put(x, [0, 2, 0], (3, 2)), (3, 2)),
        row("_put", lambda x: indexing.put(x, (slice(1, 3), 0), (4, 2)), (2,)),
        row("_put", lambda x: indexing.put(x, _mask, (2, 3)), (4,)),
    ],
    "linalg": [
        row("_matmul", linalg.matmul, (2, 3), (3, 4)),
        row("_matmul", linalg.matmul, (3,), (3,)),
        row("_matmul", linalg.matmul, (3,), (3, 2)),
        row("_matmul", linalg.matmul, (2, 3), (3,)),
        row("_matmul", linalg.matmul, (2, 4, 3), (3, 2)),
        row("_matmul", linalg.matmul, (2, 1, 2, 3), (4, 3, 2)),
        row("_matmul", lambda x: x @ x.T @ x, (2, 3)),
        row("_einsum", lambda x, y: linalg.einsum("ij,jk->ki", x, y), (2, 3), (3, 2)),
        row("_einsum", lambda x, y: linalg.einsum("bij,bj->i", x, y), (2, 3, 2), (2, 2)),
        row("_einsum", lambda x: linalg.einsum("ijk->j", x), (2, 3, 2)),
        row("_einsum", lambda x, y, z: linalg.einsum("i,ij,j", x, y, z), (2,), (2, 3), (3,)),
    ],
    "activation": [
        *of_x_alone(),
        row("_where_positive", lambda x, y: F.relu(x) * y, (3, 4), (3, 4)),
        row("relu6", lambda x: F.relu6(4.0 * x), (3, 4)),
        row("leaky_relu", lambda x: F.leaky_relu(x, 0.2), (3, 4)),
        row("elu", lambda x: F.elu(x, 0.7), (3, 4)),
        *(row("gelu", lambda x, how=how: F.gelu(x, how), (3, 4)) for how in ("none", "tanh")),
        row("softplus", lambda x: F.softplus(x, 2.0), (3, 4)),
        row("softmax", lambda x: F.softmax(x, 0), (3, 4)),
        row("log_softmax", F.log_softmax, (3, 4)),
    ],
    "linear": [
        row("_linear", F.linear, (4, 3), (2, 3), (2,)),
        row("_linear", F.linear, (2, 4, 3), (2, 3)),
    ],
    "conv": [
        row("_conv2d", lambda x, w, b: F.conv2d(x, w, b, padding=1), (2, 3, 5, 4), (2, 3, 3, 3),
            (2,)),
        row("_conv2d", lambda x, w: F.conv2d(x, w, stride=2, groups=2), (2, 4, 6, 5),
            (2, 2, 3, 2)),
        row("_unfold", lambda x: F.unfold(x, (2, 3), padding=1, stride=2), (1, 2, 4, 5)),
        row("_fold", lambda x: F.fold(x, (4, 4), 2, stride=1), (1, 8, 9)),
    ],
    "pool": [
        *(row(name, lambda x, f=f: f(x, 3, stride=2, padding=1), (2, 2, 5, 4))
          for name, f in (("_max_pool2d", F.max_pool2d), ("_avg_pool2d", F.avg_pool2d))),
        row("_global_max_pool2d", F.global_max_pool2d, (2, 3, 2, 2)),
        row("_pixel_mean", F.global_avg_pool2d, (2, 3, 2, 2)),
        row("_region_means", lambda x: F.adaptive_avg_pool2d(x, (3, 2)), (2, 2, 5, 5)),
        row("_spread_over_regions", lambda x: pool._spread_over_regions(x, 2, 5), (2, 2, 3, 4)),
        row("_spread_evenly", lambda x: pool._spread_evenly(x, (2, 3)), (2, 3)),
        row("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x, (2, 3)), (1, 2, 5, 4)),
        row("adaptive_max_pool2d", lambda x: F.adaptive_max_pool2d(x, (2, 3)), (1, 2, 5, 4)),
        row("_fractional_max_pool2d", lambda x: F.fractional_max_pool2d(x, (3, 4)), (2, 2, 5, 6)),
        row("_fractional_max_pool2d", lambda x: F.fractional_max_pool2d(
            x, (4, 3), pseudo=False, overlapping=False, per_sample=True), (2, 2, 6, 4)),
    ],
    "norm": [
        row("_batch_norm", lambda x, w, b: F.batch_norm(x, None, None, w, b), (4, 2, 3, 2), (2,),
            (2,)),
        row("_batch_norm", lambda x, w, b: F.batch_norm(x, None, None, w, b, with_relu=True),
            (5, 3), (3,), (3,)),
        row("_over_ranks", lambda x: norm._over_ranks(x, _two_alike, 0.5), (2, 3)),
        row("_scale_and_shift", norm._scale_and_shift, (4, 2, 3, 2), (2,), (2,)),
        row("_scale_shift_relu", norm._scale_shift_relu, (4, 2, 3, 2), (2,), (2,)),
        row("_group_norm", lambda x, w, b: F.group_norm(x, 2, w, b), (2, 4, 3), (4,), (4,)),
        row("_normalise", lambda x: norm.group_norm_reference(x, groups=2, eps=1e-5), (2, 4, 3)),
        row("_layer_norm", lambda x: F.layer_norm(x, (3, 2)), (2, 3, 2)),
        row("_layer_norm", lambda x, w, b: F.layer_norm(x, 4, w, b), (3, 4), (4,), (4,)),
    ],
    "regularize": [
        row("_masked", lambda x: F.dropout(x, 0.4), (4, 5)),
        row("_masked", lambda x: F.dropout2d(x, 0.4), (4, 5, 2, 2)),
        row("_masked", lambda x: F.drop_path(x, 0.4, inverted=False), (6, 2, 3)),
        row("_dropconnect", lambda x, w, b: F.dropconnect_conv2d(x, w, b, padding=1),
            (2, 3, 5, 4), (2, 3, 3, 3), (2,)),
        row("_dropconnect", lambda x, w: F.dropconnect_conv2d(x, w, stride=2, groups=2, p=0.2),
            (2, 4, 6, 5), (2, 2, 3, 2)),
        row("_dropconnect", lambda x, w, b: F.dropconnect_linear(x, w, b), (3, 2, 4), (5, 4), (5,)),
        row("expected_relu", lambda m, v: F.expected_relu(m - 1.2, v), (3, 4), (3, 4),
            bounds=POSITIVE),
    ],
    "loss": [
        row("_mean_squared_error", loss.mse_loss, (5, 4), (5, 4)),
        row("_softmax_cross_entropy", lambda x: F.cross_entropy(x, _labels, label_smoothing=0.1),
            (5, 4)),
        row("_binary_cross_entropy",
            lambda x, t: F.binary_cross_entropy_with_logits(3.0 * x, F.sigmoid(t)), (4,), (4,)),
        row("_binary_cross_entropy",
            lambda x: F.binary_cross_entropy_with_logits(x, xp.asarray([0.0, 0.3, 1.0])), (3,)),
        row("hinge_loss", lambda x: F.hinge_loss(x, _labels), (5, 4)),
    ],
}


def missing() -> list[str]:
    """The registered operations of the library that have no row."""
    covered = {case.name for table in TABLES.values() for case in table}
    return sorted({**operation.primitives, **operation.fusions}.keys() - covered)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table of all operations at orders 1 and 2; the status is 0 if all are right."""
    parser = argparse.ArgumentParser(
        prog="python -m tinynet gradcheck",
        description="Compare the gradients of all operations, and the gradients of "
                    "these, with differences. Each column is the largest relative "
                    "error and what it means.")
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help="operations or tables (arithmetic, conv ...); all if none is given")
    names = {name.lstrip("_") for name in parser.parse_args(argv).names}
    known = TABLES.keys() | {case.name.lstrip("_") for t in TABLES.values() for case in t}
    if names - known:
        parser.error("no operation or table is called "
                     f"{', '.join(sorted(names - known))}; there are "
                     f"{', '.join(sorted(known))}")
    start = time.perf_counter()
    rows = 0
    failed = 0
    print(_line("table", "operation", "rows", "order 1", "order 2"))
    for table, name, cases in _operations():
        if names and not names & {table, name}:
            continue
        reports = [gradcheck(case.f, *case.inputs(), order=2, check=False) for case in cases]
        print(_line(table, name, len(cases), _cell(reports, 1), _cell(reports, 2)))
        wrong = [report for report in reports if not report]
        for report in wrong:
            print(f"{report!r}")
        rows += len(cases)
        failed += len(wrong)
    verdict = f", {failed} failed" if failed else ": all right"
    print(f"{rows} rows in {time.perf_counter() - start:.1f} s{verdict}")
    without = [] if names else missing()
    for name in without:
        print(f"the operation {name} has no row")
    return int(bool(failed or without))


def _operations() -> Iterator[tuple[str, str, list[Case]]]:
    """Each operation: its table, its name, its rows."""
    for table, cases in TABLES.items():
        for name in dict.fromkeys(case.name for case in cases):
            yield table, name.lstrip("_"), [case for case in cases if case.name == name]


def _line(*cells: object) -> str:
    return text.line(cells, widths=(11, 23, 4, 23, 23), align="llrll")


def _cell(reports: list[Report], order: int) -> str:
    """The largest error of an order, and its band."""
    found: list[Comparison] = [c for report in reports for c in report.order(order)]
    if not found:
        return "not tried"
    worst = Report(found).worst
    return f"{worst.error:.0e}  {worst.band}" + ("" if worst.passed else ", FAILED")
