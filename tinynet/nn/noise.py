r"""Noise layers: random in training, their noise marginalised at test; and
marginalising by hand.

    y = E_z[f(x, z)] = integral of p(z) f(x, z) dz                    (CS231n lecture 8: E8, E11)

A layer of this kind draws z (a mask, regions, which blocks to skip) from `generator`,
tinynet's default one if None, whenever it is in training mode. In evaluation it
computes its own answer to the integral: exact for one linear layer, an approximation
for a deep net. `marginalize` gives that answer, or the mean over many draws, which is
right for any net but costs a pass for each. Read next: `dropout.py`.
"""

from __future__ import annotations

import contextlib
import functools
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..checks import check_choice, check_whole
from ..graph import no_grad
from ..random import Generator, default_generator
from .module import Module, modes_kept


class Noise(Module):
    """Base class of the layers that draw random numbers in training mode, with
    `draw_key`.

    Inside ``random.share_of_batch`` they get their part of what the whole batch would
    draw.
    """

    generator: Generator | None = None
    p: float = 1.0

    def draw_key(self) -> int:
        """The key of the next random numbers."""
        return (self.generator or default_generator).key()

    def key_in_training(self) -> int | None:
        """The key of the next random numbers, or None where none are needed: `p` is 0,
        or a test.
        """
        return self.draw_key() if self.training and self.p > 0.0 else None


def noise_state(model: Module) -> dict[str, Any]:
    """State of all generators that a pass through `model` may draw from, as plain numbers."""
    return {"default": default_generator.get_state(),
            "layers": {name: own.get_state() for name, own in _own_generators(model)}}


def set_noise_state(model: Module, state: Mapping[str, Any]) -> None:
    """Restore what `noise_state` returned."""
    default_generator.set_state(state["default"])
    for name, own in _own_generators(model):
        if name not in state["layers"]:
            raise ValueError(f"it has no state for the generator of layer {name!r}")
        own.set_state(state["layers"][name])


def _own_generators(model: Module) -> list[tuple[str, Generator]]:
    """The generators that noise layers have for themselves, by the layers' names."""
    return [(name, layer.generator) for name, layer in model.named_modules()
            if isinstance(layer, Noise) and layer.generator is not None]


@contextlib.contextmanager
def _only_noise(model: Module, generator: Generator) -> Iterator[None]:
    """Inside, the noise layers of `model` draw from `generator`, all else is in evaluation mode."""
    noisy = [module for _, module in model.named_modules() if isinstance(module, Noise)]
    generators = [layer.generator for layer in noisy]
    try:
        with modes_kept(model):
            model.eval()
            for layer in noisy:
                layer.training = True  # itself alone: what it wraps may be no noise
                layer.generator = generator
            yield
    finally:
        for layer, own in zip(noisy, generators, strict=True):
            layer.generator = own


def marginalize(model: Module, x: Any, how: str = "analytic", n: int = 100, *,
                transform: Callable[[Any], Any] | None = None, seed: int = 0) -> Any:
    """E_z[model(x, z)] over the noise z of all `Noise` layers, without gradients.

    "analytic": one pass in evaluation mode, in which each layer stands in for its mean.
    "sample": the mean of `n` passes with noise drawn anew, its error falling as 1 /
    sqrt(n). Only noise layers are in training mode then: batch norm uses its running
    statistics, which are its answer to the integral. The draws depend on `seed` alone,
    and the default generator, the layers' own and all modes are left as they were.
    `transform` is applied to every output before the mean, such as ``F.softmax``.

    >>> from tinynet import nn
    >>> net, x = nn.Sequential(nn.Dropout(0.5)), tn.ones(4)
    >>> marginalize(net, x), marginalize(net, x, how="sample", n=4)
    (Tensor([1., 1., 1., 1.]), Tensor([1.5, 1. , 1. , 1. ]))
    """
    check_choice("how", how, ("analytic", "sample"))
    passes = check_whole("n, the number of passes,", n) if how == "sample" else 1
    with no_grad(), _only_noise(model, Generator(seed)):
        if how == "analytic":
            model.eval()
        outputs = (model(x) if transform is None else transform(model(x)) for _ in range(passes))
        return functools.reduce(operator.add, outputs) / passes
