"""A Python as a browser has it, with NumPy alone and no threads: `BARE` runs before a script."""

from __future__ import annotations

import subprocess
import sys

from tests.processes import ROOT, environment

HIDDEN = ("tqdm", "safetensors", "threadpoolctl", "matplotlib", "pooch", "requests", "PIL")

BARE = f"""
import sys, threading

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HIDDEN}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

def refuse(thread):
    raise RuntimeError("can't start new thread")

sys.meta_path.insert(0, Hide())
sys.platform = "emscripten"
threading.Thread.start = refuse
"""


def run_bare(script: str, *args: object, seconds: float = 300.0) -> str:
    """What the script prints, standard error included; it must end well."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", BARE + script, *map(str, args)],
                          cwd=ROOT, env=environment(), text=True, timeout=seconds,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout
