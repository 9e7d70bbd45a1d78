r"""Training on many machines: every rank takes its rows of each batch, gradients are averaged.

    mpiexec -n 4 python -m mpi4py train.py       # the same script alone is one rank

    Trainer(model, optimizer, parallel=True).fit(DataLoader(x, y, batch_size=32), epochs=10)

    g = sum_r (n_r / N) g_r        N = sum_r n_r, the samples of the whole batch

Everything else is found: the rank, its rows, who prints and writes files (rank 0), how
many workers each rank of a machine may use, what to do when one rank fails. P ranks
compute what one process computes with the P-fold batch, to rounding: batch norm takes
its statistics over all ranks, noise layers cut their masks from that of the whole
batch, and pictures are shuffled, augmented and mixed by the same keys.

A loop of one's own needs three lines:

    world = tn.distributed.World()
    loader.shard(world)
    world.average_gradients(model)               # between backward() and optimizer.step()

Messages go through mpi4py (``pip install "tinynet[mpi]"``). Gradients wait for the end
of backward: a message takes well under a hundredth of a step (`bench/ranks.py`).

Read next: `train/history.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol, TypeVar

import numpy as np

from ..backend import Array, accumulator, asarray, on_gpu, to_numpy, xp
from ..checks import check_choice
from ..kernels.threads import get_num_workers, set_num_workers
from ..nn.module import Module
from ..random import current_share, share_of_batch
from ..tensor import Tensor

T = TypeVar("T")

BUCKET = 4 << 20  # bytes of gradients in one message
LAST_WORDS = 1.0  # seconds for the launcher to print an error before it ends all processes

# What launchers tell the processes that they start: how many there are. Slurm's comes last:
# where srun starts another launcher, it counts those.
_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")


class Messages(Protocol):
    """What a `World` asks of a communicator; `MPI` is one, tests have another."""

    rank: int
    size: int
    local_size: int  # ranks on this machine

    def add(self, a: Array) -> None:
        """Replace `a`, in one piece, by the sum of all ranks' arrays, the same on each."""

    def every(self, thing: Any) -> list[Any]:
        """The things of all ranks, in their order."""

    def abort(self) -> None:
        """End the processes of all ranks."""


class Alone:
    """One rank, which talks to nobody."""

    rank = 0
    size = 1
    local_size = 1

    def add(self, a: Array) -> None:
        """The sum of one."""

    def every(self, thing: Any) -> list[Any]:
        """A list of one."""
        return [thing]

    def abort(self) -> None:
        """Nobody else is there to be ended."""


class Gone:
    """The messages of a rank whose run has failed: no other rank answers any more."""

    def __init__(self, messages: Messages) -> None:
        self.rank = messages.rank
        self.size = messages.size
        self.local_size = messages.local_size
        self.abort = messages.abort

    def add(self, a: Array) -> None:
        """RuntimeError."""
        self.every(a)

    def every(self, thing: Any) -> list[Any]:
        """RuntimeError."""
        raise RuntimeError(f"the run has failed on rank {self.rank}, so the other ranks do not "
                           "answer: leave this out of on_end where history.stopped is \"error\"")


class MPI:
    """The ranks of ``mpiexec``, by mpi4py."""

    def __init__(self, communicator: Any = None) -> None:
        from mpi4py import MPI as mpi

        self.comm = mpi.COMM_WORLD if communicator is None else communicator
        self.rank = int(self.comm.rank)
        self.size = int(self.comm.size)
        self.local_size = int(self.comm.Split_type(mpi.COMM_TYPE_SHARED).size)
        self._in_place = mpi.IN_PLACE
        self._sum = mpi.SUM

    def add(self, a: Array) -> None:
        """All-reduce in place; an array on a GPU goes by way of the host."""
        host = to_numpy(a)
        self.comm.Allreduce(self._in_place, host, self._sum)
        if host is not a:
            a[...] = asarray(host)

    def every(self, thing: Any) -> list[Any]:
        """All-gather of any object."""
        return list(self.comm.allgather(thing))

    def abort(self) -> None:
        """MPI's own way: also ranks that wait for a message end."""
        self.comm.Abort(1)
        os._exit(1)  # MPICH may return before the launcher ends this process


