"""Training on several ranks is training on one with the whole batch, and safe from faults."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests import processes
from tests.train.ranks.run import augment, difference, made, pictures, trained
from tests.train.ranks.threads import on_ranks
from tinynet import backend, data, distributed, nn, optim, random
from tinynet.train import Trainer, World
from tinynet.train.distributed import Alone

pytestmark = pytest.mark.numpy_only("ranks are processes or threads of the host")
ROOT = Path(__file__).parents[2]
Mpiexec = Callable[..., tuple["subprocess.CompletedProcess[str]", float]]


# Equality, with ranks that are threads


@pytest.mark.parametrize("options", [
    {"noise": 0.0}, {"noise": 0.3}, {"mix": data.Mixup(4)}, {"mix": data.CutMix(4, p=0.5)},
    {"samples": 90}, {"optimizer": "adam"}, {"batch": 30, "samples": 65},
    {"mix": lambda images, labels, key: (images[::-1], labels[::-1])},
], ids=["plain", "noise", "mixup", "cutmix", "a smaller last batch", "adam", "unlike shares",
        "one's own mix"])
@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_together_are_one_process_with_the_whole_batch(ranks: int, options: Any) -> None:
    whole = {"batch": 36, **options}
    whole["batch"] -= whole["batch"] % ranks
    one = trained(False, **whole)
    many = on_ranks(ranks, lambda world: trained(world, ranks, **whole))
    for each in many:
        assert difference(each, many[0]) == 0.0
    assert difference(one, many[0]) < 1e-12


@pytest.mark.filterwarnings("ignore:the closure's loss was")
def test_a_line_search_sees_the_loss_and_gradients_of_all_ranks() -> None:
    one = trained(False, optimizer="lbfgs", noise=0.0)
    many = on_ranks(2, lambda world: trained(world, 2, optimizer="lbfgs", noise=0.0))
    assert difference(one, many[0]) < 1e-9 and difference(many[0], many[1]) == 0.0


def test_local_batch_norm_is_another_net_and_alike_on_all_ranks() -> None:
    one = trained(False, noise=0.0)
    many = on_ranks(2, lambda world: trained(world, 2, noise=0.0), batch_norm="local")
    weights = [name for name in one["weights"] if "running" not in name]
    apart = max(np.abs(one["weights"][n] - many[0]["weights"][n]).max() for n in weights)
    assert 1e-4 < apart < 1.0
    for name in weights:
        assert (many[0]["weights"][name] == many[1]["weights"][name]).all()


@pytest.mark.parametrize("weight", [1.0, 0.75])
def test_batch_norm_over_ranks_has_the_gradients_of_order_1_and_2(weight: float) -> None:
    """Ranks with the same rows: their sum is so many times the own, and nothing else changes."""
    copies = SimpleNamespace(total=lambda x: 3.0 * x, weight=weight, batch_norm="global")
    x = tn.randn(4, 2, 3, 3, dtype="float64")
    scale, shift = tn.randn(2, dtype="float64"), tn.randn(2, dtype="float64")

    def norm(x: Any, scale: Any, shift: Any) -> Any:
        with random.share_of_batch(0, 4, 4, copies):
            return tn.functional.batch_norm(x, None, None, scale, shift, training=True)

    alone = tn.functional.batch_norm(x, None, None, scale, shift, training=True)
    assert np.abs(norm(x, scale, shift).numpy() - alone.numpy()).max() < 1e-12
    tn.gradcheck(norm, x, scale, shift, order=2)


def test_64_ranks_add_shard_and_cut_masks_as_one() -> None:
    """With the messages of MPI's interface: every sample once, the mask of the whole batch."""
    images = np.arange(256.0).reshape(256, 1)
    whole = nn.Dropout(0.5, generator=tn.Generator(1))(tn.ones((128, 5))).numpy()

    def work(world: World) -> Any:
        loader = data.DataLoader(images, np.arange(256), 2, seed=4).shard(world)
        noise = nn.Dropout(0.5, generator=tn.Generator(1))
        seen, masks = [], []
        for x, y in loader:
            assert (x[:, 0] == y).all()
            seen.append(y)
            masks.append(noise(tn.ones((len(x), 5))).numpy())
        p = tn.ones(3, requires_grad=True)
        p.grad = tn.full((3,), float(world.rank))
        model = nn.Sequential()
        model.p = nn.Parameter(p.data)
        model.p.grad = p.grad
        world.average_gradients(model)
        return np.concatenate(seen), masks[0], model.p.grad.numpy()

    found = on_ranks(64, work)
    epoch = np.concatenate([seen for seen, _, _ in found])
    assert sorted(epoch.tolist()) == list(range(256))
    order = [y for _, y in data.DataLoader(images, np.arange(256), 128, seed=4)]
    first = np.concatenate([seen[:2] for seen, _, _ in found])
    assert first.tolist() == order[0].tolist()
    assert (np.concatenate([mask for _, mask, _ in found]) == whole).all()
    assert all((g == 31.5).all() for _, _, g in found)


