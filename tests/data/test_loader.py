"""DataLoader: keyed order, resumable, the same with and without prefetching."""

from __future__ import annotations

import gc
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinynet.backend import Array, is_array, to_numpy, xp
from tinynet.data import Compose, DataLoader, RandomCrop, RandomHorizontalFlip, load_shapes

N = 23
IMAGES = np.arange(N * 3 * 8 * 8, dtype=np.uint32).reshape(N, 3, 8, 8)  # all values differ
LABELS = np.arange(N) % 5
AUGMENT = Compose([RandomHorizontalFlip(), RandomCrop(8, padding=2)])


def loader(**options: Any) -> DataLoader:
    return DataLoader(IMAGES, LABELS, **({"batch_size": 4} | options))


def host(batches: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(to_numpy(x), to_numpy(y)) for x, y in batches]


def same(a: Any, b: Any) -> bool:
    a, b = host(a), host(b)
    return len(a) == len(b) and all(
        (x == u).all() and (y == v).all() for (x, y), (u, v) in zip(a, b, strict=True))


def seen(batches: Any) -> list[int]:
    """The numbers of the pictures, in the order in which they come."""
    return [int(i) for x, _ in host(batches) for i in x[:, 0, 0, 0] // (3 * 8 * 8)]


def test_an_epoch_is_every_picture_once_with_its_label() -> None:
    batches = loader()
    assert len(batches) == 6
    pairs = host(batches)
    assert [len(y) for _, y in pairs] == [4, 4, 4, 4, 4, 3]
    assert sorted(seen(pairs)) == list(range(N))
    for x, y in pairs:
        numbers = x[:, 0, 0, 0] // 192
        assert (x == IMAGES[numbers]).all() and (y == LABELS[numbers]).all()
        assert y.dtype == np.int64 and x.dtype == np.uint32
    x, y = next(iter(batches))
    assert is_array(x) and is_array(y)


def test_without_shuffling_the_order_is_that_of_the_data() -> None:
    assert seen(loader(shuffle=False)) == list(range(N))
    assert seen(loader(shuffle=False, drop_last=True)) == list(range(20))
    assert len(loader(drop_last=True)) == 5


def test_the_order_is_keyed_by_seed_and_epoch() -> None:
    batches = loader()
    first, second = seen(batches), seen(batches)
    assert batches.epoch == 2 and first != second
    assert [seen(loader()), seen(loader(batch_size=7))] == [first, first]  # nothing else counts
    assert seen(loader(seed=1)) not in (first, second)
    batches.set_epoch(1)
    assert seen(batches) == second
    orders = {tuple(seen(loader(seed=s))) for s in range(50)}
    assert len(orders) == 50


def test_every_place_is_equally_likely() -> None:
    """Mean place of each picture over 2,000 epochs: 11 +- 6.63 / sqrt(2000); 5 standard errors."""
    images, labels = np.arange(N).reshape(N, 1, 1, 1), np.zeros(N, int)
    batches = DataLoader(images, labels, batch_size=N)
    places = np.zeros(N)
    for _ in range(2000):
        ((x, _),) = host(batches)
        places[x.ravel()] += np.arange(N)
    error = 5.0 * np.sqrt((N * N - 1) / 12.0 / 2000.0)
    assert np.abs(places / 2000.0 - 11.0).max() < error


def test_F1_augmentation_is_keyed_by_seed_epoch_and_index() -> None:
    """The same picture in any batch size, order or thread; another in another epoch or seed."""

    def pictures(epoch: int = 0, transform: Any = AUGMENT, **options: Any) -> np.ndarray:
        batches = loader(transform=transform, **options)
        batches.set_epoch(epoch)
        out = np.empty_like(IMAGES)
        plain = loader(**options)
        plain.set_epoch(epoch)
        numbers = seen(plain)
        pairs = host(batches)
        out[numbers] = np.concatenate([x for x, _ in pairs])
        labels = np.concatenate([y for _, y in pairs])
        assert (labels == LABELS[numbers]).all()  # the label is kept
        x, y = pairs[0]
        assert x.dtype == IMAGES.dtype and x.shape == (len(y), 3, 8, 8)
        return out

    base = pictures()
    for options in ({}, {"batch_size": 9}, {"shuffle": False}, {"prefetch": 3},
                    {"drop_last": False, "batch_size": 1}):
        assert (pictures(**options) == base).all(), options
    for other in (pictures(epoch=1), pictures(seed=1)):
        changed = (other != base).reshape(N, -1).any(axis=1)
        assert changed.mean() > 0.8  # 2 x 25 different results: 1 in 50 may agree by chance


def test_augment_false_gives_the_pictures_as_they_are() -> None:
    assert same(loader(transform=AUGMENT, augment=False), loader())
    keys: list[Array | None] = []

    def spy(images: Array, key: Array | None) -> Array:
        keys.append(key)
        return images

    host(loader(transform=spy, augment=False, batch_size=N))
    host(loader(transform=spy, batch_size=N))
    assert keys[0] is None
    assert keys[1].shape == (N,) and keys[1].dtype == xp.uint64 and len(set(keys[1].tolist())) == N


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("at", [0, 1, 3, 6])
def test_resumed_in_mid_epoch_it_goes_on_bit_for_bit(prefetch: int, at: int) -> None:
    whole = loader(transform=AUGMENT, seed=3)
    host(whole)
    expected = host(whole) + host(whole)  # epochs 1 and 2

    first = loader(transform=AUGMENT, seed=3, prefetch=prefetch)
    first.set_epoch(1)
    batches, done = iter(first), []
    for _ in range(at):
        done.append(next(batches))
    state = first.get_state()
    assert (state["epoch"], state["position"]) == (1, at)

    second = loader(transform=AUGMENT, seed=3, prefetch=prefetch)
    second.set_state(state)
    assert second.get_state() == state
    assert same(done + list(second) + list(second), expected)


def test_a_state_of_other_settings_is_refused() -> None:
    state = loader().get_state()
    for options, what in (({"batch_size": 5}, "batch_size=4, this one has 5"),
                          ({"seed": 1}, "seed=0, this one has 1"),
                          ({"shuffle": False}, "shuffle=True, this one has False")):
        with pytest.raises(ValueError, match=what):
            loader(**options).set_state(state)


def test_a_pass_left_early_starts_again() -> None:
    batches = loader()
    first = host([next(iter(batches))])
    for k, _ in enumerate(batches):
        if k == 2:
            break
    assert batches.epoch == 0 and batches.get_state()["position"] == 3
    assert same(first, [next(iter(batches))])
    assert len(host(batches)) == 6 and batches.epoch == 1


@pytest.mark.parametrize("prefetch", [1, 2, 10])
def test_prefetching_changes_nothing(prefetch: int) -> None:
    plain, ahead = (loader(transform=AUGMENT, prefetch=p) for p in (0, prefetch))
    for _ in range(3):
        assert same(plain, ahead)
    assert ahead.epoch == 3


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("tinynet-loader")]


