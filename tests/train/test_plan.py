"""How long a fit is: whole epochs and parts, from the start and from the middle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.train.toy import batches, trainer
from tinynet import data
from tinynet.train import Callback
from tinynet.train.plan import Plan, planned


@pytest.mark.parametrize(("epochs", "plan"), [
    (3, Plan(3, 6, 6)), (3.0, Plan(3, 6, 6)), (2.5, Plan(3, 6, 3)), (0.5, Plan(1, 6, 3)),
    (0.01, Plan(1, 6, 1)), (2.01, Plan(2, 6, 6)), (1.99, Plan(2, 6, 6)),
])
def test_a_part_of_an_epoch_is_a_number_of_batches(epochs: float, plan: Plan) -> None:
    assert planned(batches(), epochs) == plan


@pytest.mark.parametrize("epochs", [0, -1.5, float("nan"), float("inf"), "3", True, None])
def test_what_is_no_number_of_epochs_is_named(epochs: Any) -> None:
    with pytest.raises(ValueError, match="epochs must be an integer of at least 1, got"):
        planned(batches(), epochs)


def test_a_part_of_a_loader_without_a_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"epochs=0.5 of a generator without a length"):
        planned((pair for pair in batches()), 0.5)


def test_the_last_epoch_ends_in_its_middle_and_counts() -> None:
    epochs: list[int] = []

    class Note(Callback):
        def on_epoch(self, trainer: Any) -> None:
            epochs.append(trainer.step)

    t = trainer(callbacks=[Note()])
    history = t.fit(batches(), batches(32, seed=1), epochs=2.5)
    assert epochs == [6, 12, 15] and t.planned_steps == 15
    assert history.epochs["step"] == epochs and len(history["val_loss"]) == 3
    assert history.stopped == "finished"


def test_the_next_fit_does_not_repeat_the_part() -> None:
    seen: list[list[int]] = []
    points = np.arange(12, dtype="float32").reshape(6, 2)
    loader = data.DataLoader(points, np.arange(6) % 3, 2, seed=5, prefetch=2)

    class Note(Callback):
        def on_step(self, trainer: Any) -> None:
            seen.append([int(x) // 2 for x in trainer.batch[0].numpy()[:, 0]])

    t = trainer(callbacks=[Note()])
    t.fit(loader, epochs=1.34)
    t.fit(loader, epochs=1)
    order = data.DataLoader(points, np.arange(6) % 3, 2, seed=5)
    expected = []
    for epoch, count in ((0, 3), (1, 1), (2, 3)):
        order.set_epoch(epoch)
        expected += [[int(x) // 2 for x in np.asarray(x)[:, 0]] for x, _ in order][:count]
    assert seen == expected and loader.epoch == 3


class Keep(Callback):
    """Keeps the state after the second step, and what its sums were then."""

    def at_rest(self, trainer: Any) -> None:
        if trainer.step == 2:
            self.state = trainer.state_dict()
            self.sums = dict(self.state["sums"])


def test_a_state_that_is_kept_stays_what_it_was() -> None:
    keep = Keep()
    trainer(callbacks=[keep]).fit(batches(), epochs=2)
    assert keep.sums and keep.state["sums"] == keep.sums
