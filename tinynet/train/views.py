r"""The mean answer over several views of a picture: flips, ten crops, five scales of ten crops.

    p = (1 / V) sum_v softmax(net(view_v))        average="probability"
    s = (1 / V) sum_v net(view_v)                 average="score"

Like an ensemble of V nets with shared weights: noise of the training is averaged out at test time
(CS231n lecture 8: F4, E11). The views are made by the functions of `data/views.py`, or by yours.
Read next: `data/views.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..backend import Array, asarray, to_numpy
from ..data.views import flips
from ..functional.activation import softmax
from ..nn.module import Module
from ..tensor import Tensor
from .inputs import evaluating, picture_batches

Views = Callable[[Array], Iterable[Array]]


def predict_views(model: Module, images: Any, views: Views = flips, batch_size: int = 64,
                  average: str = "probability") -> np.ndarray[Any, Any]:
    """Mean probabilities (N, classes), or scores, of the model over all views; on the host.

    `images` are (N, C, H, W), prepared as the model expects them, or a loader whose pictures are;
    of a batch one view after the other passes through the net.

    >>> from tinynet import models
    >>> predict_views(models.mlp([12, 3]), np.zeros((2, 3, 2, 2), np.float32)).shape
    (2, 3)
    """
    if average not in ("probability", "score"):
        raise ValueError(f"average must be 'probability' or 'score', got {average!r}")
    if isinstance(images, Tensor):
        images = images.data
    rows = []
    with evaluating(model):
        for batch in picture_batches(images, batch_size):
            total, count = 0.0, 0
            for view in views(asarray(batch)):
                outputs = model(Tensor(view))
                total = total + (softmax(outputs) if average == "probability" else outputs).data
                count += 1
            if not count:
                raise ValueError("views must yield at least one view of a batch, got none")
            rows.append(to_numpy(total / count))
    if not rows:
        raise ValueError("predict_views() got no images")
    return np.concatenate(rows)
