r"""The error function, which NumPy lacks.

    erf(x) = x A(x^2) / B(x^2)                   for |x| <= 0.46875
    erf(x) = 1 - e^(-x^2) C(|x|) / D(|x|)        for larger |x|, with the sign of x

Rational approximations of W. J. Cody 1969, "Rational Chebyshev approximations for the
error function", Math. Comp. 23, in the form of his program CALERF. The error is a few
units in the last place of float64. Above |x| = 6, erf is 1 to the last bit, so the
second range serves to the end.

Cost for each element: some 60 operations and an exponential, since both ranges are
computed; each is a pass over the array. The twin that tests hold it to is Python's
`math.erf`.

Read next: `kernels/update.py`.
"""

from __future__ import annotations

from ..backend import Array, as_float, xp
from . import gpu
from .kernel import kernel

_A = (1.85777706184603153e-1, 3.16112374387056560e00, 1.13864154151050156e02,
      3.77485237685302021e02, 3.20937758913846947e03)
_B = (1.0, 2.36012909523441209e01, 2.44024637934444173e02, 1.28261652607737228e03,
      2.84423683343917062e03)
_C = (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e00,
      6.61191906371416295e01, 2.98635138197400131e02, 8.81952221241769090e02,
      1.71204761263407058e03, 2.05107837782607147e03, 1.23033935479799725e03)
_D = (1.0, 1.57449261107098347e01, 1.17693950891312499e02, 5.37181101862009858e02,
      1.62138957456669019e03, 3.29079923573345963e03, 4.36261909014324716e03,
      3.43936767414372164e03, 1.23033935480374942e03)


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    """Horner's scheme, the highest power first."""
    y = xp.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        y *= x
        y += c
    return y


@kernel(gpu=gpu.erf, wide=True)
def erf(x: Array) -> Array:
    """The error function of each element, in the dtype of `x`; float16 by way of float32.

    There no coefficient and no power of 6 overflows.

    >>> erf(xp.array([0.0, 0.3, -1.0, 9.0])).round(12).tolist()
    [0.0, 0.328626759459, -0.84270079295, 1.0]
    """
    x = as_float(x)
    size = xp.minimum(xp.abs(x), 6)
    small = xp.minimum(size, 0.46875) ** 2
    near = x * _polynomial(_A, small) / _polynomial(_B, small)
    far = 1 - xp.exp(-size * size) * (_polynomial(_C, size) / _polynomial(_D, size))
    return xp.where(size <= 0.46875, near, xp.copysign(far, x))
