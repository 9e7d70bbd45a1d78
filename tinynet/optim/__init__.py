r"""Optimizers, learning-rate schedules and averages of weights.

Where frameworks give one name to different formulas, the rules here are the lecture's, and
``compat="torch"`` and ``compat="keras"`` reproduce these two, tested against trajectories that they
made (`examples/README.md` has a table of seven frameworks).
Read next: `optimizer.py`, then `first_order.py`.
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