def test_a_gradient_that_some_ranks_lack_is_zero_there_and_none_if_all_lack_it() -> None:
    def work(world: World) -> Any:
        model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
        if world.rank == 1:
            model[0].weight.grad = tn.ones((2, 2))
        sums = world.average_gradients(model, [world.rank, 1])
        return model[0].weight.grad.tolist(), model[1].weight.grad, sums

    for first, second, sums in on_ranks(4, work):
        assert first == [[0.25, 0.25], [0.25, 0.25]] and second is None
        assert sums == [6.0, 4.0]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_gradients_of_any_dtype_and_layout_are_averaged(dtype: str) -> None:
    def work(world: World) -> Any:
        model = nn.Sequential()
        model.a = nn.Parameter(tn.zeros((3, 4), dtype=dtype))
        model.b = nn.Parameter(tn.zeros((5,), dtype="float64"))
        values = np.arange(12, dtype=dtype).reshape(4, 3).T * (world.rank + 1)
        model.a.grad = tn.Tensor(values)
        model.b.grad = tn.Tensor(np.broadcast_to(np.float64(world.rank), (5,)))
        world.average_gradients(model)
        return model.a.grad, model.b.grad

    for a, b in on_ranks(2, work):
        assert a.dtype == dtype
        assert (a.numpy() == 1.5 * np.arange(12).reshape(4, 3).T).all()
        assert b.tolist() == [0.5] * 5


# The loader's rows


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_shards_put_together_are_the_batches_of_one_loader(size: int) -> None:
    images, labels = pictures(99)
    options: dict[str, Any] = {"transform": augment, "seed": 9}
    loaders = [data.DataLoader(images, labels, 4, **options).shard(rank, size)
               for rank in range(size)]
    whole = data.DataLoader(images, labels, 4 * size, **options)
    for _ in range(2):
        for (x, y), *parts in zip(whole, *loaders, strict=True):
            assert (np.concatenate([p[0] for p in parts]) == x).all()
            assert (np.concatenate([p[1] for p in parts]) == y).all()
    for mine, (x, y) in zip(loaders[-1].in_order(), data.DataLoader(
            images, labels, 4, transform=augment).in_order(), strict=True):
        assert (mine[0] == x).all() and (mine[1] == y).all()


def test_two_loaders_in_one_loop_leave_no_share_behind() -> None:
    loaders = [data.DataLoader(np.zeros((12, 1)), np.zeros(12, int), n).shard(0, 2)
               for n in (1, 2)]
    for _ in zip(*loaders, strict=False):
        share = random.current_share()
        assert share is not None and share.total == 4  # of the one that was asked last
    del loaders
    assert random.current_share() is None
    for _ in data.DataLoader(np.zeros((12, 1)), np.zeros(12, int), 2).shard(0, 2):
        break
    assert random.current_share() is None


