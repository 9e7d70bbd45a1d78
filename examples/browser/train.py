"""A small conv net learns to tell ten kinds of drawn shapes apart: in a browser, or anywhere.

    python examples/browser/train.py

`worker.js` calls `learn` with the page's settings; this file is what the page shows.
"""

from collections.abc import Callable

import tinynet as tn
from tinynet import models, optim
from tinynet.data import DataLoader, Normalize, channel_statistics, load_shapes
from tinynet.train import Callback, Trainer

Report = Callable[[str, float, float, float], None]  # of what, epochs done, loss, accuracy


class Curves(Callback):
    """Hands the newest numbers to `report`: every few steps, and after each epoch."""

    def __init__(self, report: Report, steps: int) -> None:
        self.report = report
        self.steps = steps  # in an epoch

    def on_log(self, trainer):
        newest = trainer.history.steps
        self.report("training", trainer.step / self.steps, newest["loss"][-1],
                    newest["accuracy"][-1])

    def on_epoch(self, trainer):
        newest = trainer.history.epochs
        self.report("test", trainer.epoch, newest["val_loss"][-1], newest["val_accuracy"][-1])


def learn(epochs: int, rate: float, report: Report, pictures: int = 2000) -> float:
    """Train for so many epochs; the accuracy on pictures the net has never seen."""
    tn.manual_seed(0)
    train, test = load_shapes(train=pictures, test=300)
    prepare = Normalize(*channel_statistics(train.images))
    batches = DataLoader(train.images, train.labels, batch_size=50, transform=prepare)
    tests = DataLoader(test.images, test.labels, batch_size=100, transform=prepare, shuffle=False)

    model = models.small_conv_net(widths=(8, 16, 32))
    schedule = optim.schedule.cosine(rate, T=epochs * len(batches))
    optimizer = optim.Adam(model.named_parameters(), lr=schedule)
    curves = Curves(report, len(batches))
    trainer = Trainer(model, optimizer, callbacks=[curves], log_every=2, keep_best=False)
    history = trainer.fit(batches, tests, epochs=epochs)
    return history.epochs["val_accuracy"][-1]


if __name__ == "__main__":
    accuracy = learn(3, 0.005, report=lambda of, epoch, loss, accuracy: None)
    print(f"{accuracy:.1%} of the test pictures are named rightly")
