"""Sums over what was copied, two products, and a slope that is measured."""

from __future__ import annotations

import numpy as np
from grading import Answer, close


def check_sum_to(answer: Answer) -> None:
    g = np.arange(12.0).reshape(3, 4)
    close("sum_to(g of shape (3, 4), shape (4,))", answer.sum_to(g, (4,)), g.sum(axis=0),
          "Each number was copied to 3 rows: sum over the rows.",
          {"Copies add up: a sum, not a mean.": g.mean(axis=0),
           "The copies still stand beside each other: sum over the axes in front.": g})
    column = g.sum(axis=1, keepdims=True)
    close("sum_to(g of shape (3, 4), shape (3, 1))", answer.sum_to(g, (3, 1)), column,
          "An axis of length 1 was stretched: sum over it.",
          {"The axis of length 1 has to stay: keepdims=True.": column[:, 0],
           "Axes of length 1 were stretched as well: sum over each of them.": g,
           "Copies add up: a sum, not a mean.": column / 4})
    g = np.arange(24.0).reshape(2, 3, 4)
    close("sum_to(g of shape (2, 3, 4), shape (3, 1))", answer.sum_to(g, (3, 1)),
          g.sum(axis=(0, 2))[:, None], "First the axes in front, then those of length 1.")
    close("sum_to(g, its own shape)", answer.sum_to(g, (2, 3, 4)), g, "Nothing was stretched.")
    close("sum_to(g, ())", answer.sum_to(g, ()), g.sum(), "One number was copied everywhere.")


def check_matmul_pull(answer: Answer) -> None:
    rng = np.random.default_rng(0)
    a, b, g = rng.normal(size=(2, 2)), rng.normal(size=(2, 2)), rng.normal(size=(2, 2))
    first, second = answer.matmul_pull(g, a, b)
    close("grad_a for square matrices", first, g @ b.T, "grad_a is g @ b.T.",
          {"b has to be transposed: the shapes alone cannot tell, if they are square.": g @ b,
           "g comes first, as a did: g @ b.T.": b.T @ g})
    close("grad_b for square matrices", second, a.T @ g, "grad_b is a.T @ g.",
          {"a has to be transposed: the shapes alone cannot tell, if they are square.": a @ g,
           "g comes last, as b did: a.T @ g.": g @ a.T})
    a, b, g = rng.normal(size=(2, 3)), rng.normal(size=(3, 4)), rng.normal(size=(2, 4))
    for what, got, wanted in zip(("grad_a", "grad_b"), answer.matmul_pull(g, a, b),
                                 (g @ b.T, a.T @ g), strict=True):
        close(what, got, wanted)


def check_measured(answer: Answer) -> None:
    def cubes(x: np.ndarray) -> float:
        return float((x**3).sum())

    x = np.array([[1.0, 2.0], [-1.0, 0.5]])
    h = 0.1
    close("the slope of sum(x^3), measured with h = 0.1,", answer.measured(cubes, x.copy(), h),
          3 * x**2 + h * h, "(loss(x + step) - loss(x - step)) / (2 h)",
          {"To one side only: the error is then of the size h, not h^2.":
               3 * x**2 + 3 * x * h + h * h,
           "The two points are 2h apart, not h.": 2 * (3 * x**2 + h * h),
           "The wrong way round: the loss after the step comes first.": -(3 * x**2 + h * h)})
