"""What a run prints, and that it goes on where nobody listens."""

from __future__ import annotations

import errno
import io
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import tqdm

from tests.processes import environment
from tests.train.toy import batches, trainer
from tinynet.train.progress import Progress

SCRIPT = """
import sys
import types
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
                          env=environment())
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
    assert "left, ep 1/2 loss " in terminal.getvalue() and " lr " in terminal.getvalue()
    assert capsys.readouterr().out.count("train loss") == 2


def test_a_progress_that_was_never_started_prints_lines(capsys: pytest.CaptureFixture[str]) -> None:
    Progress().say("hello")
    assert capsys.readouterr().out == "hello\n"


def test_the_bar_fits_80_columns_with_loss_accuracy_and_rate(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """At its longest, too: a hundred epochs, hours left."""
    terminal = Broken(OSError(), 10**6)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    t = trainer(progress=True)
    assert t.progress is not None
    t.planned_epochs = 100
    t.planned_steps = 45_700
    t.progress.on_start(t)
    t.step = 12_340
    t.epoch = 26
    t.history.add("steps", step=1, loss=1.79123, accuracy=0.36, lr=0.012345)
    t.progress.on_log(t)
    bar = t.progress._bar
    bar.start_t -= 4000.0
    line = bar.format_meter(**{**bar.format_dict, "ncols": 80})
    assert len(line) <= 80 and line.endswith("ep 27/100 loss 1.79 acc 36.0% lr .012")
    assert " 27%|" in line and "|##" in line
    t.progress.on_end(t)


def test_without_a_bar_a_line_comes_every_ten_seconds(monkeypatch: pytest.MonkeyPatch,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    now = iter(range(0, 10**6, 4))
    monkeypatch.setattr("tinynet.train.progress.time.monotonic", lambda: float(next(now)))
    trainer(progress=True, log_every=1).fit(batches(), epochs=2)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("ep ")]
    assert len(lines) >= 2
    assert re.fullmatch(r"ep 1/2 loss \S+ acc \S+% lr \S+   step \d+ of \d+, \d+ (s|min) left",
                        lines[0]), lines[0]


def test_a_kernel_gets_the_notebooks_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    class Shell:
        kernel = "one"

    class Bar(tqdm.std.tqdm):  # type: ignore[type-arg]
        def __init__(self, **options: Any) -> None:
            made.append(options["unit"])
            super().__init__(**options, file=io.StringIO())

    shown = types.SimpleNamespace(get_ipython=Shell)
    monkeypatch.setitem(sys.modules, "IPython", shown)
    monkeypatch.setitem(sys.modules, "tqdm.auto", types.SimpleNamespace(tqdm=Bar))
    assert trainer(progress=True).fit(batches(), epochs=1).stopped == "finished"
    assert made == ["step"]


def test_a_long_run_says_once_how_long_it_takes_here(monkeypatch: pytest.MonkeyPatch,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    now = iter(range(10**6))
    monkeypatch.setattr("tinynet.train.progress.time.monotonic", lambda: float(next(now)))
    trainer(progress=True, log_every=2).fit(batches(), epochs=20)
    said = re.findall(r"^about \d+ \w+ for [\d,]+ more steps here \(\d+ ms each\)$",
                      capsys.readouterr().out, re.MULTILINE)
    assert len(said) == 1


def test_a_short_run_says_nothing_of_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    trainer(progress=True, log_every=2).fit(batches(), epochs=20)
    assert "more steps" not in capsys.readouterr().out
