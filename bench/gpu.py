"""Nets S and R on a GPU: ``TINYNET_BACKEND=cupy python -m bench.gpu [--batch 128] [--steps 30]``.

Each training step (forward, cross-entropy, backward, SGD with Nesterov momentum) is timed between
two CUDA events after warm-up; the middle of the steps counts, with quartiles. Beside it stand the
GPU's own measured ceilings, of a product of 4096 x 4096 float32 matrices and of a copy, and which
fractions of them the step reaches: of the first by the operations of direct convolutions, of the
second by what the net's activations and weights, read and written once, would take. PyTorch eager
trains the same nets on the same GPU if it is installed: TF32 off, as in CuPy; with ``--tf32`` and
``CUPY_TF32=1`` on, as is PyTorch's default for convolutions. `host_seconds` is the time in which
the host has handed a step over; `pool_bytes` what CuPy's pool holds. `gpu_day.sh` runs all this.
One line of JSON for each result; ``--out FILE`` appends them to a file.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import itertools
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tinynet as tn
from bench import nets
from tinynet import functional as F, models, nn, optim
from tinynet.backend import asarray, on_gpu, xp

MAKE = {"S": models.net_s, "R": models.net_r}
Result = dict[str, Any]


def seconds(work: Callable[[], Any], steps: int, warm_up: int) -> list[float]:
    """The device's time for each of `steps` calls, in order of length."""
    for _ in range(warm_up):
        work()
    events = [xp.cuda.Event() for _ in range(steps + 1)]
    events[0].record()
    for event in events[1:]:
        work()
        event.record()
    events[-1].synchronize()
    return sorted(xp.cuda.get_elapsed_time(a, b) / 1e3 for a, b in itertools.pairwise(events))


def host_seconds(work: Callable[[], Any], steps: int) -> float:
    """The host's time for a step, of which it does not see the end."""
    times = []
    for _ in range(steps):
        xp.cuda.get_current_stream().synchronize()
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def ceilings(steps: int, warm_up: int, size: int) -> Result:
    """What the GPU can do at most: operations of a product, bytes of a copy, in a second."""
    a = xp.ones((size, size), "float32")
    product, target = xp.empty_like(a), xp.empty((64, size, size), "float32")
    source = xp.ones_like(target)
    gemm = statistics.median(seconds(lambda: xp.matmul(a, a, out=product), steps, warm_up))
    copy = statistics.median(seconds(lambda: xp.copyto(target, source), steps, warm_up))
    return {"gemm_flops": 2 * size**3 / gemm, "copy_bytes": 2 * target.nbytes / copy}


def work_of(net: str, batch: int) -> tuple[float, float]:
    """Operations of a training step, and the bytes of activations and weights it must touch."""
    made = nn.summary(MAKE[net](), (3, 32, 32))
    values = batch * sum(math.prod(row.output_shape) for row in made.rows) + made.parameters
    # forward and the gradients of inputs and weights; each value read and written, four bytes
    return 3 * 2 * batch * made.multiply_adds, 3 * 2 * 4 * values


def tinynet_step(net: str, batch: int) -> Callable[[], Any]:
    tn.manual_seed(0)
    model = MAKE[net]()
    optimizer = optim.SGD(model.named_parameters(), nets.LEARNING_RATE, momentum=nets.MOMENTUM,
                          nesterov=True, weight_decay=nets.WEIGHT_DECAY)
    images, labels = (asarray(a) for a in nets.batch(batch))

    def step() -> None:
        loss = F.cross_entropy(model(tn.Tensor(images)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def torch_step(net: str, batch: int, tf32: bool = False) -> Callable[[], Any] | None:
    """The same in PyTorch, which uses the default stream as CuPy does; None without it."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    from bench.peers import torch as peer

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    model = peer.build(net).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=nets.LEARNING_RATE, momentum=nets.MOMENTUM,
                                nesterov=True, weight_decay=nets.WEIGHT_DECAY)
    images, labels = (torch.from_numpy(a).cuda() for a in nets.batch(batch))

    def step() -> None:
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def device() -> Result:
    properties = xp.cuda.runtime.getDeviceProperties(0)
    return {"device": properties["name"].decode(), "cupy": xp.__version__,
            "driver": xp.cuda.runtime.driverGetVersion()}


def run(batch: int, steps: int, warm_up: int, gemm_size: int, tf32: bool = False
        ) -> Iterator[Result]:
    """A result for the ceilings, then for each net and contender."""
    about = {**device(), "batch": batch, "steps": steps, "tf32": tf32}
    top = ceilings(steps, warm_up, gemm_size)
    yield {"what": "ceilings", **about, **top}
    for net in MAKE:
        operations, touched = work_of(net, batch)
        makers = {"tinynet": tinynet_step, "torch": functools.partial(torch_step, tf32=tf32)}
        for contender, make in makers.items():
            step = make(net, batch)
            if step is None:
                continue
            times = seconds(step, steps, warm_up)
            host = host_seconds(step, steps)
            low, middle, high = (times[len(times) * q // 4] for q in (1, 2, 3))
            version = importlib.import_module(f"bench.peers.{contender}").VERSION
            yield {"what": "train", "net": net, "contender": contender, "version": version, **about,
                   "seconds": middle, "quartiles": [low, high], "images_per_second": batch / middle,
                   "host_seconds": host,
                   "pool_bytes": xp.get_default_memory_pool().total_bytes(),
                   "of_gemm_ceiling": operations / middle / top["gemm_flops"],
                   "of_copy_ceiling": touched / middle / top["copy_bytes"]}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--warm-up", type=int, default=5, help="steps before the clock starts")
    parser.add_argument("--gemm", type=int, default=4096, help="size of the matrices multiplied")
    parser.add_argument("--out", help="append the lines to this file")
    parser.add_argument("--tf32", action="store_true", help="TF32 also in PyTorch (CUPY_TF32=1)")
    parser.add_argument("--device", action="store_true", help="say which device it is, no more")
    chosen = parser.parse_args(argv)
    if not on_gpu:
        parser.error("this times a GPU: set TINYNET_BACKEND=cupy")
    if chosen.device:
        print(json.dumps(device()))
        return 0
    for result in run(chosen.batch, chosen.steps, chosen.warm_up, chosen.gemm,
                      chosen.tf32):
        line = json.dumps(result)
        print(line, flush=True)
        if chosen.out:
            with open(chosen.out, "a", encoding="utf-8") as file:
                file.write(f"{line}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
