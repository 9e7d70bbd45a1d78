"""NumPy and CuPy train the same net, with dropout and augmentation on.

The other backend runs in a process of its own; both sides execute `training.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.emulator.training import STEPS, Run, steps, trained
from tinynet import functional as F
from tinynet.backend import asarray, to_numpy

pytestmark = pytest.mark.cupy_only
RunPython = Callable[..., Any]
Arrays = dict[str, Any]


def on_numpy(run_python: RunPython, out: Path, *args: object) -> Arrays:
    """What `training.py` finds on NumPy."""
    result = run_python("-m", "tests.emulator.training", *map(str, args), str(out),
                        env={"TINYNET_BACKEND": "numpy"})
    assert result.returncode == 0, result.stderr
    return dict(np.load(out))


def difference(a: Any, b: Any) -> float:
    """|a - b| / |b|, of the arrays as vectors."""
    a, b = np.asarray(a, "f8").ravel(), np.asarray(b, "f8").ravel()
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30))


def part(arrays: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): x for name, x in arrays.items() if name.startswith(prefix)}


def whole(state: Arrays, prefix: str) -> Any:
    """All arrays of a kind as one vector."""
    return np.concatenate([x.ravel() for name, x in sorted(part(state, prefix).items())])


@pytest.mark.parametrize("seed", [1, 2])
def test_20_steps_each_restarted_agree_in_float32(
        seed: int, run_python: RunPython, tmp_path: Path) -> None:
    """Losses and weights to 1e-5 in every step, and nearly always to 2e-6 in the gradients.

    Not always: where the input of a ReLU, or the lead of a pool's winner, is smaller than the
    rounding errors, the backends may choose differently, and one pixel's gradient is another.
    And a first step of Adam divides a gradient by its own size, be it rounding (seed 0 has one
    such weight: 9e-6 in all, where other seeds have 5e-8).
    """
    numpys = on_numpy(run_python, tmp_path / "numpy.npz", "steps", "float32", seed)
    run, gradients = Run(seed=seed), []
    for t in range(STEPS):
        run.load(part(numpys, f"{t}/"), t)
        tn.set_state(dict(zip(("seed", "counter"), map(int, numpys[f"random/{t}"]), strict=True)))
        assert difference(run.step(t).item(), numpys[f"loss/{t}"]) < 1e-5
        found, wanted = run.state(), part(numpys, f"{t + 1}/")
        assert difference(whole(found, "model/"), whole(wanted, "model/")) < 1e-5
        gradients.append(difference(whole(found, "m/"), whole(wanted, "m/")))
    assert sorted(gradients)[STEPS // 2] < 2e-6 and max(gradients) < 1e-2


def test_20_steps_in_a_row_agree_in_float64(run_python: RunPython, tmp_path: Path) -> None:
    numpys = on_numpy(run_python, tmp_path / "numpy.npz", "steps", "float64", 0)
    cupys = steps("float64")
    assert cupys.keys() == numpys.keys() and numpys[f"loss/{STEPS - 1}"] < numpys["loss/0"]
    for name, value in numpys.items():
        assert difference(cupys[name], value) < 1e-10, name


def test_a_run_saved_on_one_backend_resumes_on_the_other(
        run_python: RunPython, tmp_path: Path) -> None:
    """Seven steps of ten; then both backends go on from the file of step 6, from each."""
    here, there = tmp_path / "saved on CuPy", tmp_path / "saved on NumPy"
    trained(here, resume=False)
    on_numpy(run_python, tmp_path / "saved.npz", "save", there)
    for folder in (here, there):
        copy = shutil.copytree(folder, tmp_path / "copy", dirs_exist_ok=True)
        numpys = on_numpy(run_python, tmp_path / "numpy.npz", "resume", copy)
        cupys = trained(folder, resume=True)
        shutil.rmtree(copy)
        assert len(cupys["loss"]) == len(numpys["loss"]) == 10
        assert np.array_equal(cupys["masks"], numpys["masks"])  # the same draws
        # The next step has the same weights, batch, crops and mask; later ones drift by rounding.
        assert difference(cupys["loss"][:7], numpys["loss"][:7]) < 1e-5
        assert difference(cupys["loss"], numpys["loss"]) < 1e-2
        for name, value in part(numpys, "model/").items():
            assert value.ndim < 2 or difference(cupys[f"model/{name}"], value) < 2e-2, name


def test_batches_crops_and_masks_are_the_same_bits(run_python: RunPython, tmp_path: Path) -> None:
    script = """
