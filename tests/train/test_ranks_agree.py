"""What is left to the ranks of a run is that of one process: weights of classes, chunks, the
last word."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinynet as tn
import tinynet.functional as F
from tests.train.ranks.run import augment, difference, made, pictures, trained
from tests.train.ranks.threads import on_ranks
from tests.train.test_gradient import LOSSES, Watched
from tinynet import data, distributed, nn, optim
from tinynet.kernels import late_norm
from tinynet.train import Callback, Checkpoints, Trainer, World, recompute_batch_norm
from tinynet.train.distributed import Alone
from tinynet.tune.workbench import fresh

pytestmark = pytest.mark.numpy_only("ranks are threads of the host")


@pytest.mark.parametrize("batch_norm", ["global", "local"])
def test_class_weights_divide_by_the_sum_of_the_whole_batch(batch_norm: str) -> None:
    """Also where a rank has few, or light, samples: 41 in batches of 12, on 2 ranks.

    With batch norm over each rank's rows, a net that has none is that of one process.
    """
    plain = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4)).astype("float64")
    weight = np.array([0.2, 1.0, 5.0, 0.5])

    def loss(outputs: Any, labels: Any) -> Any:
        return F.cross_entropy(outputs, labels, weight=weight)

    def work(world: World | bool, ranks: int) -> tuple[Any, list[float]]:
        images, labels = pictures(41)
        model: Any = made(0.0) if batch_norm == "global" else copy.deepcopy(plain)
        loader = data.DataLoader(augment(images, None), labels, 12 // ranks)
        trainer = Trainer(model, optim.SGD(model.named_parameters(), 0.05), loss,
                          parallel=world, progress=False)
        history = trainer.fit(loader, epochs=2)
        last = model.parameters()[-2]
        return tn.to_numpy(last).copy(), list(history.steps["loss"])

    weights, losses = work(False, 1)
    for found, seen in on_ranks(2, lambda world: work(world, 2), batch_norm=batch_norm):
        assert np.abs(found - weights).max() < 1e-12
        assert np.abs(np.subtract(seen, losses)).max() < 1e-12


def test_batch_norms_are_measured_anew_on_whole_batches_also_by_one_rank() -> None:
    images, labels = pictures(41)
    inputs = augment(images, None)

    def measured(world: World | None, size: int) -> np.ndarray:
        model = made(0.0)
        loader = data.DataLoader(inputs, labels, 12 // size)
        if world is not None:
            loader.shard(world)
        if world is None or world.is_first:  # no other rank is waited for
            recompute_batch_norm(model, loader)
        return tn.to_numpy(model.norm.running_var).copy()

    found = on_ranks(2, lambda world: measured(world, 2))
    assert (found[0] == measured(None, 1)).all()


def test_trials_with_a_loader_that_was_shared_out_see_whole_batches() -> None:
    images, labels = pictures(40)
    loader = data.DataLoader(images, labels, 4, seed=1).shard(1, 2)
    whole = list(data.DataLoader(images, labels, 8, seed=1))
    for (x, y), (wanted, also) in zip(fresh(loader), whole, strict=True):
        assert (x == wanted).all() and (y == also).all()
    assert loader.part is not None


def test_what_waits_for_other_ranks_at_the_end_of_a_failed_run_does_not_hide_the_error() -> None:
    class Ends(Callback):
        def on_step(self, trainer: Any) -> None:
            if trainer.world.is_first and trainer.step == 2:
                raise ArithmeticError("rank 0 has had enough")

        def on_end(self, trainer: Any) -> None:
            trainer.evaluate(data.DataLoader(augment(pictures(8)[0], None), pictures(8)[1], 4))

    with pytest.raises(ArithmeticError, match="rank 0 has had enough") as found:
        on_ranks(2, lambda world: trained(world, 2, callbacks=lambda: [Ends()]))
    assert "the other ranks do not answer" in "".join(found.value.__notes__)


def test_alone_a_run_of_two_ranks_goes_on_with_their_batch(tmp_path: Path) -> None:
    """By the same script: its batch size is that of one rank."""
    def fit(parallel: World | bool, epochs: int) -> np.ndarray:
        model = made(0.0)
        trainer = Trainer(model, optim.SGD(model.named_parameters(), 0.05), progress=False,
                          parallel=parallel, callbacks=[Checkpoints(tmp_path)])
        loader = data.DataLoader(augment(pictures(40)[0], None), pictures(40)[1], 4)
        trainer.fit(loader, epochs=epochs, resume=tmp_path)
        assert loader.batch_size == 8 and trainer.planned_steps == 5
        return tn.to_numpy(model.head.weight).copy()

    on_ranks(2, lambda world: fit(world, 1))
    with pytest.warns(RuntimeWarning, match="8 in the checkpoint, 4 here; the checkpoint's is"):
        resumed = fit(True, 2)
    model = made(0.0)
    whole = data.DataLoader(augment(pictures(40)[0], None), pictures(40)[1], 8)
    Trainer(model, optim.SGD(model.named_parameters(), 0.05), progress=False).fit(whole, epochs=2)
    assert np.abs(resumed - model.head.weight.numpy()).max() < 1e-12


def test_ranks_that_slurm_has_started_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """By srun with PMIx, which sets no size of MPI's own; another launcher's goes first."""
    pytest.importorskip("mpi4py", reason='needs pip install -e ".[mpi]"')
    for name in distributed._SIZES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    found = SimpleNamespace(size=2)
    monkeypatch.setattr(distributed, "MPI", lambda: found)
    assert distributed._messages() is found
    monkeypatch.setenv("PMI_SIZE", "1")
    assert isinstance(distributed._messages(), Alone)


@pytest.mark.parametrize("loss", ["mean", "sum", "weighted sum"])
@pytest.mark.parametrize("chunk", [None, 7])
def test_chunks_on_ranks_are_one_process_with_the_whole_batch(loss: str, chunk: int | None
                                                              ) -> None:
    settings = {"loss": LOSSES[loss], "samples": 65, "batch": 30, "lr": 1e-3, "epochs": 1}
    one = trained(False, model=Watched(), **settings)
    many = on_ranks(2, lambda world: trained(world, 2, model=Watched(), chunk=chunk, **settings))
    assert difference(many[0], many[1]) == 0.0
    assert difference(one, many[0]) < 1e-12


def test_batch_norm_sees_a_chunk_of_all_ranks() -> None:
    images, labels = pictures(21)  # 11 for one rank, 10 for the other

    def normalised(images: Any, keys: Any = None) -> Any:
        return data.Normalize(120.0, 60.0)(images).astype("float64")

    def step(world: Any) -> dict[str, Any]:
        model = made(0.0)
        trainer = Trainer(model, optim.SGD(model.named_parameters(), 0.05), progress=False,
                          parallel=world, chunk=6)
        trainer.fit(data.DataLoader(images, labels, 11, shuffle=False, transform=normalised))
        return {name: tn.to_numpy(a).copy() for name, a in model.state_dict().items()}

    many = on_ranks(2, step)
    model = made(0.0)
    x = normalised(images)
    # rank 0 has rows 0 .. 10 in chunks of 5 and 6, rank 1 has rows 11 .. 20, 5 and 5
    for rows in ([*range(5), *range(11, 16)], [*range(5, 11), *range(16, 21)]):
        loss = F.cross_entropy(model(tn.tensor(x[rows])), labels[rows], reduction="sum")
        (loss * (1 / 21)).backward()
    optim.SGD(model.named_parameters(), 0.05).step()
    for name, a in model.state_dict().items():
        for each in many:
            np.testing.assert_allclose(each[name], tn.to_numpy(a), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("images", "waiting"), [(12, 2), (11, 1)])
def test_norms_that_their_readers_compute_meet_the_other_ranks(
        images: int, waiting: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message forward and one back for each, also where one rank has too little to wait."""
    rng = tn.Generator(1)
    x = rng.normal((images, 3, 16, 16), dtype="float64")
    y = np.arange(images) % 4
    net = nn.Sequential(
        nn.Conv2d(3, 24, 3, padding=1), nn.BatchNorm2d(24, relu=True), nn.MaxPool2d(2),
        nn.Conv2d(24, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.GlobalAvgPool2d(),
        nn.Linear(24, 4)).astype("float64")

    def gradients(world: World | None) -> tuple[list[np.ndarray], int]:
        model = copy.deepcopy(net)
        messages = 0
        if world is None:
            F.cross_entropy(model(tn.tensor(x)), y).backward()
        else:
            rows = data.loader.Part(world.rank, world.size).of(images)
            add = world.messages.add

            def counted(a: np.ndarray) -> None:
                nonlocal messages
                messages += 1
                add(a)

            world.messages.add = counted  # type: ignore[method-assign]
            with world.sharing(rows.start, rows.stop - rows.start, images):
                F.cross_entropy(model(tn.tensor(x[rows])), y[rows]).backward()
                world.average_gradients(model)
        found = [p.grad.numpy() for p in model.parameters()]
        return [*found, *(np.array(a) for a in model.state_dict().values())], messages

    wanted, _ = gradients(None)
    waited: list[bool] = []

    def normed(*what: Any) -> Any:
        found = late_norm.normed(*what)
        waited.append(found is not None)
        return found

    monkeypatch.setattr("tinynet.functional.norm.normed", normed)
    for found, messages in on_ranks(2, gradients):
        assert messages == 2 * 2 + 2  # and the gradients, and which there are
        for a, b in zip(found, wanted, strict=True):
            assert np.abs(a - b).max() < 1e-13
    assert waited == [True] * waiting
