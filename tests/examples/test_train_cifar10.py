"""The training example: what it says and writes, and that no kill loses what it has."""

from __future__ import annotations

import importlib.util
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.processes import environment
from tinynet import data, models, train
from tinynet.train import History, load_classifier, load_model, read_model

Run = Callable[..., "subprocess.CompletedProcess[str]"]

QUICK = ("examples/train_cifar10.py", "--data", "shapes", "--limit", "200", "--epochs", "2")
LONG = "takes minutes on the emulated device; test_the_same_code_runs_on_cupy is short"


pytestmark = pytest.mark.numpy_only(LONG)
FILES = {"model.safetensors", "curves.png", "confusion.png", "mistakes.png", "history.json",
         "result.json", "layers.json", "report.html", "report.md"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and the output of a short run of train_cifar10.py."""
    out = tmp_path_factory.mktemp("run") / "out"
    root = Path(__file__).resolve().parents[2]
    result = subprocess.run([sys.executable, *QUICK, "--out", str(out)], cwd=root, text=True,
                            env=environment(), capture_output=True,
                            timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    return out, result.stdout


def test_train_cifar10_says_what_it_does(finished: tuple[Path, str]) -> None:
    out, text = finished
    assert "shapes: 180 pictures to train on, 20 held out for validation, 200 for the test" in text
    assert ("expect with the default settings on all pictures 98 % on the test set; how long it "
            "takes is said after the first steps") in text
    assert re.search(r"^epoch   2/2   train loss [\d.]+, +[\d.]+%   val loss", text, re.MULTILINE)
    assert "most often taken for" in text and "* best val accuracy" in text
    assert str(out) in text.splitlines()[-1]


def test_train_cifar10_writes_its_results(finished: tuple[Path, str]) -> None:
    out, text = finished
    assert {path.name for path in out.iterdir()} == FILES
    result = json.loads((out / "result.json").read_text())
    assert {key: result[key] for key in ("dataset", "epochs", "seed", "model", "stopped")} == {
        "dataset": "shapes", "epochs": 2, "seed": 0, "model": "small", "stopped": "finished"}
    assert result["parameters"] == models.small_conv_net().num_parameters()
    assert set(result["versions"]) == {"tinynet", "python", "numpy"}
    assert 0.0 <= result["test_accuracy"] <= 1.0 and result["seconds"] > 0
    assert f"test accuracy {result['test_accuracy']:.2%} on 200 pictures" in text
    history = History.load(out / "history.json")
    assert history.best() == (result["best_epoch"], result["val_accuracy"])
    assert (out / "curves.png").stat().st_size > 20_000


def test_the_saved_model_has_the_accuracy_that_was_reported(finished: tuple[Path, str]) -> None:
    out, _ = finished
    model = load_model(out / "model.safetensors", models.small_conv_net()).eval()
    train, test = data.load_shapes(train=200, test=200)
    kept, _ = train.split(20)
    prepare = data.Normalize(*data.channel_statistics(kept.images))
    right = model(prepare(test.images)).argmax(axis=1).numpy() == test.labels
    assert float(right.mean()) == json.loads((out / "result.json").read_text())["test_accuracy"]
    assert read_model(out / "model.safetensors")[1]["data"] == "shapes"
    classifier = load_classifier(out)  # as a user has it for pictures of his own
    assert classifier.classes == test.classes and classifier.shape == (3, 32, 32)
    np.testing.assert_array_equal(classifier.probabilities(test.images).argmax(axis=1),
                                  model(prepare(test.images)).argmax(axis=1).numpy())


def test_ctrl_c_keeps_the_best_weights_so_far(tmp_path: Path, root: Path) -> None:
    command = [sys.executable, "-u", *QUICK[:-1], "500", "--out", str(tmp_path)]
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a background job ignores it
    process = subprocess.Popen(command, cwd=root, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=environment(), preexec_fn=heed)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.startswith("epoch   3/500"):
                break
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert "interrupted at step" in rest and "Traceback" not in errors
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["stopped"] == "interrupted" and 3 <= result["epochs"] < 100
    history = History.load(tmp_path / "history.json")
    assert history.best() == (result["best_epoch"], result["val_accuracy"])


def test_a_killed_run_goes_on_with_resume(tmp_path: Path, root: Path, run_python: Run,
                                          finished: tuple[Path, str]) -> None:
    command = [*QUICK, "--out", str(tmp_path), "--quiet"]
    process = subprocess.Popen([sys.executable, *command], cwd=root,
                               env=environment())
    try:
        while not list(tmp_path.glob("checkpoints/step-*")):
            assert process.poll() is None, "the run was over before it could be killed"
            time.sleep(0.002)
    finally:
        process.kill()
        process.wait()
    again = run_python(*command)
    assert again.returncode == 2
    assert "holds a run that was cut off: go on with --resume, or remove that" in again.stderr
    resumed = run_python(*command, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert len(resumed.stdout.splitlines()) == 1  # --quiet
    first, second = ((folder / "model.safetensors").read_bytes()
                     for folder in (finished[0], tmp_path))
    assert first == second  # the same seed: the same file
    assert not (tmp_path / "checkpoints").exists()


KILLED_LATE = """
import os, runpy, signal, sys
import tinynet as tn
what, sys.argv = sys.argv[1], ["examples/train_cifar10.py", *sys.argv[2:]]
owner, name = {"judging": (tn.train.Trainer, "predict"), "drawing": (tn.viz, "plot_history"),
               "saving": (tn.train, "save_model")}[what]
setattr(owner, name, lambda *args, **options: os.kill(os.getpid(), signal.SIGKILL))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_run_killed_after_its_training_is_judged_without_training_again(
        tmp_path: Path, run_python: Run, finished: tuple[Path, str]) -> None:
    """Killed while it saves the model, and on each resumption further on."""
    options = [*QUICK[1:], "--out", str(tmp_path)]
    for what in ("saving", "judging", "drawing"):
        killed = run_python("-c", KILLED_LATE, what, *options)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        if what == "saving":
            options.append("--resume")
        else:
            assert "steps are done" in killed.stdout and "epoch   2/2" not in killed.stdout
    options.remove("--resume")
    resumed = run_python(QUICK[0], *options, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "steps are done" in resumed.stdout and "epoch   2/2" not in resumed.stdout
    first, again = (json.loads((folder / "result.json").read_text())
                    for folder in (finished[0], tmp_path))
    epochs = History.load(tmp_path / "history.json").epochs["seconds"]
    assert again["seconds"] >= sum(epochs) - 0.01 and len(epochs) == 2  # of the whole run
    assert f"epochs, {again['seconds']:.0f} s (finished)" in resumed.stdout
    for result in (first, again):
        del result["seconds"]
    assert first == again
    assert {path.name for path in tmp_path.iterdir()} == FILES


def test_a_run_that_goes_on_keeps_the_batch_of_its_ranks(tmp_path: Path, root: Path) -> None:
    """Its schedule counts their steps; a damaged checkpoint is passed over."""
    spec = importlib.util.spec_from_file_location("example", root / "examples/train_cifar10.py")
    assert spec is not None and spec.loader is not None
    example: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)

    def loader(batch: int) -> data.DataLoader:
        found = data.DataLoader(np.zeros((24, 1)), np.zeros(24, int), batch, seed=3)
        return found.shard(train.World())

    train.save_checkpoint(tmp_path / "step-00000002.safetensors",
                          {"loaders": [loader(8).get_state(), None]})
    (tmp_path / "step-00000003.safetensors").write_bytes(b"cut off")
    mine = loader(4)
    example.take_up(mine, tmp_path)
    assert mine.batch_size == 8 and len(mine) == 3
