"""Read a pickle without running it: the calls it asks for are written down, never made.

A pickle is a program for a small machine with a stack and a memo. `read` walks its
instructions one by one and knows the few that lists, dicts, numbers, texts and arrays
need; any other is refused before anything is built. Names of functions are compared
with those the caller allows, a call becomes a `Note` of its name and arguments. What a
hostile file can cost is bounded by its size: the memo is a dict (Python's own is a list
as long as the highest index asks for), the keys of a dict are texts (the hash of nested
tuples may take for ever), and nothing is printed whole.

Read next: `data/download.py`.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Collection
from typing import Any


class Note:
    """A call that a pickle asks for, written down: name, arguments, state."""

    def __init__(self, name: str, args: tuple[Any, ...] | None = None) -> None:
        self.name = name
        self.args = args  # None: the function itself
        self.state: Any = None


def read(data: bytes, allowed: Collection[str], longest: int) -> Any:
    """What the pickle `data` describes, a `Note` for each call of an `allowed` name.

    Raises ValueError for a function that is not allowed, an instruction that is not
    known, and more than `longest` instructions; damaged files may raise any Exception.
    """
    machine = _Machine(allowed)
    for count, (code, argument, _) in enumerate(pickletools.genops(data)):
        if count == longest:
            raise ValueError(f"it has more than {longest:,} instructions")
        if code.name == "STOP":
            return machine.stack.pop()
        act = _ACTIONS.get(code.name)
        if act is None:
            raise ValueError(f"it uses the instruction {code.name}, which no plain "
                             "data need")
        act(machine, argument)
    raise ValueError("it has no end")


class _Machine:
    """The stack (cut into parts by the marks on it) and the memo."""

    def __init__(self, allowed: Collection[str]) -> None:
        self.allowed = allowed
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the parts of the stack under each mark
        self.memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self, _: Any) -> None:
        self.below.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[Any]:
        """All that lies above the last mark."""
        above = self.stack
        self.stack = self.below.pop()
        return above

    def pops(self, count: int) -> list[Any]:
        """The last `count` values, in the order in which they were pushed."""
        return [self.stack.pop() for _ in range(count)][::-1]

    def top(self, kind: type) -> Any:
        """The value on top, which must be a list, a dict or a Note, and stays there."""
        value = self.stack[-1]
        if type(value) is not kind:
            found = type(value).__name__
            raise ValueError(f"it changes a {found} as if it were a {kind.__name__}")
        return value

    def put(self, index: int | None) -> None:
        if index is None:
            index = len(self.memo)
        self.memo[index] = self.stack[-1]

    def extend(self, values: list[Any]) -> None:
        self.top(list).extend(values)

    def set_items(self, pairs: list[Any]) -> None:
        """pairs = key, value, key, value ..."""
        target = self.top(dict)
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if not isinstance(key, str | bytes | Note):
                raise ValueError(f"a {type(key).__name__} is a key in it, not a text")
            target[key] = value

    def make_dict(self, _: Any) -> None:
        pairs = self.pop_mark()
        self.push({})
        self.set_items(pairs)

    def function(self, module: Any, name: Any) -> None:
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("it wants to run something that has no name")
        if f"{module}.{name}" not in self.allowed:
            raise ValueError(f"it wants to run {module:.100}.{name:.100}, which such "
                             "data never need: this may be an attack, and nothing was "
                             "run")
        self.push(Note(f"{module}.{name}"))

    def call(self, _: Any) -> None:
        function, args = self.pops(2)
        if not isinstance(function, Note) or function.args is not None:
            raise ValueError(f"it calls a {type(function).__name__}")
        if not isinstance(args, tuple):
            raise ValueError(f"it calls {function.name} with a {type(args).__name__}")
        self.push(Note(function.name, args))

    def build(self, _: Any) -> None:
        state = self.stack.pop()
        self.top(Note).state = state


Action = Callable[[_Machine, Any], None]
_VALUES = (
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT "
    "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8"
)
_ACTIONS: dict[str, Action] = {
    **dict.fromkeys(_VALUES.split(), _Machine.push),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda m, i: m.push(m.memo[i])),
    **dict.fromkeys(("PROTO", "FRAME"), lambda m, _: None),
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    "MARK": _Machine.mark,
    "EMPTY_LIST": lambda m, _: m.push([]),
    "LIST": lambda m, _: m.push(m.pop_mark()),
    "APPEND": lambda m, _: m.extend(m.pops(1)),
    "APPENDS": lambda m, _: m.extend(m.pop_mark()),
    "EMPTY_DICT": lambda m, _: m.push({}),
    "DICT": _Machine.make_dict,
    "SETITEM": lambda m, _: m.set_items(m.pops(2)),
    "SETITEMS": lambda m, _: m.set_items(m.pop_mark()),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "TUPLE": lambda m, _: m.push(tuple(m.pop_mark())),
    "TUPLE1": lambda m, _: m.push(tuple(m.pops(1))),
    "TUPLE2": lambda m, _: m.push(tuple(m.pops(2))),
    "TUPLE3": lambda m, _: m.push(tuple(m.pops(3))),
    "GLOBAL": lambda m, both: m.function(*both.split(" ", 1)),  # module, name
    "STACK_GLOBAL": lambda m, _: m.function(*m.pops(2)),
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
}