def test_prefetching_and_a_stop_in_mid_epoch_change_nothing_of_a_share() -> None:
    images, labels = pictures(60)
    plain = data.DataLoader(images, labels, 4, seed=1).shard(1, 3)
    ahead = data.DataLoader(images, labels, 4, seed=1, prefetch=3).shard(1, 3)
    expected = [y.tolist() for _, y in plain]
    passes = iter(ahead)
    assert [next(passes)[1].tolist() for _ in range(2)] == expected[:2]
    state = ahead.get_state()
    passes.close()
    assert state["batch_size"] == 12
    other = data.DataLoader(images, labels, 6, seed=1).shard(0, 2)  # 2 ranks go on from 3
    other.set_state(state)
    whole = [y.tolist() for _, y in data.DataLoader(images, labels, 12, seed=1)]
    assert [y.tolist() for _, y in other] == [y[:6] for y in whole[2:]]


@pytest.mark.parametrize(("call", "message"), [
    (lambda d: d.shard(2, 2), "rank must be below size=2, got 2"),
    (lambda d: d.shard(-1, 2), "rank must be an integer"),
    (lambda d: d.shard(0, 0), "size must be"),
    (lambda d: d.shard(0, 2).shard(1, 2), "is rank 0 of 2 already, and cannot become 1 of 2"),
    (lambda d: d.shard(0, 8), "a batch of 2 samples cannot be shared among 8 ranks"),
])
def test_shares_that_cannot_be_are_refused(call: Any, message: str) -> None:
    loader = data.DataLoader(np.zeros((34, 1)), np.zeros(34, int), 2)
    with pytest.raises(ValueError, match=message):
        call(loader)


def test_sharding_twice_alike_is_once() -> None:
    loader = data.DataLoader(np.zeros((32, 1)), np.zeros(32, int), 4)
    assert loader.shard(1, 2).shard(1, 2) is loader and loader.batch_size == 8


# What a trainer refuses, and what alone means


def test_alone_a_parallel_trainer_is_the_usual_one() -> None:
    one = trained(False)
    assert difference(one, trained(World())) == 0.0
    assert World().size == 1 and isinstance(World().messages, Alone)
    assert repr(World()) == "World(rank 0 of 1, batch_norm='global')"


def test_arguments_that_are_no_world_are_refused() -> None:
    model = made(0.0)
    optimizer = optim.SGD(model.named_parameters(), 0.1)
    with pytest.raises(TypeError, match=r"parallel must be True, False or a World, got int"):
        Trainer(model, optimizer, parallel=2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="batch_norm must be 'global' or 'local'"):
        World(batch_norm="sync")


def test_batches_that_no_rank_can_share_are_refused() -> None:
    def work(world: World) -> None:
        model = made(0.0)
        trainer = Trainer(model, optim.SGD(model.named_parameters(), 0.1), parallel=world,
                          progress=False)
        trainer.fit([(np.zeros((4, 3, 8, 8)), np.zeros(4, int))])

    with pytest.raises(TypeError, match="train_loader is list: with parallel training"):
        on_ranks(2, work)


def test_an_error_of_the_first_rank_is_raised_on_all() -> None:
    def work(world: World) -> str:
        def find() -> None:
            raise FileNotFoundError("no such checkpoint")

        try:
            world.of_first(find)
        except FileNotFoundError as error:
            return str(error)
        return "none"

    assert on_ranks(3, work) == ["no such checkpoint"] * 3


# Real processes


