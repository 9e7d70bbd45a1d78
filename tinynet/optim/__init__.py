r"""Optimizers, learning-rate schedules and averages of weights.

Where frameworks give one name to different formulas, the rules here are the lecture's,
and ``compat="torch"`` and ``compat="keras"`` reproduce these two, tested against
trajectories that they made (`examples/README.md` has a table of seven frameworks).

Read next: `optim/optimizer.py`.
"""

from ..names import lister as _lister
from . import landscapes as landscapes, schedule as schedule
from .averaging import EMA as EMA, SWA as SWA, Lookahead as Lookahead
from .clip import clip_grad_norm_ as clip_grad_norm_, clip_grad_value_ as clip_grad_value_
from .first_order import (
    SGD as SGD,
    Adagrad as Adagrad,
    Adam as Adam,
    AdamW as AdamW,
    Nesterov as Nesterov,
    RMSprop as RMSprop,
)
from .loss_scale import LossScale as LossScale
from .muon import Muon as Muon, matrices_and_rest as matrices_and_rest
from .optimizer import Optimizer as Optimizer
from .parameters import param_groups as param_groups
from .quasi_newton import BFGS as BFGS, LBFGS as LBFGS
from .second_order import Newton as Newton, NewtonCG as NewtonCG
from .together import Together as Together

__dir__ = _lister(__name__)
