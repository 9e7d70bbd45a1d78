"""Exact resume: a process that is killed at any moment and started again ends as if nothing had
happened, with dropout, augmentation, mixup, Adam, warm-up, averaging and prefetch on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.processes import environment
from tests.train.resumable import EPOCHS, STEPS, run
from tests.train.toy import batches, net, trainer
from tinynet import data, nn, random, tensor, to_numpy
from tinynet.nn.noise import noise_state, set_noise_state
from tinynet.optim import SGD, Adam
from tinynet.optim.schedule import Plateau, constant, cosine
from tinynet.train import (
    Callback,
    Checkpoints,
    EarlyStopping,
    History,
    Trainer,
    load_model,
    read_checkpoint,
    read_model,
    read_newest,
    save_checkpoint,
)

Run = Callable[..., Any]


def results(folder: Path) -> dict[str, Any]:
    """All that a run leaves behind, without wall-clock columns."""
    history = json.loads((folder / "history.json").read_text())
    del history["epochs"]["seconds"]
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    epochs = (folder / "epochs.csv").read_text().splitlines()
    names = ["model", "checkpoints/best", *(f"snapshot-{i}" for i in (1, 2, 3))]
    models = {name: read_model(folder / f"{name}.safetensors") for name in names}
    # the bytes of the files may differ: safetensors writes the metadata in a random order
    exact = {name: ({k: x.tobytes() for k, x in arrays.items()}, metadata)
             for name, (arrays, metadata) in models.items()}
    return {"history": history,
            "log": [{k: v for k, v in row.items() if k != "seconds"} for row in log],
            "epochs": [line.rpartition(",")[0] for line in epochs],
            "steps": (folder / "steps.csv").read_text(),
            "snapshots": sorted(path.name for path in folder.glob("snapshot*")),
            "ensemble": (folder / "ensemble.npy").read_bytes(), **exact}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    before = random.get_state()
    run(folder)
    random.set_state(before)
    found = results(folder)
    assert len(found["log"]) == EPOCHS * STEPS + EPOCHS + 4  # steps, epochs, ratios
    return found


def killed_and_resumed(folder: Path, moments: list[str], run_python: Run) -> dict[str, Any]:
    for moment in moments:
        result = run_python("-m", "tests.train.resumable", str(folder), moment)
        assert result.returncode == -signal.SIGKILL, f"{moment}: {result.stderr}"
    result = run_python("-m", "tests.train.resumable", str(folder))
    assert result.returncode == 0, result.stderr
    left = [path.name for pattern in ("*.tmp", "*.lock") for path in folder.rglob(pattern)]
    assert not left, f"temporary files are left: {left}"
    return results(folder)


def test_a_run_killed_three_times_ends_bit_equal(
        tmp_path: Path, run_python: Run, uninterrupted: dict[str, Any]) -> None:
    """Inside a step before anything was saved, in the middle of writing a checkpoint, and in
    mid-epoch between two checkpoints."""
    moments = ["before_update 2", "write 2", "on_step 11"]
    assert killed_and_resumed(tmp_path, moments, run_python) == uninterrupted


@pytest.mark.parametrize("moments", [["on_end 18"], ["replaced 7"], []],
                         ids=["after-training", "after-the-last-checkpoint", "never"])
def test_a_run_killed_after_its_last_checkpoint_or_run_again_predicts_the_same(
        moments: list[str], tmp_path: Path, run_python: Run, uninterrupted: dict[str, Any]) -> None:
    assert killed_and_resumed(tmp_path, moments, run_python) == uninterrupted
    assert killed_and_resumed(tmp_path, [], run_python) == uninterrupted


def test_a_second_process_in_the_folder_is_refused_and_harms_nothing(
        tmp_path: Path, run_python: Run, uninterrupted: dict[str, Any]) -> None:
    command = [sys.executable, "-m", "tests.train.resumable", str(tmp_path), "wait 9"]
    first = subprocess.Popen(command, env=environment(), text=True, stdout=subprocess.PIPE)
    try:
        assert first.stdout is not None and first.stdout.readline() == "waiting\n"
        second = run_python("-m", "tests.train.resumable", str(tmp_path))
        assert second.returncode == 1
        assert f" is in use by process {first.pid} on " in second.stderr
        assert "BlockingIOError" in second.stderr.splitlines()[-1]
    finally:
        first.kill()
        first.communicate()
    assert killed_and_resumed(tmp_path, [], run_python) == uninterrupted


def test_two_trainers_in_one_folder_are_refused_and_the_folder_is_free_after(
        tmp_path: Path) -> None:
    class Inside(Callback):
        def on_epoch(self, trainer: Trainer) -> None:
            with pytest.raises(BlockingIOError, match="in use by another run of this process"):
                other.fit(batches(), resume=tmp_path)

    other = make_saving(tmp_path)
    make_saving(tmp_path, Inside()).fit(batches())
    other.fit(batches(), epochs=2, resume=tmp_path)
    assert other.step == 12
    with pytest.raises(FileExistsError):
        make_saving(tmp_path).fit(batches())
    make_saving(tmp_path).fit(batches(), epochs=3, resume=tmp_path)


def make_saving(folder: Path, *callbacks: Callback) -> Trainer:
    return trainer(callbacks=[Checkpoints(folder, every=3), *callbacks])


@pytest.mark.slow
@pytest.mark.parametrize("moment", [
    *(f"{stage} {number}" for stage in ("write", "fsync", "replace", "replaced")
      for number in (1, 3, 6)),
    *(f"before_update {step}" for step in (0, 5, 9, 17)), *(f"on_step {n}" for n in (1, 6, 8, 18)),
    "on_log 10", "on_log 12", "on_epoch 6", "on_epoch 18", "at_rest 4", "at_rest 12", "on_end 18",
])
def test_a_run_killed_at_any_moment_ends_bit_equal(
        moment: str, tmp_path: Path, run_python: Run, uninterrupted: dict[str, Any]) -> None:
    assert killed_and_resumed(tmp_path, [moment], run_python) == uninterrupted


class StopAt(Callback):
    """Ends the process's part of the run by an error."""

    def __init__(self, step: int) -> None:
        self.step = step

    def at_rest(self, trainer: Trainer) -> None:
        if trainer.step == self.step:
            raise KeyError("the machine is gone")


