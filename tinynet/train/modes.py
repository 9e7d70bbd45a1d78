"""Which parts of a model are trained: training mode, but for what is kept out of it.

Read next: `train/callbacks.py`.
"""

from __future__ import annotations

from ..nn.module import Modes, Module, modes_of, set_modes


def start_training(model: Module) -> Modes:
    """Put `model` into training mode, but for what is kept out of it; all modes then.

    A module in evaluation mode among others in training mode was put there on purpose,
    and stays. In a model that is in evaluation mode as a whole (judged or loaded a
    moment ago) only the frozen parts stay: those with parameters, none of which
    requires a gradient.
    """
    kept = {id(module) for module in _kept_in_evaluation(model)}
    model.train()
    modes = [(module, training and id(module) not in kept)
             for module, training in modes_of(model)]
    set_modes(modes)
    return modes


def _kept_in_evaluation(model: Module) -> list[Module]:
    modes = modes_of(model)
    if any(training for _, training in modes):
        return [module for module, training in modes if not training]
    frozen = [module for module, _ in modes if _is_frozen(module)]
    return [inner for module in frozen for _, inner in module.named_modules()]


def _is_frozen(module: Module) -> bool:
    parameters = module.parameters()
    return bool(parameters) and not any(p.requires_grad for p in parameters)
