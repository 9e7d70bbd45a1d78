"""The switch: what it accepts, how it refuses, and what crosses it.

Refusals are tried in fresh processes with small stand-ins for the `cupy` package.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

import tinynet as tn
from tinynet import Tensor, data, functional as F
from tinynet.backend import (
    accumulator,
    add_up,
    as_float,
    asarray,
    check_range,
    float_dtype,
    get_default_dtype,
    is_array,
    on_gpu,
    set_default_dtype,
    synchronize,
    to_numpy,
    wide,
    xp,
)

Run = Callable[..., "subprocess.CompletedProcess[str]"]

# A CuPy on NumPy: its arrays are a subclass, so that the library can tell them from NumPy's.
WORKING = '''
import types
import numpy as np
class ndarray(np.ndarray):
    pass
def _upload(*args, **kw): return np.array(*args, **kw).view(ndarray)
def asarray(x, dtype=None): return _upload(x, dtype=dtype)
def asnumpy(x): return np.array(x).view(np.ndarray)
def ones(shape, dtype="f8"): return _upload(np.ones(shape, dtype))
def zeros(shape, dtype="f8"): return _upload(np.zeros(shape, dtype))
waited = []
class Device:
    def synchronize(self): waited.append(1)
__version__ = "14.2.0"
__getattr__ = lambda name: getattr(np, name)
def _properties(i): return {"name": b"Stand-in GPU", "major": 9, "minor": 0}
runtime = types.SimpleNamespace(getDeviceCount=lambda: 1, getDeviceProperties=_properties,
                                memGetInfo=lambda: (2**33, 2**34), driverGetVersion=lambda: 13010)
def _version(): raise RuntimeError("libnvrtc.so is not found\\nand more")
cuda = types.SimpleNamespace(runtime=runtime, Device=Device,
                             nvrtc=types.SimpleNamespace(getVersion=_version))
'''
FAIL = '''
def _fail(*args, **kw): raise {error}
'''

# what is missing -> (what its CuPy does, words the error must say, what it must not advise)
BROKEN = {
    "wheel": ("raise ModuleNotFoundError(\"No module named 'cupy'\")",
              ["CuPy wheel is missing", "No module named 'cupy'",
               'pip install "cupy-cuda12x[ctk]"', "cupy-cuda13x[ctk]"], "driver"),
    "driver": (WORKING + FAIL.format(error="RuntimeError('cudaErrorInsufficientDriver: CUDA driver "
               "version is insufficient for CUDA runtime version')")
               + "runtime.getDeviceCount = _fail",
               ["driver is missing", "cudaErrorInsufficientDriver", "nvidia-smi"], "pip install"),
    "device": (WORKING + FAIL.format(error="RuntimeError('cudaErrorNoDevice: no CUDA-capable "
               "device is detected')") + "runtime.getDeviceCount = _fail",
               ["no GPU device was found", "cudaErrorNoDevice", "nvidia-smi"], "pip install"),
    "device count": (WORKING + "runtime.getDeviceCount = lambda: 0",
                     ["no GPU device was found", "device count is 0", "nvidia-smi"], "pip install"),
    "compiler": (WORKING + FAIL.format(error="RuntimeError('Failed to find CUDA headers.')")
                 + "ones = _fail",
                 ["kernel compiler", "NVRTC", "Failed to find CUDA headers", "[ctk]"], "driver"),
    "BLAS": (WORKING + FAIL.format(error="ImportError('Failure finding \"libcublasLt.so.12\"')")
             + "ndarray.__matmul__ = _fail",
             ["BLAS (cuBLAS) fails", "libcublasLt.so.12", "[ctk]"], "driver"),
    "right BLAS": (WORKING + "ndarray.__matmul__ = lambda a, b: a * 0",
                   ["BLAS is wrong", "sums to 0.0", "[ctk]"], "driver"),
}


def _fake_cupy(folder: Path, source: str) -> dict[str, str]:
    (folder / "cupy.py").write_text(source)
    return {"TINYNET_BACKEND": "cupy", "PYTHONPATH": str(folder)}


@pytest.mark.parametrize("missing", BROKEN)
def test_cupy_that_cannot_work_is_refused_at_import(
        missing: str, tmp_path: Path, run_python: Run) -> None:
    source, says, unsaid = BROKEN[missing]
    result = run_python("-c", "import tinynet", env=_fake_cupy(tmp_path, source))
    assert result.returncode == 1
    error = result.stderr.splitlines()[-1]  # the one line that a user reads
    assert error.startswith("RuntimeError: TINYNET_BACKEND=cupy, but ")
    for words in says:
        assert words in error
    assert unsaid not in error
    assert error.endswith("Or unset TINYNET_BACKEND to run on NumPy.")


def test_working_cupy_is_used(tmp_path: Path, run_python: Run) -> None:
    script = """