class NCCL(MPI):
    """Ranks with a GPU each: arrays go from GPU to GPU, all else by MPI."""

    def __init__(self, nccl: Any, communicator: Any = None) -> None:
        super().__init__(communicator)
        self.types = {"f": nccl.NCCL_FLOAT32, "d": nccl.NCCL_FLOAT64}
        self.op = nccl.NCCL_SUM
        name = nccl.get_unique_id() if self.rank == 0 else None
        self.nccl = nccl.NcclCommunicator(self.size, self.every(name)[0], self.rank)

    def add(self, a: Array) -> None:
        """All-reduce in place, behind what the stream has still to do; nobody waits."""
        if isinstance(a, np.ndarray):
            super().add(a)
            return
        place = a.data.ptr
        stream = xp.cuda.get_current_stream().ptr
        self.nccl.allReduce(place, place, a.size, self.types[a.dtype.char], self.op, stream)


def _messages() -> Messages:
    """MPI where mpiexec has started several ranks, else one rank alone."""
    told = [os.environ[name] for name in _SIZES if os.environ.get(name, "").isdigit()]
    size = int(told[0]) if told else 1
    try:
        import mpi4py  # noqa: F401  (it starts MPI when its MPI is imported)
    except ImportError as error:
        if size > 1:
            raise ImportError(
                f"mpiexec has started {size} processes, and mpi4py is not installed, so "
                'they cannot work together: python -m pip install "tinynet[mpi]"') from error
        return Alone()
    if size == 1:
        return Alone()
    nccl = getattr(xp.cuda, "nccl", None) if on_gpu else None
    found = NCCL(nccl) if nccl is not None and nccl.available else MPI()
    if found.size != size:
        raise RuntimeError(f"mpiexec has started {size} processes, and mpi4py sees "
                           f"{found.size}: this mpiexec is of another MPI than mpi4py's. "
                           "Use the one that was installed beside it")
    return found


