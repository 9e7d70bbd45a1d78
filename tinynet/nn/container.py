"""Modules made of modules: one after the other, and a list.

A plain Python list or dict of modules works as well (see `module.py`); `ModuleList` is
for those who know it from PyTorch, and prints itself. Read next: `blocks.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, overload

from ..tensor import Tensor
from .module import Module


def _checked(owner: str, name: str, item: object) -> Module:
    if isinstance(item, Module):
        return item
    if isinstance(item, type) and issubclass(item, Module):
        raise TypeError(f"{owner}: item {name} is the class {item.__name__}: write "
                        f"{item.__name__}() to make a layer")
    if isinstance(item, list | tuple):
        raise TypeError(f"{owner}: item {name} is a {type(item).__name__}: unpack it "
                        "with a star, as in Sequential(*layers)")
    raise TypeError(f"{owner}: item {name} is {item!r}, not a Module; a function needs "
                    "one around it whose forward calls it")


class _Listed(Module):
    """Modules kept by name in one dict, in order: "0", "1", ... or names of their own."""

    def __init__(self, items: Mapping[str, Any]) -> None:
        kind = type(self).__name__
        self._items = {name: _checked(kind, name, item) for name, item in items.items()}

    def _attributes(self) -> Iterable[tuple[str, Any]]:
        # "0.weight", not "_items.0.weight"
        return (pair for key, value in vars(self).items()
                for pair in (self._items.items() if key == "_items" else [(key, value)]))

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._items.values())

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Module | Self:
        """One module, or with a slice a container of the same modules (they are shared)."""
        items = list(self._items.values())
        if isinstance(index, slice):
            return self._like(items[index])
        if not -len(items) <= index < len(items):
            raise IndexError(f"index {index} is out of range for {len(items)} modules")
        return items[index]

    def __setitem__(self, index: int, module: Module) -> None:
        name = list(self._items)[index]
        self._items[name] = _checked(type(self).__name__, name, module)

    def _like(self, items: list[Module]) -> Self:
        made = type(self).__new__(type(self))
        _Listed.__init__(made, _numbered(items))
        return made


def _numbered(items: Iterable[Any]) -> dict[str, Any]:
    return {str(i): item for i, item in enumerate(items)}


class Sequential(_Listed):
    """y = fn(... f2(f1(x))): layers one after the other, named "0", "1", ...

    A single dict gives them other names. Indexing gives a layer, a slice a shorter
    Sequential that shares the layers.

    >>> from tinynet import nn
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> len(net), net[-1], [name for name, _ in net.named_parameters()]
    (3, Linear(in_features=3, out_features=1),
     ['0.weight', '0.bias', '2.weight', '2.bias'])
    """

    def __init__(self, *layers: Module | Mapping[str, Module]) -> None:
        named = len(layers) == 1 and isinstance(layers[0], Mapping)
        super().__init__(layers[0] if named else _numbered(layers))  # type: ignore[arg-type]

    def forward(self, x: Any) -> Tensor:
        for layer in self:
            x = layer(x)
        return x


class ModuleList(_Listed):
    """A list of modules; the network that holds it says in its forward how they are
    used.

    >>> from tinynet import nn
    >>> layers = nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])
    >>> len(layers.append(nn.ReLU())), layers.named_parameters()[-1][0]
    (4, '2.bias')
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__(_numbered(modules))

    def append(self, module: Module) -> Self:
        """Add a module at the end."""
        name = str(len(self))
        self._items[name] = _checked("ModuleList", name, module)
        return self
