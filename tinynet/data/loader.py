"""Batches of a data set: shuffled, read, augmented, and resumable in mid-epoch.

    order of epoch e = permutation(key(seed, "shuffle", e));    batch k = order[k B : (k + 1) B]

Everything about a batch follows from (seed, epoch, k), and the augmentation of a
picture from (seed, epoch, index), that of a whole batch (mixup) from (seed, epoch, k):
results do not depend on the batch size (for augmentation), on prefetching or on what
ran before, so the state of a loader is two numbers. A batch is one slice or one fancy
index of the array, and one upload for each array: nothing is looped over in Python. Of
a data set that hands out single samples (`samples.py`), threads read the next batches.

Read next: `data/samples.py`.
"""

from __future__ import annotations

import contextlib
import copy
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, HostArray, asarray, check_range, is_array, on_gpu, to_numpy, xp
from ..checks import (
    answering,
    check_call,
    check_labels,
    check_not_masked,
    check_whole,
    sample_word,
)
from ..random import check_seed, key, permutation, share_of_batch
from .dataset import Dataset, digest
from .lazy import LazyImages
from .mix import BatchTransform
from .samples import Samples, is_map_style
from .transform import Call, Place, Transform

Batch = tuple[Array, Array]
BatchCall = Callable[[Array, Array, int], Batch]

_MOST_WORKERS = 8  # threads, unless more are asked for: each holds a batch


class Part(NamedTuple):
    """Which rows of each batch a loader gives: those of one rank among several."""

    rank: int
    size: int
    world: Any = None  # a `train.World`, which shares more than the rows

    def of(self, total: int) -> slice:
        """The rows of a batch of `total`; the first ranks have one more of what is left."""
        each, more = divmod(total, self.size)
        start = self.rank * each + min(self.rank, more)
        return slice(start, start + each + (self.rank < more))


