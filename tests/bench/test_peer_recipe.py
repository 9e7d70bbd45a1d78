"""The recipe's twin in PyTorch computes what the example computes."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import data, functional as F, train

torch: Any = pytest.importorskip("torch", reason='needs pip install -e ".[bench]"')
peer: Any = importlib.import_module("bench.peers.cifar10")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_the_losses_of_both_are_the_same_for_some_steps() -> None:
    module = peer.example()
    recipe = module.RECIPES["shapes"]._replace(batch=30, chunk=16)
    rng = np.random.default_rng(0)  # noise: of drawn shapes some channels hardly vary
    pictures = data.Dataset(rng.integers(0, 256, (90, 3, 32, 32)).astype("uint8"),
                            rng.integers(0, 10, 90), tuple("0123456789"), "noise")
    twin = peer.Run(module, recipe, (pictures, pictures), seed=3)
    theirs = [twin.step(images, labels)[0] / len(labels) for images, labels in twin.loader]
    tn.manual_seed(3)
    normalise = data.Normalize(*data.channel_statistics(pictures.images))
    net = module.Net(recipe, normalise(pictures.images))
    loader = module.make_loader(pictures, normalise, recipe, 3)
    assert twin.steps == 12 and len(loader) == 3
    trainer = train.Trainer(
        net, module.make_optimizer(net, recipe, twin.steps, twin.whitening),
        partial(F.cross_entropy, label_smoothing=0.09, reduction="sum"), chunk=recipe.chunk,
        keep_best=False, progress=False)
    history = trainer.fit(loader)
    assert history["loss"][0] == pytest.approx(theirs[0], rel=1e-5)
    # Equal pixels, zeros behind a ReLU, are common, and which of them is the largest of its
    # window is up to each library: then gradients part by a hundredth, both right.
    assert history["loss"] == pytest.approx(theirs, rel=2e-4)
    for mine, other in zip(twin.net.parameters(), net.parameters(), strict=True):
        np.testing.assert_allclose(mine.detach().numpy(), other.numpy(), rtol=0, atol=0.05)


def test_a_run_of_the_twin_leaves_its_result(tmp_path: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    found: dict[str, Any] = peer.main(["--data", "shapes", "--limit", "40", "--out",
                                       str(tmp_path / "result.json")])
    assert json.loads((tmp_path / "result.json").read_text()) == found
    assert len(found["epochs"]) == 4 and 0.0 <= found["test_accuracy"] <= 1.0
    assert "test_accuracy" in capsys.readouterr().out.splitlines()[-1]
