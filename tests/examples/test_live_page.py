"""examples/lecture/optimizers.html: its script, run by V8, computes what the library does.

V8 is the engine of Chromium and node; here it is that of the package mini-racer.
"""

from __future__ import annotations

import functools
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import optim
from tinynet.optim import landscapes
from tinynet.random import Generator

PAGE = Path(__file__).resolve().parents[2] / "examples" / "lecture" / "optimizers.html"
SETTINGS = 50
STEPS = 60
NUDGE = 1e-13  # at every step, to see where a run is chaotic

STAND_IN = """
// A page of which every part is this one thing, that can be called, read, set and walked through.
const listeners = [];
const part = new Proxy(function () {}, {
  get: (_, name) => name === "addEventListener" ? (kind, heard) => listeners.push([kind, heard])
    : name === Symbol.toPrimitive ? () => 7 : name === Symbol.iterator ? function* () {} : part,
  set: () => true, apply: () => part, construct: () => part, has: () => true,
});
globalThis.document = part;
globalThis.window = part;
globalThis.location = { hash: "#landscape=Rosenbrock&rate=0.001&steps=3&follow=Nesterov" };
globalThis.requestAnimationFrame = () => {};
globalThis.Option = function () {};
globalThis.URLSearchParams = class extends Map {
  constructor(text) { super(text.split("&").map(pair => pair.split("="))); }
};
"""


def script(name: str) -> str:
    """The text of one of the page's scripts."""
    text = PAGE.read_text(encoding="utf-8")
    (found,) = re.findall(rf'<script id="{name}">\n(.*?)</script>', text, re.DOTALL)
    return str(found)


