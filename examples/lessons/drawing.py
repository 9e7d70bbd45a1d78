"""The picture at the end of a lesson: shown in a notebook, else written to runs/lessons."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def draw(lesson: str, picture: Callable[[Any], None]) -> None:
    """Calls `picture(figure)`; a lesson that is not solved yet has no picture, and is told so."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained", dpi=120)
    try:
        picture(figure)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        if "ellipsis" in str(error):
            why = "some `...` is left."
        print(f"No picture yet: {why}")
        print(f"To see what is missing: python examples/lessons/grade.py {lesson[:2]}")
        return
    if "ipykernel" in sys.modules:
        from IPython.display import Image, display

        png = io.BytesIO()
        figure.savefig(png, format="png")
        display(Image(data=png.getvalue(), width=800))
        return
    path = Path("runs/lessons") / f"{lesson}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}")
    figure.savefig(half, format="png")
    os.replace(half, path)
    print(f"picture: {path}")
