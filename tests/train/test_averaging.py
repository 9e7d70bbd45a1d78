"""Averaged weights in nets with BatchNorm: the three treatments of its statistics (D5)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.train import toy
from tinynet import Tensor, backend, nn, to_numpy
from tinynet.optim import EMA, SGD, SWA
from tinynet.train import Trainer, WeightAveraging, averaged, recompute_batch_norm

Batches = list[tuple[Any, Any]]


def spirals(n: int, seed: int, size: int) -> Batches:
    """The course notes' three spiral arms, in batches."""
    rng = np.random.default_rng(seed)
    r, arm = rng.uniform(size=n), rng.integers(0, 3, n)
    angle = 4 * (arm + r) + 0.2 * rng.standard_normal(n)
    x = np.stack([r * np.sin(angle), r * np.cos(angle)], axis=1).astype("f4")
    return [(backend.asarray(x[i : i + size]), backend.asarray(arm[i : i + size]))
            for i in range(0, n, size)]


def deep_net() -> nn.Module:
    """Four hidden layers with BatchNorm: an error in one layer's statistics reaches the next."""
    layers: list[nn.Module] = []
    for width in (2, 32, 32, 32):
        layers += [nn.Linear(width, 32), nn.BatchNorm1d(32), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(32, 3))


def buffers(model: nn.Module) -> list[np.ndarray]:
    return [to_numpy(b.data).copy() for _, b in model.named_buffers()]


def statistics_error(model: nn.Module, batches: Batches) -> float:
    """The largest relative error of a layer's running statistics, against all data at once."""
    found = buffers(model)
    with averaged(model, SWA(model.named_parameters()),
                  [tn.concatenate([Tensor(x) for x, _ in batches])]):
        exact = buffers(model)
    return max(np.abs(f - e).max() / np.abs(e).max() for f, e in zip(found, exact, strict=True))


def treatments(seed: int, make: Any) -> dict[str, tuple[float, float]]:
    """(validation loss, error of the statistics) of the run's weights and of three averages."""
    train, val = spirals(600, seed, 50), spirals(1000, 100 + seed, 1000)
    tn.manual_seed(seed)
    model = deep_net()
    trainer = toy.trainer(model, lr=0.1, keep_best=False)
    weights = make(model.named_parameters())
    both = make(model.named_parameters() + model.named_buffers())
    every = "step" if isinstance(weights, EMA) else "epoch"
    for average in (weights, both):
        watcher = WeightAveraging(average, every=every, start=10)  # type: ignore[arg-type]
        watcher.on_end = lambda trainer: None  # type: ignore[method-assign]  # only watch
        trainer.callbacks.append(watcher)
    trainer.fit(train, epochs=30)
    found = {"run": (trainer.evaluate(val).loss, statistics_error(model, train))}
    for name, average, batches in (("keep", weights, None), ("average", both, None),
                                   ("recompute", weights, train)):
        with averaged(model, average, batches):
            found[name] = (trainer.evaluate(val).loss, statistics_error(model, train))
    return found


@pytest.mark.parametrize(("make", "worse"), [(SWA, 1.5), (lambda p: EMA(p, 0.98), 1.0)],
                         ids=["SWA", "EMA"])
def test_D5_recomputed_statistics_are_the_right_ones(make: Any, worse: float) -> None:
    runs = [treatments(seed, make) for seed in range(3)]
    loss, error = ({name: float(np.mean([run[name][i] for run in runs])) for name in runs[0]}
                   for i in (0, 1))
    print({name: (round(loss[name], 3), round(error[name], 3)) for name in loss})  # pytest -s
    assert all(run["recompute"][1] < 0.07 and run["recompute"][1] < run["keep"][1] for run in runs)
    assert error["recompute"] < 0.8 * error["average"] < 0.6 * error["keep"]
    assert loss["recompute"] < 1.05 * loss["average"] and worse * loss["recompute"] < loss["keep"]


def test_D5_the_average_of_the_variances_is_not_the_variance_of_the_average() -> None:
    """One unit whose weight was 1, then -1: the average 0 puts out a constant."""
    norm = nn.BatchNorm1d(1, affine=False, momentum=1.0)
    model = nn.Sequential(nn.Linear(1, 1, bias=False), norm)
    x = tn.tensor([[-1.0], [1.0], [-1.0], [1.0]])
    both = SWA(model.named_parameters() + model.named_buffers())
    for weight in (1.0, -1.0):
        model[0].weight.copy_(weight)
        model(x)
        both.update()
    with averaged(model, both):
        assert model[0].weight.item() == 0.0
        assert norm.running_var.item() == pytest.approx(4 / 3)  # unbiased: 4 values of variance 1
    with averaged(model, both, [x]):
        assert norm.running_var.item() == 0.0


