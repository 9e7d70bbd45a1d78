"""A user's own threads, many at once: each gets what it would get alone, bit for bit.

On a free-threaded Python nothing keeps two of them out of the same line: there these
tests say whether what they share is shared well (see tests/free_threaded.py).
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinynet as tn
import tinynet.functional as F
from tinynet import data, graph, nn, optim, random
from tinynet.kernels.threads import get_num_workers, set_num_workers

pytestmark = pytest.mark.numpy_only("threads of the host")

USERS = 6


@pytest.fixture(autouse=True)
def threads_change_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    workers = get_num_workers()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)
    set_num_workers(workers)


def at_once(work: Callable[[int], Any], users: int = USERS) -> list[Any]:
    """work(0), work(1) ..., each on a thread of its own, all of which begin together."""
    meeting = threading.Barrier(users)
    results: list[Any] = [None] * users
    errors: list[BaseException] = []

    def user(k: int) -> None:
        try:
            meeting.wait(120)
            results[k] = work(k)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=user, args=(k,)) for k in range(users)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert not errors, errors[0]
    return results


def small_net(seed: int) -> nn.Sequential:
    """Convolutions by blocks, a norm that waits for its reader, and a pool."""
    tn.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
                         nn.MaxPool2d(2), nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16),
                         nn.ReLU(), nn.Flatten(), nn.Linear(16 * 256, 10))


def losses(model: nn.Module, seed: int, steps: int = 3) -> bytes:
    """The losses and last weights of a few steps of Adam."""
    optimizer = optim.Adam(model.named_parameters(), lr=1e-2)
    found = []
    for step in range(steps):
        x = tn.Tensor(random.normal(random.key(seed, "x", step), (16, 3, 32, 32)))
        labels = random.integers(random.key(seed, "labels", step), 0, 10, (16,))
        loss = F.cross_entropy(model(x), tn.tensor(labels))
        model.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.numpy().tobytes())
    return b"".join([*found, *(p.numpy().tobytes() for p in model.parameters())])


@pytest.mark.parametrize("workers", [1, 3])
def test_nets_trained_side_by_side_come_out_as_alone(workers: int) -> None:
    set_num_workers(workers)
    alone = [losses(small_net(k), k) for k in range(3)]
    nets = [small_net(k % 3) for k in range(USERS)]
    together = at_once(lambda k: losses(nets[k], k % 3))
    assert together == [alone[k % 3] for k in range(USERS)]


def test_the_same_net_answers_all_threads_alike() -> None:
    model = small_net(0).eval()
    x = tn.Tensor(random.normal(random.key(0, "x"), (32, 3, 32, 32)))
    with tn.no_grad():
        expected = model(x).numpy().tobytes()

    def ask(k: int) -> set[bytes]:
        with tn.no_grad():
            return {model(x).numpy().tobytes() for _ in range(4)}

    assert at_once(ask) == [{expected}] * USERS


def test_what_is_computed_when_it_is_read_is_one_array_for_all_readers() -> None:
    model = small_net(0)
    for _ in range(10):
        late = model[2](model[1](model[0](tn.ones((32, 3, 32, 32)))))
        assert len({id(array) for array in at_once(lambda k, late=late: late.data)}) == 1


def test_each_number_of_the_clock_goes_to_one_operation() -> None:
    a = tn.ones(2, requires_grad=True)

    def operate(k: int) -> list[int]:
        return [(a * 2.0).node.order for _ in range(1500)]

    drawn = at_once(operate)
    assert all(mine == sorted(mine) for mine in drawn)
    assert len(set(itertools.chain(*drawn))) == USERS * 1500


def test_the_last_write_is_the_last_of_all_threads() -> None:
    leaves = [tn.ones(2, requires_grad=True) for _ in range(USERS)]

    def write(k: int) -> None:
        for _ in range(1500):
            leaves[k].mark_changed()

    at_once(write)
    assert graph.Leaf.last_write == max(leaf.node.changed for leaf in leaves)
    assert len({leaf.node.changed for leaf in leaves}) == USERS


def test_threads_draw_different_keys_from_one_generator() -> None:
    shared = random.Generator(3)
    drawn = at_once(lambda k: [shared.key() for _ in range(1500)])
    alone = random.Generator(3)
    assert sorted(itertools.chain(*drawn)) == sorted(alone.key() for _ in range(USERS * 1500))
    assert shared.get_state() == alone.get_state()


def test_loaders_on_several_threads_give_their_own_batches() -> None:
    images = random.normal(random.key(1), (200, 3, 8, 8))
    transform = data.Compose([data.RandomHorizontalFlip(), data.RandomCrop(8, padding=2)])

    def read(seed: int) -> list[bytes]:
        loader = data.DataLoader(images, np.arange(200) % 10, batch_size=32, seed=seed,
                                 transform=transform, num_workers=3)
        return [x.tobytes() + y.tobytes() for _ in range(2) for x, y in loader]

    alone = [read(k) for k in range(USERS)]
    assert at_once(read) == alone


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # fork with threads, 3.12+
def test_a_child_of_a_fork_can_draw_and_record_whatever_other_threads_did() -> None:
    stop = threading.Event()
    shared = random.Generator(0)
    leaf = tn.ones(2, requires_grad=True)

    def busy() -> None:
        while not stop.is_set():
            shared.key()
            leaf.mark_changed()

    thread = threading.Thread(target=busy)
    thread.start()
    statuses: list[int] = []
    while len(statuses) < 12 and not any(statuses):
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # ends a child that hangs
            shared.key()
            leaf.mark_changed()
            os._exit(0)
        statuses.append(os.waitpid(child, 0)[1])
    stop.set()
    thread.join()
    assert statuses == [0] * 12
