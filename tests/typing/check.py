"""mypy --strict and pyright on a user's script: nothing wrong where it is right, and the reverse.

`python -m tests.typing.check`: both must report the lines that are marked "error:", and no other,
and after `reveal_type(...)` the types that lines marked "is:" name.
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


def types() -> dict[int, str]:
    """What is revealed by line."""
    lines = SCRIPT.read_text(encoding="utf-8").splitlines()
    return {number: line.rpartition("# is: ")[2] for number, line in enumerate(lines, 1)
            if "# is: " in line}


def mypy(script: Path) -> tuple[set[int], dict[int, str]]:
    """The lines in which mypy --strict finds an error, and the types it reveals."""
    done = _run("mypy", "--strict", "--cache-dir", str(script.parent / "cache"), script.name,
                folder=script.parent)
    errors = [line for line in done.splitlines() if ": error: " in line]
    print("\n".join(errors))
    revealed = {int(line.split(":")[1]): line.split('"')[1].rpartition(".")[2]
                for line in done.splitlines() if "Revealed type is" in line}
    return {int(line.split(":")[1]) for line in errors}, revealed


def pyright(script: Path) -> tuple[set[int], dict[int, str]]:
    """The same of pyright, at its standard strictness."""
    config = {"include": [script.name], "typeCheckingMode": "standard"}
    (script.parent / "pyrightconfig.json").write_text(json.dumps(config))
    done = _run("pyright", "--outputjson", "--pythonpath", sys.executable, folder=script.parent)
    errors: set[int] = set()
    revealed: dict[int, str] = {}
    for found in json.loads(done)["generalDiagnostics"]:
        line = found["range"]["start"]["line"] + 1
        if found["severity"] == "error":
            print(f"{script.name}:{line}: {found['message']}")
            errors.add(line)
        elif found["message"].startswith("Type of "):
            revealed[line] = found["message"].split('"')[-2]
    return errors, revealed


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
            errors, revealed = checker(script)
            print(f"{checker.__name__}: lines {sorted(errors)}, wanted {sorted(wanted)}")
            wrong = {line: revealed.get(line) for line, kind in types().items()
                     if revealed.get(line) != kind}
            print(f"{checker.__name__}: {len(types()) - len(wrong)} types as wanted, not {wrong}")
            good = good and errors == wanted and not wrong
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