@pytest.mark.parametrize("sizes", [[8, 8, 8], [16, 5, 3]])
def test_D5_recompute_is_the_mean_over_the_batches(sizes: list[int]) -> None:
    x, norm = tn.random.Generator(0).normal((24, 5)), nn.BatchNorm1d(5)
    parts = [Tensor(x[sum(sizes[:i]) : sum(sizes[: i + 1])]) for i in range(len(sizes))]
    norm(Tensor(3 * x + 7))  # a past that must be forgotten
    recompute_batch_norm(norm, parts)
    weights = np.array(sizes) / 24
    means = np.stack([to_numpy(p.data).mean(0) for p in parts])
    variances = np.stack([to_numpy(p.data).var(0, ddof=1) for p in parts])
    assert norm.running_mean.numpy() == pytest.approx(weights @ means, abs=1e-6)
    assert norm.running_var.numpy() == pytest.approx(weights @ variances, abs=1e-6)


def test_recompute_changes_nothing_but_the_statistics() -> None:
    model = nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.5), nn.BatchNorm1d(4, momentum=0.3))
    model.train()
    model[2].training = False  # a frozen layer stays frozen
    weight, state = model[0].weight.numpy().copy(), tn.random.get_state()
    batches = toy.batches(n=32)
    recompute_batch_norm(model, batches)
    first = buffers(model)
    recompute_batch_norm(model, batches)  # without dropout it is no matter of chance
    assert all((a == b).all() for a, b in zip(first, buffers(model), strict=True))
    assert tn.random.get_state() == state
    assert model.training and model[1].training and not model[2].training
    assert model[2].momentum == 0.3 and (model[0].weight.numpy() == weight).all()
    recompute_batch_norm(nn.Linear(2, 2), [])  # nothing to measure
    with pytest.raises(ValueError, match="got no batches"):
        recompute_batch_norm(model, iter(()))
    assert model[2].momentum == 0.3 and model[1].training


def test_averaged_gives_all_back_also_after_an_error() -> None:
    train = toy.batches()
    model = toy.net(norm=True)
    toy.trainer(model).fit(train)
    before = {name: a.copy() for name, a in model.state_dict().items()}
    swa = SWA(model.named_parameters())
    for p in model.parameters():
        p.copy_(p.data + 1)
    swa.update()
    for name, p in model.named_parameters():
        p.copy_(before[name])
    with pytest.raises(ZeroDivisionError), averaged(model, swa, train):
        inside = model.state_dict()
        raise ZeroDivisionError
    after = model.state_dict()
    assert all((inside[name] != before[name]).any() for name in before)
    assert all((after[name] == before[name]).all() for name in before)


@pytest.mark.parametrize(("every", "start", "updates"),
                         [("step", 1, 18), ("step", 3, 6), ("epoch", 1, 3), ("epoch", 2, 2)])
def test_D5_callback_leaves_the_average_in_the_model(every: Any, start: int, updates: int) -> None:
    train, model = toy.batches(), toy.net(norm=True)
    swa = SWA(model.named_parameters())
    callback = WeightAveraging(swa, every=every, start=start, batches=train)
    toy.trainer(model, callbacks=[callback]).fit(train, toy.batches(seed=1), epochs=3)
    assert swa.n == updates
    for name, p in model.named_parameters():
        assert (p.numpy() == to_numpy(swa.result()[name])).all()
    found = buffers(model)
    recompute_batch_norm(model, train)
    assert all((a == b).all() for a, b in zip(found, buffers(model), strict=True))


def test_callback_leaves_the_weights_alone_after_an_error_and_before_its_start() -> None:
    train, model = toy.batches(), toy.net()
    late = WeightAveraging(SWA(model.named_parameters()), every="epoch", start=9)
    plain = toy.net()
    toy.trainer(plain).fit(train, epochs=2)
    toy.trainer(model, callbacks=[late]).fit(train, epochs=2)
    assert (model[0].weight.numpy() == plain[0].weight.numpy()).all()
    ema = EMA(model.named_parameters())
    trainer = Trainer(model, SGD(model.named_parameters(), 1e30), progress=False,
                      keep_best=False, callbacks=[WeightAveraging(ema)])
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError):
        trainer.fit(train, epochs=2)
    assert ema.n and not np.isfinite(model[0].weight.numpy()).all()


@pytest.mark.parametrize(("options", "message"), [
    ({"every": "batch"}, "every must be 'step' or 'epoch', got 'batch'"),
    ({"start": 0}, "start must be an integer of at least 1, got 0")])
def test_wrong_settings_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WeightAveraging(SWA(toy.net().named_parameters()), **options)


def test_the_state_of_the_callback_is_the_average() -> None:
    model, other = toy.net(), toy.net(seed=1)
    first, second = (WeightAveraging(SWA(net.named_parameters())) for net in (model, other))
    toy.trainer(model, callbacks=[first]).fit(toy.batches())
    second.load_state_dict(first.state_dict())
    assert second.average.n == first.average.n == 6
    for name, a in first.average.averages.items():
        assert (to_numpy(second.average.averages[name]) == to_numpy(a)).all()