def javascript(text: str, given: Any = None) -> Any:
    """What the function body `text` returns after the page's core; `given` is there as `given`."""
    program = (f"{script('core')}\nconst given = {json.dumps(given)};\n"
               f"JSON.stringify((() => {{{text}}})())")
    run = "import sys; from py_mini_racer import MiniRacer; " \
          "print(MiniRacer().eval(sys.stdin.read()))"
    done = subprocess.run([sys.executable, "-c", run], input=program, text=True,
                          capture_output=True, timeout=300, check=False, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def settings(seed: int = 0) -> list[tuple[str, dict[str, Any]]]:
    """An optimizer and a place of every slider, drawn at random, so many times."""
    rng = Generator(seed)

    def one_of(names: list[str]) -> str:
        return names[int(rng.integers(0, len(names)))]

    def between(low: float, high: float) -> float:
        return float(f"{float(rng.uniform((), low, high, dtype='float64')):.3g}")

    drawn = []
    for _ in range(SETTINGS):
        name = one_of(["GD", "momentum", "Nesterov", "AdaGrad", "RMSProp", "Adam"])
        still = one_of(["still", "noisy"]) == "still"
        drawn.append((name, {
            "landscape": one_of(["bowl", "turned bowl", "saddle", "double well", "Rosenbrock"]),
            "condition": float(f"{1000 ** between(0, 1):.3g}"),
            "rate": float(f"{10 ** between(-4, 0.6):.3g}"), "momentum": between(0, 0.99),
            "noise": 0 if still else between(0, 3), "seed": int(rng.integers(0, 1000)),
            "start": [between(-1.2, 1.2), between(-1.2, 1.2)]}))
    return drawn


def evaluate(snippet: str, nudge: float = 0.0) -> np.ndarray[Any, Any]:
    """The path that the page's lines of Python make; `nudge` adds noise of that deviation."""
    def trace(make: Any, f: Any, start: Any, steps: int) -> Any:
        if nudge:
            f = landscapes.noisy(f, nudge, Generator(1))
        return landscapes.trace(make, f, np.add(start, nudge), steps)

    scope: dict[str, Any] = {"trace": trace}
    exec(snippet.replace("landscapes.trace(", "trace("), scope)
    path: np.ndarray[Any, Any] = scope["path"]
    return path


def test_the_page_computes_what_the_library_computes() -> None:
    """Within 1e-9 over 50 settings, every step of them as far as a run is not chaotic.

    A run is chaotic from where changes of 1e-13 have moved it by ten thousand times as much: near
    a minimum AdaGrad's kin divide by next to nothing.
    """
    drawn = settings()
    paths = javascript("return given.map(([name, h, n]) => "
                       "[CORE.trace(name, h, n), CORE.snippet(name, h, n)])",
                       [(name, h, STEPS) for name, h in drawn])
    compared = 0
    for (name, h), (path, snippet) in zip(drawn, paths, strict=True):
        expected = evaluate(snippet)
        nudged = evaluate(snippet, NUDGE)
        assert len(path) == len(expected) and len(expected) > 1, (name, h)
        n = min(len(expected), len(nudged))
        apart = np.abs(nudged[:n] - expected[:n]).max(axis=1)
        size = 1 + np.abs(expected[:n]).max(axis=1)
        wild = np.flatnonzero(apart > 1e4 * NUDGE * size)
        n = int(wild[0]) if wild.size else n
        error = np.abs(np.array(path[:n]) - expected[:n]).max(axis=1) / size[:n]
        assert error.max() < 1e-9, (name, h, int(error.argmax()))
        compared += n == len(expected)
    assert compared > 0.8 * SETTINGS


@pytest.mark.lecture("A6")
def test_its_noise_is_that_of_the_librarys_generator() -> None:
    pairs = javascript("const rng = new CORE.Generator(given);\n"
                       "return [1, 2, 3].map(() => rng.normal())", 2**31)
    rng = tn.Generator(2**31)
    expected = [tn.to_numpy(rng.normal((2,), dtype="float64")) for _ in range(3)]
    np.testing.assert_allclose(pairs, expected, rtol=1e-13)


@pytest.mark.lecture("A1", "A7", "A11", "A12")
def test_its_plane_is_that_of_the_roots_and_its_edge_that_of_the_runs() -> None:
    """The larger root says how fast a distance shrinks; at the edge it is 1."""
    rng = Generator(1)
    drawn = [[float(10 ** rng.uniform((), -4, 0.6)), float(rng.uniform((), 0, 0.99)),
              float(10 ** rng.uniform((), 0, 3))] for _ in range(40)]
    found = javascript(
        "const both = f => [false, true].map(f);\n"
        "return given.map(([rate, rho, l]) => both(nesterov =>"
        " [CORE.radius(rate, rho, l, nesterov), CORE.edge(rho, [1, l], nesterov)]))", drawn)
    for (rate, rho, curvature), ((heavy, heavy_edge), (ahead, ahead_edge)) in zip(
            drawn, found, strict=True):
        c = 1 - rate * curvature
        assert heavy == pytest.approx(max(np.abs(np.roots([1, -(rho + c), rho]))), rel=1e-6)
        assert ahead == pytest.approx(max(np.abs(np.roots([1, -(1 + rho) * c, rho * c]))), rel=1e-6)
        assert (heavy < 1) == (rate < heavy_edge) and (ahead < 1) == (rate < ahead_edge)
    rho, curvature = 0.9, 10
    for nesterov, limit in ((False, 2 * 1.9 / curvature), (True, 2 * 1.9 / curvature / 2.8)):
        for share, shrinks in ((0.97, True), (1.03, False)):
            path = landscapes.trace(
                functools.partial(optim.SGD, lr=limit * share, momentum=rho, nesterov=nesterov),
                landscapes.bowl(curvature), (0.0, 1.0), 500)
            assert (abs(path[-1, 1]) < 1) == shrinks


def test_its_arrows_add_up_to_the_step() -> None:
    """Momentum: velocity and gradient from one point. Nesterov: the gradient at the tip (A10)."""
    given = {"landscape": "Rosenbrock", "condition": 1, "rate": 0.0007, "momentum": 0.9,
             "noise": 0, "seed": 0, "start": [-1.2, 1]}
    arrows = javascript("""
        const found = {};
        for (const name of Object.keys(CORE.optimizers)) {
          const run = new CORE.Run(name, given);
          for (let i = 0; i < 10; i++) run.step();
          const before = run.arrows();
          run.step();
          found[name] = [before, run.arrows()];
        }
        return found""", given)
    for now, following in arrows.values():
        step = np.array(now["step"])
        np.testing.assert_allclose(np.add(now["from"], step), following["from"], rtol=1e-9)
        if now["velocity"]:
            np.testing.assert_allclose(np.add(now["velocity"], now["slope"]), step, rtol=1e-9)
    for name in ("momentum", "Nesterov"):
        now = arrows[name][0]
        ahead = np.add(now["from"], now["velocity"]) if name == "Nesterov" else now["from"]
        np.testing.assert_allclose(now["tip"], ahead, rtol=1e-12)
    assert arrows["GD"][0]["velocity"] is None


def test_the_whole_page_runs_and_hears_its_buttons() -> None:
    """Its script meets a stand-in for the page: whatever it names exists, every listener runs."""
    said = javascript(STAND_IN + script("page") + """
        for (const [kind, heard] of listeners) {
          const target = { value: kind === "change" ? "saddle" : "0.5", checked: false };
          heard({ target, clientX: 3, clientY: 4 });
        }
        return [listeners.length, h, steps]""")
    heard, h, steps = said
    assert heard > 20 and math.isfinite(steps)
    assert h["landscape"] == "saddle" and h["momentum"] >= 0


def test_the_page_is_one_small_file_that_asks_for_nothing() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert PAGE.stat().st_size < 300_000
    assert not re.search(r"https?:|//[\w.]+/|@import|url\(|\bsrc=|\bhref=|fetch|XMLHttp", text)
    named = set(re.findall(r'\bby\("(\w+)"\)', text))
    assert named and named <= set(re.findall(r'\bid="(\w+)"', text))
