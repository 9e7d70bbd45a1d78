"""How people choose: settings drawn and tried, curves read, and the lecture's seven steps.

    space = {"lr": tune.LogUniform(1e-5, 1e-1)}
    found = tune.random_search(objective, space, trials=20)
    found = tune.recipe.run(model, optimizer, train_loader, val_loader)

The lecture closes with two questions and who answers them (H10):

    Is the training error too high?           Is the test error much higher?
    functional.activation   nn.init           data.transform    data.colour    data.crops
    functional.norm         nn.layers         data.geometry     data.mix       data.erase
    optim.first_order       optim.schedule    functional.regularize            nn.noise
    optim.second_order      optim.clip        functional.dropconnect           nn.blocks
    optim.quasi_newton      tune.rates        functional.fractional            optim.averaging
    train.callbacks         train.detective   train.averaging   train.ensemble data.views
    tune.sanity             tune.diagnose     tune.space        tune.search    tune.recipe

On the left: the optimizer, its learning rate and schedule, and what lets gradients
through. On the right: regularisation, and hyper-parameters that are chosen by
validation. `diagnose` tells which of the two a run has. Weight decay is an option of
every optimizer, and belongs to the right.

Start with `space.py`, then `search.py`, `recipe.py`; the pictures are in `tinynet.viz`.

Read next: `tune/space.py`.
"""
# ruff: noqa: I001  (exported names stand side by side)

from . import recipe as recipe
from .diagnose import ADVICE as ADVICE, Diagnosis as Diagnosis, diagnose as diagnose
from .journal import Journal as Journal
from .rates import label_rates as label_rates
from .search import (
    Search as Search, Trial as Trial, grid_search as grid_search,
    random_search as random_search, run_trials as run_trials,
    successive_halving as successive_halving,
)
from .space import (
    Choice as Choice, LogUniform as LogUniform, Uniform as Uniform, When as When,
    grid as grid, hit_probability as hit_probability, sample as sample,
)
from ..names import lister as _lister

__dir__ = _lister(__name__)
