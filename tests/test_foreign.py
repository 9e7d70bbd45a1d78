"""Names from PyTorch, Keras and NumPy: each is answered, and every answer is true.

`foreign.txt` is read by the library where a name is missing; here every line of code in it runs.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pickle
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import data, foreign, functional as F, models, nn, optim, train, tune, viz
from tinynet.tensor import Tensor

ROOT = Path(__file__).parent.parent
TABLE = foreign.table()
PACKAGES = [name for name in TABLE if name.startswith("tinynet") and ":" not in name]
OBJECTS: dict[str, Callable[[], Any]] = {
    "Tensor": lambda: tn.zeros((2, 3)), "Module": lambda: nn.Sequential(nn.Linear(3, 3)),
    "Optimizer": lambda: optim.SGD([tn.tensor([1.0], requires_grad=True)], 0.1),
    "History": train.History,
    "Dataset": lambda: data.from_arrays(np.zeros((4, 3, 8, 8), "uint8"), [0, 1, 0, 1]),
    "Schedule": lambda: optim.schedule.cosine(0.1, 5),
    "Trainer": lambda: train.Trainer(nn.Linear(3, 3), optim.SGD([tn.tensor([1.0],
                                     requires_grad=True)], 0.1), progress=False),
}
NAMES = [(owner, name) for owner, section in TABLE.items() if owner != "arguments"
         for name in section]


def around(path: Path) -> dict[str, Any]:
    """What the lines of the table may use."""
    tn.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    x = tn.rand(2, 3)
    labels = np.array([0, 1])
    loader = data.DataLoader(x.numpy(), labels, 2)
    for name in "ab":
        (path / name).mkdir()
        write_picture(path / name / "1.png")
    weight = nn.Parameter(np.ones((3, 3), np.float32))
    trainer = train.Trainer(model, optimizer, progress=False)
    trainer.fit(loader)
    model(x).sum().backward()
    return {
        "tn": tn, "tinynet": tn, "nn": nn, "F": F,
        "optim": optim, "data": data, "train": train, "tune": tune,
        "viz": viz,
        "models": models, "np": np, "x": x, "y": tn.rand(2, 3), "a": tn.rand(3, 3) + tn.eye(3),
        "b": tn.rand(3, 3),
        "labels": labels, "places": np.array([[0], [1]]), "indices": np.array([0, 1]),
        "mask": x > 0.5, "images": tn.rand(2, 3, 8, 8), "pictures": np.zeros((2, 3, 32, 32), "f4"),
        "mean": [0.5] * 3, "std": [0.2] * 3, "model": model, "optimizer": optimizer,
        "loss": (weight.sum() + x.sum()), "weight": weight, "array": np.ones(3), "loader": loader,
        "trainer": trainer, "path": str(path),
        "dataset": data.from_arrays(np.zeros((4, 3, 8, 8), "uint8"), [0, 1, 0, 1]),
    }


def write_picture(path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (8, 8)).save(path)


def owner_of(whose: str) -> Any:
    """The package, or an object of the class."""
    whose = whose.removesuffix(": absent")
    return OBJECTS[whose]() if whose in OBJECTS else importlib.import_module(whose)


@pytest.mark.parametrize("whose", [name for name in TABLE if name != "arguments"])
def test_every_name_of_the_table_is_answered_and_is_not_ours(whose: str) -> None:
    owner = owner_of(whose)
    for name, answer in TABLE[whose].items():
        assert not hasattr(owner, name), f"{name} is a name of ours"
        with pytest.raises(AttributeError, match=re.escape(f"has no {name!r}")) as caught:
            getattr(owner, name)
        assert answer in str(caught.value)


@pytest.mark.numpy_only("some lines are about NumPy")
@pytest.mark.parametrize("whose", [name for name in TABLE if name != "arguments"])
def test_every_line_of_the_table_runs(whose: str, tmp_path: Path) -> None:
    for number, answer in enumerate(dict.fromkeys(TABLE[whose].values())):
        folder = tmp_path / str(number)
        folder.mkdir()
        names = around(folder)
        if "path, model" in answer:  # it reads what was saved
            names["path"] = str(folder / "m.safetensors")
            train.save_model(names["model"], names["path"])
        if "save_model" in answer:
            names["path"] = str(folder / "m.safetensors")
        if "loss, x" in answer:
            names["x"] = names["weight"]
        for line in re.findall("`([^`]+)`", answer):
            exec(compile(line, f"{whose}: {line}", "exec"), names)


def test_there_are_hundreds_of_names() -> None:
    assert sum(len(section) for section in TABLE.values()) >= 400


def test_the_table_of_README_comes_from_the_same_file() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert foreign.markdown() in text, "print(tinynet.foreign.markdown()) is the new table"
    assert foreign.markdown().count("\n") > 40


def test_README_names_what_is_absent() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text[text.index("## What tinynet is not"):]
    for name in ("Conv1d", "Embedding", "ConvTranspose2d", "LSTM", "smooth L1"):
        assert name in section
        if " " not in name:
            assert name in TABLE["tinynet.nn: absent"]


@pytest.mark.parametrize(("owner", "wrong", "right"), [
    (tn, "tensro", "tensor"), (tn, "concatenat", "concatenate"), (nn, "Liner", "Linear"),
    (nn, "Conv2D_", "Conv2d"), (nn, "Sequentail", "Sequential"),
    (F, "cross_entorpy", "cross_entropy"),
    (optim, "adam", "Adam"), (optim, "SDG", "SGD"), (optim.schedule, "cosin", "cosine"),
    (data, "Dataloader", "DataLoader"), (train, "Trianer", "Trainer"),
    (models, "small_convnet", "small_conv_net"), (nn.init, "kaiming_normal", "kaiming_normal_"),
])
def test_a_misspelt_name_is_told(owner: types.ModuleType, wrong: str, right: str) -> None:
    with pytest.raises(AttributeError, match=f"did you mean '{right}'"):
        getattr(owner, wrong)


def test_a_misspelt_attribute_of_a_net_of_ones_own_is_told() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.hidden = nn.Linear(2, 2)

    with pytest.raises(AttributeError, match=r"Net has no 'hiden': did you mean 'hidden'\?"):
        Net().hiden  # noqa: B018
    with pytest.raises(AttributeError, match="did you mean 'parameters'"):
        Net().paramters()


def test_a_name_of_another_package_is_told() -> None:
    for owner, name, there in [(tn, "Linear", "nn.Linear"), (nn, "relu", "F.relu"),
                               (tn, "Adam", "optim.Adam"), (nn, "DataLoader", "data.DataLoader"),
                               (F, "Conv2d", "nn.Conv2d"), (optim, "EarlyStopping", "train.Early")]:
        with pytest.raises(AttributeError, match=there):
            getattr(owner, name)


def test_an_import_of_a_foreign_name_says_the_same() -> None:
    with pytest.raises(ImportError, match="from_folder"):
        from tinynet.data import ImageFolder  # type: ignore[attr-defined]  # noqa: F401
    with pytest.raises(ImportError, match=r"tn\.concatenate"):
        from tinynet import cat  # type: ignore[attr-defined]  # noqa: F401
    assert not hasattr(data, "ImageFolder")


def test_an_import_of_a_foreign_module_says_the_same() -> None:
    for line, answer in [("from tinynet.optim.lr_scheduler import StepLR", r"optim\.schedule"),
                         ("from tinynet.utils.data import Dataset", r"data\.DataLoader"),
                         ("import tinynet.keras", "`nn`"),
                         ("import tinynet.nn.utils", "clip_grad_norm_")]:
        with pytest.raises(ModuleNotFoundError, match=answer):
            exec(line, {})
    assert importlib.util.find_spec("tinynet.no_such_file") is None


def test_the_import_line_of_pytorch_works() -> None:
    names: dict[str, Any] = {}
    exec("import tinynet.nn.functional as F\nfrom tinynet.nn.functional import relu", names)
    assert names["F"] is F and names["relu"] is F.relu


def test_a_name_that_nobody_knows_is_a_plain_attribute_error() -> None:
    with pytest.raises(AttributeError, match="tinynet has no attribute 'qqqqq'"):
        tn.qqqqq  # type: ignore[attr-defined]  # noqa: B018
    for thing in (nn.Linear(2, 2), tn.zeros(3), tn):
        assert not hasattr(thing, "_repr_nothing_")
        assert not hasattr(thing, "__wrapped__")


def test_python_adds_no_guess_of_its_own() -> None:
    with pytest.raises(AttributeError) as caught:
        tn.zeros(3).numel  # type: ignore[attr-defined]  # noqa: B018
    assert (caught.value.name, caught.value.obj) == ("numel", None)


def test_an_error_inside_a_property_of_a_net_is_not_hidden() -> None:
    class Net(nn.Module):
        @property
        def width(self) -> Any:
            return self.layer.out_features  # there is no layer

    with pytest.raises(AttributeError, match="'layer'"):
        Net().width  # noqa: B018


def test_nets_are_copied_and_pickled_as_before() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    again = pickle.loads(pickle.dumps(net))
    assert np.array_equal(again[0].weight.numpy(), net[0].weight.numpy())


def test_attributes_that_exist_take_no_detour() -> None:
    assert "__getattr__" not in vars(Tensor)  # it would make all others slower
    seen = []
    plain = foreign.of_class("Module")

    class Watched(nn.Linear):
        def __getattr__(self, name: str) -> Any:
            seen.append(name)
            return plain(self, name)

    layer = Watched(2, 2)
    layer(tn.zeros((1, 2)))
    assert (layer.weight.shape, layer.training, seen) == ((2, 2), True, [])


def test_tab_completion_does_not_offer_foreign_names() -> None:
    x = tn.zeros(3)
    assert not set(dir(x)) & TABLE["Tensor"].keys()
    assert {"sum", "shape", "backward", "requires_grad_"} <= set(dir(x))


X = np.arange(6.0, dtype=np.float32).reshape(2, 3)
SET = data.from_arrays(np.zeros((4, 3, 8, 8), "uint8"), [0, 1, 0, 1])
CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "argmax": (lambda: tn.tensor(X).argmax(dim=1), "axis"),
    "sum": (lambda: tn.tensor(X).sum(dim=1), "axis"),
    "keepdim": (lambda: tn.tensor(X).mean(axis=1, keepdim=True), "keepdims"),
    "std": (lambda: tn.tensor(X).std(dim=1), "axis"),
    "all": (lambda: (tn.tensor(X) > 1).all(dim=1), "axis"),
    "squeeze": (lambda: tn.tensor(X).squeeze(dim=0), "axis"),
    "stack": (lambda: tn.stack([tn.tensor(X)] * 2, dim=0), "axis"),
    "concatenate": (lambda: tn.concatenate([tn.tensor(X)] * 2, dim=0), "axis"),
    "split": (lambda: tn.split(tn.tensor(X), 1, dim=0), "axis"),
    "sort": (lambda: tn.sort(tn.tensor(X), dim=0), "axis"),
    "median": (lambda: tn.median(tn.tensor(X), dim=0), "axis"),
    "norm": (lambda: tn.norm(tn.tensor(X), dim=0), "axis"),
    "prod": (lambda: tn.prod(tn.tensor(X), dim=0), "axis"),
    "cumsum": (lambda: tn.cumsum(tn.tensor(X), dim=0), "axis"),
    "flip": (lambda: tn.flip(tn.tensor(X), dims=0), "axis"),
    "expand_dims": (lambda: tn.expand_dims(tn.tensor(X), dim=0), "axis"),
    "softmax": (lambda: F.softmax(tn.tensor(X), dim=1), "axis"),
    "log_softmax": (lambda: F.log_softmax(input=tn.tensor(X), dim=1), "x"),
    "Softmax": (lambda: nn.Softmax(dim=1), "axis"),
    "LogSoftmax": (lambda: nn.LogSoftmax(dim=1), "axis"),
    "Flatten": (lambda: nn.Flatten(start_dim=1), "start_axis"),
    "clip": (lambda: tn.tensor(X).clip(min=0), "low"),
    "zeros": (lambda: tn.zeros(size=(2, 3)), "shape"),
    "Linear": (lambda: nn.Linear(units=3), "out_features"),
    "Adam": (lambda: optim.Adam([tn.tensor(X, requires_grad=True)], learning_rate=1), "lr"),
    "DataLoader": (lambda: data.DataLoader(X, [0, 1], random_state=2), "seed"),
    "Trainer": (lambda: train.Trainer(nn.Linear(2, 2), None, loss_fn=F.mse_loss), "loss"),
}


@pytest.mark.parametrize("name", CALLS)
def test_an_argument_with_a_foreign_name_is_answered(name: str) -> None:
    call, ours = CALLS[name]
    with pytest.raises(TypeError, match=f"call it {ours}"):
        call()


def within(context: Any) -> None:
    with context:
        pass


@pytest.mark.parametrize("call", [
    lambda: nn.Softmax(1)(tn.zeros((4, 1))), lambda: F.pad(tn.zeros((1, 1, 2, 2)), (1, 1, 1, 1)),
    lambda: F.binary_cross_entropy_with_logits(tn.zeros(3), [0.0, 1.0, 4.0]),
    lambda: setattr(nn.Linear(2, 2), "requires_grad", False),
    lambda: setattr(nn.Linear(2, 2), "trainable", False),
    lambda: setattr(OBJECTS["Optimizer"](), "learning_rate", 0.5),
], ids=["softmax of one column", "padding of the batch", "binary targets above 1",
        "requires_grad of a module", "trainable", "learning_rate"])
def test_what_would_run_and_mean_nothing_is_refused(call: Callable[[], Any]) -> None:
    with pytest.raises((TypeError, ValueError, AttributeError)) as caught:
        call()
    words = ["use Sigmoid", "pad the batch as well", "lie between 0 and 1",
             "requires_grad_(False)", "`optimizer.lr`"]
    assert any(word in str(caught.value) for word in words)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: nn.CrossEntropyLoss(tn.zeros((2, 3)), [0, 1]), r"nn\.CrossEntropyLoss\(\)\(outputs"),
    (lambda: nn.MSELoss(tn.zeros(3), tn.zeros(3)), r"nn\.MSELoss\(\)\(outputs"),
    (lambda: data.Compose(data.RandomHorizontalFlip(), data.RandomCrop(4)), "one list"),
    (lambda: OBJECTS["Trainer"]().evaluate(X, [0, 1]), r"DataLoader\(X, y"),
    (lambda: train.EarlyStopping(3, min_delta=0.1), "leave it out: any improvement counts"),
    (lambda: train.EarlyStopping(3, monitr="val_loss"), "did you mean monitor"),
    (lambda: optim.schedule.cosine(0.1, T_max=5), "call it T"),
    (lambda: optim.schedule.step_decay(0.1, step_size=5), "call it every"),
    (lambda: tn.norm(tn.zeros(3), p=2), "call it ord"),
    (lambda: data.DataLoader((X, np.array([0, 1])), batch_size=2), r"DataLoader\(X, y"),
    (lambda: data.shapes(20), r"a module, not a function: data\.load_shapes\(\)"),
    (lambda: data.cifar10(), r"a module, not a function: data\.load_cifar10\(\)"),
    (lambda: within(tn.no_grad), r"write `with tn\.no_grad\(\):`, with parentheses"),
    (lambda: tn.enable_grad(within), r"write `@tn\.enable_grad\(\)`, with parentheses"),
    (lambda: np.sum(tn.zeros(3)), r"x\.sum\(\)"),
    (lambda: F.cross_entropy(tn.zeros((2, 3)), [0, 1], ignore_index=-1), "leave it out: give"),
    (lambda: OBJECTS["Trainer"]().fit([], verbose=0), r"Trainer\(\.\.\., progress=False"),
    (lambda: train.Trainer(nn.Linear(2, 2), None, max_epochs=5), r"trainer\.fit\(loader, epochs"),
    (lambda: tn.summary(nn.Linear(2, 2), input_size=(2,)), "call it input_shape"),
    (lambda: OBJECTS["Trainer"]().fit([], callbacks=[]), "they belong to the trainer: train.Tr"),
    (lambda: OBJECTS["Trainer"]().fit([], batch_size=8), "it belongs to the loader: data.Data"),
    (lambda: models.small_conv_net(classes=3), "call it num_classes"),
    (lambda: models.net_s(n_classes=3, img_size=32), "call it num_classes"),
    (lambda: models.small_conv_net(img_size=32), "call it image_size"),
    (lambda: data.from_folder("pictures", image_size=32), "call it size"),
    (lambda: SET.split(test_size=0.2), "call it n"),
    (lambda: SET.split(0.2), r"n counts pictures, got 0.2: .* split\(round\(0.2 \* len"),
    (lambda: train.confusion_matrix([0], [0], class_names=["a"]), "call it classes"),
    (lambda: train.confusion_matrix(X - 1, [0, 1]), r"confusion_matrix\(labels, predictions\)"),
    (lambda: tn.tensor(X) // 2, r"write tn\.floor\(x / y\)"),  # type: ignore[operator]
    (lambda: 7 % tn.tensor(X), r"write x - y \* tn\.floor"),  # type: ignore[operator]
    (lambda: X % tn.tensor(X), r"write x - y \* tn\.floor"),
    (lambda: round(tn.tensor(X)), r"write tn\.floor\(x \+ 0\.5\)"),  # type: ignore[call-overload]
    (lambda: models.mlp(3, 4), r"mlp\(\[8, 16, 4\]"),
    (lambda: models.mlp([3, 4], activation="relu"), r"activation=nn\.ReLU"),
    (lambda: nn.Sequential(nn.ReLU())["0"], r"dict\(model\.named_children\(\)\)\['0'\]"),
])
def test_a_call_from_habit_names_the_line(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()


def test_losses_still_take_weights_of_classes() -> None:
    assert nn.CrossEntropyLoss(np.ones(3, "float32"), 0.1).label_smoothing == 0.1
    assert nn.NLLLoss(tn.ones(3)).weight is not None
    assert tn.summary(nn.Linear(2, 2), 2).parameters == 6


def test_an_argument_that_does_not_exist_says_what_to_do() -> None:
    with pytest.raises(TypeError, match="leave it out: TINYNET_BACKEND=cupy"):
        nn.Linear(2, 2, device="cuda")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"Linear\(\) has no argument 'qqqqq': it has in_features"):
        nn.Linear(2, 2, qqqqq=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"0 \(NumPy's\) is the default"):
        tn.tensor(X).std(unbiased=True)  # type: ignore[call-arg]


def test_every_answer_to_an_argument_is_a_name_or_a_sentence() -> None:
    for option, answer in TABLE["arguments"].items():
        names, _, sentence = answer.rpartition(" / ")
        if ":" not in sentence and option[0] != "(":
            names = f"{names} {sentence}"
        assert all(name.isidentifier() for name in names.split())


def test_size_is_a_number_and_answers_a_call() -> None:
    x = tn.zeros((2, 3))
    assert x.size == 6 and isinstance(x.size, int) and f"{x.size}" == "6"
    with pytest.raises(TypeError, match=r"write x\.shape\[0\]"):
        x.size(0)  # type: ignore[operator]
    with pytest.raises(TypeError, match=r"write x\.shape$"):
        x.size()  # type: ignore[operator]


def test_transpose_of_two_axes_is_not_taken_for_an_order() -> None:
    x = tn.tensor(X)
    for wrong in (lambda: x.transpose(0, 1), lambda: x[None].transpose(1, 2)):
        with pytest.raises(ValueError, match="swapaxes"):
            wrong()
    assert x.transpose(1, 0).shape == x.swapaxes(0, 1).shape == x.T.shape == (3, 2)
    assert x.permute(0, 1).shape == x.transpose((0, 1)).shape == (2, 3)


def test_the_table_is_read_when_a_name_is_missing_not_by_every_look_up() -> None:
    assert foreign.table() is TABLE


@pytest.mark.parametrize("name", ["SiLU", "ReLU", "ReLU6", "LeakyReLU", "ELU"])
def test_inplace_is_taken_and_changes_nothing(name: str) -> None:
    x = tn.tensor([-2.0, 1.0, 7.0])
    before = x.tolist()
    habit = getattr(nn, name)(inplace=True)
    assert habit(x).tolist() == getattr(nn, name)()(x).tolist()
    assert x.tolist() == before and repr(habit) == repr(getattr(nn, name)())


def test_every_activation_is_a_layer() -> None:
    from tinynet.functional import activation

    layers = {name.lower(): name for name in dir(nn)}
    x = tn.tensor([[1.0, -2.0]])
    found = [name for name, function in vars(F).items()
             if getattr(function, "__module__", "") == activation.__name__]
    for name in [*found, "sigmoid", "tanh"]:
        layer = getattr(nn, layers[name.replace("_", "")])()
        assert np.allclose(layer(x).numpy(), getattr(F, name)(x).numpy()), name
    assert len(found) >= 9


if __name__ == "__main__":
    sys.stdout.write(foreign.markdown() + os.linesep)