def in_two_parts(make: Callable[..., Trainer], folder: Path, step: int, loader: Callable[[], Any],
                 epochs: int, val: Any = None) -> tuple[Trainer, Trainer]:
    """A run without a break, and one that breaks off after `step` and is resumed."""
    whole = make(callbacks=[Checkpoints(folder / "whole", every=3)])
    whole.fit(loader(), val, epochs)
    broken = make(callbacks=[Checkpoints(folder / "parts", every=3), StopAt(step)])
    with pytest.raises(KeyError, match="the machine is gone"):
        broken.fit(loader(), val, epochs, resume=folder / "parts")
    random.manual_seed(77)  # the state of the new process is whatever it is
    resumed = make(callbacks=[Checkpoints(folder / "parts", every=3)])
    resumed.fit(loader(), val, epochs, resume=folder / "parts")
    return whole, resumed


def same(a: Trainer, b: Trainer) -> None:
    mine, theirs = a.model.state_dict(), b.model.state_dict()
    assert all(to_numpy(mine[n]).tobytes() == to_numpy(theirs[n]).tobytes() for n in mine)
    for history in (a.history, b.history):
        history.epochs.pop("seconds", None)
    assert a.history == b.history
    assert (a.step, a.epoch) == (b.step, b.epoch)


@pytest.mark.parametrize("step", [4, 6, 7, 11, 12, 18])
def test_plain_lists_of_batches_resume_as_well(tmp_path: Path, step: int) -> None:
    def make(**options: Any) -> Trainer:
        return trainer(net(norm=True), lr=cosine(0.1, 18), **options)

    same(*in_two_parts(make, tmp_path, step, batches, 3, batches(32, seed=1)))


def test_a_layer_with_its_own_generator_goes_on_where_it_was(tmp_path: Path) -> None:
    def make(**options: Any) -> Trainer:
        noise = nn.Dropout(0.2, generator=random.Generator(7))
        return trainer(nn.Sequential(net(norm=True), noise), **options)

    same(*in_two_parts(make, tmp_path, 7, batches, 3))
    with pytest.raises(ValueError, match="no state for the generator of layer '1'"):
        set_noise_state(make().model, noise_state(net()))