import cupy, numpy as np
from tinynet.backend import asarray, check_range, is_array, name, on_gpu, synchronize, to_numpy, xp
assert (name, on_gpu, xp) == ("cupy", True, cupy)
x = asarray([1.0, 2.0])
assert is_array(x) and x.dtype == np.float32
assert not is_array(np.ones(3)) and is_array(asarray(np.ones(3)))
assert type(to_numpy(x)) is np.ndarray and type(to_numpy([1, 2])) is np.ndarray
synchronize(); assert cupy.waited == [1]
check_range("labels", asarray([99]), 10)  # on the device: not read back
try: check_range("labels", np.array([99]), 10)
except ValueError: print("ok")
"""
    result = run_python("-c", script, env=_fake_cupy(tmp_path, WORKING))
    assert result.stdout == "ok\n", result.stderr


def test_main_names_the_gpu(tmp_path: Path, run_python: Run) -> None:
    result = run_python("-m", "tinynet", env=_fake_cupy(tmp_path, WORKING))
    assert "backend       cupy 14.2.0\n" in result.stdout, result.stderr
    assert "device        Stand-in GPU, compute capability 9.0\n" in result.stdout
    assert "memory        8.0 of 16.0 GiB free\ndriver        CUDA 13.1\n" in result.stdout
    assert "compiler      NVRTC FAILS: libnvrtc.so is not found\n" in result.stdout
    assert "kernel        runs\nproduct       runs\n" in result.stdout


@pytest.mark.parametrize("value", ["torch", "numpy,cupy", "0"])
def test_unknown_backend_lists_the_valid_ones(value: str, run_python: Run) -> None:
    result = run_python("-c", "import tinynet", env={"TINYNET_BACKEND": value})
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == \
        f"ValueError: TINYNET_BACKEND={value!r}: choose one of numpy, cupy."


@pytest.mark.parametrize("value", ["", "numpy", " NumPy "])
def test_numpy_is_the_default_and_case_does_not_matter(value: str, run_python: Run) -> None:
    script = "import tinynet.backend, sys; print(sys.modules['tinynet.backend'].name)"
    assert run_python("-c", script, env={"TINYNET_BACKEND": value}).stdout == "numpy\n"


def test_default_dtype_is_float32_and_can_be_changed() -> None:
    assert get_default_dtype() == np.float32
    for dtype in ("float64", np.float16, np.dtype("f4")):
        set_default_dtype(dtype)
        assert get_default_dtype() == np.dtype(dtype)
    for wrong in (np.int64, bool, "complex128"):
        with pytest.raises(TypeError, match=r"must be a float type, got .*: use float32"):
            set_default_dtype(wrong)
    assert get_default_dtype() == np.float32


def test_asarray_gives_python_floats_the_default_dtype_and_leaves_arrays_alone() -> None:
    assert asarray(1.5).dtype == np.float32
    assert asarray([[1.0, 2.0]]).dtype == np.float32
    assert asarray([1, 2]).dtype == np.int64
    assert asarray([True]).dtype == bool
    assert asarray(np.ones(3)).dtype == np.float64
    assert asarray(np.float64(1)).dtype == np.float64
    assert asarray([1, 2], np.float16).dtype == np.float16
    assert asarray(np.ones(3), "f4").dtype == np.float32
    set_default_dtype(np.float64)
    assert asarray([0.1]).dtype == np.float64 and asarray([0.1])[0] == 0.1
    set_default_dtype(np.float32)


def test_asarray_does_not_copy_what_is_right_already() -> None:
    x = xp.ones((2, 3))
    assert asarray(x) is x
    assert asarray(x, xp.float64) is x
    if not on_gpu:
        assert to_numpy(x) is x


@pytest.mark.parametrize("wrong", [None, "text", object(), [1, None], {"a": 1}])
def test_asarray_refuses_what_is_no_number(wrong: object) -> None:
    with pytest.raises(TypeError, match=r"cannot make an array of .*: its items are not numbers"):
        asarray(wrong)


def test_asarray_refuses_ragged_lists() -> None:
    with pytest.raises(ValueError, match=r"cannot make an array of list: .*inhomogeneous"):
        asarray([[1.0, 2.0], [3.0]])


@pytest.mark.cupy_only
def test_an_upload_says_what_does_not_fit_into_memory() -> None:
    with pytest.raises(MemoryError, match=r"making an array of int8 \(1048576, 1048576\) ran out "
                                          r"of memory: .*[^.]\. Use a smaller batch; or .* or "):
        asarray(np.broadcast_to(np.int8(1), (1 << 20, 1 << 20)), np.float64)  # 8 TiB


def test_is_array_knows_the_backend_s_own() -> None:
    assert is_array(xp.zeros(2)) and not is_array([0.0]) and not is_array(1.0)
    synchronize()


@given(st.lists(st.integers(-3, 12), max_size=20), st.integers(1, 10))
def test_check_range_finds_the_first_offender(values: list[int], upper: int) -> None:
    offenders = [(i, v) for i, v in enumerate(values) if not 0 <= v < upper]
    if not offenders:
        check_range("labels", np.array(values, np.int64), upper)
        return
    place, value = offenders[0]
    with pytest.raises(ValueError) as caught:
        check_range("labels", np.array(values, np.int64), upper, "Count classes from 0.")
    assert str(caught.value) == (f"labels must lie in 0..{upper - 1}, got {value} at position "
                                 f"{place}. Count classes from 0.")


def test_check_range_takes_lists_empty_arrays_and_unsigned_integers() -> None:
    check_range("labels", [0, 9], 10)
    check_range("labels", np.zeros(0, np.uint8), 10)
    check_range("labels", np.array([[255]], np.uint8), 256)
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.9, got 10 at position 3"):
        check_range("labels", np.array([[0, 1], [2, 10]], np.uint8), 10)


def test_check_range_wants_integers() -> None:
    with pytest.raises(TypeError, match=r"labels must be integers, got float64\. Use astype\.$"):
        check_range("labels", np.array([0.0, 1.0]), 10, "Use astype.")


@pytest.mark.parametrize(("dtype", "wanted"), [
    ("float16", "float32"), ("float32", "float32"), ("float64", "float64"), ("bool", "int64"),
    ("int8", "int64"), ("int32", "int64"), ("uint8", "uint64"), ("uint32", "uint64")])
def test_one_rule_says_in_which_dtype_numbers_are_added_up(dtype: str, wanted: str) -> None:
    x = xp.ones(3, dtype)
    assert accumulator(x.dtype) == wanted
    assert add_up(x).dtype == ("float16" if dtype == "float16" else wanted)
    assert float_dtype(x.dtype) == as_float(x).dtype == (dtype if "float" in dtype else "float32")
    assert wide(x).dtype == ("float64" if dtype == "float64" else "float32")


def test_what_is_added_up_in_float32_is_rounded_once() -> None:
    assert float(add_up(xp.ones(60_000, np.float16))) == 60_000
    assert as_float(True) == 1.0 and isinstance(as_float(2), float)


def test_of_numpy_s_subclasses_the_plain_array_is_taken(tmp_path: Path) -> None:
    matrix = np.asarray([[1.0, 2.0], [3.0, 4.0]]).view(np.matrix)
    stored = np.memmap(tmp_path / "x", "f8", "w+", shape=(2, 2))
    stored[...] = matrix
    for x in (matrix, stored):
        for made in (tn.tensor(x), Tensor(x), tn.zeros_like(x) + x):
            assert type(made.data) is xp.ndarray
            assert (made * made).tolist() == [[1.0, 4.0], [9.0, 16.0]]  # and no matrix product
        assert type(tn.exp(x)) is type(tn.add(x, x)) is xp.ndarray
        assert (Tensor(xp.ones((2, 2))) * x).tolist() == [[1.0, 2.0], [3.0, 4.0]]
        assert (x * Tensor(xp.ones((2, 2)))).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert tn.tensor([1.0, 2.0])[np.asarray([[0, 1]]).view(np.matrix)].shape == (1, 2)


@pytest.mark.numpy_only("CuPy has arrays in the machine's order alone")
@pytest.mark.parametrize("raw", [False, True], ids=["tensor", "array"])
@pytest.mark.parametrize("dtype", [">f2", ">f4", ">f8", ">i2", ">u8"])
def test_bytes_in_the_other_order_give_the_same_sums_in_the_machines_order(dtype: str,
                                                                           raw: bool) -> None:
    """Small, and so large that the sum is made in blocks or in float64."""
    for rows in (3, 20_000):
        x = (np.arange(2 * rows).reshape(rows, 2) % 5).astype(dtype)
        for f in (tn.sum, tn.mean, tn.var, tn.std, tn.norm, lambda x, axis: tn.cumsum(x, axis)):
            given = x if raw else Tensor(x)
            native = x.astype(x.dtype.newbyteorder("="))
            found, wanted = to_numpy(f(given, axis=0)), to_numpy(f(native, axis=0))
            assert raw or found.dtype.isnative
            np.testing.assert_array_equal(found, wanted)
    assert tn.zeros(2, dtype=">f4").dtype.isnative and tn.tensor([1.0], dtype=">f4").dtype.isnative


def test_a_masked_array_is_refused_since_its_mask_would_be_forgotten() -> None:
    masked = np.ma.masked_array([1.0, 2.0], [True, False])
    calls: list[Callable[[], object]] = [
        lambda: Tensor(masked), lambda: tn.tensor(masked), lambda: tn.exp(masked),
        lambda: Tensor(xp.ones(2)) + masked, lambda: masked + Tensor(xp.ones(2)),
        lambda: Tensor(xp.ones(2)).copy_(masked), lambda: Tensor(xp.ones(2))[masked > 1],
        lambda: F.mse_loss(Tensor(xp.ones(2)), masked), lambda: tn.sum(masked),
        lambda: F.cross_entropy(Tensor(xp.ones((2, 3))), np.ma.masked_array([0, 1], [1, 0])),
        lambda: tn.one_hot(np.ma.masked_array([0, 1], [1, 0]), 2), lambda: to_numpy(masked),
        lambda: data.DataLoader(masked, np.zeros(2, int)),
        lambda: data.DataLoader(np.zeros(2), np.ma.masked_array([0, 1], [1, 0])),
        lambda: data.from_arrays(masked.reshape(2, 1, 1, 1), np.zeros(2, int)),
        lambda: data.from_arrays(np.zeros((2, 1, 1, 1)), np.ma.masked_array([0, 1], [1, 0]))]
    for call in calls:
        with pytest.raises(TypeError, match=r"masked array of shape .* give x.filled\(value\)"):
            call()


@pytest.mark.parametrize("values", [["a"], [None], np.array(["a"]), np.array([{}], object),
                                    np.array(["2020-01-01"], "M8[D]"),
                                    np.zeros(2, [("x", "f4")])],
                         ids=["text", "None", "array of text", "objects", "dates", "records"])
def test_what_holds_no_numbers_is_no_tensor(values: object) -> None:
    with pytest.raises(TypeError, match="are not numbers"):
        Tensor(values)
