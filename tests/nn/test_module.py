"""Modules: what they find inside themselves, their modes, their state, how they print."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.arrays import close, equal, host
from tinynet import nn
from tinynet.backend import asarray, xp
from tinynet.nn.module import parameter_dtype


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3), nn.ReLU(),
                         nn.Flatten(), nn.Linear(3 * 4 * 4, 2))


NAMES = ["0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var", "4.weight", "4.bias"]


class Bare(nn.Module):
    """No super().__init__(), and modules in lists, tuples and dicts."""

    def __init__(self) -> None:
        self.blocks = [nn.Linear(2, 3), (nn.Linear(3, 3), nn.ReLU())]
        self.heads = {"a": nn.Linear(3, 1), "b": nn.Linear(3, 2, bias=False)}
        self.scale = nn.Parameter([1.0, 2.0])
        self.seen = nn.Buffer(np.zeros((), "int64"))
        self.nothing, self.number, self.text = None, 3, "text"

    def forward(self, x: Any, head: str = "b") -> Any:
        first, (second, relu) = self.blocks
        y = self.heads[head](relu(second(first(x))))
        return y * self.scale if head == "b" else y


# Walking

def test_attributes_lists_tuples_and_dicts_are_walked_in_insertion_order() -> None:
    model = Bare()
    names = ["blocks.0.weight", "blocks.0.bias", "blocks.1.0.weight", "blocks.1.0.bias",
             "heads.a.weight", "heads.a.bias", "heads.b.weight", "scale"]
    assert [name for name, _ in model.named_parameters()] == names
    assert [name for name, _ in model.named_buffers()] == ["seen"]
    assert [name for name, _ in model.named_modules()] == [
        "", "blocks.0", "blocks.1.0", "blocks.1.1", "heads.a", "heads.b"]
    assert [name for name, _ in model.named_children()] == [
        "blocks.0", "blocks.1.0", "blocks.1.1", "heads.a", "heads.b"]
    assert model.children() == [module for _, module in model.named_modules()[1:]]
    assert [p.name for p in model.parameters()] == names
    assert model.num_parameters() == 6 + 3 + 9 + 3 + 3 + 1 + 6 + 2


def test_a_subclass_without_super_init_works() -> None:
    model = Bare()
    assert model.training and model(tn.ones((4, 2))).shape == (4, 2)
    assert model(tn.ones((4, 2)), head="a").shape == (4, 1)
    assert not model.eval().training and "training" not in vars(Bare())


def test_attributes_set_later_belong_to_the_module_and_deleted_ones_do_not() -> None:
    model = Bare()
    model.late = nn.Linear(1, 1)  # type: ignore[attr-defined]
    del model.blocks
    assert [name for name, _ in model.named_parameters()] == [
        "heads.a.weight", "heads.a.bias", "heads.b.weight", "scale", "late.weight", "late.bias"]


def test_shared_parameters_count_once_and_get_both_gradients() -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    model = nn.Sequential(first, second, first)
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    assert model.num_parameters() == 9 + 3 + 3
    assert list(model.state_dict()) == [  # as PyTorch: every name of a shared tensor
        "0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias"]
    x = tn.rand(2, 3)
    model(x).sum().backward()
    w, b, c = (t.data.astype("float64") for t in (first.weight, first.bias, second.bias))
    h1 = x.data @ w.T + b
    h2 = h1 @ w.T + c
    g = xp.ones((2, 3))
    expected = g.T @ h2 + (g @ w).T @ h1 + (g @ w @ w).T @ x.data
    assert close(first.weight.grad, expected, rtol=2e-5)
    twin = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3))
    twin[1].weight = twin[0].weight
    twin[2].weight, twin[2].bias = twin[0].weight, twin[0].bias
    twin.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(twin(x).numpy(), model(x).numpy())


def test_a_child_that_knows_its_parent_is_no_endless_loop() -> None:
    parent = Bare()
    parent.blocks[0].parent = parent  # type: ignore[attr-defined]
    assert len(parent.parameters()) == 8 and len(parent.state_dict()) == 9
    assert parent.eval().training is False
    assert "..." in repr(parent)


def test_names_are_stamped_and_a_walk_of_a_part_does_not_shorten_them() -> None:
    model = net()
    assert model[0].weight.name is None
    model.parameters()
    assert model[0].weight.name == "0.weight"
    model[0].parameters()
    assert model[0].weight.name == "0.weight"
    outer = nn.Sequential(nn.Identity(), model)
    outer.parameters()
    assert model[0].weight.name == "1.0.weight"
    moved = nn.Sequential(nn.Flatten(), model[0])
    moved.parameters()
    assert model[0].weight.name == "1.weight"


# Modes

def test_train_and_eval_reach_every_module_and_return_it() -> None:
    model = Bare()
    assert model.eval() is model
    assert not any(module.training for _, module in model.named_modules())
    assert model.train() is model
    assert all(module.training for _, module in model.named_modules())


def test_train_and_eval_ask_a_childs_own_train_also_of_one_that_knows_its_parent() -> None:
    asked: list[bool] = []

    class Frozen(nn.Linear):
        def train(self, mode: bool = True) -> Frozen:
            asked.append(mode)
            super().train(False)
            return self

    class Half(nn.Sequential):
        def train(self, mode: bool = True) -> Half:
            super().train(mode)
            self[0].eval()
            return self

    model = nn.Sequential(Half(nn.Linear(1, 1), nn.Linear(1, 1)), Frozen(1, 1))
    model[1].parent = model  # type: ignore[attr-defined]
    assert model.train() is model and asked == [True] and not model[1].training
    assert model.training and not model[0][0].training and model[0][1].training
    model.eval()
    assert asked == [True, False] and not model.training and not model[0][1].training


def test_requires_grad_freezes_and_thaws() -> None:
    model = net()
    assert model.requires_grad_(False) is model
    assert model.num_parameters(trainable_only=True) == 0 and model.num_parameters() == 158
    model[4].requires_grad_()
    assert model.num_parameters(trainable_only=True) == 98
    model(tn.ones((2, 2, 4, 4))).sum().backward()
    assert model[0].weight.grad is None and model[4].weight.grad is not None
    model.zero_grad()
    assert model[4].weight.grad is None


def test_apply_visits_all_in_order() -> None:
    kinds: list[str] = []
    model = net()
    assert model.apply(lambda module: kinds.append(type(module).__name__)) is model
    assert kinds == ["Sequential", "Conv2d", "BatchNorm2d", "ReLU", "Flatten", "Linear"]


def test_astype_converts_floats_only_and_keeps_the_objects() -> None:
    model = Bare()
    weight = model.blocks[0].weight  # type: ignore[attr-defined]
    assert model.double() is model
    assert {t.dtype for _, t in model.named_parameters()} == {np.dtype("float64")}
    assert model.seen.dtype == np.dtype("int64")
    assert model.blocks[0].weight is weight and weight.requires_grad  # type: ignore[attr-defined]
    model(tn.ones((1, 2), dtype="float64")).sum().backward()
    assert weight.grad.dtype == np.dtype("float64")
    assert parameter_dtype(model.float()) == np.dtype("float32")
    with pytest.raises(TypeError, match="astype needs a float type, got int64"):
        model.astype("int64")


def test_copies_and_pickles_are_independent() -> None:
    model = net()
    model.parameters()
    before = model.state_dict()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert isinstance(other[0].weight, nn.Parameter) and other[0].weight.requires_grad
        assert other[0].weight.name == "0.weight"
        nn.init.zeros_(other[0].weight)
        other(tn.ones((2, 2, 4, 4))).sum().backward()
        assert model[0].weight.grad is None
    for name, value in model.state_dict().items():
        assert equal(value, before[name])


# State

def test_state_has_pytorchs_names_and_shapes() -> None:
    state = net().state_dict()
    assert list(state) == NAMES
    assert [v.shape for v in state.values()] == [(3, 2, 3, 3), (3,), (3,), (3,), (3,), (2, 48),
                                                 (2,)]


def test_state_is_a_copy() -> None:
    model = net()
    state = model.state_dict()
    kept = {name: value.copy() for name, value in state.items()}
    for p in model.parameters():
        p.copy_(p.data + 1.0)
    model(tn.rand(4, 2, 4, 4))  # moves the running statistics
    for name, value in state.items():
        assert equal(value, kept[name])
        assert (model.state_dict()[name] != value).any()
    model.load_state_dict(state)
    state["0.weight"][...] = 0.0
    assert equal(model[0].weight, kept["0.weight"])


class Foreign:
    """Looks like a PyTorch tensor on a GPU: numpy() only after detach() and cpu()."""

    def __init__(self, values: Any, steps: tuple[str, ...] = ("detach", "cpu")) -> None:
        self.values, self.steps = values, steps

    def detach(self) -> Foreign:
        return Foreign(self.values, self.steps[1:])

    def cpu(self) -> Foreign:
        return Foreign(self.values, self.steps[1:])

    def numpy(self) -> Any:
        assert not self.steps
        return self.values


@pytest.mark.parametrize("wrap", [np.asarray, asarray, tn.tensor, Foreign, lambda a: a.tolist()])
def test_state_may_hold_arrays_tensors_and_lists(wrap: Any) -> None:
    model, other = net(), net()
    state = {name: wrap(host(value)) for name, value in model.double().state_dict().items()}
    state["1.num_batches_tracked"] = wrap(np.array(7))
    assert other.load_state_dict(state) == nn.Unmatched([], [])
    assert other[0].weight.dtype == np.dtype("float32")  # its own
    for name, value in other.state_dict().items():
        assert equal(value, model.state_dict()[name].astype("float32"))


def test_strict_loading_names_all_that_does_not_fit_and_writes_nothing() -> None:
    model = net()
    before = model.state_dict()
    state = {name: value + 1 for name, value in before.items()}
    del state["1.running_var"]
    state["5.weight"] = np.zeros(3)
    state["4.bias"] = np.zeros((2, 1))
    with pytest.raises(ValueError) as caught:
        model.load_state_dict(state)
    assert str(caught.value) == (
        "the state does not fit this Sequential\n"
        "  missing in the state: 1.running_var\n"
        "  unexpected in the state: 5.weight\n"
        "  of another shape: 4.bias is (2, 1) in the state, (2,) here")
    with pytest.raises(ValueError, match=r"of another shape: 4\.bias") as loose:
        model.load_state_dict(state, strict=False)
    assert "missing" not in str(loose.value)
    for name, value in model.state_dict().items():
        assert equal(value, before[name])
    del state["4.bias"]
    found = model.load_state_dict(state, strict=False)
    assert found == nn.Unmatched(["1.running_var", "4.bias"], ["5.weight"])
    assert equal(model[0].weight, before["0.weight"] + 1)


def test_state_must_hold_numbers() -> None:
    with pytest.raises(TypeError, match=r"0\.weight in the state is no array of numbers"):
        net().load_state_dict({"0.weight": "abc"})


def test_loading_tells_graphs_that_still_need_the_old_weights() -> None:
    model = net()
    loss = model(tn.rand(4, 2, 4, 4)).sum()
    model.load_state_dict(net().state_dict())
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


# Text

def test_repr_is_what_was_typed_to_make_it() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
                          nn.Sequential(nn.MaxPool2d(2), nn.Dropout(0.25)))
    assert repr(model) == """\
