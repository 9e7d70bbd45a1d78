"""Data sets that hand out single samples: read by threads, stacked, keyed and resumable."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tinynet as tn
from tinynet import train
from tinynet.backend import is_array, to_numpy
from tinynet.data import (
    DataLoader,
    Dataset,
    RandomHorizontalFlip,
    from_arrays,
    load_shapes,
)

N = 23
IMAGES = np.arange(N * 3 * 8 * 8, dtype=np.uint32).reshape(N, 3, 8, 8)  # all values differ
LABELS = np.arange(N) % 5


class Mine:
    """`IMAGES` and `LABELS`, one by one; remembers who asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.threads: set[str] = set()

    def __len__(self) -> int:
        return N

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        self.asked.append(i)
        self.threads.add(threading.current_thread().name)
        return IMAGES[i], LABELS[i]


def host(batches: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(to_numpy(x), to_numpy(y)) for x, y in batches]


def same(a: Any, b: Any) -> bool:
    a, b = host(a), host(b)
    return len(a) == len(b) and all(
        (x == u).all() and (y == v).all() and (x.dtype, y.dtype) == (u.dtype, v.dtype)
        for (x, y), (u, v) in zip(a, b, strict=True))


@pytest.mark.parametrize("options", [
    {}, {"shuffle": False}, {"num_workers": 0}, {"num_workers": 3}, {"prefetch": 0},
    {"prefetch": 5, "num_workers": 2}, {"drop_last": True}, {"seed": 4}], ids=str)
def test_the_batches_are_those_of_the_arrays_bit_for_bit(options: dict[str, Any]) -> None:
    """Same order, same keys: how the samples are held and who reads them does not count."""
    options = options | {"transform": RandomHorizontalFlip()}
    arrays = {name: options[name] for name in options if name not in ("num_workers", "prefetch")}
    one_by_one = DataLoader(Mine(), batch_size=4, **options)
    at_once = DataLoader(IMAGES, LABELS, batch_size=4, **arrays)
    for _ in range(2):
        assert same(one_by_one, at_once)
    assert one_by_one.epoch == 2
    x, y = next(iter(one_by_one))
    assert is_array(x) and is_array(y)


@pytest.mark.parametrize("at", [0, 1, 3, 6])
def test_resumed_in_mid_epoch_it_goes_on_bit_for_bit(at: int) -> None:
    def make() -> DataLoader:
        return DataLoader(Mine(), batch_size=4, seed=3, transform=RandomHorizontalFlip())

    whole = host(make())
    first = make()
    batches = iter(first)
    done = [next(batches) for _ in range(at)]
    second = make()
    second.set_state(first.get_state())
    assert same(done + list(second), whole)


def test_threads_read_ahead_and_each_sample_once() -> None:
    data = Mine()
    batches = iter(DataLoader(data, batch_size=4, num_workers=2, prefetch=3))
    next(batches)
    deadline = time.perf_counter() + 120.0
    while len(data.asked) < 16 and time.perf_counter() < deadline:
        time.sleep(0.001)
    time.sleep(0.01)
    assert len(data.asked) == 16  # the batch handed out, and three ahead
    list(batches)
    assert sorted(data.asked) == list(range(N))
    assert {name.rpartition("_")[0] for name in data.threads} == {"tinynet-loader"}
    assert not [t for t in threading.enumerate() if t.name.startswith("tinynet-loader")]


def test_without_workers_the_caller_reads() -> None:
    for options in ({"num_workers": 0}, {"prefetch": 0}):
        data = Mine()
        list(DataLoader(data, batch_size=4, **options))
        assert data.threads == {threading.current_thread().name}


class Meets(Mine):
    """The first samples of the first four batches of two are read when all four are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.four = threading.Barrier(4, timeout=300)

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        reads_ahead = threading.current_thread().name.startswith("tinynet-loader")
        if reads_ahead and i in (0, 2, 4, 6):
            self.four.wait()
        return super().__getitem__(i)


def test_four_threads_read_at_the_same_time() -> None:
    """Where one waited for another, none would come to its end."""
    data = Meets()
    batches = list(DataLoader(data, batch_size=2, num_workers=4, shuffle=False))
    assert len(batches) >= 4 and not data.four.broken


def test_what_a_sample_may_be() -> None:
    grey = Image.new("L", (8, 6), 99)
    for picture in (grey, grey.convert("RGB"), grey.convert("P"), grey.convert("RGBA")):
        ((x, y),) = host(DataLoader([(picture, 1)] * 3, batch_size=3))
        assert x.shape == (3, 3, 6, 8) and x.dtype == np.uint8
        assert (x == 99).all() and y.tolist() == [1, 1, 1]
    for values, dtype in (([0.5, 1.0], "float32"), ([1, 2], "int64"),
                          (np.float64([1, 2]), "float64"), (tn.tensor([1.0, 2.0]), "float32")):
        ((x, y),) = host(DataLoader([(values, 0.5), (values, 1.5)], batch_size=2))
        assert x.dtype == dtype and x.shape == (2, 2)
        assert y.dtype == np.float32 and sorted(y) == [0.5, 1.5]
    ((_, y),) = host(DataLoader([([0.0], [1, 0, 1])] * 2, batch_size=2))
    assert y.tolist() == [[1, 0, 1]] * 2 and y.dtype == np.int64
    ((_, y),) = host(DataLoader([([0.0], np.uint8(3))] * 2, batch_size=2))
    assert y.dtype == np.int64


def test_pictures_of_files_are_decoded_in_the_threads(tmp_path: Path) -> None:
    for i in range(4):
        Image.new("RGB", (8, 6), (i, 0, 0)).save(tmp_path / f"{i}.png")

    class Files:
        def __len__(self) -> int:
            return 4

        def __getitem__(self, i: int) -> tuple[Any, int]:
            return Image.open(tmp_path / f"{i}.png"), i

    for x, y in host(DataLoader(Files(), batch_size=3)):
        assert (x[:, 0, 0, 0] == y).all()
    (tmp_path / "2.png").write_bytes((tmp_path / "2.png").read_bytes()[:40])
    with pytest.raises(OSError, match="cannot identify") as found:
        list(DataLoader(Files(), batch_size=3))
    assert "sample 2 of Files" in found.value.__notes__[0]


def test_a_table_of_pandas_is_its_numbers() -> None:
    class Table:  # what of a DataFrame is asked
        iloc = None
        shape = (6, 2)

        def to_numpy(self) -> Any:
            return np.arange(12.0).reshape(6, 2)

    ((x, y),) = host(DataLoader(Table(), np.arange(6), batch_size=6, shuffle=False))
    assert (x == Table().to_numpy()).all() and y.tolist() == list(range(6))


class Own(Dataset):
    """A class of the user's that derives from `Dataset`, as one would from PyTorch's."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.classes = ("even", "odd")
        self.images = "none"

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> tuple[Any, int]:
        return np.full((1, 4, 4), i, np.float32), i % 2


