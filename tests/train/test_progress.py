"""What a run prints, and that it goes on where nobody listens."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.train.toy import batches, trainer
from tinynet.train.progress import Progress

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys
from pathlib import Path
from tests.train.toy import batches, trainer
history = trainer(progress=True).fit(batches(), batches(32, seed=1), epochs=40)
print("the script's own line")
Path(sys.argv[1]).write_text(f"{history.stopped} {len(history['val_loss'])}")
"""


@pytest.mark.parametrize("outputs", ["| head -3", "| head -0", ">&-", "2>&-", ">&- 2>&-",
                                     "2>&1 | head -1", "> /dev/full", "2> /dev/full"])
def test_a_run_goes_on_when_nobody_reads_what_it_prints(outputs: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace('print("the', 'if sys.argv[2:]: print("the'))
    listened = "head" in outputs  # then the script's own lines may be printed as well
    command = (f"set -o pipefail; {sys.executable} {script} {tmp_path / 'end'} "
               f"{'print' if listened else ''} {outputs}")
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120,
                          env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert (tmp_path / "end").read_text() == "finished 40"
    assert "Error" not in done.stderr
    if listened:
        assert done.returncode == 0 and not done.stderr
        assert len(done.stdout.splitlines()) == int(outputs[-1])


class Broken(io.StringIO):
    """A terminal that fails from its n-th writing on."""

    def __init__(self, error: Exception, writes: int = 0) -> None:
        super().__init__()
        self.error, self.writes = error, writes

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.writes -= 1
        if self.writes < 0:
            raise self.error
        return super().write(text)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(errno.EIO, "it hung up"),
                                   OSError(errno.ENOSPC, "full"), ValueError("closed")],
                         ids=["pipe", "hung up", "full", "closed"])
@pytest.mark.parametrize("writes", [0, 1, 5])
def test_an_output_that_fails_at_any_moment_ends_no_run(
        stream: str, error: Exception, writes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, stream, Broken(error, writes))
    t = trainer(progress=True)
    assert t.fit(batches(), epochs=4).stopped == "finished"
    assert t.progress is not None and t.progress._bar is None


@pytest.mark.parametrize("closed", [None, "closed"])
def test_closed_outputs_end_no_run(closed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdout", "stderr"):
        stream = io.StringIO()
        stream.close()
        monkeypatch.setattr(sys, name, stream if closed else None)
    assert trainer(progress=True).fit(batches(), epochs=2).stopped == "finished"


def test_a_terminal_gets_a_bar_and_the_lines_above_it(monkeypatch: pytest.MonkeyPatch,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Broken(OSError(), 10**6)
    monkeypatch.setattr(sys, "stderr", terminal)
    trainer(progress=True).fit(batches(), epochs=2)
    assert "epoch 1/2, loss " in terminal.getvalue() and "step" in terminal.getvalue()
    assert capsys.readouterr().out.count("train loss") == 2


def test_a_progress_that_was_never_started_prints_lines(capsys: pytest.CaptureFixture[str]) -> None:
    Progress().say("hello")
    assert capsys.readouterr().out == "hello\n"