def run_quietly(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300,
                          env={**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"},
                          stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def mpiexec() -> Mpiexec:
    """Runs the program on so many processes: what came out, and how long it took."""
    launcher = processes.mpiexec()

    def run(what: str, folder: Path, ranks: int, module: bool = True) -> Any:
        how = ["-m", "mpi4py"] if module else []
        program = str(ROOT / "tests" / "train" / "ranks" / "program.py")
        started = time.monotonic()
        done = run_quietly([launcher, "-n", str(ranks), sys.executable, *how, program, what,
                            str(folder)])
        return done, time.monotonic() - started

    return run


def weights_in(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "rank0.npz") as found:
        return dict(found)


def apart(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
    assert a.keys() == b.keys()
    return max(float(np.abs(a[name] - b[name]).max()) for name in a)


@pytest.fixture(scope="module")
def alone() -> dict[str, np.ndarray]:
    """The weights of one process after 3 epochs."""
    return dict(trained(False, epochs=3)["weights"])


@pytest.mark.parametrize("ranks", [2, 4])
def test_processes_of_mpi_equal_one_process(
        ranks: int, tmp_path: Path, mpiexec: Mpiexec, alone: Any) -> None:
    done, _ = mpiexec("equal", tmp_path, ranks)
    assert done.returncode == 0, done.stderr
    assert apart(weights_in(tmp_path), alone) < 1e-12
    share = max(1, (os.cpu_count() or 1) // ranks)
    lines = sorted(re.findall(r"rank \d of \d is done, \d+ workers", done.stdout))
    assert lines == [f"rank {rank} of {ranks} is done, {share} workers" for rank in range(ranks)]


def test_a_loop_of_ones_own_equals_one_process(tmp_path: Path, mpiexec: Mpiexec) -> None:
    done, _ = mpiexec("own", tmp_path, 2)
    assert done.returncode == 0, done.stderr
    (tmp_path / "one").mkdir()
    single = run_quietly([sys.executable, str(ROOT / "tests/train/ranks/program.py"), "own",
                          str(tmp_path / "one")])
    assert single.returncode == 0, single.stderr
    assert apart(weights_in(tmp_path), weights_in(tmp_path / "one")) < 1e-12


def test_a_killed_rank_ends_the_run_and_it_goes_on_bit_for_bit(
        tmp_path: Path, mpiexec: Mpiexec, alone: Any) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    done, _ = mpiexec("resume", whole, 2)
    assert done.returncode == 0, done.stderr
    killed, seconds = mpiexec("kill", tmp_path, 2)
    assert killed.returncode != 0 and seconds < 30
    kept = sorted(file.name for file in (tmp_path / "checkpoints").glob("step-*"))
    assert kept and kept[-1] <= "step-00000004.safetensors"
    other = tmp_path / "three"  # on another number of ranks: equal to rounding
    other.mkdir()
    shutil.copytree(tmp_path / "checkpoints", other / "checkpoints")
    resumed, _ = mpiexec("resume", tmp_path, 2)
    assert resumed.returncode == 0, resumed.stderr
    assert apart(weights_in(tmp_path), weights_in(whole)) == 0.0
    resumed, _ = mpiexec("resume", other, 4)
    assert resumed.returncode == 0, resumed.stderr
    assert apart(weights_in(other), weights_in(whole)) < 1e-12
    assert apart(weights_in(whole), alone) < 1e-12


@pytest.mark.parametrize("module", [True, False], ids=["python -m mpi4py", "python"])
def test_an_exception_on_one_rank_ends_all_with_its_traceback(
        module: bool, tmp_path: Path, mpiexec: Mpiexec) -> None:
    done, seconds = mpiexec("error", tmp_path, 2, module=module)
    assert done.returncode != 0 and seconds < 25
    assert "ArithmeticError: the last rank has had enough" in done.stderr
    assert "before_update" in done.stderr


def test_weights_that_become_nan_on_one_rank_end_all(tmp_path: Path, mpiexec: Mpiexec) -> None:
    done, seconds = mpiexec("nan", tmp_path, 2)
    assert done.returncode != 0 and seconds < 25
    assert "FloatingPointError: the loss became nan at step" in done.stderr


@pytest.mark.parametrize(("what", "named"), [
    ("weights", "rank 1 has another weights"), ("data", "rank 1 has another data of the training"),
    ("settings", "rank 1 has another lr"),
])
def test_a_rank_that_begins_otherwise_is_named(
        what: str, named: str, tmp_path: Path, mpiexec: Mpiexec) -> None:
    done, seconds = mpiexec(what, tmp_path, 2)
    assert done.returncode != 0 and seconds < 25
    assert "the ranks do not begin alike" in done.stderr and named in done.stderr


def test_a_stop_on_one_rank_stops_all(tmp_path: Path, mpiexec: Mpiexec) -> None:
    done, _ = mpiexec("stop", tmp_path, 2)
    assert done.returncode == 0, done.stderr
    one_epoch = trained(False, epochs=1)["weights"]
    assert apart(weights_in(tmp_path), one_epoch) < 1e-12


def test_the_examples_ranks_reach_what_one_process_with_their_batch_reaches(
        tmp_path: Path) -> None:
    launcher = processes.mpiexec()
    command = ["examples/train_cifar10.py", "--data", "shapes", "--limit", "400", "--epochs", "2",
               "--dtype", "float64", "--distributed", "--out"]
    results = []
    for ranks in (1, 2):
        out = tmp_path / str(ranks)
        batch = ["--batch-size", str(24 // ranks), "--lr", "0.02"]
        started = [] if ranks == 1 else [launcher, "-n", "2"]
        module = [] if ranks == 1 else ["-m", "mpi4py"]
        done = run_quietly([*started, sys.executable, *module, *command, str(out), *batch])
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("test accuracy") == 1
        results.append(json.loads((out / "result.json").read_text()))
        assert (out / "curves.png").exists() and not (out / "checkpoints").exists()
    one, two = results
    assert two["ranks"] == 2 and one["ranks"] == 1
    assert two["batch_size"] == one["batch_size"] == 24 and two["lr"] == one["lr"]
    assert two["test_accuracy"] == one["test_accuracy"]
    assert two["val_accuracy"] == one["val_accuracy"] and two["dtype"] == "float64"
    assert two["test_loss"] == pytest.approx(one["test_loss"], rel=1e-9)


# GPUs, as far as that goes without two of them


@pytest.mark.parametrize(("variable", "value", "rank"), [
    ("OMPI_COMM_WORLD_LOCAL_RANK", "3", 3), ("MPI_LOCALRANKID", "1", 1), ("SLURM_LOCALID", "2", 2),
    ("MPI_LOCALRANKID", "odd", 0),
])
def test_a_process_knows_its_number_on_its_machine(
        variable: str, value: str, rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in backend._LOCAL_RANKS:
        monkeypatch.delenv(name, raising=False)
    assert backend.local_rank() == 0
    monkeypatch.setenv(variable, value)
    assert backend.local_rank() == rank


def test_arrays_on_a_gpu_are_added_there_and_the_rest_by_mpi(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """NCCL's calls, written down by a stand-in: places, counts, types, the stream."""
    calls: list[Any] = []

    class Communicator:
        def __init__(self, *who: Any) -> None:
            calls.append(who)

        def allReduce(self, *what: Any) -> None:
            calls.append(what)

    nccl = SimpleNamespace(NCCL_FLOAT32=7, NCCL_FLOAT64=8, NCCL_SUM=0,
                           NcclCommunicator=Communicator, get_unique_id=lambda: "name")
    host = np.ones(2)
    monkeypatch.setattr(distributed.MPI, "__init__", lambda self, comm: vars(self).update(
        rank=0, size=2, every=lambda thing: [thing, None]))
    monkeypatch.setattr(distributed.MPI, "add", lambda self, a: calls.append(a))
    monkeypatch.setattr(distributed, "xp", SimpleNamespace(cuda=SimpleNamespace(
        get_current_stream=lambda: SimpleNamespace(ptr=5))))
    messages = distributed.NCCL(nccl)
    messages.add(SimpleNamespace(data=SimpleNamespace(ptr=99), size=6, dtype=np.dtype("f4")))
    messages.add(host)
    assert calls[:2] == [(2, "name", 0), (99, 99, 6, 7, 0, 5)] and calls[2] is host


def test_an_mpiexec_of_another_mpi_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its processes would each believe to be alone, and train apart."""
    pytest.importorskip("mpi4py", reason='needs pip install -e ".[mpi]"')
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    monkeypatch.setattr(distributed, "MPI", lambda: SimpleNamespace(size=1))
    with pytest.raises(RuntimeError, match="has started 2 processes, and mpi4py sees 1"):
        World()


def test_mpiexec_without_mpi4py_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    assert World().size == 1
    monkeypatch.setenv("PMI_SIZE", "4")
    with pytest.raises(ImportError, match=r"started 4 processes.*pip install \"tinynet\[mpi\]\""):
        World()
