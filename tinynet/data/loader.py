"""Batches of a set of pictures: shuffled, uploaded, augmented, and resumable in mid-epoch.

    order of epoch e = permutation(key(seed, "shuffle", e));    batch k = order[k B : (k + 1) B]

Everything about a batch follows from (seed, epoch, k), and the augmentation of a
picture from (seed, epoch, index), that of a whole batch (mixup) from (seed, epoch, k):
results do not depend on the batch size (for augmentation), on prefetching or on what
ran before, so the state of a loader is two numbers. A batch is one slice or one fancy
index of the array, and one upload for each array: nothing is looped over in Python.

Read next: `data/transform.py`.
"""

from __future__ import annotations

import contextlib
import copy
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from ..backend import Array, asarray, check_range, is_array, on_gpu, to_numpy, xp
from ..checks import check_call, check_labels, check_not_masked, check_whole
from ..random import check_seed, key, permutation
from .dataset import Dataset, digest
from .transform import Call

Batch = tuple[Array, Array]
BatchCall = Callable[[Array, Array, int], Batch]


class DataLoader:
    """Iterate over (images, labels) batches; one `for` loop is one epoch.

    images     (N, ...) array or memory map, any dtype; on the GPU already, it stays there
    labels     (N,) integers from 0 on, below `num_classes` if that is given; handed out as int64
    batch_size pictures in a batch; the last batch may be smaller, unless `drop_last`
    shuffle    a new order every epoch, from (seed, epoch)
    transform  called as transform(images, keys): images are the batch on the device, keys one
               64-bit number for each picture from (seed, epoch, index); with `augment=False` (for
               test sets) keys is None, and the transforms of `tinynet.data` draw nothing
    batch_transform  called last, as batch_transform(images, labels, key), with the key of (seed,
               epoch, batch number): `Mixup`, `CutMix`. With `augment=False` it is left out
    prefetch   how many batches a background thread prepares ahead; the results are the same

    A finished epoch moves `epoch` on. A pass that is left early starts again from its
    first batch.

    >>> loader = DataLoader(np.zeros((10, 3, 4, 4)), np.arange(10), batch_size=4)
    >>> [len(labels) for images, labels in loader], len(loader), loader.epoch
    ([4, 4, 2], 3, 1)
    """

    def __init__(self, images: Any, labels: Any = None, batch_size: int = 1, shuffle: bool = True,
                 seed: int = 0, drop_last: bool = False,
                 transform: Call | None = None,
                 prefetch: int = 0, num_classes: int | None = None, augment: bool = True,
                 batch_transform: BatchCall | None = None) -> None:
        if isinstance(images, Dataset):
            raise TypeError("DataLoader takes arrays: write DataLoader(dataset.images, "
                            "dataset.labels, batch_size)")
        if not hasattr(images, "shape"):
            kind = type(images).__name__
            raise TypeError(f"images must be an array, got {kind}: use np.stack")
        check_not_masked(images)
        if labels is None:
            raise TypeError("labels must be one integer for each picture, got None: "
                            "Trainer.predict takes pictures without labels")
        labels = np.asarray(to_numpy(labels))
        check_labels(labels, images)
        if len(images) == 0:
            raise ValueError("images must hold at least one picture, got none")
        self.batch_size = check_whole("batch_size", batch_size)
        self.prefetch = check_whole("prefetch", prefetch, 0)
        if drop_last and batch_size > len(images):
            raise ValueError(f"batch_size={batch_size} exceeds the {len(images)} "
                             "pictures, and drop_last=True leaves no batch: change one "
                             "of them")
        if transform is not None:
            check_call("transform", transform, "images", "keys")
        if batch_transform is not None:
            check_call("batch_transform", batch_transform, "images", "labels", "key")
            num_classes = num_classes or getattr(batch_transform, "num_classes", None)
        known = num_classes
        if known is None:
            known = int(labels.max()) + 1
        check_range("labels", labels, known, f"num_classes={num_classes}.")
        self.images = images
        self.labels = labels.astype(np.int64, copy=False)
        self.shuffle = shuffle
        self.seed = check_seed(seed)
        self.drop_last = drop_last
        self.transform = transform
        self.augment = augment
        self.batch_transform = batch_transform
        self._epoch = self._position = self._start = 0

    def in_order(self) -> DataLoader:
        """A loader of the same data for a test: in order, all, not augmented.

        >>> list(DataLoader(np.zeros((4, 2)), np.arange(4), 3, seed=5).in_order())[0][1]
        array([0, 1, 2])
        """
        plain = copy.copy(self)
        plain.shuffle = False
        plain.augment = False
        plain.drop_last = False
        plain.set_epoch(0)
        return plain

    def __len__(self) -> int:
        """Batches in an epoch."""
        whole, rest = divmod(len(self.images), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __repr__(self) -> str:
        return (f"DataLoader({len(self.images)} pictures, "
                f"batch_size={self.batch_size}, shuffle={self.shuffle}, "
                f"seed={self.seed}, transform={self.transform!r})")

    @property
    def epoch(self) -> int:
        """The number of the epoch that runs, or comes next."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """The next pass is this epoch, from its first batch."""
        if epoch < 0:
            raise ValueError(f"epoch must be 0 or more, got {epoch}")
        self._epoch = int(epoch)
        self._position = self._start = 0

    def get_state(self) -> dict[str, Any]:
        """Where it is: the epoch, the batches handed out, and its settings."""
        return {"epoch": self._epoch, "position": self._position, **self._settings()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """The next pass goes on after the batch where `get_state` was called."""
        for what, mine in self._settings().items():
            if state[what] != mine:
                raise ValueError("the state is of a loader with "
                                 f"{what}={state[what]!r}, this one has {mine!r}: make "
                                 "it with the same settings")
        position = check_whole("position, in the state of a loader,", state["position"], 0)
        if position > len(self):
            raise ValueError(f"the state of the loader is damaged: it stands at batch {position} "
                             f"of {len(self)}. Use another checkpoint")
        self.set_epoch(state["epoch"])
        self._position = self._start = position

    def digest(self) -> str:
        """The pictures and labels in 32 digits: see the function `digest`."""
        return digest(self.images, self.labels)

    def _settings(self) -> dict[str, Any]:
        return {"pictures": len(self.images), "batch_size": self.batch_size,
                "shuffle": self.shuffle, "seed": self.seed, "drop_last": self.drop_last}

    def __iter__(self) -> Iterator[Batch]:
        start = self._position = self._start
        self._start = 0
        return self._pass(self._epoch, start)

    def _pass(self, epoch: int, start: int) -> Iterator[Batch]:
        order = None
        if self.shuffle:
            order = to_numpy(permutation(key(self.seed, "shuffle", epoch), len(self.images)))
        with contextlib.closing(self._batches(epoch, order, start)) as batches:
            for k, batch in enumerate(batches, start):
                self._position = k + 1
                yield batch
        if self._epoch == epoch:  # unless set_epoch was called meanwhile
            self._epoch = epoch + 1
            self._position = 0

    def _batches(self, epoch: int, order: Any, start: int) -> Generator[Batch, None, None]:
        if not self.prefetch:
            for k in range(start, len(self)):
                yield self._batch(epoch, order, k)
            return
        waiting: deque[Future[Batch]] = deque()
        pool = ThreadPoolExecutor(1, thread_name_prefix="tinynet-loader")
        device = None
        if on_gpu:  # the current device is a thread's own
            device = xp.cuda.Device()
        try:
            for k in range(start, len(self)):
                try:
                    coming = pool.submit(self._batch, epoch, order, k, device)
                except RuntimeError:  # no thread can be started: then at once
                    coming = Future()
                    coming.set_result(self._batch(epoch, order, k))
                waiting.append(coming)
                if len(waiting) > self.prefetch:
                    yield waiting.popleft().result()  # raises what the thread did
            while waiting:
                yield waiting.popleft().result()
        finally:  # also when the loop over this pass is left early
            pool.shutdown(cancel_futures=True)

    def _batch(self, epoch: int, order: Any, k: int, device: Any = None) -> Batch:
        """Batch k of an epoch: a pure function of its arguments."""
        with device or contextlib.nullcontext():
            start = k * self.batch_size
            indices = np.arange(start, min(start + self.batch_size, len(self.images)))
            if order is not None:
                indices = order[indices]
            if on_gpu and is_array(self.images):
                images = self.images[asarray(indices)]
            elif order is None:  # a copy: writing into a batch must not change the data
                images = asarray(np.array(self.images[start : start + len(indices)]))
            else:
                images = asarray(np.asarray(self.images[indices]))
            labels = asarray(self.labels[indices])
            if self.transform is not None:
                keys = None
                if self.augment:
                    keys = key(self.seed, "picture", epoch, asarray(indices))
                images = self._transformed(images, keys)
                if getattr(images, "shape", ())[:1] != labels.shape:
                    found = getattr(images, "shape", type(images).__name__)
                    raise ValueError(f"transform must return the {len(labels)} "
                                     f"pictures it is given, but {self.transform!r} "
                                     f"returned {found}")
            if self.batch_transform is not None and self.augment:
                mine = key(self.seed, "batch", epoch, k)
                images, labels = self.batch_transform(images, labels, mine)
            return images, labels

    def _transformed(self, images: Array, keys: Array | None) -> Any:
        assert self.transform is not None
        try:
            return self.transform(images, keys)
        except Exception as error:
            if keys is None:
                error.add_note("the transform was called with keys=None, as in every "
                               "test: then it must leave out what is random")
            raise
