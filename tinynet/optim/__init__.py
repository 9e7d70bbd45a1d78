r"""Optimizers, learning-rate schedules and averages of weights.

Everything under one name here is one formula in the lecture, yet frameworks differ in it:

                    momentum         AdaGrad             RMSProp             Adam
    lecture, here   lr outside v     start 0,  out 1e-7  start 0, out 1e-7   after, out 1e-7
    PyTorch         lr outside v     start 0,  out 1e-10 start 0, out 1e-8   after, out 1e-8
    Keras 3         lr inside v      start .1, in 1e-7   start 0, in 1e-7    hat 1e-7
    TF 2.0 to 2.10  lr inside v      start .1, out 1e-7  start 0, out 1e-7   hat 1e-7
    TensorFlow 1    lr outside v     start .1, none      start 1, in 1e-10   hat 1e-8
    optax           lr outside v     start .1, in 1e-7   start 0, in 1e-8    after, out 1e-8
    Chainer         lr inside v      start 0,  out 1e-8  start 0, out 1e-8   hat 1e-8

    lr outside v    v = rho v + g, x -= lr v (A7); inside: v = rho v - lr g, x += v (A8). Both
                    are equal while lr is constant. Chainer's CorrectedMomentumSGD is outside.
    start           what the sum (or leaky mean) of squares begins with
    out, in         eps added to the root, sqrt(s) + eps, or under it, sqrt(s + eps)
    after, hat      Adam's eps added after the bias correction of v, or ("eps-hat") before it:
                    lr sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps), a larger eps at first
    TF              from 2.11 on TensorFlow's optimizers are Keras's

Nesterov: the lecture's slide and Keras have lr inside v, PyTorch and optax outside; Chainer's
NesterovAG takes the new velocity where the derivation has the old one, so it is another method.
The lecture's decay rate is alpha in PyTorch and Chainer, rho in Keras, decay in TensorFlow and
optax. ``compat="torch"`` and ``compat="keras"`` reproduce these two, tested against trajectories
that they made. Read next: `optimizer.py`, then `first_order.py`.
"""

from . import landscapes, schedule
from .averaging import EMA, SWA
from .clip import clip_grad_norm_, clip_grad_value_
from .first_order import SGD, Adagrad, Adam, AdamW, Nesterov, RMSprop
from .loss_scale import LossScale
from .optimizer import Optimizer
from .parameters import param_groups
from .quasi_newton import BFGS, LBFGS
from .second_order import Newton, NewtonCG

__all__ = [
    "Adagrad",
    "Adam",
    "AdamW",
    "BFGS",
    "EMA",
    "LBFGS",
    "LossScale",
    "Nesterov",
    "Newton",
    "NewtonCG",
    "Optimizer",
    "RMSprop",
    "SGD",
    "SWA",
    "clip_grad_norm_",
    "clip_grad_value_",
    "landscapes",
    "param_groups",
    "schedule",
]