def test_a_class_may_derive_from_dataset() -> None:
    own = Own(10)
    assert repr(own) == "Own(10 samples)" and own.classes == ("even", "odd")
    training, validation = own.split(3, seed=1)
    numbers = [int(x[0, 0, 0]) for part in (training, validation) for x, _ in host(part)]
    assert sorted(numbers) == list(range(10)) and len(validation) == 3
    arrays = from_arrays(np.arange(10.0).reshape(10, 1, 1, 1), np.arange(10) % 2)
    held_out = arrays.split(3, seed=1)[1].images.ravel().tolist()
    assert numbers[7:] == held_out  # the same that would be held out of arrays
    assert [len(y) for _, y in DataLoader(training, batch_size=4)] == [4, 3]
    assert len(own.take(slice(4))) == 4
    with pytest.raises(TypeError, match=r"sample by sample: ask DataLoader\(dataset\)\.digest"):
        own.digest()


def test_a_dataset_of_arrays_gives_samples_too() -> None:
    pictures, _ = load_shapes(train=5, test=1)
    x, y = pictures[3]
    assert (x == pictures.images[3]).all() and y == pictures.labels[3] and isinstance(y, int)
    assert len([y for _, y in pictures]) == 5
    with pytest.raises(AttributeError, match="cannot assign"):  # it stays frozen
        pictures.name = "other"


def test_the_digest_is_of_some_samples() -> None:
    first = DataLoader(Mine(), batch_size=4).digest()
    assert first == DataLoader(Mine(), batch_size=5, seed=1).digest() and len(first) == 32
    others = [(x, y) for x, y in zip(IMAGES, LABELS, strict=True)]
    assert DataLoader(others).digest() == first
    others[0] = (IMAGES[0] + 1, LABELS[0])
    assert DataLoader(others).digest() != first


def test_a_trainer_learns_from_samples_and_predicts_in_their_order() -> None:
    points = np.random.default_rng(0).standard_normal((60, 4)).astype("float32")
    slope = np.array([1.0, -2.0, 0.5, 3.0], "float32")

    class Points:
        def __len__(self) -> int:
            return 60

        def __getitem__(self, i: int) -> tuple[Any, Any]:
            return points[i], (points[i] @ slope)[None]

    model = tn.nn.Linear(4, 1)
    trainer = train.Trainer(model, tn.optim.Adam(model.parameters(), lr=0.1),
                            tn.functional.mse_loss, metric=None, progress=False)
    loader = DataLoader(Points(), batch_size=10, seed=1)
    trainer.fit(loader, loader, epochs=40)
    assert trainer.evaluate(loader).loss < 1e-3
    assert np.abs(trainer.predict(loader)[:, 0] - points @ slope).max() < 0.1


P = np.zeros(3)


@pytest.mark.parametrize(("samples", "error", "message"), [
    ([(P, 1), (np.zeros(4), 1)], ValueError, r"the input of sample 1 is float64 of shape \(4,\)"),
    ([(P, 1), (P, 0.5)], ValueError, "the target of sample 1 is float32 .* of sample 0 int64"),
    ([P, P], TypeError, r"sample 0 of list must be \(input, target\), got ndarray"),
    ([(P, 1, 2)], TypeError, r"must be \(input, target\), got a tuple of 3"),
    ([(P, "cat")], TypeError, "the target of sample 0 of list must be numbers, got 'cat': num"),
    ([("cat", 1)], TypeError, "the input of sample 0 of list must hold numbers, got 'cat'"),
    ([(P, 3)], ValueError, r"labels must lie in 0\.\.2, got 3 at position 0\. num_classes=3\."),
    ([(np.ma.masked_equal(P, 0), 1)], TypeError, "mask"),
    ([], ValueError, "list must hold at least one sample, got none"),
    ({"a": 1}, TypeError, "must be an array, got dict: .* or give one data set"),
    (7, TypeError, "must be an array, got int: .* or give one data set"),
], ids=lambda value: None)
def test_mistakes_are_named(samples: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        list(DataLoader(samples, batch_size=2, shuffle=False, num_classes=3))
