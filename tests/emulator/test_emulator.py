"""The emulator: values, counts, thread orders, and what it refuses."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import emulator
from tests.arrays import close, equal
from tests.emulator import KNOWN, check_version, counting
from tinynet.backend import on_gpu, xp

emulated = pytest.mark.emulated
Run = Callable[..., "subprocess.CompletedProcess[str]"]


# What it refuses

@pytest.mark.parametrize("version", ["13.6.0", "14.1.0", "14.20.0", "15.0.0a1"])
def test_other_versions_of_cupy_are_refused(version: str) -> None:
    with pytest.raises(RuntimeError, match=rf"knows CuPy {re.escape(KNOWN[0])}, but {version}"):
        check_version(version)
    check_version("14.2.0")
    check_version("14.2.7")


def _pytest(backend: str, *args: str) -> str:
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.emulator.plugin", "--co", "-q", *args],
        env=os.environ | {"TINYNET_BACKEND": backend}, text=True, capture_output=True,
        cwd=Path(__file__).parents[2], check=False)
    return result.stdout + result.stderr


def test_the_plugin_wants_cupy_to_be_asked_for() -> None:
    assert "set TINYNET_BACKEND=cupy" in _pytest("numpy", "tests/ops")


def test_a_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator, "WHEELS", ("no-such-wheel",))
    with pytest.raises(RuntimeError, match=r"not installed: `pip install -e .*emulate"):
        emulator.found_version()


def test_installed_says_whether_this_process_is_emulated() -> None:
    assert on_gpu or not emulator.installed()


# Values

def numbers(*shape: int, dtype: str = "f4") -> Any:
    return np.random.default_rng(len(shape)).normal(size=shape).astype(dtype)


@emulated
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_values_are_numpys(dtype: str) -> None:
    a, b = numbers(5, 4, 3, dtype=dtype), numbers(4, 1, dtype=dtype)
    x, y, rtol = xp.asarray(a), xp.asarray(b), 4e-3 if dtype == "f2" else 1e-6
    for f in (lambda a, b: a * b + 1, lambda a, b: np.exp(a).sum(1), lambda a, b: a.max((0, 2)),
              lambda a, b: a.argmax(1), lambda a, b: np.sort(a, axis=-1), lambda a, b: a.cumsum(0),
              lambda a, b: np.argsort(a, axis=-1), lambda a, b: a.T[1:, ::2], lambda a, b: a > b,
              lambda a, b: np.where(a > 0, a, b), lambda a, b: a.reshape(5, 12) @ a.reshape(12, 5),
              lambda a, b: a[1].T @ a[2], lambda a, b: a[:, :, 1].T @ a[:, :, 2],
              lambda a, b: a.swapaxes(1, 2) @ a, lambda a, b: a @ a[0].T,
              lambda a, b: np.tensordot(a, a, ((0, 1), (0, 1)))):
        assert close(f(x, y), f(a, b), rtol=rtol, atol=rtol * 10)


@emulated
@pytest.mark.parametrize("name", ["cholesky", "solve", "eigh"])
def test_small_systems(name: str) -> None:
    a, b = numbers(4, 4, dtype="f8"), numbers(4, dtype="f8")
    a = a @ a.T + np.eye(4)
    given = (a, b) if name == "solve" else (a,)
    found = getattr(xp.linalg, name)(*map(xp.asarray, given))
    wanted = getattr(np.linalg, name)(*given)
    assert close(found[0], wanted[0]) and close(found[-1], wanted[-1])
    bad = xp.linalg.cholesky(-xp.eye(3))
    assert bool(xp.isnan(bad).all())  # CuPy does not raise


SUM = r"""
extern "C" __global__ void block_sums(const float* x, float* out, int n) {
  extern __shared__ float part[];
  int t = threadIdx.x, i = blockIdx.x * blockDim.x + t;
  part[t] = i < n ? x[i] : 0;
  __syncthreads();
  for (int k = blockDim.x / 2; k > 0; k /= 2) {
    if (t < k) part[t] += part[t + k];
    __syncthreads();
  }
  if (t == 0) out[blockIdx.x] = part[0];
}
extern "C" __global__ void warp_sums(const float* x, float* out) {
  float v = x[blockIdx.x * 64 + threadIdx.x];
  for (int k = 16; k > 0; k /= 2) v += __shfl_down_sync(0xffffffff, v, k);
  if (threadIdx.x % 32 == 0) atomicAdd(out + blockIdx.x, v);
}
extern "C" __global__ void race(int* out) { out[0] = threadIdx.x; }
"""


@emulated
@pytest.mark.parametrize("reverse", [False, True])
def test_kernels_with_barriers_shuffles_and_atomics(reverse: bool, monkeypatch: pytest.MonkeyPatch
                                                    ) -> None:
    from tests.emulator import device

    monkeypatch.setattr(device, "_reverse", reverse)
    module = xp.RawModule(code=SUM)
    x = xp.arange(256, dtype="f4")
    out = xp.zeros(4, "f4")
    module.get_function("block_sums")((4,), (64,), (x, out, np.int32(256)), shared_mem=256)
    assert equal(out, x.reshape(4, 64).sum(1))
    out[:] = 0
    module.get_function("warp_sums")((4,), (64,), (x, out))
    assert equal(out, x.reshape(4, 64).sum(1))


@emulated
def test_the_reverse_order_shows_what_depends_on_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.emulator import device

    race = xp.RawModule(code=SUM).get_function("race")
    found = []
    for reverse in (False, True):
        monkeypatch.setattr(device, "_reverse", reverse)
        out, x, total = xp.zeros(1, int).astype("i4"), xp.zeros(3), xp.zeros(3)
        race((1,), (32,), (out,))
        x[xp.array([1, 1, 1])] = xp.array([5.0, 6.0, 7.0])  # undefined in CuPy
        xp.add.at(total, xp.array([1, 1, 1]), xp.array([5.0, 6.0, 7.0]))
        found.append((int(out[0]), float(x[1])))
        assert total.tolist() == [0.0, 18.0, 0.0]
    assert found == [(31, 7.0), (0, 5.0)]


@emulated
def test_a_kernel_that_does_not_compile_is_named() -> None:
    with pytest.raises(RuntimeError, match=r"g\+\+ cannot compile wrong"):
        xp.ElementwiseKernel("T x", "T y", "y = no_such_name", "wrong")(xp.zeros(2))


@emulated
def test_several_may_compile_the_same_kernel_at_once(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from tests.emulator import compiler

    monkeypatch.setattr(compiler, "CACHE", tmp_path / "cache")
    source = "__global__ void f(int* x) { x[0] = 1; }"
    with ThreadPoolExecutor(3) as pool:
        made = set(pool.map(lambda _: compiler.build(source, ["f"], (), str(tmp_path)), range(3)))
    assert made == {*(tmp_path / "cache").iterdir()} and len(made) == 1


# Counts

@emulated
def test_what_is_counted() -> None:
    x = xp.ones(8, "f4")
    x + x, x @ x, x.sum()
    with counting() as traffic:
        y = xp.asarray(np.ones(8, "f4"))
    assert (traffic.h2d, traffic.launches, traffic.d2h) == (1, 0, 0)
    with counting() as traffic:
        y = (x + y).sum()
    assert (traffic.h2d, traffic.launches, traffic.d2h) == (0, 2, 0) and len(traffic.kernels) >= 2
    for read in (float, int, bool, str, lambda y: y.item(), lambda y: y.tolist(), xp.asnumpy):
        with counting() as traffic:
            read(y)
        assert (traffic.d2h, traffic.syncs) == (1, 1), read
    with counting() as traffic:
        x[x > 3]  # how many are there?
    assert traffic.d2h == 1
    with counting() as traffic:
        xp.cuda.Device().synchronize()
    assert (traffic.d2h, traffic.syncs) == (0, 1)
    a = xp.ones((8, 8))
    a @ a
    with counting() as traffic:
        a.T @ a
    assert traffic.launches == traffic.kernels["cublas.gemmEx"] == 1  # nothing is copied


@emulated
def test_child_processes_are_emulated_too(run_python: Run) -> None:
    script = "import tinynet as tn; print(tn.backend.name, float((tn.ones(3) * 2).sum()))"
    assert run_python("-c", script).stdout == "cupy 6.0\n"


@emulated
def test_what_is_not_emulated_says_so() -> None:
    from cupy_backends.cuda.libs import cublas

    with pytest.raises(AttributeError, match="the emulator has no cuBLAS function strsm"):
        cublas.strsm()