def test_early_stopping_and_best_weights_survive(tmp_path: Path) -> None:
    """The best weights may be those of an epoch before the break."""
    def make(**options: Any) -> Trainer:
        return trainer(net(norm=True), lr=1.0, patience=3, **options)

    whole, resumed = in_two_parts(make, tmp_path, 2 * 6 + 1, batches, 50, batches(48, seed=1))
    assert whole.epoch < 50 and whole.history.stopped.startswith("no better")
    same(whole, resumed)
    assert isinstance(resumed.callbacks[-2], EarlyStopping)


def test_a_plateau_schedule_survives(tmp_path: Path) -> None:
    def make(**options: Any) -> Trainer:
        model = net()
        return Trainer(model, SGD(model.named_parameters(), Plateau(0.5, patience=0), momentum=0.9),
                       progress=False, **options)

    whole, resumed = in_two_parts(make, tmp_path, 20, batches, 6, batches(32, seed=1))
    assert len(set(whole.history.steps["lr"])) > 1
    same(whole, resumed)


def test_a_run_that_is_over_only_gives_its_result_again(tmp_path: Path) -> None:
    saver = Checkpoints(tmp_path)
    first = trainer(lr=1.0, callbacks=[saver])
    first.fit(batches(), batches(48, seed=1), 4)
    again = trainer(net(seed=5), lr=1.0, callbacks=[Checkpoints(tmp_path)])
    again.fit(batches(), batches(48, seed=1), 4, resume=tmp_path)
    same(first, again)
    longer = trainer(net(seed=5), lr=1.0, callbacks=[Checkpoints(tmp_path)])
    longer.fit(batches(), batches(48, seed=1), 6, resume=tmp_path)
    straight = trainer(lr=1.0)
    straight.fit(batches(), batches(48, seed=1), 6)
    same(straight, longer)


def test_a_second_fit_may_be_resumed(tmp_path: Path) -> None:
    def start(**options: Any) -> Trainer:
        t = trainer(**options)
        t.fit(batches(), epochs=2)
        return t

    whole = start()
    whole.fit(batches(), epochs=2)
    broken = start(callbacks=[Checkpoints(tmp_path, every=3), StopAt(16)])
    with pytest.raises(KeyError):
        broken.fit(batches(), epochs=2)
    resumed = trainer(callbacks=[Checkpoints(tmp_path, every=3)])
    resumed.fit(batches(), epochs=2, resume=tmp_path)  # and not four epochs
    same(whole, resumed)


# The files

def test_which_files_stay(tmp_path: Path) -> None:
    for keep, names in ((1, [18]), (2, [16, 18]), (None, [4, 6, 8, 12, 16, 18])):
        folder = tmp_path / str(keep)
        saver = Checkpoints(folder, every=4, keep=keep)
        trainer(lr=1.0, callbacks=[saver]).fit(batches(), batches(48, seed=1), 3)
        expected = [f"step-{n:08d}.safetensors" for n in names]
        assert [path.name for path in saver.files()] == expected
        assert {path.name for path in folder.iterdir()} == {*expected, "best.safetensors"}


def test_best_file_is_the_model_that_fit_gives_back(tmp_path: Path) -> None:
    t = trainer(net(norm=True), lr=1.0, callbacks=[Checkpoints(tmp_path)])
    history = t.fit(batches(), batches(48, seed=1), 8)
    best = load_model(tmp_path / "best.safetensors", net(norm=True, seed=9))
    mine = t.model.state_dict()
    assert all(np.array_equal(to_numpy(x), to_numpy(mine[n])) for n, x in
               best.state_dict().items())
    epoch, value = history.best()
    _, metadata = read_model(tmp_path / "best.safetensors")
    assert (metadata["epoch"], metadata["val_accuracy"]) == (str(epoch), str(value))