Sequential(
  (0): Conv2d(in_channels=3, out_channels=8, kernel_size=(3, 3), padding=(1, 1), bias=False)
  (1): BatchNorm2d(num_features=8)
  (2): ReLU()
  (3): Sequential(
    (0): MaxPool2d(kernel_size=(2, 2), stride=(2, 2))
    (1): Dropout(p=0.25)
  )
)"""
    assert repr(nn.Sequential()) == "Sequential()"


def test_parameters_and_buffers_print_as_what_they_are() -> None:
    assert repr(nn.Parameter([1.0, 2.0])) == "Parameter([1., 2.], requires_grad=True)"
    assert repr(nn.Parameter([[1.0], [2.0]], requires_grad=False)) == (
        "Parameter([[1.],\n           [2.]])")
    assert repr(nn.Buffer([[0.0], [2.0]])) == "Buffer([[0.],\n        [2.]])"


def test_results_of_operations_are_plain_tensors() -> None:
    p = nn.Parameter([1.0, 2.0])
    assert type(p * 2.0) is type(p.detach()) is tn.Tensor


def test_a_parameter_is_not_lost_to_something_else() -> None:
    layer = nn.Linear(2, 3)
    with pytest.raises(TypeError, match=r"Linear.weight is a Parameter .*\.weight\.copy_"):
        layer.weight = tn.zeros((3, 2))  # type: ignore[assignment]
    layer.weight = nn.Parameter(tn.zeros((3, 2)))
    layer.bias = None
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
