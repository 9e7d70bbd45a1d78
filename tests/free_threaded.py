"""The suite on a free-threaded Python (3.13t, 3.14t), in an environment of its own.

    python -m tests.free_threaded python3.13t ../free              all tests
    python -m tests.free_threaded python3.13t ../free -m slow      what follows is pytest's

makes an environment in ../free, installs there what the tests need, as far as it has wheels, and
runs them. `NO_WHEELS` have none: in place of safetensors, which reads the files of saved models,
the tests find `stand_ins/safetensors`. `LEFT_OUT` are the tests that are not run, and why.
That the losses of a training are those of an ordinary Python, bit for bit, and the time of a step:

    python -m bench.against --python ../free/bin/python
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

NO_WHEELS = ("safetensors",)
LEFT_OUT = {
    "tests/test_architecture.py::test_import_loads_numpy_alone_and_is_quick":
        "its seconds are those of an ordinary Python, built with profiles",
}


def requirements() -> list[str]:
    """What pip is asked for: the dependencies, and those of the tests, that have wheels."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    optional = project["optional-dependencies"]
    wanted = [*project["dependencies"], *optional["test"], *optional["mpi"]]
    return [line for line in wanted if not line.startswith(NO_WHEELS)]


def main(python: str, folder: str, *arguments: str) -> int:
    """The exit status of pytest."""
    own = str(Path(folder).absolute() / "bin" / "python")
    subprocess.run([python, "-m", "venv", folder], check=True)
    if subprocess.run([own, "-c", "import sys; sys.exit(sys._is_gil_enabled())"],
                      stderr=subprocess.DEVNULL, check=False).returncode:
        sys.exit(f"{python} is no free-threaded Python, or PYTHON_GIL=1 is set")
    subprocess.run([own, "-m", "pip", "install", "-qq", "--only-binary", ":all:",
                    *requirements()], check=True)
    packages = subprocess.run([own, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
                              capture_output=True, text=True, check=True).stdout.strip()
    # Where the processes that tests start find it, too, whatever their variables.
    (Path(packages) / "stand_ins.pth").write_text(f"{ROOT / 'tests' / 'stand_ins'}\n")
    left_out = [f"--deselect={test}" for test in LEFT_OUT]
    return subprocess.run([own, "-m", "pytest", *left_out, *arguments], cwd=ROOT,
                          env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False).returncode


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