def test_the_header_says_what_it_is_and_others_can_read_the_weights(tmp_path: Path) -> None:
    model = net(norm=True)
    t = Trainer(model, Adam(model.named_parameters(), cosine(0.1, 18)), progress=False,
                keep_best=False, callbacks=[Checkpoints(tmp_path)])
    t.fit(batches(), epochs=3)
    path, state = read_newest(tmp_path) or pytest.fail("no checkpoint")
    arrays, metadata = read_model(path)
    assert {k: metadata[k] for k in ("format", "version", "step", "epoch")} == {
        "format": "tinynet checkpoint", "version": "2", "step": "18", "epoch": "3"}
    assert metadata["tinynet"].count(".") == 2
    assert state["settings"]["lr"] == "cosine(0.1, T=18)"
    assert state["random"] == {"default": random.get_state(), "layers": {}}
    raw = load_file(path)  # as PyTorch sees it: the weights by their names, the rest behind "/"
    weights = {name for name in raw if not name.startswith("/")}
    assert weights == set(arrays) == set(model.state_dict())
    assert "/optimizer/state/0.weight/m" in raw and "/history/steps/loss" in raw
    other = load_model(path, net(norm=True, seed=4))
    for name, x in model.state_dict().items():
        assert np.array_equal(to_numpy(other.state_dict()[name]), to_numpy(x))


def test_a_loader_in_mid_epoch_knows_its_place(tmp_path: Path) -> None:
    pictures = tensor(np.arange(40.0, dtype="float32").reshape(20, 2)).data

    def loader() -> data.DataLoader:
        return data.DataLoader(pictures, np.arange(20) % 3, 4, seed=3, prefetch=3)

    whole, resumed = in_two_parts(trainer, tmp_path, 8, loader, 3)
    same(whole, resumed)
    state = (read_newest(tmp_path / "parts") or pytest.fail("no checkpoint"))[1]
    assert state["loaders"][0]["epoch"] == 3 and state["loaders"][0]["position"] == 0


def test_a_resume_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    def fit(t: Trainer, loader: Any = None) -> None:
        t.fit(loader or batches(), batches(48, seed=1), 4, resume=tmp_path)

    fit(trainer(callbacks=[Checkpoints(tmp_path)]))
    with pytest.raises(ValueError, match=r"does not fit this run: the state does not fit this Seq"):
        fit(trainer(net(hidden=4)))
    model = net()
    with pytest.raises(ValueError, match="saved by SGD, this optimizer is Adam"):
        fit(Trainer(model, Adam(model.named_parameters()), progress=False))
    with pytest.raises(ValueError, match="holds the state of a BestWeights, and this trainer has "):
        fit(trainer(keep_best=False))
    pictures = data.DataLoader(np.zeros((8, 2), "float32"), np.arange(8) % 3, 4)
    folder = tmp_path / "other"
    trainer(callbacks=[Checkpoints(folder)]).fit(pictures)
    pictures.batch_size = 2
    with pytest.raises(ValueError, match="of a loader with batch_size=4, this one has 2"):
        trainer().fit(pictures, resume=folder)


def test_another_schedule_is_mentioned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer(lr=cosine(0.1, 6), callbacks=[Checkpoints(tmp_path)]).fit(batches())
    trainer(lr=constant(0.2), progress=True).fit(batches(), epochs=2, resume=tmp_path)
    text = capsys.readouterr().out
    assert "lr: cosine(0.1, T=6) in the checkpoint, constant(0.2) here; this run's is used" in text
    assert "step-00000006.safetensors: 6 steps are done" in text
    assert [line for line in text.splitlines() if line.startswith("epoch   2/2")]


class Slow(Callback):
    """2 ms more for each of the six steps of an epoch."""

    def on_step(self, trainer: Any) -> None:
        time.sleep(0.002)


def test_the_time_of_training_is_that_of_the_whole_run(tmp_path: Path) -> None:
    """As the epochs of the history say, also after a resume in mid-epoch."""
    first = trainer(callbacks=[Slow(), Checkpoints(tmp_path, every=4)])
    assert first.seconds == 0.0
    first.fit(batches(), epochs=2)
    assert first.seconds == pytest.approx(sum(first.history["seconds"]))
    assert first.seconds >= 2 * 0.012
    (tmp_path / "step-00000012.safetensors").unlink()  # the newest is of step 8
    second = trainer(callbacks=[Slow()])
    second.fit(batches(), epochs=2, resume=tmp_path)
    assert second.history["seconds"][0] == first.history["seconds"][0]
    assert second.seconds == pytest.approx(sum(second.history["seconds"]))
    assert second.history["seconds"][1] >= 0.012  # two steps were of the first process


