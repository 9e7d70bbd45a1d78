"""tinynet where there is NumPy alone and no thread can be started, as in a browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bare import run_bare

TRAINING = """
import sys
import numpy as np, tinynet as tn
from tinynet import models, nn, optim, train
from tinynet.data import DataLoader, load_shapes

class Terminal:
    def __init__(self, stream): self.stream = stream
    def isatty(self): return True
    def __getattr__(self, name): return getattr(self.stream, name)

sys.stderr = Terminal(sys.stderr)  # where a bar would be shown
assert not set(sys.modules) & {"tqdm", "safetensors", "threadpoolctl"}
path = sys.argv[1]
tn.manual_seed(0)
tn.set_num_workers(2)
pictures, _ = load_shapes(train=40, test=10)
x = pictures.images.astype(np.float32) / 255.0
model = models.small_conv_net(widths=(4, 8))
trainer = train.Trainer(model, optim.Adam(model.named_parameters(), lr=1e-3))
loader = DataLoader(x, pictures.labels, batch_size=20)
trainer.fit(loader, DataLoader(x, pictures.labels, batch_size=20, shuffle=False), epochs=2)
train.save_model(model, path)
try:
    train.load_model(path, models.small_conv_net(widths=(4, 8)))
except ModuleNotFoundError as error:
    print(error, error.name)
model.eval()
out = model(tn.tensor(x)).numpy()
tn.set_num_workers(1)
print(np.array_equal(out, model(tn.tensor(x)).numpy()))
"""


def test_a_conv_net_trains_is_saved_and_does_without_threads(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    lines = run_bare(TRAINING, path).splitlines()
    epochs = [line[:11] for line in lines if line.startswith("epoch ")]
    assert epochs == ["epoch   1/2", "epoch   2/2"]
    assert lines[-2:] == [
        f"reading {path} needs the package safetensors (saving does not): "
        "pip install safetensors safetensors", "True"]
    read = pytest.importorskip("safetensors.numpy").load_file(path)
    assert read["0.weight"].shape == (4, 3, 3, 3)


def test_pace_is_silent_without_threads() -> None:
    assert run_bare("""
from tinynet.train.pace import Pace
with Pace(total=2, every=0.01) as pace:
    pace.step()
print(pace.done)
""").split() == ["1.0"]
