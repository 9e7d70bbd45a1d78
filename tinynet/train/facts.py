"""What a saved model says of its net: how it was made, and of its pictures.

It is one text of JSON among the file's metadata:

    {"tinynet": "0.1.0", "constructor": "mlp", "arguments": {"sizes": [4, 2], ...},
     "classes": ["cat", "dog"], "mean": [125.0], "std": [60.0], "shape": [1, 2, 2]}

`checkpoint.py` writes it, `classifier.py` reads it.

Read next: `train/checkpoint.py`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from operator import index
from typing import Any, NamedTuple

import numpy as np

from .. import models
from ..data.transform import Normalize
from ..nn.module import Module

Shape = tuple[int, int, int]
NET = "tinynet net"  # the metadata's name for all this


class Facts(NamedTuple):
    """What a file says of its net; None where it says nothing."""

    classes: tuple[str, ...] | None
    normalize: Normalize | None
    shape: Shape | None  # of one picture, (C, H, W)


def describe(model: Module, facts: Facts) -> dict[str, str]:
    """The metadata that `load_classifier` needs; none if there is nothing to say."""
    made = models.made_by(model)
    if made is None and not any(facts):
        return {}
    library = sys.modules[__name__.partition(".")[0]]  # upstairs: not to be imported
    found: dict[str, Any] = {"tinynet": getattr(library, "__version__", "unknown")}
    if made is not None:
        found |= {"constructor": made.name, "arguments": made.arguments}
    if facts.classes is not None:
        found["classes"] = facts.classes
    if facts.normalize is not None:
        found["mean"] = np.ravel(facts.normalize.mean).tolist()
        found["std"] = np.ravel(facts.normalize.std).tolist()
    if facts.shape is not None:
        found["shape"] = facts.shape
    return {NET: json.dumps(found)}


def checked_facts(classes: Sequence[str] | None, normalize: Normalize | None,
                  shape: Sequence[int] | None) -> Facts:
    """The same as `Facts`; TypeError or ValueError names the argument that is wrong."""
    names = None
    if classes is not None:
        texts = all(isinstance(name, str) for name in classes)
        if isinstance(classes, str) or not texts:
            raise TypeError("classes must be the names of the classes in their "
                            "order, such as "
                            f"dataset.classes, got {classes!r}")
        names = tuple(classes)
        if len(set(names)) < len(names) or not names:
            raise ValueError("classes must be different names, at least one, got "
                             f"{classes!r}")
    if normalize is not None and not isinstance(normalize, Normalize):
        raise TypeError("normalize must be a data.Normalize(mean, std), got "
                        f"{normalize!r}: it is what the validation pictures went "
                        "through")
    return Facts(names, normalize, None if shape is None else shape_of(shape))


def shape_of(shape: Sequence[int]) -> Shape:
    try:
        channels, height, width = map(index, shape)
    except (TypeError, ValueError):
        channels = 0
    if channels not in (1, 3) or not (0 < height < 1 << 16 and 0 < width < 1 << 16):
        raise ValueError("shape must be that of one picture, (C, H, W) with C = 1 or "
                         "3, such as "
                         f"images.shape[1:], got {shape!r}")
    return channels, height, width