def test_a_callback_that_fails_at_the_end_leaves_the_folder_to_the_next_run(tmp_path: Path) -> None:
    class Fails(Callback):
        def __init__(self, text: str) -> None:
            self.text = text

        def on_end(self, trainer: Any) -> None:
            raise OSError(self.text)

    callbacks = [Fails("first"), Checkpoints(tmp_path), Fails("second")]
    with pytest.raises(OSError, match="first") as caught:
        trainer(callbacks=callbacks).fit(batches(), epochs=1)
    assert caught.value.__notes__ == ["a callback's end failed, too: OSError('second')"]
    assert not (tmp_path / ".lock").exists()
    trainer(callbacks=[Checkpoints(tmp_path)]).fit(batches(), epochs=2, resume=tmp_path)


def test_a_used_folder_is_not_overwritten(tmp_path: Path) -> None:
    trainer(callbacks=[Checkpoints(tmp_path)]).fit(batches())
    with pytest.raises(FileExistsError, match=r"earlier run \(the newest is step-00000006"):
        trainer(callbacks=[Checkpoints(tmp_path)]).fit(batches())
    both = trainer(callbacks=[Checkpoints(tmp_path / "new")])
    both.fit(batches())
    both.fit(batches())  # its own files do not count
    assert [p.name for p in (tmp_path / "new").glob("step*")] == [
        "step-00000006.safetensors", "step-00000012.safetensors"] or len(
        list((tmp_path / "new").glob("step*"))) == 2


def test_going_on_from_an_older_file_leaves_the_newer_ones_aside(tmp_path: Path) -> None:
    saver = Checkpoints(tmp_path, keep=None)
    trainer(callbacks=[saver]).fit(batches(), epochs=3)
    older = saver.files()[0]
    t = trainer(callbacks=[Checkpoints(tmp_path)])
    t.fit(batches(), epochs=2, resume=older)
    assert t.step == 12
    assert {path.name for path in tmp_path.iterdir()} == {
        "step-00000006.safetensors", "step-00000012.safetensors",
        "step-00000012.safetensors.old", "step-00000018.safetensors.old"}


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="every must be an integer of at least 1, got 0"):
        Checkpoints(tmp_path, every=0)
    with pytest.raises(ValueError, match="keep must be an integer of at least 1, got 0"):
        Checkpoints(tmp_path, keep=0)
    assert read_newest(tmp_path / "lr0.01") is None and read_newest(tmp_path) is None
    with pytest.raises(FileNotFoundError):
        read_newest(tmp_path / "step-1.safetensors")
    with pytest.raises(TypeError, match="the state /callbacks/0/1/when is a complex"):
        save_checkpoint(tmp_path / "x", {"callbacks": [["A", {"when": 1j}]]})
    assert not (tmp_path / "x").exists()


def test_state_survives_bit_for_bit(tmp_path: Path) -> None:
    state = {"step": 3, "epoch": 1, "text": "grün", "none": None, "yes": True,
             "numbers": [0.1, float("inf"), 2**70, np.float32(0.1), (1, 2)],
             "arrays": {"a": np.arange(6.0).reshape(2, 3).T, "empty": np.zeros((0, 2), "int64"),
                        "scalar": np.array(-0.0), "nan": np.array([np.nan])}}
    save_checkpoint(tmp_path / "x", state)
    found = read_checkpoint(tmp_path / "x")
    assert found["numbers"] == [0.1, float("inf"), 2**70, np.float32(0.1), (1, 2)]
    assert {k: found[k] for k in ("step", "text", "none", "yes")} == {
        "step": 3, "text": "grün", "none": None, "yes": True}
    for name, x in state["arrays"].items():
        assert found["arrays"][name].tobytes() == x.tobytes()
        assert found["arrays"][name].shape == x.shape and found["arrays"][name].dtype == x.dtype


def test_history_state_is_exact() -> None:
    history = History()
    history.add("steps", step=0, loss=0.1 + 0.2)
    history.add("steps", step=1, accuracy=1 / 3)
    history.stopped = "finished"
    again = History.from_dict(history.state_dict())
    assert again == history and again.stopped == "finished"
    assert again.steps["loss"][0] == 0.1 + 0.2 and np.isnan(again.steps["loss"][1])


def test_saving_moves_no_number(tmp_path: Path) -> None:
    """A run with checkpoints is the run without."""
    plain, saved = trainer(), trainer(callbacks=[Checkpoints(tmp_path, every=1)])
    for t in (plain, saved):
        t.fit(batches(), batches(32, seed=1), 3)
    same(plain, saved)
    assert isinstance(saved.model, nn.Module)
