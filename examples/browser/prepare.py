"""Builds the page that trains in the browser, and serves it.

    python examples/browser/prepare.py --pyodide FOLDER

FOLDER is an unpacked Pyodide distribution, version 0.27 or newer, with its NumPy package:
it holds pyodide.mjs, pyodide.asm.wasm, pyodide-lock.json and numpy-*.whl.
"""

import argparse
import contextlib
import functools
import shutil
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import tinynet

HERE = Path(__file__).resolve().parent
PAGE = ("index.html", "worker.js", "train.py")
PYODIDE = ("pyodide.mjs", "pyodide.asm.js", "pyodide.asm.wasm", "pyodide-lock.json",
           "python_stdlib.zip", "numpy-*.whl")


class Handler(SimpleHTTPRequestHandler):
    """Serves files; browsers ask for the right type of a module and of WebAssembly."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm",
        ".py": "text/plain; charset=utf-8"}

    def log_message(self, *args):
        """Print nothing for each file."""


def build(pyodide: Path, out: Path) -> None:
    """Put the page, tinynet as a zip and Pyodide into the folder `out`."""
    missing = [name for name in PYODIDE if not [*pyodide.glob(name)]]
    if missing:
        raise SystemExit(f"{pyodide} is no Pyodide distribution with NumPy: it lacks "
                         + ", ".join(missing))
    out.mkdir(parents=True, exist_ok=True)
    for name in PAGE:
        shutil.copy(HERE / name, out / name)
    package = Path(tinynet.__file__).parent
    with zipfile.ZipFile(out / "tinynet.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(package.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.write(path, path.relative_to(package.parent))
    (out / "pyodide").mkdir(exist_ok=True)
    for name in PYODIDE:
        for path in pyodide.glob(name):
            shutil.copy(path, out / "pyodide" / path.name)


def server(folder: Path, port: int) -> ThreadingHTTPServer:
    """For this machine only."""
    return ThreadingHTTPServer(("127.0.0.1", port),
                               functools.partial(Handler, directory=str(folder)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pyodide", type=Path, required=True, help="folder of the distribution")
    parser.add_argument("--out", type=Path, default=Path("runs/browser"), help="the built page")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--build-only", action="store_true", help="for a web server of your own")
    args = parser.parse_args()
    build(args.pyodide, args.out)
    print(f"the page is in {args.out}")
    if args.build_only:
        return
    with server(args.out, args.port) as serving:
        print(f"open http://127.0.0.1:{serving.server_port}/ ; Ctrl-C ends it", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            serving.serve_forever()


if __name__ == "__main__":
    main()
