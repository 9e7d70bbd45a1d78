"""The kernels written in C++ compile for GPUs of three generations, by NVIDIA's own compiler.

NVRTC needs no GPU; it comes with the extra `emulate`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.emulator import compiler
from tests.kernels import test_device
from tests.optim import test_optimizer
from tinynet import random

pytestmark = pytest.mark.emulated

ARCHITECTURES = ("sm_75", "sm_80", "sm_90")  # Turing, Ampere, Hopper


@pytest.fixture(scope="module")
def own_sources() -> dict[str, str]:
    """The source of every kernel of the library, for float16, float32 and float64."""
    kernels = set()
    for dtype in ("f2", "f4", "f8"):
        test_device.test_batch_norm((2, 3, 4, 4), True, dtype, "c")
        test_device.test_convolution((1, 2, 4, 4), (2, 2, 3, 3), ((1, 1), (1, 1), (1, 1), 1),
                                     dtype, "c")
        test_device.test_softmax_cross_entropy(dtype)
    test_device.test_max_pool((1, 1, 4, 4), ((2, 2), (2, 2), (0, 0)), False)
    test_device.test_move()
    test_device.test_updates_equal_the_rules(lambda p, **k: test_device.RMSprop(p, **k), "f4")
    for name in test_optimizer.FUSED:
        test_optimizer.test_fused_update_equals_the_plain_rule(name, "f4", 1e-6)
    random.bits(random.key(1, np.arange(2)), 3)
    kernels.update(name for name in compiler.sources if name.startswith("tinynet_"))
    return {name: compiler.sources[name] for name in sorted(kernels)}


def test_every_kernel_is_among_them(own_sources: dict[str, str]) -> None:
    names = {name.removeprefix("tinynet_") for name in own_sources}
    assert names == {"adam", "batch_norm", "batch_norm_backward", "batch_norm_sums", "columns_back",
                     "hash", "max_pool_backward", "momentum", "move", "sgd",
                     "softmax_cross_entropy", "softmax_cross_entropy_backward", "squares",
                     "statistics"}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_they_compile(architecture: str, own_sources: dict[str, str]) -> None:
    for source in own_sources.values():
        assert compiler.nvrtc(source, architecture)


def test_a_mistake_does_not_compile() -> None:
    from cupy.cuda.compiler import CompileException

    wrong: Any = 'extern "C" __global__ void f(float* x) { x[0] = no_such_name; }'
    with pytest.raises(CompileException, match='identifier "no_such_name" is undefined'):
        compiler.nvrtc(wrong, "sm_80")
