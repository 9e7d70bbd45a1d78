"""Derivatives that one can do by hand, and the expression of micrograd's README."""

from __future__ import annotations

from typing import Any

from grading import Answer, close


def slopes(expression: Any, *values: Any) -> list[float]:
    expression.pull(1.0)
    return [x.grad for x in values]


def check_product(answer: Answer) -> None:
    x, y = answer.Value(3.0), answer.Value(5.0)
    got = slopes(x * y, x, y)
    close("the pair of slopes of x*y in x and y, at x=3 and y=5,", got, [5.0, 3.0],
          "If y is held still, x*y grows by y for each 1 that x grows.",
          {"Each part has its own number as its slope; it should be the other's.": [3.0, 5.0],
           "Nothing arrives: does `pull` keep g, and pull its parts?": [0.0, 0.0],
           "These are the slopes of a sum: g goes through without its slope.": [1.0, 1.0]})


def check_two_ways(answer: Answer) -> None:
    x = answer.Value(3.0)
    close("the slope of x*x at 3", slopes(x * x, x)[0], 6.0,
          "x is in there twice: the two ways add up.",
          {"Only the last way counts here: add g to `grad` (+=), do not overwrite it.": 3.0})
    x = answer.Value(3.0)
    middle = x * 2.0
    close("the slope of (2x)(2x) at 3", slopes(middle * middle, x)[0], 24.0,
          "Pass on g * slope for this g alone, not for all of `grad` so far.",
          {"A part gets g times its slope: pass on g, not `grad`, which holds other ways too.":
               36.0})


def check_power(answer: Answer) -> None:
    x = answer.Value(2.0)
    close("the slope of x**5 at 2", slopes(x**5, x)[0], 80.0, "It is n x^(n-1).",
          {"The n in front is missing: n x^(n-1).": 16.0,
           "The exponent falls by one: n x^(n-1).": 160.0})
    x = answer.Value(2.0)
    close("the slope of x**-1 at 2", slopes(x**-1, x)[0], -0.25, "It is n x^(n-1), n = -1.")


def check_tanh(answer: Answer) -> None:
    x = answer.Value(0.5)
    close("the slope of tanh at 0.5", slopes(x.tanh(), x)[0], 0.7864477329659274,
          "It is 1 - t*t, where t is the tanh itself.",
          {"1 - t^2, with the square of the tanh: here it is 1 - x^2.": 0.75,
           "1 - t^2: the square is missing.": 1 - 0.46211715726000975})


def check_whole_expression(answer: Answer) -> None:
    a, b = answer.Value(-4.0), answer.Value(2.0)
    c = a + b
    d = a * b + b**3
    c = c + c + 1
    c = c + 1 + c - a
    d = d + d * 2  # + relu(b + a), which is 0 here
    d = d + d * 3 + b - a  # relu(b - a) is b - a here
    e = (c - d) ** 2
    g = e / 2 + answer.Value(10.0) / e
    close("the pair of slopes of the long expression", slopes(g, a, b),
          [138.83381924198252, 645.5772594752186], "Each operation is right alone; is `pull` too?")