class DataLoader:
    """Iterate over (images, labels) batches; one `for` loop is one epoch.

    images     (N, ...) array or memory map, any dtype; on the GPU already, it stays
               there. Or a data set: a `Dataset`, or any object with len(d) and
               d[i] = (input, target), a list of such pairs too (`data/samples.py`)
    labels     (N,) integers from 0 on, below `num_classes` if that is given, handed out
               as int64; or targets (N, ...), handed out as they are: floats, of
               regression, say, and (N, k) of ones and zeros where a sample may have
               several labels. None for a data set
    batch_size samples in a batch; the last batch may be smaller, unless `drop_last`
    shuffle    a new order every epoch, from (seed, epoch)
    transform  called as transform(images, keys): images are the batch on the device,
               keys one 64-bit number for each picture from (seed, epoch, index); with
               `augment=False` (for test sets) keys is None, and the transforms of
               `tinynet.data` draw nothing
    batch_transform  called last, as batch_transform(images, labels, key), with the key
               of (seed, epoch, batch number): `Mixup`, `CutMix`. With `augment=False`
               it is left out
    prefetch   how many batches are prepared ahead of the one in hand; the results are
               the same. None: none of arrays, and two for each worker where samples are
               read one by one
    num_workers  threads that prepare batches, each a batch of its own. They call d[i]
               at the same time, so it must share nothing that changes (an open file, a
               generator); 1 is one thread, 0 none. None: one for arrays, else one for
               each core, at most 8

    A finished epoch moves `epoch` on. A pass that is left early starts again from its
    first batch. What d[i] draws at random is not keyed: draw in a `transform`.

    >>> loader = DataLoader(np.zeros((10, 3, 4, 4)), np.arange(10), batch_size=4)
    >>> [len(labels) for images, labels in loader], len(loader), loader.epoch
    ([4, 4, 2], 3, 1)
    >>> pairs = [([0.0, 1.0], 0.5), ([2.0, 3.0], 1.5)]
    >>> next(iter(DataLoader(pairs, batch_size=2, shuffle=False)))[1]
    array([0.5, 1.5], dtype=float32)
    """

    @answering
    def __init__(self, images: Any, labels: Any = None, batch_size: int = 1, shuffle: bool = True,
                 seed: int = 0, drop_last: bool = False,
                 transform: Call | None = None,
                 prefetch: int | None = None, num_classes: int | None = None,
                 augment: bool = True,
                 batch_transform: BatchCall | None = None,
                 num_workers: int | None = None) -> None:
        if hasattr(images, "iloc"):  # a table of pandas; its own d[i] is a column
            images = images.to_numpy()
        if isinstance(labels, int) and batch_size == 1 and _is_set(images):
            batch_size = labels  # DataLoader(dataset, 64), in PyTorch's order
            labels = None
        if labels is None and _is_two_arrays(images):
            raise TypeError("images and labels are two arguments: write DataLoader(X, y, "
                            "batch_size=64)")
        if transform is not None:
            check_call("transform", transform, "images", "keys")
        if batch_transform is not None:
            check_call("batch_transform", batch_transform, "images", "labels", "key")
            num_classes = num_classes or getattr(batch_transform, "num_classes", None)
        self._samples: Samples | None = None
        if isinstance(images, Dataset) and images.is_arrays and labels is None:
            num_classes = num_classes or len(images.classes)
            labels = images.labels
            images = images.images
        elif is_map_style(images) and labels is None:
            self._samples = Samples(images)
        if self._samples is None:
            check_arrays(images, labels)
            labels = targets(labels, images, num_classes)
        self.images = images
        self.labels = labels
        self.num_classes = num_classes
        self.batch_size = check_whole("batch_size", batch_size)
        self._set_workers(prefetch, num_workers)
        if drop_last and batch_size > len(images):
            raise ValueError(f"batch_size={batch_size} exceeds the {len(images)} "
                             f"{sample_word(images)}s, and drop_last=True leaves no "
                             "batch: change one of them")
        self.shuffle = shuffle
        self.seed = check_seed(seed)
        self.drop_last = drop_last
        self.transform = transform
        self.augment = augment
        self.batch_transform = batch_transform
        self.part: Part | None = None
        self._epoch = self._position = self._start = 0

    def shard(self, rank: Any, size: int | None = None) -> DataLoader:
        """Give only the rows of `rank` of `size` of each batch, and return the loader.

        `batch_size` is that of one rank, and becomes that of all: with 32 on each of 4
        ranks a batch has 128 samples, the same 128, augmented and mixed in the same way,
        that one process would take with ``batch_size=128``. What is left over is shared
        out as evenly as it can be. Instead of two numbers, a `train.World` will do;
        its batch norm and dropout then see to the whole batch while a loop over the
        loader runs.

        The state (`get_state`) tells of the whole batch, so a run goes on with another
        number of ranks: `set_state` takes over the size of the batch.

        >>> rows = [DataLoader(np.zeros((8, 1)), np.arange(8), 2, shuffle=False).shard(r, 2)
        ...         for r in range(2)]
        >>> [next(iter(loader))[1].tolist() for loader in rows]
        [[0, 1], [2, 3]]
        """
        world = None
        if size is None:
            world = rank
            rank = world.rank
            size = world.size
        size = check_whole("size", size)
        if check_whole("rank", rank, 0) >= size:
            raise ValueError(f"rank must be below size={size}, got {rank}")
        if self.part is not None:
            if (self.part.rank, self.part.size) != (rank, size):
                raise ValueError(f"this loader is rank {self.part.rank} of {self.part.size} "
                                 f"already, and cannot become {rank} of {size}: make another")
            return self
        self.batch_size *= size
        self.part = Part(rank, size, world)
        self._check_parts()
        return self

    def _check_parts(self) -> None:
        """ValueError where a batch has fewer samples than there are ranks."""
        assert self.part is not None
        size = self.part.size
        last = len(self.images) % self.batch_size
        if self.batch_size < size or (len(self) and not self.drop_last and 0 < last < size):
            few = min(last or size, self.batch_size)
            raise ValueError(f"a batch of {few} samples cannot be shared among {size} ranks: "
                             f"there are {len(self.images)} samples in batches of "
                             f"{self.batch_size}. Use drop_last=True, or another batch_size")

    def _set_workers(self, prefetch: int | None, num_workers: int | None) -> None:
        """The two numbers that decide who prepares batches, from what was given."""
        if num_workers is None:
            num_workers = int(bool(prefetch))
            one_by_one = self._samples is not None or isinstance(self.images, LazyImages)
            if one_by_one and prefetch != 0:
                num_workers = min(_MOST_WORKERS, os.cpu_count() or 1)
        self.num_workers = check_whole("num_workers", num_workers, 0)
        if prefetch is None:
            prefetch = 2 * self.num_workers
        self.prefetch = check_whole("prefetch", prefetch, 0)

    def in_order(self, rank: int = 0, size: int = 1) -> DataLoader:
        """A loader of the same data for a test: in order, all, not augmented.

        Of several ranks each gets its rows of every batch, of a small one perhaps none.

        >>> list(DataLoader(np.zeros((4, 2)), np.arange(4), 3, seed=5).in_order())[0][1]
        array([0, 1, 2])
        """
        plain = copy.copy(self)
        plain.shuffle = False
        plain.augment = False
        plain.drop_last = False
        if self.part is not None:
            plain.batch_size = max(1, self.batch_size // self.part.size)
        plain.part = None
        if size > 1:
            plain.batch_size *= size
            plain.part = Part(rank, size)
        plain.set_epoch(0)
        return plain

    def __len__(self) -> int:
        """Batches in an epoch."""
        whole, rest = divmod(len(self.images), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __repr__(self) -> str:
        return (f"DataLoader({len(self.images)} {sample_word(self.images)}s, "
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
        if self.part is not None:
            self.batch_size = check_whole("batch_size", state["batch_size"])
            self._check_parts()
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
        """The data in 32 digits: see the function `digest`, and `Samples.digest`."""
        if self._samples is not None:
            return self._samples.digest()
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
                with self._sharing(k):
                    yield batch
        if self._epoch == epoch:  # unless set_epoch was called meanwhile
            self._epoch = epoch + 1
            self._position = 0

    def _batches(self, epoch: int, order: Any, start: int) -> Generator[Batch, None, None]:
        if not self.prefetch or not self.num_workers or _streams_are_threads_own():
            for k in range(start, len(self)):
                yield self._batch(epoch, order, k)
            return
        waiting: deque[Future[tuple[Batch, Any]]] = deque()
        pool = ThreadPoolExecutor(self.num_workers, thread_name_prefix="tinynet-loader")
        place = None
        if on_gpu:  # the current device and stream are a thread's own
            place = (xp.cuda.Device(), xp.cuda.get_current_stream())
        try:
            for k in range(start, len(self)):
                try:
                    coming = pool.submit(self._ahead, epoch, order, k, place)
                except RuntimeError:  # no thread can be started: then at once
                    coming = Future()
                    coming.set_result((self._batch(epoch, order, k), None))
                waiting.append(coming)
                if len(waiting) > self.prefetch:
                    yield _arrived(waiting.popleft())
            while waiting:
                yield _arrived(waiting.popleft())
        finally:  # also when the loop over this pass is left early
            pool.shutdown(cancel_futures=True)

    def _ahead(self, epoch: int, order: Any, k: int, place: Any) -> tuple[Batch, Any]:
        """Batch k, made on a thread; on a GPU also the event after its last launch."""
        if place is None:
            return self._batch(epoch, order, k), None
        device, stream = place
        with device, stream:
            return self._batch(epoch, order, k), stream.record()

    def _rows(self, k: int) -> tuple[int, int]:
        """The first sample of batch k, and how many there are."""
        start = k * self.batch_size
        return start, min(self.batch_size, len(self.images) - start)

    def _sharing(self, k: int) -> contextlib.AbstractContextManager[None]:
        """In force while batch k is in hand: its rows are a part of a larger batch."""
        if self.part is None:
            return contextlib.nullcontext()
        _, total = self._rows(k)
        rows = self.part.of(total)
        share = self.part.world.sharing if self.part.world is not None else share_of_batch
        return share(rows.start, rows.stop - rows.start, total)

    def _batch(self, epoch: int, order: Any, k: int) -> Batch:
        """Batch k of an epoch, or its rows: a pure function of its arguments."""
        start, total = self._rows(k)
        indices = np.arange(start, start + total)
        if order is not None:
            indices = order[indices]
        mix = self.batch_transform if self.augment else None
        mine = key(self.seed, "batch", epoch, k)
        if self.part is not None and isinstance(mix, BatchTransform):
            return self._mixed_part(epoch, indices, self.part, mix, mine)
        rows = slice(None)
        if self.part is not None:
            rows = self.part.of(total)
        if mix is None:
            return self._prepared(epoch, indices[rows], order is None)
        # What another transform does with a batch is not known: it gets the whole.
        images, labels = mix(*self._prepared(epoch, indices, order is None), mine)
        return images[rows], labels[rows]

    def _mixed_part(self, epoch: int, indices: HostArray, part: Part, mix: BatchTransform,
                    mine: int) -> Batch:
        """The rows of a mixed batch: their partners are read as well, no others."""
        plan = mix.plan(len(indices), mine)
        partners = indices if plan is None else np.roll(indices, -plan.shift)
        rows = part.of(len(indices))
        both = np.concatenate([indices[rows], partners[rows]])
        return mix.of_share(*self._prepared(epoch, both, False), plan)

    def _prepared(self, epoch: int, indices: HostArray, in_order: bool) -> Batch:
        """The samples of these numbers, read and augmented."""
        images, labels = self._read(indices, in_order)
        if self.transform is not None and len(indices):
            images = self._transformed(images, epoch, asarray(indices))
            if getattr(images, "shape", ())[:1] != labels.shape[:1]:
                found = getattr(images, "shape", type(images).__name__)
                kind = sample_word(self.images)
                raise ValueError(f"transform must return the {len(labels)} {kind}s "
                                 f"it is given, but {self.transform!r} returned "
                                 f"{found}")
        return images, labels

    def _read(self, indices: HostArray, in_order: bool) -> Batch:
        """The samples of these numbers, on the device, as they are."""
        if self._samples is not None:
            images, labels = self._samples.read(indices)
            if self.num_classes is not None and labels.dtype.kind == "i":
                check_range("labels", labels, self.num_classes,
                            f"num_classes={self.num_classes}.")
            return asarray(images), asarray(labels)
        if isinstance(self.images, LazyImages):
            images = asarray(self.images[indices].pixels(1))  # the threads are ours
        elif on_gpu and is_array(self.images):
            images = self.images[asarray(indices)]
        elif in_order and len(indices):  # a copy: writing into a batch must not change the data
            images = asarray(np.array(self.images[indices[0] : indices[-1] + 1]))
        else:
            images = asarray(np.asarray(self.images[indices]))
        return images, asarray(self.labels[indices])

    def _transformed(self, images: Array, epoch: int, indices: Array) -> Any:
        assert self.transform is not None
        try:
            if not self.augment:
                return self.transform(images, None)
            keys = key(self.seed, "picture", epoch, indices)
            if isinstance(self.transform, Transform):
                place = Place(epoch, key(self.seed, "picture in every epoch", indices))
                return self.transform.at(place, images, keys)
            return self.transform(images, keys)
        except Exception as error:
            if not self.augment:
                error.add_note("the transform was called with keys=None, as in every "
                               "test: then it must leave out what is random")
            raise


def _is_two_arrays(images: Any) -> bool:
    """Whether it is (X, y), as many labels as samples, and not two samples."""
    if not isinstance(images, tuple) or len(images) != 2:
        return False
    lengths = {getattr(each, "shape", ())[:1] for each in images}
    return len(lengths) == 1 and lengths != {()}


def _is_set(images: Any) -> bool:
    """Whether these are pictures and labels in one object."""
    return isinstance(images, Dataset) or is_map_style(images)


def check_arrays(images: Any, labels: Any) -> None:
    """TypeError and ValueError for what is no array of samples with their labels."""
    if isinstance(images, Dataset):
        raise TypeError("a Dataset brings its labels: write DataLoader(dataset, "
                        "batch_size=...), or DataLoader(dataset.images, labels, ...)")
    if not hasattr(images, "shape"):
        kind = type(images).__name__
        raise TypeError(f"images must be an array, got {kind}: use np.stack of a list, "
                        "or give one data set, with len(d) and d[i]")
    check_not_masked(images)
    if labels is None:
        raise TypeError(f"labels must be one integer for each {sample_word(images)}, "
                        "got None: give class numbers or float targets "
                        "(Trainer.predict takes an array without them)")
    if len(images) == 0:
        raise ValueError(f"images must hold at least one {sample_word(images)}, got "
                         "none")


def targets(labels: Any, images: Any, num_classes: int | None) -> HostArray:
    """`labels`, checked: class numbers as int64, other targets as they are."""
    found: HostArray = np.asarray(to_numpy(labels))
    kind = found.dtype.kind
    if kind == "f" or (kind in "bui" and found.ndim > 1 and not _is_one_hot(found)):
        if found.shape[:1] != tuple(images.shape[:1]):
            raise ValueError(f"labels must be one for each of the {len(images)} "
                             f"{sample_word(images)}s, got shape {found.shape}")
        return found
    check_labels(found, images)
    known = num_classes
    hint = f"num_classes={num_classes}."
    if known is None:
        known = max(0, int(found.max())) + 1
        hint = ""
    check_range("labels", found, known, hint)
    return found.astype(np.int64, copy=False)


def _is_one_hot(labels: HostArray) -> bool:
    """Integers or bools (N, k) with a single 1 in each row, or a column (N, 1)."""
    if labels.ndim != 2:
        return False
    return labels.shape[1] == 1 or bool(((labels != 0).sum(axis=1) == 1).all())


def _streams_are_threads_own() -> bool:
    """Whether each thread has a default stream of its own (CuPy's option).

    Then no batch is made ahead: its memory, once free, goes back to the thread that made
    it, whose stream does not wait for the one that may still read it.
    """
    if not on_gpu:
        return False
    own: int = xp.cuda.runtime.streamPerThread
    return bool(xp.cuda.get_current_stream().ptr == own)


def _arrived(coming: Future[tuple[Batch, Any]]) -> Batch:
    """The batch, or what its thread raised; the current stream waits for it, the host not."""
    batch, done = coming.result()
    if done is not None:
        xp.cuda.get_current_stream().wait_event(done)
    return batch
