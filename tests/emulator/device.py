"""The CUDA runtime and driver, on host memory.

CuPy's compiled modules call CUDA through C functions that `cupy_backends.cuda.api.runtime` and
`.driver` publish in a table of capsules (Cython's ``__pyx_capi__``). The other modules read the
table when they are imported. So a table changed before `import cupy` changes them all: here every
entry that a program without a GPU could reach becomes a Python function of this file, wrapped as C.
Device memory is host memory, a copy is `memmove`, and a launch calls the function that
`compiler.py` made of the kernel. Read next: `compiler.py`.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from itertools import count
from types import ModuleType
from typing import Any

from . import record
from .counts import counts

MEMORY = 8 << 30  # bytes the device says it has

ATTRIBUTES = {  # of the device, by CUDA's numbers: those that CuPy asks for
    1: 1024, 2: 1024, 5: 2**31 - 1,  # threads of a block, its width, blocks of a grid
    8: 49152, 97: 167936,  # bytes of shared memory of a block; at most
    10: 32, 16: 108, 39: 2048,  # warp size, multiprocessors, threads of one
    75: 8, 76: 0,  # compute capability
    106: 32, 115: 1,
}

_libc = ctypes.CDLL(None)
_libc.calloc.restype = ctypes.c_void_p
_libc.calloc.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
_libc.free.argtypes = [ctypes.c_void_p]

_modules: dict[int, str] = {}  # handle of a module: the file that the compiler made
_functions: dict[int, tuple[str, Any, str]] = {}  # handle of a function: name, how to call, file
_handles = count(1000)
_reverse = False


def _handle(*_: Any) -> int:
    return next(_handles)


def _nothing(*_: Any) -> None:
    pass


def _synchronise(*_: Any) -> None:
    counts.syncs += 1


# Memory


def _host_alloc(size: int, *_: Any) -> int:
    return int(_libc.calloc(1, max(size, 1)))


def _alloc(size: int, *_: Any) -> int:
    counts.allocations += 1
    return _host_alloc(size)


def _free(pointer: int, *_: Any) -> None:
    _libc.free(pointer)


def _copy(target: int, source: int, size: int, kind: int, *stream: Any) -> None:
    """`kind` is cudaMemcpyKind: 1 up, 2 down, 3 on the device."""
    if kind == 1:
        counts.h2d += 1
    elif kind == 2:
        counts.d2h += 1
        counts.syncs += not stream  # else CuPy waits for the stream itself
    elif kind == 3:
        counts.d2d += 1
    ctypes.memmove(target, source, size)


def _fill(pointer: int, value: int, size: int, *_: Any) -> None:
    ctypes.memset(pointer, value, size)


# Kernels


def _load_module(image: bytes) -> int:
    handle = _handle()
    _modules[handle] = image.decode()
    return handle


def _get_function(module: int, name: str) -> int:
    # PyDLL keeps the interpreter lock: kernels have one set of thread numbers in all
    run = getattr(ctypes.PyDLL(_modules[module]), f"run_{name}")
    run.argtypes, run.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int], None
    handle = _handle()
    _functions[handle] = name, run, _modules[module]
    return handle


def _launch(function: int, *arguments: Any) -> None:
    """arguments: grid (3), block (3), bytes of shared memory, stream, pointers to values."""
    name, run, file = _functions[function]
    counts.launched(name)
    record.launched(name, file, arguments)
    if not record.dry:
        run(arguments[8], (ctypes.c_uint * 6)(*arguments[:6]), _reverse)


RUNTIME: dict[str, Callable[..., Any]] = {
    "getDevice": lambda: 0,
    "getDeviceCount": lambda: 1,
    "setDevice": _nothing,
    "_ensure_context": _nothing,
    "deviceGetAttribute": lambda attribute, device: ATTRIBUTES.get(attribute, 0),
    "driverGetVersion": lambda: 12090,
    "deviceCanAccessPeer": lambda a, b: 0,
    "deviceGetPCIBusId": lambda device: "0000:00:00.0",
    "getDeviceProperties": lambda device: {
        "name": b"Emulated GPU", "major": 8, "minor": 0, "multiProcessorCount": 108,
        "warpSize": 32, "totalGlobalMem": MEMORY},
    "deviceSynchronize": _synchronise,
    "streamSynchronize": _synchronise,
    "eventSynchronize": _synchronise,
    "streamQuery": lambda stream: 0,  # done
    "eventQuery": lambda event: 0,
    "eventRecord": lambda event, stream: counts.recorded(),
    "streamWaitEvent": lambda stream, event, *flags: counts.waited(),
    "eventCreate": _handle,
    "eventCreateWithFlags": _handle,
    "streamCreate": _handle,
    "streamCreateWithFlags": _handle,
    "streamCreateWithPriority": _handle,
    "streamDestroy": _nothing,
    "eventDestroy": _nothing,
    "eventElapsedTime": lambda start, end: 1.0,
    "streamIsCapturing": lambda stream: 0,
    "malloc": _alloc,
    "mallocAsync": _alloc,
    "free": _free,
    "freeAsync": _free,
    "hostAlloc": _host_alloc,
    "freeHost": _free,
    "memcpy": _copy,
    "memcpyAsync": _copy,
    "memset": _fill,
    "memsetAsync": _fill,
    "memGetInfo": lambda: (MEMORY, MEMORY),
    "pointerGetMemoryType": lambda pointer: 2,
    "profilerStart": _nothing,
    "profilerStop": _nothing,
}
DRIVER: dict[str, Callable[..., Any]] = {
    "ctxGetCurrent": lambda: 1,
    "ctxGetDevice": lambda: 0,
    "moduleLoadData": _load_module,
    "moduleUnload": _nothing,
    "moduleGetFunction": _get_function,
    "launchKernel": _launch,
    "funcGetAttribute": lambda attribute, function: 1024,
    "funcSetAttribute": _nothing,
    "occupancyMaxActiveBlocksPerMultiprocessor": lambda function, block, shared: 2,
    "occupancyMaxPotentialBlockSize": lambda function, shared, limit: (1, 1024),
}


# The table of C functions

_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_signature_of = ctypes.pythonapi.PyCapsule_GetName
_signature_of.restype, _signature_of.argtypes = ctypes.c_char_p, [ctypes.py_object]

C_TYPES = {
    "PyObject *": ctypes.py_object, "int": ctypes.c_int, "unsigned int": ctypes.c_uint,
    "size_t": ctypes.c_size_t, "intptr_t": ctypes.c_ssize_t, "uintmax_t": ctypes.c_ulonglong,
    "float": ctypes.c_float, "cudaMemcpyKind": ctypes.c_int, "CUdevice": ctypes.c_int,
}
_alive: list[Any] = []  # CuPy keeps pointers to these until the process ends


def _replace(module: ModuleType, name: str, function: Callable[..., Any]) -> None:
    """Make `function` the C function and the Python function `name` of `module`."""
    if hasattr(module, name):
        setattr(module, name, function)
    capsule = module.__pyx_capi__.get(name)
    if capsule is None:
        return
    signature = _signature_of(capsule)  # such as b"PyObject *(int, int __pyx_skip_dispatch)"
    result, _, listed = signature.decode().partition("(")
    result = result.strip()
    names = [part.strip() for part in listed.rstrip(")").split(",")]
    own = [n for n in names if n != "void" and "__pyx_skip_dispatch" not in n
           and "opt_args" not in n]
    types = [C_TYPES[n] if n in own else ctypes.c_void_p if "opt_args" in n else ctypes.c_int
             for n in names if n != "void"]
    is_object, wanted = result == "PyObject *", len(own)

    def call(*arguments: Any, is_ending: Callable[[], bool] = sys.is_finalizing) -> Any:
        if is_ending():  # this module's names are gone
            return True if is_object else 0
        value = function(*arguments[:wanted])
        # ctypes would drop a reference to None that it does not own
        return True if is_object and value is None else value

    wrapped = ctypes.PYFUNCTYPE(C_TYPES[result], *types)(call)
    for thing in (wrapped, call):  # CuPy calls them to the very end: never freed
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
    _alive.append((wrapped, signature))
    address = ctypes.cast(wrapped, ctypes.c_void_p).value
    module.__pyx_capi__[name] = _new_capsule(address, signature, None)


def patch(reverse: bool) -> None:
    """Replace the functions of both modules."""
    global _reverse
    from cupy_backends.cuda.api import driver, runtime

    _reverse = reverse
    for module, table in ((runtime, RUNTIME), (driver, DRIVER)):
        for name, function in table.items():
            _replace(module, name, function)
