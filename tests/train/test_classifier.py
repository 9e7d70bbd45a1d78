"""From a saved model to one's own picture: the same answers as in training, and odd files."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tinynet as tn
from tinynet import data, functional as F, models, nn, train
from tinynet.train import load_classifier, read_model, save_model

CLASSES = ("ant", "bee", "cat")
NORMALIZE = data.Normalize((100.0, 110.0, 120.0), (50.0, 60.0, 70.0))
SHAPE = (3, 8, 8)
KNOWN = {"classes": CLASSES, "normalize": NORMALIZE, "shape": SHAPE}
PICTURES = np.random.default_rng(1).integers(0, 256, (5, 3, 8, 8)).astype(np.uint8)
KEY = "tinynet net"

NETS: dict[str, Callable[[], nn.Module]] = {
    "mlp": partial(models.mlp, [192, 5, 3], nn.Tanh, dropout=0.5),
    "small_conv_net": partial(models.small_conv_net, 3, image_size=8, widths=(4, 8)),
    "net_s": partial(models.net_s, num_classes=3, image_size=8, widths=[4, 8]),
    "net_r": partial(models.net_r, 3, width=np.int64(4)),
    "resnet": partial(models.resnet, 2, 3, widths=(4, 8), bottleneck=True, survival=0.5),
    "resnet_small": partial(models.resnet_small, 3, blocks=1, widths=(4, 8)),
}


def saved(tmp_path: Path, net: nn.Module | None = None, **said: Any) -> Path:
    path = tmp_path / "model.safetensors"
    save_model(net or NETS["mlp"](), path, {"data": "toy"}, **{**KNOWN, **said})
    return path


def rewritten(path: Path, **changes: Any) -> Path:
    """The file with another text about its net."""
    arrays, metadata = read_model(path)
    said = {**json.loads(metadata[KEY]), **changes}
    train.checkpoint.write_file(path, train.checkpoint.MODEL, arrays, {KEY: json.dumps(said)})
    return path


@pytest.mark.parametrize("name", NETS)
def test_every_net_of_models_is_made_again_and_answers_the_same(tmp_path: Path, name: str) -> None:
    net = NETS[name]().eval()
    classifier = load_classifier(saved(tmp_path, net))
    expected = F.softmax(net(tn.tensor(NORMALIZE(tn.xp.asarray(PICTURES))))).numpy()
    np.testing.assert_array_equal(classifier.probabilities(PICTURES), expected)
    assert repr(classifier.model) == repr(net) and classifier.classes == CLASSES


def test_every_function_of_models_that_makes_a_net_is_tried() -> None:
    assert set(NETS) == set(models.__all__) - {"Made", "made_by", "make"}


def test_files_images_and_arrays_are_one_picture(tmp_path: Path) -> None:
    classifier = load_classifier(saved(tmp_path))
    upright = PICTURES[0].transpose(1, 2, 0)
    Image.fromarray(upright).save(tmp_path / "my.png")
    one = classifier(PICTURES[0])
    assert [*one.probabilities.values()] == sorted(one.probabilities.values(), reverse=True)
    assert abs(sum(one.probabilities.values()) - 1.0) < 1e-6
    for other in (upright, Image.fromarray(upright), tmp_path / "my.png", tn.tensor(PICTURES[0])):
        assert classifier(other).probabilities == one.probabilities
    several = classifier([tmp_path / "my.png", upright])
    assert [answer.best for answer in several] == [one.best, one.best]
    assert [answer.best for answer in classifier(PICTURES)] == [
        CLASSES[i] for i in classifier.probabilities(PICTURES).argmax(axis=1)]
    np.testing.assert_allclose([*classifier(upright / 255.0).probabilities.values()],
                               [*one.probabilities.values()], atol=1e-5)
    np.testing.assert_array_equal(classifier.see(PICTURES), PICTURES)
    assert classifier([]) == [] and classifier.probabilities([]).shape == (0, 3)


def test_an_answer_prints_its_classes(tmp_path: Path) -> None:
    answer = train.Prediction({"cat": 0.75, "d<g": 0.25}, "my.png")
    assert repr(answer).splitlines() == [
        "my.png: cat (75.0%)", "  cat   75.0%  ###############", "  d<g   25.0%  #####"]
    assert "<td>d&lt;g</td><td>25.0%</td>" in answer._repr_html_()
    assert (answer.best, answer.probability) == ("cat", 0.75)
    assert "3 classes: ant, bee, cat; pictures 3x8x8" in repr(load_classifier(saved(tmp_path)))


def test_a_net_of_floats_in_0_to_1_and_of_float64(tmp_path: Path) -> None:
    parts = data.Normalize(0.5, 0.25)
    net = NETS["mlp"]().double().eval()
    classifier = load_classifier(saved(tmp_path, net, normalize=parts))
    images = tn.xp.asarray(PICTURES / 255.0)
    expected = F.softmax(net(tn.tensor(parts(images)))).numpy()
    np.testing.assert_allclose(classifier.probabilities(PICTURES), expected, atol=1e-6)


def test_the_folder_of_a_run_will_do(tmp_path: Path) -> None:
    path = saved(tmp_path)
    assert load_classifier(tmp_path).classes == CLASSES
    path.rename(tmp_path / "other.safetensors")
    assert load_classifier(str(tmp_path)).classes == CLASSES
    (tmp_path / "third.safetensors").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"other\.safetensors, third\.safetensors\. Name"):
        load_classifier(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"it holds no \.safetensors file at"):
        load_classifier(Path(__file__).parent)
    with pytest.raises(FileNotFoundError):
        load_classifier(tmp_path / "none.safetensors")


def test_a_net_of_ones_own_is_given(tmp_path: Path) -> None:
    own = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    path = saved(tmp_path, own)
    with pytest.raises(ValueError, match=r"give the net, load_classifier\(path, model=your_net\)"):
        load_classifier(path)
    again = load_classifier(path, nn.Sequential(nn.Flatten(), nn.Linear(192, 3)))
    np.testing.assert_array_equal(again.probabilities(PICTURES),
                                  load_classifier(path, own).probabilities(PICTURES))
    with pytest.raises(TypeError, match="model must be a net, such as"):
        load_classifier(path, "mlp")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the state does not fit"):
        load_classifier(path, nn.Linear(2, 2))


@pytest.mark.parametrize("change", ["activation", "layer", "layers"])
def test_a_net_that_was_changed_is_not_made_again_as_it_was(tmp_path: Path, change: str) -> None:
    if change == "activation":  # one that no file can name
        net = models.mlp([192, 5, 3], lambda: nn.Tanh())
    else:
        net = models.mlp([192, 5, 3])
        net[-1].in_features = 6  # type: ignore[assignment]
        if change == "layers":
            net = nn.Sequential(*net, nn.ReLU())
    assert models.made_by(net) is None
    with pytest.raises(ValueError, match="was changed after it was made"):
        load_classifier(saved(tmp_path, net))


def test_what_the_file_lacks_must_be_given(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(models.small_conv_net(3, image_size=8), path)
    with pytest.raises(ValueError, match=r"\(path, classes=\[names\], normalize=data.Normalize"):
        load_classifier(path)
    found = load_classifier(path, classes=CLASSES, normalize=NORMALIZE)
    assert found.shape == (3, 8, 8)  # the arguments of its net say so
    save_model(models.resnet_small(3), path)
    with pytest.raises(ValueError, match=r"give load_classifier\(path, shape=\(C, H, W\)\)"):
        load_classifier(path, classes=CLASSES, normalize=NORMALIZE)
    save_model(models.mlp([192, 4]), path, classes=CLASSES, normalize=NORMALIZE, shape=SHAPE)
    with pytest.raises(ValueError, match=r"scores of shape \(1, 4\), and there are 3 classes"):
        load_classifier(path)
    assert len(load_classifier(path, classes="abcd"[:0] or ["a", "b", "c", "d"]).classes) == 4
    with pytest.raises(ValueError, match=r"does not take pictures of shape \(3, 9, 9\)"):
        load_classifier(path, classes=["a", "b", "c", "d"], shape=(3, 9, 9))


@pytest.mark.parametrize("changes, message", [
    ({"constructor": "os.system"}, "name must be one of mlp, "),
    ({"constructor": "__import__"}, "which cannot be made here"),
    ({"arguments": {"sizes": [192, 3], "colour": 1}}, "unexpected keyword argument 'colour'"),
    ({"arguments": {}}, "missing a required argument"),
    ({"arguments": {"sizes": "x"}}, "which cannot be made here"),
    ({"arguments": {"sizes": [192, 10**12]}}, "larger than the weights that the file holds"),
    ({"arguments": {"sizes": [192, 3], "activation": {"nn": "os"}}}, "is no layer of nn"),
    ({"arguments": {"sizes": [192, 3], "activation": 3}}, "the state does not fit"),
    ({"arguments": {"sizes": [192, 4]}}, "the state does not fit"),
    ({"arguments": 3}, "does not say which function"),
    ({"classes": "abc"}, "says odd things of its net"),
    ({"classes": ["a", "a", "b"]}, "must be different names"),
    ({"mean": ["x"]}, "says odd things"),
    ({"std": [0.0, 1.0, 1.0]}, "says odd things"),
    ({"mean": [1.0, 2.0], "std": [3.0, 4.0]}, "one for each of the 3 channels, got 2"),
    ({"shape": [3, 8]}, "shape must be that of one picture"),
    ({"shape": [2, 8, 8]}, "C = 1 or 3"),
])
def test_odd_metadata_is_refused_in_words(tmp_path: Path, changes: dict[str, Any],
                                          message: str) -> None:
    path = rewritten(saved(tmp_path), **changes)
    with pytest.raises(ValueError, match=message) as caught:
        load_classifier(path)
    assert str(path) in str(caught.value)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(ValueError, match="damaged or incomplete"):
        load_classifier(path)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ValueError, match="do not match the checksum"):
        load_classifier(path)
    arrays, _ = read_model(saved(tmp_path))
    train.checkpoint.write_file(path, train.checkpoint.MODEL, arrays, {KEY: "[1"})
    with pytest.raises(ValueError, match="which is nothing that tinynet wrote"):
        load_classifier(path)


@pytest.mark.parametrize("said, error, message", [
    ({"classes": "cat"}, TypeError, "classes must be the names of the classes"),
    ({"classes": [1, 2]}, TypeError, "classes must be the names of the classes"),
    ({"classes": []}, ValueError, "at least one"),
    ({"normalize": (1, 2)}, TypeError, r"normalize must be a data\.Normalize\(mean, std\)"),
    ({"shape": 32}, ValueError, "shape must be that of one picture"),
    ({"shape": (8, 8, 3)}, ValueError, "shape must be that of one picture"),
])
def test_saving_refuses_what_could_not_be_loaded(tmp_path: Path, said: dict[str, Any],
                                                 error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        saved(tmp_path, **said)


def test_the_same_model_is_the_same_file(tmp_path: Path) -> None:
    net = NETS["small_conv_net"]()
    first = saved(tmp_path, net).read_bytes()
    assert saved(tmp_path, net).read_bytes() == first
    header = json.loads(first[8:8 + int.from_bytes(first[:8], "little")])
    assert list(header["__metadata__"]) == sorted(header["__metadata__"])
    said = json.loads(header["__metadata__"][KEY])
    assert said["constructor"] == "small_conv_net" and said["tinynet"] == tn.__version__


def test_the_picture_is_normalised_by_the_classifier_alone(tmp_path: Path) -> None:
    classifier = load_classifier(saved(tmp_path))
    with pytest.raises(ValueError, match="must not be normalised: the classifier does that"):
        classifier(tn.to_numpy(NORMALIZE(tn.xp.asarray(PICTURES)))[0])