import sys, numpy as np, tinynet as tn
from tests.arrays import host
from tests.emulator.training import loader
from tinynet.random import Generator, integers, key, mask, permutation, uniform
from tinynet import data, functional as F
batches = list(loader(24)) + list(loader(24, seed=3))
mixed = data.Mixup(10)(tn.xp.asarray(batches[0][0]), tn.xp.asarray(batches[0][1]), key(5))
images = tn.xp.asarray(np.random.default_rng(0).integers(0, 256, (9, 3, 32, 32), "u1"))
keys = key(6, tn.xp.arange(9))
x = tn.xp.arange(900.0).reshape(1, 4, 15, 15)
found = {f"batch {i} {j}": a for i, b in enumerate(batches) for j, a in enumerate(b)}
found |= {"mask": mask(3, 0.7, (5, 40)), "coins": mask(key(2, tn.xp.arange(3)), 0.5, (5, 7), 1),
          "uniform": uniform(key(4), (50,)),
          "permutation": permutation(9, 100), "integers": integers(7, 0, 1000, (60,)),
          "keys": key(1, tn.xp.arange(20)), "mixup": mixed[0],
          "crops": data.RandomCrop(32, 4)(images, keys),
          "flips": data.RandomHorizontalFlip()(images, keys),
          "cutout": data.Cutout(8)(images.astype("f4"), keys),
          "fractional": F.fractional_max_pool2d(x, 10, key=3)}
np.savez(sys.argv[1], **{name: host(a) for name, a in found.items()})
"""
    files = [tmp_path / f"{backend}.npz" for backend in ("numpy", "cupy")]
    for file in files:
        result = run_python("-c", script, str(file), env={"TINYNET_BACKEND": file.stem})
        assert result.returncode == 0, result.stderr
    numpys, cupys = (np.load(file) for file in files)
    assert len(numpys.files) > 15
    for name in numpys.files:
        exact = not name.startswith(("batch", "mixup"))  # normalised pictures: rounded once each
        bound = 0.0 if exact or numpys[name].dtype.kind in "iu" else 1e-6
        assert numpys[name].dtype == cupys[name].dtype, name
        assert np.abs(numpys[name].astype("f8") - cupys[name].astype("f8")).max() <= bound, name


def test_an_operation_gives_what_it_gives_on_numpy(run_python: RunPython, tmp_path: Path) -> None:
    """A convolution of every kind, a pool and a loss, to float32 rounding."""
    x = np.random.default_rng(0).normal(size=(2, 4, 9, 7)).astype("f4")
    w = np.random.default_rng(1).normal(size=(6, 2, 3, 3)).astype("f4")
    y = F.conv2d(asarray(x), asarray(w), stride=(2, 1), padding=1, groups=2)
    loss = F.cross_entropy(y.reshape(2, -1), [3, 5])
    script = ("import numpy as np, sys; from tinynet import functional as F\n"
              "x = np.random.default_rng(0).normal(size=(2, 4, 9, 7)).astype('f4')\n"
              "w = np.random.default_rng(1).normal(size=(6, 2, 3, 3)).astype('f4')\n"
              "y = F.conv2d(x, w, stride=(2, 1), padding=1, groups=2)\n"
              "np.savez(sys.argv[1], y=y, loss=F.cross_entropy(y.reshape(2, -1), [3, 5]))")
    run_python("-c", script, str(tmp_path / "y.npz"), env={"TINYNET_BACKEND": "numpy"})
    numpys = np.load(tmp_path / "y.npz")
    assert difference(to_numpy(y), numpys["y"]) < 1e-6
    assert difference(float(loss), numpys["loss"]) < 1e-6

