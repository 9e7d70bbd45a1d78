"""Names that hands know from PyTorch, Keras and NumPy, answered with ours.

The names stand in `foreign.txt`, one table for all of it, and for the one in README. It
is read when the first error needs it. A name that nobody lists may be ours in another
package, or misspelt; then the answer is that. Packages answer by `of_package`, objects
by `of_class`, tensors by `Elsewhere` (a `__getattr__` would slow down all attributes of
theirs), and calls by `checks.answering`.

Read next: `files.py`.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
_FILE = Path(__file__).with_suffix(".txt")
_ABSENT = ": absent"
# Where a name may stand that is asked for elsewhere, and how it is written from there.
_PACKAGES = {
    "tinynet": "tn", "tinynet.nn": "nn", "tinynet.functional": "F",
    "tinynet.optim": "optim", "tinynet.optim.schedule": "optim.schedule",
    "tinynet.data": "data", "tinynet.train": "train", "tinynet.models": "models",
    "tinynet.tune": "tune", "tinynet.viz": "viz", "tinynet.nn.init": "nn.init",
    "tinynet.calculus": "tn.calculus", "tinynet.random": "tn.random",
}

_CALLED = {  # modules that hands call
    "tinynet.data.shapes": "data.load_shapes() gives two data sets, train and test",
    "tinynet.data.cifar10": "data.load_cifar10() gives two data sets, train and test",
}


@functools.cache
def table() -> dict[str, dict[str, str]]:
    """The answer to each name, by whose name it is: ``table()["Tensor"]["numel"]``."""
    found: dict[str, dict[str, str]] = {}
    section: dict[str, str] = {}
    for line in _FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = found.setdefault(line[1:-1], {})
        elif line and not line.startswith("#"):
            names, _, answer = line.removeprefix("* ").partition(" | ")
            section |= dict.fromkeys(names.split(), answer)
    return found


def markdown() -> str:
    """README's table: the lines of `foreign.txt` that are marked."""
    rows = ["| there | here |", "|---|---|"]
    owner = ""
    for line in _FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            owner = _PACKAGES.get(line[1:-1], {"Tensor": "x"}.get(line[1:-1], "model"))
        elif line.startswith("* "):
            names, _, answer = line[2:].partition(" | ")
            there = ", ".join(f"`{owner}.{name}`" for name in names.split())
            rows.append(f"| {there} | {answer} |")
    return "\n".join(rows)


def missing(owner: str, name: str, own: Iterable[str] = (), whose: str = ""
            ) -> AttributeError:
    """The error for a name that `owner` lacks: what it is here, if that is known.

    `own` are the names that `owner` has, `whose` is its section of the table.

    >>> missing("Tensor", "numel"), missing("Net", "wieght", ["weight", "bias"])
    (AttributeError("Tensor has no 'numel', here: `x.size`"),
     AttributeError("Net has no 'wieght': did you mean 'weight'?"))
    """
    text = f"{owner} has no {name!r}"
    whose = whose or owner
    if answer := _answer(whose, name):
        text += f", here: {answer}"
    elif why := table().get(whose + _ABSENT, {}).get(name):
        text += f", and nothing in its place: {why}"
    elif close := closest(name, own):
        text += f": did you mean {close!r}?"
    else:
        text = f"{owner} has no attribute {name!r}"
    # An `obj` without names of its own, so that Python adds no guess to the answer.
    return AttributeError(text, name=name, obj=None)


def _answer(whose: str, name: str) -> str:
    """What the table says, or where in our packages the name is."""
    names = table()
    if name in names.get(whose, {}):
        return names[whose][name]
    if whose not in _PACKAGES:  # an object
        return ""
    for package, written in _PACKAGES.items():
        if package != whose and name in _public(package):
            return f"`{written}.{name}`"
    if name in names.get(whose + _ABSENT, {}):
        return ""
    answers = (section[name] for key, section in names.items()
               if name in section and key in (*_PACKAGES, "Tensor"))
    return next(answers, "")


def _public(package: str) -> list[str]:
    """The public names of a package that is imported."""
    return [name for name in vars(sys.modules.get(package, sys)) if name[0] != "_"]


def closest(name: str, own: Iterable[str]) -> str:
    """The one of `own` that `name` is most like, whatever the case; "" if none is.

    >>> closest("Conv2D", ["Linear", "Conv2d"]), closest("paramters", ["parameters"])
    ('Conv2d', 'parameters')
    """
    from difflib import get_close_matches

    own = [each for each in own if each[:1] != "_"]
    known = {each.lower(): each for each in own}
    found = get_close_matches(name, own, n=1, cutoff=0.8)
    if not found:
        lower = get_close_matches(name.lower(), known, n=1, cutoff=0.65)
        found = [known[each] for each in lower]
    return found[0] if found else ""