class World:
    """The ranks of this run: `rank` of `size`; alone without mpiexec: rank 0 of 1.

    messages    the communicator (default: MPI's, if mpiexec has started several ranks)
    batch_norm  "global": statistics over the whole batch; "local": over a rank's own
                rows, two messages a layer less, and another net than one process trains

    Making one divides the workers among the ranks of a machine, and sees to it that an
    error on one rank ends all of them.
    """

    def __init__(self, messages: Messages | None = None, *, batch_norm: str = "global") -> None:
        self.batch_norm = check_choice("batch_norm", batch_norm, ("global", "local"))
        self.found = messages is None  # whether it depends on how the program was started
        self.messages = _messages() if messages is None else messages
        self.rank = self.messages.rank
        self.size = self.messages.size
        if self.size > 1:
            _divide_workers(self.messages.local_size)
            if isinstance(self.messages, MPI):
                _end_all_on_error(self.messages)

    def __repr__(self) -> str:
        return f"World(rank {self.rank} of {self.size}, batch_norm={self.batch_norm!r})"

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which prints and writes files."""
        return self.rank == 0

    def total(self, x: Array) -> Array:
        """The sum of `x` over the ranks, the same bits on each."""
        if self.size == 1:
            return x
        flat = xp.array(x, order="C")  # a copy of its own
        self.messages.add(flat)
        return flat

    def every(self, thing: Any) -> list[Any]:
        """The `thing` of each rank, in their order."""
        return self.messages.every(thing)

    def of_first(self, find: Callable[[], T]) -> T:
        """What `find` returns on rank 0, to all; an error there is raised everywhere."""
        found: Any = None
        error: Exception | None = None
        if self.is_first:
            try:
                found = find()
            except Exception as problem:
                error = problem
        found, error = self.every((found, error))[0]
        if error is not None:
            raise error
        return found  # type: ignore[no-any-return]

    def first_to(self, work: Callable[[], T]) -> T:
        """`work`, by rank 0 and then by the others: what is downloaded is there by then."""
        found: Any = None

        def of_rank_0() -> None:
            nonlocal found
            found = work()

        self.of_first(of_rank_0)
        return found if self.is_first else work()

    def sharing(self, offset: int, rows: int, total: int) -> AbstractContextManager[None]:
        """In force while rows offset .. offset + rows of a batch of `total` are in hand.

        The loader enters it; noise layers, class weights and batch norm then see the
        whole batch.
        """
        return share_of_batch(offset, rows, total, self if self.size > 1 else None)

    @property
    def weight(self) -> float:
        """The weight of this rank's mean loss in the batch in hand: n_r P / N."""
        share = current_share()
        if share is None:
            return 1.0
        return (share.chunk_of or share.rows) * self.size / share.total

    def average_gradients(self, model: Module, numbers: Sequence[Any] = ()) -> list[float]:
        """Every gradient becomes the mean over the ranks, each with its `weight`.

        A parameter without a gradient on some ranks counts as 0 there (a block that
        was dropped); one that has none on any rank keeps none. Returns the sums of
        `numbers` over the ranks, which travel in the first message.
        """
        if self.size == 1:
            return [float(number) for number in numbers]
        own = [float(number) for number in numbers]
        parameters = [p for p in model.parameters() if p.requires_grad]
        present = [float(p.grad is not None) for p in parameters]
        head = np.concatenate([present, own])
        self.messages.add(head)
        ranks_with_one = head[: len(parameters)]
        wanted = [p for p, n in zip(parameters, ranks_with_one, strict=True) if n]
        for bucket in _buckets(wanted):
            self._average(bucket)
        return list(head[len(parameters):])

    def _average(self, parameters: Sequence[Tensor]) -> None:
        """One message; float16 travels, and is added, in float32."""
        dtype = accumulator(parameters[0].dtype)
        flat = xp.concatenate([_flat_gradient(p) for p in parameters]).astype(dtype, copy=False)
        flat *= self.weight / self.size
        self.messages.add(flat)
        start = 0
        for p in parameters:
            part = flat[start : start + p.size].reshape(p.shape)
            p.grad = Tensor(part.astype(p.dtype, copy=False))
            start += p.size

    def of_batch(self, model: Module, loss: Array, correct: Any, most: int, size: int
                 ) -> tuple[float, float | None, int, int]:
        """Average the gradients; then the mean loss, right answers, the most that could be
        right, and the size, of the whole batch. `correct` is None where nothing is counted.
        """
        numbers = [float(loss) * size, 0.0 if correct is None else correct, most, size]
        loss_sum, right, top, total = self.average_gradients(model, numbers)
        whole = None if correct is None else right
        return loss_sum / total, whole, round(top), round(total)

    def agreed(self, why: str) -> str:
        """Why the run stops, if any rank wants to; the first one's reason."""
        if self.size == 1:
            return why
        return next(filter(None, self.every(why)), "")

    def sums(self, numbers: Sequence[Any]) -> list[float]:
        """The sums of these numbers over the ranks."""
        own = np.array([float(number) for number in numbers])
        self.messages.add(own)
        return list(own)

    def check_alike(self, facts: Callable[[], Mapping[str, str]]) -> None:
        """ValueError that names the ranks whose facts are not those of rank 0."""
        if self.size == 1:
            return
        all_facts = self.every(dict(facts()))
        lines = []
        for rank, theirs in enumerate(all_facts):
            for name in sorted(all_facts[0].keys() | theirs.keys()):
                here = all_facts[0].get(name, "none")
                there = theirs.get(name, "none")
                if here != there:
                    lines.append(f"rank {rank} has another {name}: {there}, rank 0: {here}")
        if lines:
            raise ValueError("the ranks do not begin alike, so they would not train one "
                             "model: make model, optimizer and loader with the same "
                             "seed and settings on each\n  " + "\n  ".join(lines[:20]))

    @contextlib.contextmanager
    def ending(self, failed: BaseException | None) -> Iterator[None]:
        """What is done inside cannot wait for ranks that know nothing of this one's error."""
        before = self.messages
        if failed is not None and self.size > 1:
            self.messages = Gone(before)
        try:
            yield
        finally:
            self.messages = before

    def interrupted(self, step: int) -> None:
        """Ctrl-C reaches the ranks at different steps: they cannot all end cleanly."""
        if self.size == 1:
            return
        if self.is_first:
            print(f"interrupted at step {step}: all ranks end; the last checkpoint is whole",
                  file=sys.stderr, flush=True)
        self.messages.abort()


