"""The mean answer over views: of softmax or of scores, from arrays or a loader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.arrays import close, equal, host
from tinynet import nn, no_grad, random, tensor
from tinynet.backend import Array, asarray
from tinynet.data import DataLoader, Normalize, flips, resnet_crops, ten_crops
from tinynet.train import Trainer, predict_views

IMAGES = np.random.default_rng(0).random((7, 3, 9, 10), np.float32)


def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))


def softmax(scores: np.ndarray) -> np.ndarray:
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def scores_of(model: nn.Module, views: list[Array]) -> np.ndarray:
    with no_grad():
        model.eval()
        return np.stack([host(model(tensor(v.copy()))) for v in views])


def crops(images: Array) -> Iterator[Array]:
    return ten_crops(images, 6)


@pytest.mark.parametrize("views", [flips, crops])
def test_F4_mean_of_softmax_or_of_scores(views: Callable[[Array], Iterator[Array]]) -> None:
    model = net()
    each = scores_of(model, list(views(asarray(IMAGES))))
    p = predict_views(model, asarray(IMAGES), views, batch_size=3)
    assert close(p, np.mean([softmax(s) for s in each], axis=0), atol=1e-6)
    assert np.allclose(p.sum(axis=1), 1.0)
    assert close(predict_views(model, IMAGES, views, average="score"), each.mean(axis=0), atol=1e-6)


def test_F4_fifty_crops_in_one_call() -> None:
    model = net()
    sides = (6, 7, 9, 12, 16)
    views = list(resnet_crops(asarray(IMAGES), 6, sides))
    p = predict_views(model, IMAGES, lambda x: resnet_crops(x, 6, sides), batch_size=2)
    expected = np.mean([softmax(s) for s in scores_of(model, views)], axis=0)
    assert len(views) == 50 and close(p, expected, atol=1e-6)


def test_F4_one_view_is_the_prediction_and_flips_make_it_symmetric() -> None:
    model = net()
    p = predict_views(model, IMAGES, lambda images: [images])
    trainer = Trainer(model, None, progress=False)  # type: ignore[arg-type]
    assert close(p, softmax(trainer.predict(IMAGES)), atol=1e-6)
    mirrored = np.ascontiguousarray(IMAGES[..., ::-1])
    assert close(predict_views(model, IMAGES), predict_views(model, mirrored), atol=1e-6)
    assert not close(p, predict_views(model, mirrored, lambda images: [images]))


def test_it_runs_in_evaluation_mode_and_takes_a_loader() -> None:
    model = net().train()
    first = predict_views(model, IMAGES)
    assert model.training and equal(first, predict_views(model, IMAGES))  # no dropout
    normalise = Normalize(0.5, 0.25)
    batches = DataLoader(IMAGES, np.zeros(7, int), 3, shuffle=False, transform=normalise)
    prepared = normalise(asarray(IMAGES))
    assert close(predict_views(model, batches), predict_views(model, prepared), atol=1e-6)
    assert close(predict_views(model, tensor(prepared)), predict_views(model, prepared), atol=1e-7)


@pytest.mark.parametrize(("options", "message"), [
    ({"average": "mean"}, "average must be 'probability' or 'score', got 'mean'"),
    ({"views": lambda images: []}, "views must yield at least one view of a batch, got none"),
    ({"images": IMAGES[:0]}, r"predict_views\(\) got no images"),
])
def test_mistakes_are_named(options: dict[str, Any], message: str) -> None:
    random.manual_seed(0)
    with pytest.raises(ValueError, match=message):
        predict_views(net(), **({"images": IMAGES} | options))


@pytest.mark.parametrize("given", ["array", "loader"])
@pytest.mark.parametrize("average", ["probability", "score"])
def test_only_the_least_sure_pictures_are_looked_at_again(average: str, given: str) -> None:
    """Those whose two best classes are nearest; the rest keep the first view's answer."""
    pictures = np.random.default_rng(5).normal(size=(10, 3, 9, 10)).astype("float32")
    model = net()
    images: Any = pictures
    if given == "loader":
        images = DataLoader(pictures, np.zeros(10, int), 3)
    seen: list[int] = []

    def views(x: Any) -> Any:
        seen.append(len(x))
        yield x
        yield x[..., ::-1]

    first = predict_views(model, pictures, lambda x: [x], average=average)
    both = predict_views(model, pictures, flips, average=average)
    found = predict_views(model, images, views, batch_size=3, average=average, unsure=0.25)
    two = np.sort(first, axis=1)[:, -2:]
    again = np.argsort(two[:, 1] - two[:, 0])[:3]
    rest = np.setdiff1d(np.arange(10), again)
    assert close(found[again], both[again], atol=1e-6)
    assert close(found[rest], first[rest], atol=1e-6)
    assert sum(seen) == 10 + 3
    assert close(predict_views(model, images, views, average=average, unsure=0.0), first, atol=1e-6)
    with pytest.raises(ValueError, match="unsure must be a probability"):
        predict_views(model, pictures, unsure=25)
