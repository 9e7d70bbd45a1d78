"""The kernels written in C++ compile for GPUs of three generations, by NVIDIA's own compiler.

NVRTC needs no GPU; it comes with the extra `emulate`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.emulator import compiler
from tests.kernels import test_gpu
from tinynet import Tensor, random
from tinynet.backend import xp
from tinynet.optim import SGD, Adam, RMSprop

pytestmark = pytest.mark.emulated

ARCHITECTURES = ("sm_75", "sm_80", "sm_90")  # Turing, Ampere, Hopper
DTYPES = ("f2", "f4", "f8")
KERNELS = {"adam", "batch_norm", "batch_norm_backward", "batch_norm_sums", "columns",
           "columns_back", "masked", "max_pool", "max_pool_backward", "mean_pool",
           "mean_pool_backward", "momentum", "sgd", "softmax_cross_entropy",
           "softmax_cross_entropy_backward", "squares", "statistics"}
# Instructions of a thread for sm_80 in float32: 3x3 windows of stride 1 (all nine taps), pools of
# 2x2. Index arithmetic in 64 bits made it 1,260 and 850 for the columns and the way back.
BOUNDS = {"columns": 230, "columns_back": 240, "max_pool": 170, "max_pool_backward": 230}
UPDATES = (lambda p: SGD(p, 0.1), lambda p: SGD(p, 0.1, momentum=0.9), RMSprop, Adam)


@pytest.fixture(scope="module")
def own_sources() -> set[tuple[str, str]]:
    """Name and source of every kernel of the library, for all types that it is made for."""
    for dtype in DTYPES:
        test_gpu.test_batch_norm((2, 3, 4, 4), True, dtype, "c")
        test_gpu.test_convolution((1, 2, 4, 4), (2, 2, 3, 3), ((1, 1), (1, 1), (1, 1), 1),
                                     dtype, "c")
        pools = (1, 1, 4, 4), ((2, 2), (2, 2), (0, 0))
        test_gpu.test_max_pool(*pools, "c", dtype, False)
        test_gpu.test_mean_pool(*pools, dtype, "c")
        test_gpu.test_softmax_cross_entropy(dtype)
        test_gpu.test_masked(dtype)
        for make in UPDATES:
            p = Tensor(xp.ones(3, dtype), requires_grad=True)
            p.grad = Tensor(p.data)
            make([p]).step()
    random.bits(random.key(1, np.arange(2)), 3)
    random.mask(1, 0.5, 3)
    return {(name.removeprefix("tinynet_"), source) for name, source in compiler.sources
            if name.startswith("tinynet_")}


def test_every_kernel_is_among_them(own_sources: set[tuple[str, str]]) -> None:
    for type_ in ("float16", "float", "double"):
        made = {name for name, source in own_sources if f"typedef {type_} T;" in source}
        assert made >= KERNELS, type_
    assert {name for name, _ in own_sources} == KERNELS | {"hash", "mask"}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_they_compile(architecture: str, own_sources: set[tuple[str, str]]) -> None:
    for _, source in sorted(own_sources):
        assert compiler.nvrtc(source, architecture)


@pytest.mark.parametrize("name", BOUNDS)
def test_instructions_of_a_thread(name: str, own_sources: set[tuple[str, str]]) -> None:
    """Of 3x3 filters and 2x2 pools of stride, padding and dilation as in net S."""
    size, stride = (3, 1) if "columns" in name else (2, 2)
    usual = [f"const I {what} = {n};" for what, n in (("KH", size), ("KW", size),
                                                     ("SH", stride), ("SW", stride))]
    sources = [text for kernel, text in own_sources if kernel == name
               and "typedef float T;" in text and "typedef int I;" in text
               and all(line in text for line in usual)]
    counts = []
    for source in sources:  # other tests of this process have compiled other strides
        found = compiler.instructions(compiler.nvrtc(source, "sm_80"))
        assert list(found) == [f"tinynet_{name}"]
        counts.append(found[f"tinynet_{name}"])
    assert counts and min(counts) > 50 and min(counts) <= BOUNDS[name]


def test_a_mistake_does_not_compile() -> None:
    from cupy.cuda.compiler import CompileException

    wrong: Any = 'extern "C" __global__ void f(float* x) { x[0] = no_such_name; }'
    with pytest.raises(CompileException, match='identifier "no_such_name" is undefined'):
        compiler.nvrtc(wrong, "sm_80")