def test_prefetching_works_ahead_and_not_too_far() -> None:
    made: list[int] = []

    def count(images: Array, _: Array | None) -> Array:
        made.append(len(images))
        return images

    batches = iter(loader(transform=count, prefetch=2))
    next(batches)
    deadline = time.perf_counter() + 5.0
    while len(made) < 3 and time.perf_counter() < deadline:
        time.sleep(0.001)
    time.sleep(0.01)
    assert len(made) == 3  # the one handed out, and two ahead
    assert len(threads()) == 1
    del batches
    gc.collect()
    assert threads() == []


def test_the_thread_ends_with_the_pass_or_when_it_is_left() -> None:
    batches = loader(prefetch=2)
    host(batches)
    assert threads() == []
    for _ in batches:
        break
    gc.collect()
    assert threads() == []


@pytest.mark.parametrize("prefetch", [0, 1, 4])
def test_an_exception_of_a_transform_arrives_at_its_batch(prefetch: int) -> None:
    calls: list[int] = []

    def fails(images: Array, _: Array | None) -> Array:
        calls.append(len(calls))
        if len(calls) == 3:
            raise ZeroDivisionError("in the transform")
        return images

    batches = iter(loader(transform=fails, prefetch=prefetch))
    next(batches)
    next(batches)
    with pytest.raises(ZeroDivisionError, match="in the transform"):
        next(batches)
    assert threads() == []


