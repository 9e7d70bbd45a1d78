"""CUDA kernels compiled by g++, to run on the CPU.

The source that CuPy generates is C++ but for a few words. `include/cuda_on_cpu.h` gives them a
meaning, and runs the threads of a block one after the other (as coroutines, where they wait for one
another). Compiled kernels are kept in ``~/.cache/tinynet-emulator`` (EMULATOR_CACHE).
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("EMULATOR_CACHE", "~/.cache/tinynet-emulator")).expanduser()
FLAGS = ["-std=c++17", "-O1", "-w", "-shared", "-fPIC"]
SHIM = (HERE / "include" / "cuda_on_cpu.h").read_text(encoding="utf-8")

_ENTRY = re.compile(r"__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(")
_SHARED = re.compile(r"extern\s+__shared__\s+([\w ]+?)\s+(\w+)\s*\[\s*\]\s*;")
_BARRIER = re.compile(r"__sync(threads|warp)|__shfl")

sources: set[tuple[str, str]] = set()  # name and source of every kernel compiled so far


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", name)


def build(source: str, names: Sequence[str], options: Sequence[str], include: str) -> Path:
    """The shared library with an entry run_NAME for each kernel."""
    body = _SHARED.sub(r"\1* \2 = (\1*)_dynamic_shared;", source)
    barriers = int(bool(_BARRIER.search(source)))
    exports = [f"EXPORT({_identifier(name)}, {barriers}, {name})" for name in names]
    text = "\n".join(['#include "cuda_on_cpu.h"', body, *exports, ""])
    defines = [option for option in options if option.startswith("-D")]
    key = hashlib.sha256(repr((text, defines, FLAGS, SHIM)).encode()).hexdigest()[:32]
    library = CACHE / f"{key}.so"
    if not library.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        # other processes and threads may compile the same
        draft = CACHE / f"{key}-{os.getpid()}-{threading.get_ident()}"
        draft.with_suffix(".cpp").write_text(text, encoding="utf-8")
        result = subprocess.run(
            ["g++", *FLAGS, f"-I{HERE / 'include'}", f"-I{include}", *defines, "-o", str(draft),
             str(draft.with_suffix(".cpp"))], capture_output=True, text=True, check=False)
        if result.returncode:
            raise RuntimeError(f"g++ cannot compile {', '.join(names)}:\n{result.stderr[:3000]}")
        draft.with_suffix(".cpp").unlink()
        draft.rename(library)
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
        module.load(str(build(source, name_expressions or entries, options, include)).encode())
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