def attach() -> None:
    """Give all packages their `__getattr__`, which type checkers do not see: they would
    allow any name. ``import tinynet.nn.functional`` is the habit it looks like."""
    for package in _PACKAGES:
        also = "tinynet.tune" if package == "tinynet.train" else ""
        vars(sys.modules[package])["__getattr__"] = of_package(package, also)
    sys.modules["tinynet.nn.functional"] = sys.modules["tinynet.functional"]
    sys.meta_path.append(_Modules)
    for module in _CALLED:
        sys.modules[module].__class__ = _NoFunction


class _NoFunction(ModuleType):
    """A module that hands call, since it has the name of what it makes."""

    def __call__(self, *args: Any, **options: Any) -> NoReturn:
        package, _, name = self.__name__.removeprefix("tinynet.").rpartition(".")
        raise TypeError(f"{package}.{name} is a module, not a function: {_CALLED[self.__name__]}")


class _Modules:
    """The last that is asked for a module: one that is called otherwise here is named."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        """ModuleNotFoundError with the answer, if there is one."""
        package, _, last = name.rpartition(".")
        if package in _PACKAGES and _answer(package, last):
            raise ModuleNotFoundError(str(missing(package, last)), name=name)


def of_package(package: str, also: str = "") -> Callable[[str], Any]:
    """A package's `__getattr__`; names of the package `also` are taken from there."""

    def look_up(name: str) -> Any:
        if name[:1] != "_":
            if hasattr(sys.modules.get(also), name):
                return getattr(sys.modules[also], name)
            error: Exception = missing(package, name, _public(package))
        else:
            error = AttributeError(f"module {package!r} has no attribute {name!r}")
        if _imports(sys._getframe(1)):
            error = ImportError(str(error), name=package)
        raise error

    return look_up


def _imports(frame: Any) -> bool:
    """Whether `frame` is at ``from package import name``: that hides AttributeErrors."""
    from dis import opmap

    return bool(frame.f_code.co_code[frame.f_lasti] == opmap["IMPORT_FROM"])


def of_class(whose: str) -> Callable[[Any, str], Any]:
    """A class's `__getattr__`: it is asked only for attributes that an object lacks."""

    def look_up(self: Any, name: str) -> Any:
        kind = type(self)
        if name[:1] == "_":
            raise AttributeError(f"{kind.__name__!r} object has no attribute {name!r}")
        if hasattr(kind, name):  # a property that failed: once more, for its own error
            return object.__getattribute__(self, name)
        raise missing(kind.__name__, name, dir(self), whose)

    return look_up


class Elsewhere:
    """A class's attribute that is not there, and says what it is here."""

    def __init__(self, whose: str, name: str) -> None:
        self.whose = whose
        self.name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        raise missing(owner.__name__, self.name, whose=self.whose)


class Unset(Elsewhere):
    """The same where any attribute can be set, and this one would change nothing."""

    def __set__(self, instance: Any, value: Any) -> None:
        raise missing(type(instance).__name__, self.name, whose=self.whose)


class Count(int):
    """How many elements there are; called, as in x.size(0), it says what is meant."""

    __slots__ = ()

    def __call__(self, axis: int | None = None) -> NoReturn:
        place = "" if axis is None else f"[{axis}]"
        raise TypeError(f"x.size is the number of elements: write x.shape{place}")


def explain(options: Iterable[str], known: Iterable[str]) -> str:
    """What the first of `options` that is not `known` is called here; "" if nothing is.

    >>> explain(["dim"], ["x", "axis"]), explain(["hidden"], ["x"])
    ('call it axis', '')
    """
    known = list(known)
    answers = (_meaning(option, known) for option in options if option not in known)
    return next(filter(None, answers), "")


def _meaning(option: str, known: list[str]) -> str:
    """What an argument is called here, or a sentence (which has a colon)."""
    names, _, sentence = table()["arguments"].get(option, "").rpartition(" / ")
    if ":" not in sentence:
        names = f"{names} {sentence}"
        sentence = ""
    ours = [name for name in names.split() if name in known]
    if ours:
        return f"call it {ours[0]}"
    if sentence:
        return sentence
    close = closest(option, known)
    return f"did you mean {close}?" if close else ""


def name_of(function: Any, args: Any) -> str:
    name: str = function.__name__
    return type(args[0]).__name__ if name == "__init__" else name


def too_many(name: str, names: list[str], more: int) -> TypeError:
    taken = f"({', '.join(names)})"
    hint = table()["arguments"].get(taken.replace(" ", ""), "")
    return TypeError(f"{name}() takes {taken}, got {more} more{hint and ': '}{hint}")


def refusal(name: str, options: Iterable[str], known: Iterable[str]) -> TypeError:
    """The error for a call of `name` with `options` among which one is not `known`."""
    known = list(known)
    unknown = [option for option in options if option not in known]
    if not unknown:
        return TypeError(f"{name}() needs {known[0]}")
    told = next((option for option in unknown if _meaning(option, known)), unknown[0])
    fix = _meaning(told, known) or f"it has {', '.join(known)}"
    return TypeError(f"{name}() has no argument {told!r}: {fix}")