def alone() -> World:
    """One rank, however many processes there are."""
    return World(Alone())


def as_world(parallel: World | bool) -> World:
    """The `World` that a trainer's argument means; False is one rank alone."""
    if isinstance(parallel, World):
        return parallel
    if parallel is True:
        return World()
    if parallel is False:
        return alone()
    raise TypeError("parallel must be True, False or a World, got "
                    f"{type(parallel).__name__}: Trainer(..., parallel=True)")


def share_loader(world: World, loader: Any) -> None:
    """See to it that a training loader gives this rank's rows of each batch."""
    if world.size == 1 and not world.found:
        return
    if hasattr(loader, "shard"):
        loader.shard(world)  # also alone: it can take over the batch size of several ranks
    elif world.size == 1:
        return
    elif not hasattr(loader, "part"):
        raise TypeError(f"train_loader is {type(loader).__name__}: with parallel training it "
                        "must give each rank its rows of the batch. Use a DataLoader, or a "
                        "class with a method shard(world)")


def weights_digest(model: Module) -> str:
    """The parameters and buffers of `model` in 16 digits."""
    found = hashlib.sha256()
    for name, a in model.state_dict().items():
        found.update(name.encode())
        found.update(np.ascontiguousarray(to_numpy(a)).tobytes())
    return found.hexdigest()[:16]


def _flat_gradient(p: Tensor) -> Array:
    """The gradient of a parameter as one row; zeros if it has none."""
    if p.grad is None:
        return xp.zeros(p.size, p.dtype)
    return p.grad.data.reshape(-1)


def _buckets(parameters: Sequence[Tensor]) -> list[list[Tensor]]:
    """Neighbours of one dtype, up to `BUCKET` bytes together."""
    found: list[list[Tensor]] = []
    room = 0
    for p in parameters:
        nbytes = p.data.nbytes
        if not found or found[-1][0].dtype != p.dtype or nbytes > room:
            found.append([])
            room = BUCKET
        found[-1].append(p)
        room -= nbytes
    return found


def _divide_workers(ranks: int) -> None:
    """So many ranks on this machine: each has its part of the cores, one at least.

    A launcher that binds each rank to cores of its own has done so already.
    """
    cores = os.cpu_count() or 1
    set_num_workers(min(get_num_workers(), max(1, cores // ranks)))


def _end_all_on_error(messages: MPI) -> None:
    """An exception that nobody catches ends the other ranks, too, which wait for this one.

    ``python -m mpi4py`` does the same, also for ``sys.exit(1)`` on one rank, which this
    does not see.
    """
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
        if issubclass(kind, SystemExit):
            before(kind, error, where)
            return
        who = f"rank {messages.rank} of {messages.size} ends all of them:\n"
        sys.stderr.write(who + "".join(traceback.format_exception(kind, error, where)))
        sys.stderr.flush()
        time.sleep(LAST_WORDS)
        messages.abort()

    if getattr(before, "__qualname__", "").startswith("_end_all_on_error"):
        return
    sys.excepthook = hook
