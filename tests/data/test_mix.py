"""Mixup and CutMix: the blend, the soft targets, their keys, and the training with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.arrays import close, equal, host
from tinynet import functional as F, nn, optim, random, tensor
from tinynet.backend import Array, asarray, xp
from tinynet.data import BatchTransform, CutMix, DataLoader, Mixup
from tinynet.train import Trainer, count_correct

MIXES = {"Mixup": Mixup(5, 0.4), "CutMix": CutMix(5)}
KEY = 1234


def batch(n: int = 32, dtype: str = "float64") -> tuple[Array, Array]:
    x = random.integers(5, 0, 256, (n, 3, 12, 16)).astype(dtype)
    return x, random.integers(6, 0, 5, (n,))


def parts(mix: BatchTransform, key: int, n: int) -> tuple[float, np.ndarray]:
    """(lam, partner) of a batch, read off targets of as many classes as pictures."""
    own = type(mix)(n, mix.alpha)
    _, targets = own(xp.zeros((n, 1, 12, 16)), xp.arange(n), key)
    targets = host(targets)
    others = targets - np.diag(np.diag(targets))
    return float(targets[0, 0]), others.argmax(axis=1)


def test_G5_pictures_and_labels_in_one_proportion() -> None:
    x, labels = batch()
    y, targets = Mixup(5, 1.0)(x, labels, KEY)
    lam, partner = parts(Mixup(5, 1.0), KEY, 32)
    assert 0.05 < lam < 0.95 and (partner != np.arange(32)).all()
    assert (np.sort(partner) == np.arange(32)).all()  # everyone once
    a, b = host(x), host(x)[partner]
    assert close(y, lam * a + (1 - lam) * b, rtol=1e-12)
    onehot = np.eye(5)[host(labels)]
    assert close(targets, lam * onehot + (1 - lam) * onehot[partner], rtol=1e-12)
    assert targets.dtype == np.float64
    half, soft = Mixup(5, 1.0)(x.astype("float32"), labels, KEY)
    assert half.dtype == np.float32 and soft.dtype == np.float32 and close(half, y, rtol=1e-5)
    whole, soft = Mixup(5, 1.0)(x.astype("uint8"), labels, KEY)
    assert whole.dtype == np.uint8 and soft.dtype == np.float32
    assert np.abs(host(whole) - host(y)).max() < 0.501


@pytest.mark.usefixtures("float64")
def test_G5_loss_of_mixed_labels_is_the_mix_of_losses() -> None:
    """CE(mixed) = lam CE(a) + (1 - lam) CE(b) to 1e-12."""
    x, labels = batch()
    for key in range(5):
        _, targets = Mixup(5, 1.0)(x, labels, key)
        lam, partner = parts(Mixup(5, 1.0), key, 32)
        logits = tensor(random.normal(key, (32, 5), std=3.0, dtype="float64"))
        mixed = F.cross_entropy(logits, targets).item()
        first = F.cross_entropy(logits, labels).item()
        second = F.cross_entropy(logits, labels[asarray(partner)]).item()
        assert abs(mixed - (lam * first + (1 - lam) * second)) < 1e-12


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_G5_lam_is_beta_distributed(alpha: float) -> None:
    """Mean 1/2, variance 1 / (4 (2 alpha + 1)): 2,000 batches, 4 standard errors."""
    n, mix = 2000, Mixup(2, alpha)
    x, labels = xp.zeros((2, 1, 1, 1)), xp.arange(2)
    lam = np.array([host(mix(x, labels, k)[1])[0, 0] for k in range(n)])
    variance = 1.0 / (4.0 * (2.0 * alpha + 1.0))
    assert abs(lam.mean() - 0.5) < 4.0 * math.sqrt(variance / lam.size)
    fourth = ((lam - 0.5) ** 4).mean()
    assert abs(lam.var() - variance) < 4.0 * math.sqrt((fourth - variance**2) / lam.size)


@pytest.mark.parametrize("name", MIXES)
@pytest.mark.parametrize("n", [1, 2, 7, 33])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_G5_odd_batches_and_batches_of_one_work_and_stay_unchanged(name: str, n: int, dtype: str
                                                                   ) -> None:
    x, labels = batch(n, dtype)
    before, marks = x.copy(), labels.copy()
    y, targets = MIXES[name](x, labels, KEY)
    assert y.shape == x.shape and y.dtype == x.dtype and targets.shape == (n, 5)
    assert close(targets.sum(axis=1), 1.0, rtol=1e-6)
    y += 1
    assert equal(x, before) and equal(labels, marks)
    if n == 1:
        assert equal(MIXES[name](x, labels, KEY)[0], x)


def test_G5_every_shift_but_none_is_equally_likely() -> None:
    shifts = [int(parts(Mixup(9, 1.0), key, 9)[1][0]) for key in range(2000)]
    counts = np.bincount(shifts, minlength=9)
    assert counts[0] == 0
    chi2 = ((counts[1:] - 250) ** 2 / 250).sum()
    assert abs(chi2 - 7) < 4.0 * math.sqrt(14.0)


def test_cutmix_puts_a_rectangle_of_another_picture_in_the_same_place() -> None:
    x, labels = batch()
    for key in range(20):
        y, targets = CutMix(5)(x, labels, key)
        lam, partner = parts(CutMix(5), key, 32)
        a, b, y = host(x), host(x)[partner], host(y)
        foreign = (y != a).any(axis=(0, 1))  # pixels
        height, width = foreign.any(axis=1).sum(), foreign.any(axis=0).sum()
        assert foreign.sum() == height * width
        assert (y == np.where(foreign, b, a)).all()
        assert 1.0 - lam == pytest.approx(foreign.mean(), abs=1e-12)
        onehot = np.eye(5)[host(labels)]
        assert close(targets, lam * onehot + (1 - lam) * onehot[partner], rtol=1e-12)


def test_cutmix_areas_and_places() -> None:
    """1 - lam, uniform for alpha = 1, is the area of the rectangle; its centre is anywhere."""
    n = 3000
    x = asarray(np.stack([np.zeros((1, 20, 20)), np.ones((1, 20, 20))]))
    mask = np.array([host(CutMix(2)(x, xp.arange(2), k)[0])[0, 0] for k in range(n)])
    area = mask.mean(axis=(1, 2))
    sides = (np.sqrt(np.linspace(0, 1, 400)) * 20).astype(int)
    covered = [np.mean([min(c - s // 2 + s, 20) - max(c - s // 2, 0) for c in range(20)]) / 20
               for s in sides]  # the mean over centres, of each length
    assert abs(area.mean() - np.mean(np.square(covered))) < 0.02
    heat = mask.mean(axis=0)
    assert np.abs(heat - heat[::-1, ::-1]).max() < 0.06  # the same from all sides
    assert heat[10, 10] > heat[0, 0]


@pytest.mark.parametrize("name", MIXES)
def test_p_is_the_probability_of_a_batch(name: str) -> None:
    x, labels = batch(8)
    kind = type(MIXES[name])
    never = kind(5, p=0.0)
    for key in range(10):
        y, targets = never(x, labels, key)
        assert y is x and equal(targets, np.eye(5)[host(labels)])
    n = 400
    same = np.mean([kind(5, p=0.3)(x, labels, key)[0] is x for key in range(n)])
    assert abs(same - 0.7) < 4.0 * math.sqrt(0.21 / n)


def test_mixed_labels_can_be_mixed_again() -> None:
    x, labels = batch()
    y, targets = CutMix(5)(*Mixup(5)(x, labels, 1), 2)
    assert y.shape == x.shape and close(targets.sum(axis=1), 1.0)


# In the loader

def loader(mix: Any, **options: Any) -> DataLoader:
    images = host(batch(50, "uint8")[0])
    options = {"batch_size": 8} | options
    return DataLoader(images, np.arange(50) % 5, batch_transform=mix, **options)


def seen(batches: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(host(x), host(t)) for x, t in batches]


def same(a: Any, b: Any) -> bool:
    return len(a) == len(b) and all((x == u).all() and (t == v).all()
                                    for (x, t), (u, v) in zip(a, b, strict=True))


@pytest.mark.parametrize("name", MIXES)
def test_G5_keyed_by_seed_epoch_and_batch_number(name: str) -> None:
    mix = MIXES[name]
    first = loader(mix, shuffle=False)
    epoch_0, epoch_1 = seen(first), seen(first)
    assert [t.shape for _, t in epoch_0] == [(8, 5)] * 6 + [(2, 5)]
    assert not same(epoch_0, epoch_1)
    assert same(seen(loader(mix, shuffle=False)), epoch_0)
    assert same(seen(loader(mix, shuffle=False, prefetch=3)), epoch_0)
    assert not same(seen(loader(mix, shuffle=False, seed=1)), epoch_0)
    weights = {tuple(np.unique(t.round(6))) for _, t in epoch_0}
    assert len(weights) > 4  # another lam in each batch


@pytest.mark.parametrize("prefetch", [0, 2])
def test_G5_resumed_in_mid_epoch_it_goes_on_bit_for_bit(prefetch: int) -> None:
    whole = seen(loader(MIXES["Mixup"]))
    first = loader(MIXES["Mixup"], prefetch=prefetch)
    batches = iter(first)
    done = [next(batches) for _ in range(3)]
    second = loader(MIXES["Mixup"], prefetch=prefetch)
    second.set_state(first.get_state())
    assert same(seen(done) + seen(second), whole)


def test_G5_at_test_time_the_original_pictures_and_labels() -> None:
    plain, test = loader(None, shuffle=False), loader(MIXES["Mixup"], shuffle=False, augment=False)
    assert same(seen(plain), seen(test))
    assert next(iter(test))[1].shape == (8,)


# In the trainer

def test_G5_accuracy_counts_lam_and_one_minus_lam() -> None:
    targets = asarray(np.array([[0.7, 0.3, 0.0], [0.0, 0.6, 0.4], [1.0, 0.0, 0.0]]))
    says = np.eye(3)
    assert float(count_correct(asarray(says[[0, 1, 0]]), targets)) == pytest.approx(2.3)
    assert float(count_correct(asarray(says[[1, 2, 0]]), targets)) == pytest.approx(1.7)
    assert float(count_correct(asarray(says[[2, 0, 1]]), targets)) == 0.0
    x, labels = batch(64)
    _, soft = Mixup(5, 1.0)(x, labels, 3)
    lam, partner = parts(Mixup(5, 1.0), 3, 64)
    scores = random.normal(8, (64, 5), dtype="float64")
    first = float(count_correct(scores, labels))
    second = float(count_correct(scores, labels[asarray(partner)]))
    assert float(count_correct(scores, soft)) == pytest.approx(lam * first + (1 - lam) * second)


def test_G5_training_accuracy_is_labelled_mixed(capsys: pytest.CaptureFixture[str]) -> None:
    def run(mix: Any) -> Any:
        images, labels = host(batch(64, "float32")[0]) / 255.0, np.arange(64) % 5
        model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 16, 5))
        trainer = Trainer(model, optim.SGD(model.named_parameters(), lr=0.01))
        batches = DataLoader(images, labels, 16, batch_transform=mix)
        check = DataLoader(images, labels, 16, batch_transform=mix, augment=False)
        return trainer.fit(batches, check, epochs=2)

    history = run(Mixup(5))
    assert "mixed_accuracy" in history and "train_accuracy" not in history.epochs
    assert all(0.0 < a < 1.0 for a in history["mixed_accuracy"])
    assert all(round(a * 64) == pytest.approx(a * 64) for a in history["val_accuracy"])  # unmixed
    assert "% (mixed labels)   val loss" in capsys.readouterr().out
    assert "mixed accuracy" in history.table()
    plain = run(None)
    assert "train_accuracy" in plain and "mixed_accuracy" not in plain
    assert "mixed" not in capsys.readouterr().out


X, LABELS = batch(4)


@pytest.mark.parametrize(("mistake", "error", "message"), [
    (lambda: Mixup(0), ValueError, "num_classes must be an integer of at least 1, got 0"),
    (lambda: Mixup(5, alpha=0.0), ValueError, "alpha must be positive, got 0.0"),
    (lambda: Mixup(5, alpha=math.nan), ValueError, "alpha must be positive, got nan"),
    (lambda: Mixup(5)(X, [0, 1, 2, 3], 0), ValueError, "labels must be an array .* 'list'"),
    (lambda: CutMix(5, p=1.5), ValueError, "p must be a probability between 0 and 1, got 1.5"),
    (lambda: Mixup(5)(X[0], LABELS, 0), ValueError, r"images must be \(N, C, H, W\)"),
    (lambda: Mixup(5)(X, LABELS[:3], 0), ValueError, r"class numbers \(4,\) or pro.*\(3,\)"),
    (lambda: loader(Mixup(4)), ValueError, r"labels must lie in 0\.\.3, got 4 at position 4"),
    (lambda: BatchTransform(5)(X, LABELS, 0), TypeError, "BatchTransform must define mix"),
])
def test_mistakes_are_named(mistake: Callable[[], Any], error: type[Exception], message: str
                            ) -> None:
    with pytest.raises(error, match=message):
        mistake()


def test_repr_shows_the_settings() -> None:
    assert repr(Mixup(10)) == "Mixup(num_classes=10, alpha=0.2, p=1.0)"
    assert repr(CutMix(10, 0.5, 0.3)) == "CutMix(num_classes=10, alpha=0.5, p=0.3)"
