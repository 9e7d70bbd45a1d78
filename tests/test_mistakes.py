"""Mistakes that beginners make. Each must end in an error that names the thing and the fix.

The table's last two columns are pieces of the message: what is wrong (with the value or shape that
the user wrote) and what to do about it. A silent success would be worse than a bad message: many
of these pass without a word in one well-known library or another, and train a wrong model or none.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import Tensor, data, functional as F, models, nn, optim, rules, train
from tinynet.backend import on_gpu

Mistake = Callable[[], Any]


def images(*shape: int) -> Tensor:
    return Tensor(tn.zeros(shape).data)


def weight(*shape: int) -> Tensor:
    return Tensor(tn.ones(shape).data, requires_grad=True)


def backward_twice() -> None:
    loss = (weight(3) ** 2).sum()
    loss.backward()
    loss.backward()


def step_between_forward_and_backward() -> None:
    w = weight(3)
    loss = (w * w).sum()
    w.copy_(w.data * 0.9)
    loss.backward()


def in_place_on_a_leaf() -> None:
    w = weight(3)
    w += 1.0


def step_without_gradients() -> None:
    model = nn.Linear(2, 2)
    F.cross_entropy(model(images(4, 2)), [0, 1, 0, 1])  # .backward() forgotten
    optim.SGD(model.named_parameters(), lr=0.1).step()


def state_with_another_name() -> None:
    state = nn.Linear(2, 2).state_dict()
    state["wieght"] = state.pop("weight")
    nn.Linear(2, 2).load_state_dict(state)


class Elsewhere:
    """A stand-in for a tensor of PyTorch: its dtype is none of NumPy's."""

    dtype = "torch.float32"
    shape = (2, 2)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.zeros((2, 2), "float32")