def test_a_memory_map_stays_on_disk(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", IMAGES)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    for shuffle in (True, False):
        batches = DataLoader(mapped, LABELS, batch_size=4, shuffle=shuffle, prefetch=1)
        assert batches.images is mapped
        assert same(batches, loader(shuffle=shuffle))
        x, _ = next(iter(batches))
        assert type(x) is xp.ndarray and not isinstance(x, np.memmap)


def test_pictures_that_are_on_the_device_already() -> None:
    images = xp.asarray(IMAGES)
    for shuffle in (True, False):
        assert same(DataLoader(images, LABELS, batch_size=4, shuffle=shuffle),
                    loader(shuffle=shuffle))


@pytest.mark.parametrize("shuffle", [False, True])
def test_writing_into_a_batch_leaves_the_data_alone(shuffle: bool) -> None:
    images, labels = IMAGES.copy(), LABELS.copy()
    for x, y in DataLoader(images, labels, batch_size=4, shuffle=shuffle):
        x *= 0
        y *= 0
    assert (images == IMAGES).all() and (labels == LABELS).all()


def test_any_shape_of_samples() -> None:
    points = np.arange(20.0).reshape(10, 2)
    pairs = host(DataLoader(points, np.arange(10), batch_size=3))
    assert all((x == points[y]).all() and x.dtype == np.float64 for x, y in pairs)


GOOD = {"images": IMAGES, "labels": LABELS, "batch_size": 4}


@pytest.mark.parametrize(("options", "error", "message"), [
    ({"batch_size": 0}, ValueError, "batch_size must be an integer of at least 1, got 0"),
    ({"batch_size": 2.5}, ValueError, "batch_size must be an integer of at least 1, got 2.5"),
    ({"prefetch": -1}, ValueError, "prefetch must be an integer of at least 0, got -1"),
    ({"labels": None}, TypeError, "labels must be one integer for each picture, got None"),
    ({"labels": LABELS[:-1]}, ValueError, r"each picture, shape \(23,\), got \(22,\)"),
    ({"labels": np.eye(5)[LABELS].astype(int)}, ValueError, r"shape \(23,\), got \(23, 5\)"),
    ({"labels": LABELS > 2}, TypeError, "labels must be integers, got bool"),
    ({"labels": LABELS[:, None]}, ValueError, r"got \(23, 1\): labels\[:, 0\] of a column"),
    ({"labels": np.array(["cat"] * 23)}, TypeError, r"such as cat: .*return_inverse=True"),
    ({"labels": np.zeros((22, 2))}, ValueError, r"each of the 23 pictures, got shape \(22, 2\)"),
    ({"labels": np.zeros(23, int) - 1}, ValueError, r"in 0\.\.0, got -1 at position 0\.$"),
    ({"num_workers": -1}, ValueError, "num_workers must be an integer of at least 0, got -1"),
    ({"labels": LABELS - 1}, ValueError, r"labels must lie in 0\.\.3, got -1 at position 0"),
    ({"num_classes": 4}, ValueError, r"labels must lie in 0\.\.3, got 4 at position 4\. num_cl"),
    ({"images": [1, 2, 3]}, TypeError, "images must be an array, got list"),
    ({"images": IMAGES[:0], "labels": LABELS[:0]}, ValueError, "at least one picture"),
    ({"batch_size": 30, "drop_last": True}, ValueError, "batch_size=30 exceeds the 23 pictures"),
])
def test_mistakes_are_named(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        DataLoader(**(GOOD | options))
    with pytest.raises(ValueError, match="epoch must be 0 or more, got -1"):
        DataLoader(**GOOD).set_epoch(-1)


def test_loading_costs_little_more_than_indexing() -> None:
    """Within 3 times of a bare fancy index of each batch (it is about 1.2), best of 5;
    computing time, which other programs do not lengthen."""
    images = np.ones((10_000, 3, 32, 32), np.uint8)
    labels = np.zeros(10_000, np.int64)
    batches = DataLoader(images, labels, batch_size=128)
    order = np.argsort(np.sin(np.arange(10_000.0)))

    def best(work: Any) -> float:
        times = []
        for _ in range(5):
            start = time.process_time()
            work()
            times.append(time.process_time() - start)
        return min(times)

    def bare() -> None:
        for i in range(0, 10_000, 128):
            xp.asarray(images[order[i : i + 128]]), xp.asarray(labels[order[i : i + 128]])

    def loaded() -> None:
        for _ in batches:
            pass

    assert best(loaded) < 3.0 * best(bare) + 0.005


def test_a_dataset_is_its_pictures_and_labels() -> None:
    train, _ = load_shapes(train=10, test=10)
    batches = DataLoader(train, batch_size=4, transform=AUGMENT)
    assert batches.images is train.images and batches.num_classes == 10
    assert same(batches, DataLoader(train.images, train.labels, 4, transform=AUGMENT))
    assert DataLoader(train, 4).batch_size == 4  # PyTorch's order
    with pytest.raises(TypeError, match=r"a Dataset brings its labels: write DataLoader\(datas"):
        DataLoader(train, train.labels, batch_size=4)


@pytest.mark.parametrize("targets", [
    np.linspace(0, 1, N, dtype="float32"), np.linspace(0, 1, N)[:, None],
    np.eye(5, dtype=int)[LABELS] + np.eye(5, dtype=int)[0], np.ones((N, 3), bool),
    np.arange(N * 6).reshape(N, 2, 3)], ids=["floats", "column", "ones", "bools", "maps"])
def test_targets_are_handed_out_as_they_are(targets: Any) -> None:
    for x, y in DataLoader(IMAGES, targets, batch_size=4, transform=AUGMENT):
        assert y.dtype == targets.dtype and len(x) == len(y)
    found = host(DataLoader(IMAGES, targets, batch_size=4))
    assert all((y == targets[x[:, 0, 0, 0] // 192]).all() for x, y in found)


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_workers_change_nothing(num_workers: int) -> None:
    assert same(loader(transform=AUGMENT, num_workers=num_workers), loader(transform=AUGMENT))


@pytest.mark.parametrize("position", [-1, 1.5, 5, 10**30, "2", None], ids=repr)
def test_a_state_that_stands_nowhere_is_refused(position: Any) -> None:
    loader = DataLoader(np.zeros((8, 1, 2, 2), "uint8"), np.zeros(8, int), batch_size=2)
    state = loader.get_state() | {"position": position}
    with pytest.raises(ValueError, match=r"position, in the state|stands at batch"):
        loader.set_state(state)
    assert loader.get_state()["position"] == 0


def test_prefetching_goes_on_where_no_thread_can_be_started(
        monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    images = np.arange(32, dtype="uint8").reshape(8, 1, 2, 2)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    for prefetch in (0, 2):
        found = list(DataLoader(images, np.arange(8), batch_size=3, prefetch=prefetch, seed=1))
        labels = [to_numpy(y).tolist() for _, y in found]
        if prefetch == 0:
            expected = labels
        assert labels == expected
