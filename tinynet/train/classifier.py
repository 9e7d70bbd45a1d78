r"""From a saved model to one's own picture.

    p = softmax(net(normalise(picture)))        answer: the class of the largest p

`save_model` writes beside the weights what `facts.py` lists: the function of `models`
and its arguments, classes, normalisation, shape. `load_classifier` makes the net again
by looking that function up in a list; nothing that a file says is run as code.

Read next: `train/confusion.py`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import models, text
from ..backend import HostArray, asarray
from ..data.picture import read_picture
from ..data.transform import Normalize
from ..functional.activation import softmax
from ..nn.module import Module, parameter_dtype
from ..tensor import Tensor
from .checkpoint import HostArrays, load_model, read_model
from .facts import NET, Facts, Shape, checked_facts, shape_of
from .predict import answers, evaluating

_FILE = "model.safetensors"
_SHOWN = 5  # classes of a prediction that are printed
_BATCH = 64
_BAR = 20  # characters of a probability of 1


@dataclass(frozen=True, repr=False)
class Prediction:
    """What a net says of a picture: its probability by class, the highest first."""

    probabilities: Mapping[str, float]
    source: str = ""

    @property
    def best(self) -> str:
        """The most probable class."""
        return next(iter(self.probabilities))

    @property
    def probability(self) -> float:
        """How probable that class is."""
        return self.probabilities[self.best]

    def __repr__(self) -> str:
        head = f"{self.source}: " if self.source else ""
        lines = [f"{head}{self.best} ({self.probability:.1%})"]
        width = max(map(len, self.probabilities))
        for name, p in [*self.probabilities.items()][:_SHOWN]:
            bar = "#" * round(_BAR * p)
            lines.append(f"  {name.ljust(width)}  {p:6.1%}  {bar}".rstrip())
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = [("class", "probability")]
        rows += [(name, f"{p:.1%}") for name, p in self.probabilities.items()]
        return text.html(rows[:1 + _SHOWN], self.source, starred=1)


class Classifier:
    """A net that answers pictures with classes; `load_classifier` makes it.

    ``classifier("cat.png")`` is a `Prediction`; a list of pictures, or an array (N, C,
    H, W), gives a list of them. A picture is a file's name, a Pillow image, or an array
    of bytes or of floats in 0..1, of any size: see `data.read_picture`.
    """

    def __init__(self, model: Module, classes: tuple[str, ...], normalize: Normalize,
                 shape: Shape) -> None:
        self.model = model.eval()
        self.classes = classes
        self.normalize = normalize
        self.shape = shape
        # statistics in parts of 1 belong to pictures of floats, as in Normalize itself
        parts = np.max(normalize.std) <= 1.0 and np.max(np.abs(normalize.mean)) <= 1.0
        self._scale = 1.0 / 255.0 if parts else 1.0

    def __repr__(self) -> str:
        shown = ", ".join(self.classes[:4])
        if len(self.classes) > 4:
            shown += ", ..."
        size = "x".join(map(str, self.shape))
        return (f"Classifier({len(self.classes)} classes: {shown}; pictures {size}, "
                f"{self.model.num_parameters():,} parameters)")

    def __call__(self, pictures: Any) -> Any:
        """A `Prediction` of one picture, or a list of them of several."""
        several, sources = _listed(pictures)
        rows = self.probabilities(sources)
        found = [self._prediction(source, row)
                 for source, row in zip(sources, rows, strict=True)]
        if several:
            return found
        return found[0]

    def see(self, pictures: Any) -> HostArray:
        """The pictures (N, C, H, W) in bytes, as large as the net sees them."""
        return self._read(pictures).round().astype(np.uint8)

    def probabilities(self, pictures: Any) -> HostArray:
        """Probabilities (N, classes), the classes in their own order."""
        _, sources = _listed(pictures)
        if not sources:
            return np.zeros((0, len(self.classes)), np.float32)
        found = [self._answers(sources[i : i + _BATCH])
                 for i in range(0, len(sources), _BATCH)]
        return np.concatenate(found)

    def _answers(self, sources: Sequence[Any]) -> HostArray:
        images = self._read(sources)
        if self._scale != 1.0:
            images = images * np.float32(self._scale)
        inputs = self.normalize(asarray(images)).astype(parameter_dtype(self.model))

        def answer(batch: Any) -> Any:
            return softmax(self.model(Tensor(batch))).data

        return answers(self.model, inputs, _BATCH, answer, "classifier")

    def _read(self, pictures: Any) -> HostArray:
        """(N, C, H, W) float32 in 0..255."""
        _, sources = _listed(pictures)
        found = np.empty((len(sources), *self.shape), np.float32)
        for i, source in enumerate(sources):
            found[i] = read_picture(source, self.shape)
        return found

    def _prediction(self, source: Any, row: HostArray) -> Prediction:
        named = source if isinstance(source, str | os.PathLike) else ""
        order = np.argsort(-row, kind="stable")
        found = {self.classes[i]: float(row[i]) for i in order.tolist()}
        return Prediction(found, str(named))


def _listed(pictures: Any) -> tuple[bool, Sequence[Any]]:
    """Whether these are several pictures, and a list of them."""
    if isinstance(pictures, list | tuple) or getattr(pictures, "ndim", 0) == 4:
        return True, list(pictures)
    return False, [pictures]


def load_classifier(path: str | os.PathLike[str], model: Module | None = None, *,
                    classes: Sequence[str] | None = None,
                    normalize: Normalize | None = None,
                    shape: Sequence[int] | None = None) -> Classifier:
    """The net in a file of `save_model`, ready for pictures of any kind.

    `path` is the file or a folder that holds it. What the file says, the function of
    `models`, classes, normalisation and shape of a picture, need not be given; what it
    does not say must be: a net of your own as `model`, made as it was trained. What is
    given counts more than the file.

    FileNotFoundError if there is no such file; ValueError if it is damaged, does not
    fit, or lacks something; each says what to do.
    """
    path = _file_in(Path(path))
    arrays, metadata = read_model(path)
    said = _said(path, metadata)
    if model is None:
        model = _made_again(path, said, arrays)
    elif not isinstance(model, Module):
        raise TypeError("model must be a net, such as models.small_conv_net(), got "
                        f"{model!r}")
    load_model(path, model)
    given = checked_facts(classes, normalize, shape)
    found = _facts_of(path, said)
    names = given.classes or found.classes
    prepared = given.normalize or found.normalize
    pictures = given.shape or found.shape or _shape_from(said)
    if names is None or prepared is None or pictures is None:
        missing = {"classes=[names]": names, "normalize=data.Normalize(mean, std)": prepared,
                   "shape=(C, H, W)": pictures}
        lacking = ", ".join(text for text, value in missing.items() if value is None)
        raise ValueError(f"{path} does not say all that a classifier needs: give "
                         f"load_classifier(path, {lacking}), or give them to "
                         "save_model")
    classifier = Classifier(model, names, prepared, pictures)
    _try(path, classifier)
    return classifier


def _file_in(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = sorted(path.glob("*.safetensors"))
    if path / _FILE in found:
        return path / _FILE
    if len(found) == 1:
        return found[0]
    names = ", ".join(file.name for file in found) or "no .safetensors file at all"
    raise FileNotFoundError(f"{path} is a folder without {_FILE}: it holds {names}. "
                            "Name the file")


def _said(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """What the file says of its net."""
    try:
        said = json.loads(metadata.get(NET, "{}"))
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise ValueError(f"{path} says {metadata[NET]!r:.100} of its net, which is "
                         "nothing that "
                         "tinynet wrote: give load_classifier(path, model=your_net, "
                         "...)")
    return said


def _made_again(path: Path, said: Mapping[str, Any], arrays: HostArrays) -> Module:
    """The net as its function makes it; it has random weights still."""
    name = said.get("constructor")
    arguments = said.get("arguments")
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ValueError(
            f"{path} does not say which function of models made its net (it is a net "
            "of your "
            "own, was changed after it was made, or saved by another program): give "
            "the net, "
            "load_classifier(path, model=your_net)")
    largest = max(2, sum(x.size for x in arrays.values()))
    given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    call = f"models.{name}({given})"
    try:
        if not _is_bounded(arguments, largest):
            raise ValueError("that is larger than the weights that the file holds")
        return models.make(name, arguments)
    except (ValueError, TypeError, ArithmeticError, MemoryError,
            AttributeError) as error:
        raise ValueError(
            f"{path} was saved by tinynet {said.get('tinynet')} as {call:.200}, "
            "which cannot be "
            f"made here ({error!s:.200}): update tinynet, or give "
            "load_classifier(path, model=...)"
        ) from error


def _is_bounded(value: Any, largest: int) -> bool:
    """Whether no number is so large that making the net would fill the memory."""
    if isinstance(value, dict):
        return all(_is_bounded(one, largest) for one in value.values())
    if isinstance(value, list):
        return len(value) <= largest and all(_is_bounded(one, largest) for one in value)
    if isinstance(value, int | float):
        return math.isfinite(value) and abs(value) <= largest
    return True


def _facts_of(path: Path, said: Mapping[str, Any]) -> Facts:
    """What the file says of classes, normalisation and shape, checked."""
    normalize = None
    try:
        if "mean" in said and "std" in said:
            mean = tuple(map(float, said["mean"]))
            normalize = Normalize(mean, tuple(map(float, said["std"])))
        return checked_facts(said.get("classes"), normalize, said.get("shape"))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} says odd things of its net ({error!s:.300}): give "
                         "load_classifier(path, classes=..., normalize=..., shape=...)") from error


def _shape_from(said: Mapping[str, Any]) -> Shape | None:
    """The shape of a picture, where the arguments of the net's function tell it."""
    arguments = said.get("arguments")
    if not isinstance(arguments, dict) or "image_size" not in arguments:
        return None
    size = arguments["image_size"]
    return shape_of((arguments.get("in_channels", 3), size, size))


def _try(path: Path, classifier: Classifier) -> None:
    """Pass one black picture: does the net take it, and answer for each class?"""
    black = asarray(np.zeros((1, *classifier.shape), np.float32))
    try:
        dtype = parameter_dtype(classifier.model)
        inputs = classifier.normalize(black).astype(dtype)
        with evaluating(classifier.model):
            scores = classifier.model(Tensor(inputs)).shape
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: the net does not take pictures of shape "
                         f"{classifier.shape} "
                         f"({error!s:.300}): give load_classifier(path, shape=(C, H, "
                         "W))"
                         ) from error
    wanted = (1, len(classifier.classes))
    if scores != wanted:
        raise ValueError(f"{path}: the net answers a picture with scores of shape "
                         f"{scores}, and "
                         f"there are {wanted[1]} classes: give load_classifier(path, "
                         "classes=[...])"
                         " with a name for each")
