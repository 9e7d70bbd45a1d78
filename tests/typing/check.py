"""mypy --strict and pyright on a user's script: nothing wrong where it is right, and the reverse.

`python -m tests.typing.check`: both must report the lines that are marked "error:", and no other.
They find tinynet where a user's would: as it is installed. Part of CI's linting.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SCRIPT = Path(__file__).with_name("user_script.py")


def marked() -> set[int]:
    """The numbers of the lines that are wrong on purpose."""
    lines = SCRIPT.read_text(encoding="utf-8").splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# error:")}


def mypy(script: Path) -> set[int]:
    """The lines in which mypy --strict finds an error."""
    done = _run("mypy", "--strict", "--cache-dir", str(script.parent / "cache"), script.name,
                folder=script.parent)
    errors = [line for line in done.splitlines() if ": error: " in line]
    print("\n".join(errors))
    return {int(line.split(":")[1]) for line in errors}


def pyright(script: Path) -> set[int]:
    """The lines in which pyright, at its standard strictness, finds an error."""
    config = {"include": [script.name], "typeCheckingMode": "standard"}
    (script.parent / "pyrightconfig.json").write_text(json.dumps(config))
    done = _run("pyright", "--outputjson", "--pythonpath", sys.executable, folder=script.parent)
    errors = [found for found in json.loads(done)["generalDiagnostics"]
              if found["severity"] == "error"]
    for found in errors:
        print(f"{script.name}:{found['range']['start']['line'] + 1}: {found['message']}")
    return {found["range"]["start"]["line"] + 1 for found in errors}


def _run(module: str, *options: str, folder: Path) -> str:
    command = [sys.executable, "-m", module, *options]
    return subprocess.run(command, cwd=folder, text=True, capture_output=True, check=False).stdout


def main() -> int:
    """Ask both; the exit status is 0 if they say what they should."""
    wanted = marked()
    good = True
    with tempfile.TemporaryDirectory() as folder:
        script = Path(shutil.copy(SCRIPT, folder))
        for checker in (mypy, pyright):
            found = checker(script)
            print(f"{checker.__name__}: lines {sorted(found)}, wanted {sorted(wanted)}")
            good = good and found == wanted
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
