"""CUDA kernels compiled by g++, to run on the CPU.

The source that CuPy generates is C++ but for a few words. `include/cuda_on_cpu.h` gives them a
meaning, and runs the threads of a block one after the other (as coroutines, where they wait for one
another). Compiled kernels are kept in ``~/.cache/tinynet-emulator`` (EMULATOR_CACHE). Nearly all
begin with the same four headers of CuPy, which take g++ longer to read than the kernel itself: they
are compiled once, ahead (a quarter of the time then).
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import struct
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("EMULATOR_CACHE", "~/.cache/tinynet-emulator")).expanduser()
FLAGS = ["-std=c++17", "-O1", "-w", "-fPIC"]
SHIM = (HERE / "include" / "cuda_on_cpu.h").read_text(encoding="utf-8")

PRELUDE = "".join(f"#include <cupy/{name}>\n" for name in (
    "complex.cuh", "carray.cuh", "atomics.cuh", "math_constants.h"))

_ENTRY = re.compile(r"__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(")
_SHARED = re.compile(r"extern\s+__shared__\s+([\w ]+?)\s+(\w+)\s*\[\s*\]\s*;")
_BARRIER = re.compile(r"__sync(threads|warp)|__shfl")

texts: dict[str, str] = {}  # the source of each library
sources: set[tuple[str, str]] = set()  # name and source of every kernel compiled so far


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", name)


def _compile(what: str, text: str, ending: str, options: Sequence[str], target: Path) -> None:
    """g++ of `text`; other processes and threads may be at the same."""
    draft = CACHE / f"{target.stem}-{os.getpid()}-{threading.get_ident()}"
    written = draft.with_suffix(ending)
    written.write_text(text, encoding="utf-8")
    result = subprocess.run(["g++", *FLAGS, *options, "-o", str(draft), str(written)],
                            capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"g++ cannot compile {what}:\n{result.stderr[:3000]}")
    written.unlink()
    draft.rename(target)


def _key(*parts: Any) -> str:
    return hashlib.sha256(repr((*parts, FLAGS, SHIM)).encode()).hexdigest()[:32]


@functools.cache
def _prelude(include: str) -> Path:
    """A header that stands for cuda_on_cpu.h and CuPy's own, with its compiled form beside it."""
    header = CACHE / f"prelude-{_key(include)}.h"
    text = f'#include "cuda_on_cpu.h"\n{PRELUDE}'
    if not header.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        folders = [f"-I{HERE / 'include'}", f"-I{include}", "-x", "c++-header"]
        _compile("CuPy's headers", text, ".h", folders, header.with_suffix(".h.gch"))
        header.write_text(text, encoding="utf-8")  # g++ falls back on it
    return header


def build(source: str, names: Sequence[str], options: Sequence[str], include: str) -> Path:
    """The shared library with an entry run_NAME for each kernel."""
    body = _SHARED.sub(r"\1* \2 = (\1*)_dynamic_shared;", source)
    barriers = int(bool(_BARRIER.search(source)))
    exports = [f"EXPORT({_identifier(name)}, {barriers}, {name})" for name in names]
    text = "\n".join(['#include "cuda_on_cpu.h"', body, *exports, ""])
    defines = [option for option in options if option.startswith("-D")]
    library = CACHE / f"{_key(text, defines)}.so"
    if not library.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        flags = ["-shared", f"-I{HERE / 'include'}", f"-I{include}", *defines]
        if source.startswith(PRELUDE):
            flags += ["-include", str(_prelude(include))]
        _compile(", ".join(names), text, ".cpp", flags, library)
    return library


def patch() -> None:
    """Take the place of CuPy's compiler."""
    import cupy
    from cupy.cuda import compiler, function

    include = os.path.join(os.path.dirname(cupy.__file__), "_core", "include")

    def compile_module(source: str, options: Sequence[str] = (), *, arch: Any = None,
                       name_expressions: Sequence[str] | None = None, **_: Any) -> Any:
        entries = _ENTRY.findall(source)
        sources.update((name, source) for name in entries)
        module = function.Module()
        file = str(build(source, name_expressions or entries, options, include))
        texts[file] = source
        module.load(file.encode())
        module._set_mapping({name: _identifier(name) for name in name_expressions or ()})
        return module

    compiler._compile_module_with_cache = compile_module


def nvrtc(source: str, architecture: str) -> bytes:
    """The machine code of a kernel for a GPU such as "sm_80", by NVIDIA's compiler."""
    import cupy
    from cupy.cuda import compiler

    include = Path(cupy.__file__).parent / "_core" / "include"
    parts = [include / "cupy" / "_cccl" / name for name in ("cub", "thrust", "libcudacxx")]
    options = (*(f"-I{folder}" for folder in [include, *parts, *_cuda_headers()]),
               f"-arch={architecture}", "-std=c++17", "-ftz=true",
               "--device-as-default-execution-space")
    program = compiler._NVRTCProgram(source, method="cubin")
    return bytes(program.compile(options)[0])


def _cuda_headers() -> list[Path]:
    """Folders of CUDA's headers: of the wheel nvidia-cuda-runtime-cu12, or of a toolkit."""
    import site

    folders = [Path(place, "nvidia", "cuda_runtime", "include") for place in
               site.getsitepackages()]
    folders.append(Path(os.environ.get("CUDA_PATH", "/usr/local/cuda"), "include"))
    return [folder for folder in folders if folder.is_dir()]


def instructions(cubin: bytes) -> dict[str, int]:
    """How many instructions each kernel of a cubin has: 16 bytes each since sm_70."""
    (start,) = struct.unpack_from("<Q", cubin, 40)  # of the table of sections, in an ELF file
    size, number, names = struct.unpack_from("<3H", cubin, 58)
    sections = [struct.unpack_from("<2I4Q", cubin, start + k * size) for k in range(number)]
    found = {}
    for name, _, _, _, _, length in sections:
        place = sections[names][4] + name
        text = cubin[place : cubin.index(b"\0", place)].decode()
        if text.startswith(".text."):
            found[text.removeprefix(".text.")] = length // 16
    return found
