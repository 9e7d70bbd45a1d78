"""examples/browser: its script needs NumPy alone, its parts name each other, and with a Pyodide
distribution at hand the page trains in a real browser: the last test is there where the variable
TINYNET_PYODIDE names the distribution's folder, and needs Chromium or Chrome."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.bare import run_bare
from tests.processes import environment

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "browser"
PYODIDE = os.environ.get("TINYNET_PYODIDE", "")
AUTOMATIC = """
<script>
part("epochs").value = 2;
part("settings").requestSubmit();
new MutationObserver(() => {
  const text = part("state").textContent;
  if (/^(Done|It did|The worker)/.test(text)) fetch("ended");
}).observe(part("state"), { childList: true });
</script>
<img src="wait" alt="" hidden>
"""


def test_the_script_trains_with_numpy_alone() -> None:
    lines = run_bare(f"""
import sys
sys.path.insert(0, {str(FOLDER)!r})
import train
seen = []
last = train.learn(1, 0.005, lambda *what: seen.append(what), pictures=200)
print(sum(of == "training" for of, *_ in seen), [of for of, *_ in seen][-1], seen[-1][3] == last)
print(all(0.0 < loss < 20.0 and 0.0 <= accuracy <= 1.0 for _, _, loss, accuracy in seen))
""").splitlines()
    assert lines[-2:] == ["2 test True", "True"]


def test_the_parts_name_files_that_exist() -> None:
    page = (FOLDER / "index.html").read_text(encoding="utf-8")
    worker = (FOLDER / "worker.js").read_text(encoding="utf-8")
    assert re.findall(r"^const PYODIDE = (.*);$", worker, re.MULTILINE) == ['"pyodide/"']
    assert not re.search(r"https?://|@import|<script src", page + worker)
    fetched = set(re.findall(r'(?:fetch|file|Worker)\("([^"]+)"', page + worker))
    assert fetched == {"worker.js", "train.py", "tinynet.zip"}
    assert set(prepare().PAGE) == {"index.html", "worker.js", "train.py"}
    assert all((FOLDER / name).is_file() for name in prepare().PAGE)


def prepare() -> Any:
    spec: Any = importlib.util.spec_from_file_location("prepare", FOLDER / "prepare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pretend(folder: Path) -> Path:
    """A folder that looks like Pyodide's."""
    folder.mkdir()
    for name in prepare().PYODIDE:
        (folder / name.replace("*", "2")).write_text("x")
    return folder


def test_prepare_builds_a_folder_that_a_server_can_give_out(tmp_path: Path) -> None:
    out = tmp_path / "page"
    prepare().build(pretend(tmp_path / "given"), out)
    assert {path.name for path in out.iterdir()} == {*prepare().PAGE, "tinynet.zip", "pyodide"}
    script = "import tinynet; print(tinynet.__file__, tinynet.ones(2).sum().item())"
    unpacked = tmp_path / "unpacked"
    zipfile.ZipFile(out / "tinynet.zip").extractall(unpacked)
    done = subprocess.run([sys.executable, "-c", script], cwd=unpacked, text=True, check=True,
                          env=environment(PYTHONPATH=str(unpacked)), capture_output=True)
    assert done.stdout.split() == [str(unpacked / "tinynet" / "__init__.py"), "2.0"]


def test_prepare_says_what_a_folder_lacks(tmp_path: Path) -> None:
    given = pretend(tmp_path / "given")
    (given / "numpy-2.whl").unlink()
    with pytest.raises(SystemExit, match=r"no Pyodide distribution with NumPy: it lacks numpy-"):
        prepare().build(given, tmp_path / "page")


def visit(pyodide: Path, folder: Path, *options: str) -> str:
    """The page as it is after a run in Chromium, which waits for a picture that waits for it."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.fail("a page needs a browser: install Chromium or Chrome")
    module = prepare()
    ended = threading.Event()

    class Handler(module.Handler):  # type: ignore[misc]
        def do_GET(self) -> None:
            if "/wait" in self.path:
                ended.wait(400.0)
            if "/ended" in self.path:
                ended.set()
            super().do_GET()

    module.Handler = Handler
    module.build(pyodide, folder)
    page = folder / "index.html"
    page.write_text(page.read_text(encoding="utf-8").replace("</html>", AUTOMATIC + "</html>"),
                    encoding="utf-8")
    with module.server(folder, 0) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{serving.server_port}/?pictures=300"
        done = subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", *options,
             f"--user-data-dir={folder / 'profile'}", address],
            text=True, capture_output=True, timeout=500, check=True)
        serving.shutdown()
    return done.stdout


if PYODIDE:
    def test_the_page_trains_in_a_browser(tmp_path: Path) -> None:
        html = visit(Path(PYODIDE), tmp_path / "page")
        assert re.search(r'id="state"[^>]*>Done: \d+\.\d % of the test pictures', html), html
        assert "epoch   2/2   train loss" in html and "Warning" not in html