# name: (what the beginner writes, the error, what the message names, the fix it tells)
MISTAKES: dict[str, tuple[Mistake, type[Exception], str, str]] = {
    # losses and labels
    "target of another shape": (
        lambda: F.mse_loss(images(8, 1), np.zeros(8, "float32")), ValueError,
        "target has shape (8,), the output (8, 1)", "reshape the target to (8, 1)"),
    "label out of range": (
        lambda: F.cross_entropy(images(3, 10), np.array([1, 10, 2])), ValueError,
        "labels must lie in 0..9, got 10 at position 1", "10 classes, numbered from 0"),
    "float labels": (
        lambda: F.cross_entropy(images(3, 10), np.array([1.0, 2.0, 3.0])), TypeError,
        "must hold integer class labels, got float64", "convert them with .astype(int)"),
    "one-hot labels": (
        lambda: F.cross_entropy(images(3, 4), np.eye(3, 4, dtype=int)), ValueError,
        "got (3, 4)", "take target.argmax(axis=1)"),
    "a label for too few pictures": (
        lambda: F.cross_entropy(images(4, 10), np.array([1, 2, 3])), ValueError,
        "target must have shape (4,) for scores of shape (4, 10), got (3,)",
        "one label for each sample"),
    # autograd
    "backward twice": (
        backward_twice, RuntimeError, "freed by an earlier backward()", "retain_graph=True"),
    "backward of a vector": (
        lambda: (weight(3) * 2).backward(), RuntimeError,
        "needs a scalar, got shape (3,)", ".sum() or .mean()"),
    "backward without gradients": (
        lambda: images(3).sum().backward(), RuntimeError,
        "needs no gradient", "requires_grad=True"),
    "weights changed before backward": (
        step_between_forward_and_backward, RuntimeError,
        "a tensor of shape (3,) was changed in place", "compute the result anew"),
    "in place on a leaf": (
        in_place_on_a_leaf, RuntimeError, "+= on a leaf tensor", "inside tn.no_grad()"),
    "assignment to an element": (
        lambda: weight(3).__setitem__(0, 1.0), TypeError, "x[i] = v", "tn.where"),
    "gradients of integers": (
        lambda: Tensor(np.arange(3), requires_grad=True), TypeError,
        "only float tensors can require gradients, got int64", "x.astype('float32')"),
    "a tensor as a condition": (
        lambda: bool(images(3) > 0), ValueError, "truth of a tensor of shape (3,)", ".any()"),
    "item of a vector": (
        lambda: images(3).item(), ValueError, "size 1", ""),
    "NumPy function of a tensor": (
        lambda: np.exp(weight(3)), TypeError, "'Tensor' does not support ufuncs", ""),
    # layers
    "wrong number of channels": (
        lambda: nn.Conv2d(3, 8, 3)(images(2, 1, 8, 8)), ValueError,
        "x of shape (2, 1, 8, 8) has 1 channels", "takes 3"),
    "wrong number of features": (
        lambda: nn.Linear(4, 2)(images(5, 3)), ValueError, "(5, 3)", "4"),
    "no batch axis": (
        lambda: nn.Conv2d(3, 8, 3)(images(3, 8, 8)), ValueError,
        "must have shape (N, C, H, W), got (3, 8, 8)", "x[None]"),
    "no images in the batch": (
        lambda: nn.Conv2d(3, 8, 3)(images(0, 3, 8, 8)), ValueError,
        "x of shape (0, 3, 8, 8) holds no images", "leave empty batches out"),
    "PyTorch's name of an option": (
        lambda: weight(2, 3).sum(dim=0), TypeError, "unexpected keyword argument 'dim'",
        "call it axis"),
    "PyTorch's name of a method": (
        lambda: weight(2, 3).unsqueeze(0), AttributeError, "Tensor has no 'unsqueeze'",
        "here: `x[None]` or `tn.expand_dims(x, 0)`"),
    "PyTorch's name of an attribute": (
        lambda: weight(2, 3).dim(), AttributeError, "Tensor has no 'dim'", "here: `x.ndim`"),
    "a weight that is a plain tensor": (
        lambda: setattr(nn.ReLU(), "w", weight(3)), TypeError,
        "ReLU.w would be a plain tensor", "make it an nn.Parameter"),
    "a gradient of what was not used": (
        lambda: tn.grad(weight(2).sum(), [weight(3)]), RuntimeError,
        "does not depend on input 0", "allow_unused=True"),
    "a loss of one column": (
        lambda: F.cross_entropy(images(4, 1), np.zeros(4, int)), ValueError,
        "scores of shape (4, 1) have one column", "a number to be predicted takes mse_loss"),
    "a forward without return": (
        lambda: type("Net", (nn.Module,), {"forward": lambda self, x: None})()(images(2)),
        TypeError, "Net.forward returned None", "end it with `return y`"),
    "a tensor of another library": (
        lambda: nn.Linear(2, 2)(Elsewhere()), TypeError,
        "tensor of another library (torch.float32)", "tn.tensor(x)"),
    "a tensor of another library as a factor": (
        lambda: weight(2, 2) * Elsewhere(), TypeError,
        "multiply got a tests.test_mistakes.Elsewhere",
        "tn.tensor(x)"),
    "a primitive without derivative": (
        lambda: tn.primitive(lambda x: x ** 3)(weight(2)), TypeError,
        "takes a derivative for each argument", "@tn.primitive(lambda g, x:"),
    "a primitive with a derivative too few": (
        lambda: tn.primitive(lambda g, b: g * b)(lambda a, b: a * b)(weight(2), weight(2)),
        TypeError, "its option b", "one derivative more"),
    "a summary with the batch": (
        lambda: tn.summary(models.small_conv_net(), (1, 3, 32, 32)), ValueError,
        "without the batch: (3, 32, 32)", "got (1, 3, 32, 32)"),
    "a summary of an array": (
        lambda: tn.summary(models.mlp([4, 2]), np.zeros((8, 4))), TypeError,
        "must be the shape of one sample", "x.shape[1:] is (4,)"),
    "batch norm of one value": (
        lambda: nn.BatchNorm1d(4)(images(1, 4)), ValueError, "(1, 4)", "use a larger batch"),
    "pictures of bytes": (
        lambda: nn.Conv2d(3, 8, 3)(np.zeros((2, 3, 8, 8), "uint8")), TypeError,
        "the input is uint8, the weights are float32", "x.astype('float32') / 255"),
    "float64 into a float32 net": (
        lambda: nn.Linear(4, 2)(np.zeros((5, 4))), TypeError,
        "the input is float64, the weights are float32", "x.astype('float32')"),
    "a class instead of a layer": (
        lambda: nn.Sequential(nn.Linear(2, 2), nn.ReLU), TypeError,
        "item 1 is the class ReLU", "write ReLU()"),
    "a list of layers": (
        lambda: nn.Sequential([nn.Linear(2, 2)]), TypeError, "item 0 is a list", "*layers"),
    "percent for a probability": (
        lambda: nn.Dropout(50), ValueError, "got 50", "between 0 and 1"),
    "a misspelled option of a layer": (
        lambda: nn.Conv2d(3, 8, 3, pading=1), TypeError, "'pading'", ""),
    "a net without forward": (
        lambda: type("Net", (nn.Module,), {})()(images(1)), TypeError,
        "Net has no forward", "def forward(self, x)"),
    # optimizers
    "an optimizer without parameters": (
        lambda: optim.SGD([], lr=0.1), ValueError, "params is empty", "used up"),
    "a model instead of its parameters": (
        lambda: optim.SGD(nn.Linear(2, 2), lr=0.1), TypeError,
        "params is a Linear", ".named_parameters()"),
    "a negative learning rate": (
        lambda: optim.SGD([weight(2)], lr=-0.1), ValueError, "lr", "-0.1"),
    "a misspelled option of an optimizer": (
        lambda: optim.SGD([weight(2)], lr=0.1, momentun=0.9), TypeError, "'momentun'", ""),
    "step before backward": (
        step_without_gradients, RuntimeError, "no parameter has a gradient", "backward()"),
    # saved weights
    "a state with another name": (
        state_with_another_name, ValueError, "missing in the state: weight",
        "unexpected in the state: wieght"),
    "a state of another shape": (
        lambda: nn.Linear(2, 2).load_state_dict(nn.Linear(2, 3).state_dict()), ValueError,
        "weight is (3, 2) in the state, (2, 2) here", ""),
    "a file that is not there": (
        lambda: train.load_model("model.safetensor", nn.Linear(2, 2)), FileNotFoundError,
        "model.safetensor", ""),
    "a model that is smaller than the file's": (
        lambda: models.mlp([4, 2]).load_state_dict(models.mlp([4, 4, 2]).state_dict()),
        ValueError, "of another shape", ""),
    # data and training
    "labels for other pictures": (
        lambda: data.from_arrays(np.zeros((4, 3, 8, 8), "uint8"), np.zeros(5, int)), ValueError,
        "labels must be one number for each picture, shape (4,), got (5,)", ""),
    "channels last": (
        lambda: data.from_arrays(np.zeros((4, 8, 8, 3), "uint8"), np.zeros(4, int)), ValueError,
        "looks like (N, H, W, C)", "images.transpose(0, 3, 1, 2)"),
    "a folder of pictures that is not there": (
        lambda: data.from_folder("pictures/of/cats"), FileNotFoundError,
        "pictures/of/cats", "one subfolder of pictures for each class"),
    "training on no data": (
        lambda: train.Trainer(net := nn.Linear(2, 2), optim.SGD(net.parameters(), lr=0.1)).fit([]),
        ValueError, "train_loader has no batches", "at least one batch"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(name: str) -> None:
    mistake, error, thing, fix = MISTAKES[name]
    with pytest.raises(error) as caught:
        mistake()
    message = str(caught.value)
    assert thing in message and fix in message, message
    assert "\n    " not in message and len(message) < 500, "too long to be read"


def test_there_are_twenty() -> None:
    assert len(MISTAKES) >= 20


def test_an_error_inside_a_net_says_in_which_layer() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(100, 10))
    with pytest.raises(ValueError) as caught:
        model(images(2, 3, 8, 8))
    (note,) = caught.value.__notes__
    assert "in layer '2' (Linear(in_features=100, out_features=10" in note
    assert "float32 (2, 256)" in note


def test_numpy_arrays_do_not_slip_into_a_gpu_computation(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if CuPy were the backend: its `ndarray` is another type."""
    if not on_gpu:
        elsewhere = types.SimpleNamespace(ndarray=type("ndarray", (), {}))
        monkeypatch.setattr(rules, "xp", elsewhere)
        monkeypatch.setattr(rules, "CONSTANTS", frozenset((float, int, bool)))
    with pytest.raises(TypeError, match=re.escape(
            "add mixes a CuPy tensor with a NumPy array of shape (3,): upload it with "
            "tn.tensor(array)")):
        rules.as_operand(np.ones(3), "add")


def test_an_unknown_backend_lists_the_valid_ones(run_python: Callable[..., Any]) -> None:
    result = run_python("-c", "import tinynet", env={"TINYNET_BACKEND": "torch"})
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == \
        "ValueError: TINYNET_BACKEND='torch': choose one of numpy, cupy."


def test_a_missing_data_folder_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TINYNET_DATA", str(tmp_path / "cifar"))
    with pytest.raises(FileNotFoundError, match=r"TINYNET_DATA=.*cifar is no folder: set it to"):
        data.load_cifar10(download=False)
    with pytest.raises(FileNotFoundError, match=r"CIFAR-10 is not in .* yet\. By hand: fetch"):
        data.load_cifar10(tmp_path, download=False)
