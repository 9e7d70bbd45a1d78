"""The part of a network: parameters and buffers by name, two modes, one observer.

A `Module` is an ordinary object. Whatever it keeps as an attribute, also inside lists,
tuples and dicts, belongs to it: `Parameter`s are trained, `Buffer`s are saved with
them, other modules are its children. They are found by walking the attributes in the
order in which they were set; nothing is registered, so a subclass need not call
``super().__init__()``.

    class Net(Module):
        def __init__(self):
            self.layers = [Linear(4, 8), Linear(8, 2)]      # parameters "layers.0.weight", ...
        def forward(self, x):
            return self.layers[1](F.relu(self.layers[0](x)))

Read next: `nn/layers.py`.
"""

from __future__ import annotations

import contextlib
import inspect
import reprlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from ..backend import Array, DType, asarray, get_default_dtype, is_array, synchronize, xp
from ..checks import answer_init
from ..foreign import of_class
from ..random import Generator
from ..tensor import Tensor

_FOUND_IN_PYTORCH_ONLY = "num_batches_tracked"  # a counter of its BatchNorm; not needed here


class Parameter(Tensor):
    """A tensor that is trained. Its `name` is its place in the network, such as "0.weight"."""

    __slots__ = ("name",)

    def __init__(self, data: Any, requires_grad: bool = True, dtype: DType = None) -> None:
        self.name: str | None = None
        super().__init__(data, requires_grad, dtype)


class Buffer(Tensor):
    """A tensor that is saved with the parameters but not trained, such as a running mean."""

    __slots__ = ()

    def __init__(self, data: Any, dtype: DType = None) -> None:
        super().__init__(data, False, dtype)


def empty(*shape: int) -> Array:
    """Memory for a parameter, of the default dtype, still to be filled."""
    return xp.empty(shape, get_default_dtype())


def empty_parameter(wanted: bool, *shape: int) -> Parameter | None:
    """A parameter still to be filled, or None if it is not wanted."""
    if not wanted:
        return None
    return Parameter(empty(*shape))


class Call(NamedTuple):
    """One pass through one module, as an observer sees it when it has ended."""

    order: int  # calls are told when they end, inner ones first; this counts their beginnings
    path: str  # the module's name in the outermost one, "" for that itself
    module: Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any
    seconds: float  # including the modules inside


class Unmatched(NamedTuple):
    """Names that `Module.load_state_dict` found on one side only."""

    missing: list[str]  # in the module, not in the state
    unexpected: list[str]  # in the state, not in the module


class _Calls(threading.local):
    """The modules being called in this thread, outermost first, and who wants to know."""

    def __init__(self) -> None:
        self.stack: list[Module] = []
        self.switching: list[Module] = []  # those whose `train` runs now, outermost first
        self.observers: tuple[Callable[[Call], object], ...] = ()
        self.order = count()
        self.running: int | None = None  # the order of the innermost observed call


_calls = _Calls()


@contextlib.contextmanager
def observe(callback: Callable[[Call], object]) -> Iterator[None]:
    """Inside, `callback` is told every module's call when it ends; per thread.

    >>> from tinynet import nn
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> with observe(lambda call: print(repr(call.path), call.output.shape)):
    ...     y = model(tn.zeros((5, 2)))
    '0' (5, 3)
    '1' (5, 3)
    '' (5, 3)
    """
    before = _calls.observers
    _calls.observers = (*before, callback)
    try:
        yield
    finally:
        _calls.observers = before


def is_observed() -> bool:
    """Whether anybody wants to see each layer's call."""
    return bool(_calls.observers)


def _observed(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call `module`, time it (waiting for the device), and tell the observers."""
    order = next(_calls.order)
    path = _path(_calls.stack)
    outer = _calls.running
    _calls.running = order
    try:
        synchronize()
        start = time.perf_counter()
        output = module.forward(*args, **kwargs)
        getattr(output, "data", None)  # what waits for a reader is computed in its own time
        synchronize()
        seconds = time.perf_counter() - start
    finally:
        _calls.running = outer
    for callback in _calls.observers:
        callback(Call(order, path, module, args, kwargs, output, seconds))
    return output


def call_in_progress() -> int | None:
    """The `order` of the innermost call that this thread is observing now, if any."""
    return _calls.running


def layer_in_call() -> tuple[str, Module] | None:
    """Path and module of the innermost layer that this thread is calling now, if any."""
    if not _calls.stack:
        return None
    return _path(_calls.stack), _calls.stack[-1]


def _path(stack: list[Module]) -> str:
    """The name of the innermost module; only errors and observers ask, so it may take a search."""
    return ".".join(_name_in(outer, inner) for outer, inner in pairwise(stack))


def _name_in(outer: Module, inner: Module) -> str:
    for search in (outer.named_children, outer.named_modules):  # mostly a child
        for name, module in search():
            if module is inner and name:
                return name
    return type(inner).__name__  # made during the call: in no attribute


def _say_where(error: Exception, stack: list[Module], args: tuple[Any, ...]) -> None:
    """Add the innermost module and its input shapes to an error on its way out."""
    if any(note.startswith("in layer ") for note in getattr(error, "__notes__", ())):
        return
    module = stack[-1]
    path = _path(stack)
    given = [type(a).__name__ for a in args]
    for place, a in enumerate(args):
        if hasattr(a, "shape"):
            given[place] = f"{a.dtype} {tuple(a.shape)}"
    where = f"({type(module).__name__}({module.extra_repr()}))"
    if path:
        where = f"{path!r} {where}"
    error.add_note(f"in layer {where}, called with {', '.join(given)}")


class Module:
    """Base class of layers and networks: define ``forward``, call the object.

    An attribute that is a plain Tensor belongs to nobody: make it a Parameter or a
    Buffer.

    >>> class Scale(Module):
    ...     def __init__(self): self.factor = Parameter([2.0, 3.0])
    ...     def forward(self, x): return x * self.factor
    >>> net = Scale()
    >>> net(Tensor([1.0, 1.0])), net.named_parameters()
    (Tensor([2., 3.], requires_grad=True),
     [('factor', Parameter([2., 3.], requires_grad=True))])
    """

    training: bool = True  # set for all inside by train() and eval(), module by module

    if not TYPE_CHECKING:  # a type checker would take any name for right
        __getattr__ = of_class("Module")

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        answer_init(cls)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; a parameter or buffer is not lost to something that is neither."""
        if type(value) is Tensor and value.requires_grad and value.is_leaf:
            raise TypeError(f"{type(self).__name__}.{name} would be a plain tensor, "
                            "which no optimizer finds and no file holds: make it an "
                            "nn.Parameter(...)")
        if name in ("requires_grad", "trainable") and isinstance(value, bool):
            raise TypeError(f"{type(self).__name__}.{name} would change nothing: to freeze all "
                            "parameters inside write .requires_grad_(False)")
        old = self.__dict__.get(name)
        if isinstance(old, Parameter | Buffer) and value is not None \
                and not isinstance(value, Parameter | Buffer):
            kind = type(old).__name__
            raise TypeError(f"{type(self).__name__}.{name} is a {kind} and would no "
                            f"longer be trained and saved as a {type(value).__name__}: "
                            f"write into it with .{name}.copy_(...), or set an "
                            f"nn.{kind}(...)")
        object.__setattr__(self, name, value)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The output for an input; subclasses define it, ``module(x)`` calls it."""
        raise TypeError(f"{type(self).__name__} has no forward: define `def "
                        "forward(self, x)` in its class")

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """Call `forward`; the type is what a layer returns (yours may return several tensors)."""
        stack = _calls.stack
        stack.append(self)
        try:
            if _calls.observers:
                output = _observed(self, args, kwargs)
            else:
                output = self.forward(*args, **kwargs)
            if output is None:
                raise TypeError(f"{type(self).__name__}.forward returned None: end it "
                                "with `return y`")
            return output
        except Exception as error:
            _say_where(error, stack, args)
            raise
        finally:
            stack.pop()

    # What is inside

    def _attributes(self) -> Iterable[tuple[str, Any]]:
        """What to search for parameters, buffers and modules, by name."""
        return vars(self).items()

    def _inside(self) -> Iterator[tuple[str, Held]]:
        """What this module holds itself, lists, tuples and dicts taken apart."""
        for name, value in self._attributes():
            yield from _items(name, value)

    def _places(self, name: str = "", around: tuple[Module, ...] = ()
                ) -> Iterator[tuple[str, Held]]:
        """This module and all it holds, in order, by name; what is shared at each place.

        `around` holds the modules around this place: one that holds itself ends there.
        """
        yield name, self
        inner = (*around, self)
        for key, item in self._inside():
            path = _joined(name, key)
            if not isinstance(item, Module):
                yield path, item
            elif all(item is not module for module in inner):
                yield from item._places(path, inner)

    def _once(self) -> Iterable[tuple[str, Held]]:
        """The same, but each object only at its first place."""
        return self._find("", {}).values()

    def _find(self, name: str, found: dict[int, tuple[str, Held]]) -> dict[int, tuple[str, Held]]:
        """`found`, by id, and with it this module and all it holds."""
        found[id(self)] = (name, self)
        for key, item in self._inside():
            path = _joined(name, key)
            if isinstance(item, Module) and id(item) not in found:
                item._find(path, found)
            else:
                found.setdefault(id(item), (path, item))
        return found

    def named_modules(self) -> list[tuple[str, Module]]:
        """This module (its name is "") and all modules inside it, each once."""
        return [(n, m) for n, m in self._once() if isinstance(m, Module)]

    def named_children(self) -> list[tuple[str, Module]]:
        """The modules directly inside this one."""
        return [(n, item) for n, item in self._inside() if isinstance(item, Module)]

    def children(self) -> list[Module]:
        """The modules directly inside this one, without their names."""
        return [child for _, child in self.named_children()]

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """All parameters with their names, each once; their ``.name`` is set to it.

        A walk of a part does not shorten a name that a walk of the whole network has
        given.
        """
        found = [(n, p) for n, p in self._once() if isinstance(p, Parameter)]
        for name, parameter in found:
            if not (parameter.name or "").endswith("." + name):
                parameter.name = name
        return found

    def parameters(self) -> list[Parameter]:
        """All parameters, each once: what an optimizer takes."""
        return [parameter for _, parameter in self.named_parameters()]

    def own_parameters(self) -> list[Parameter]:
        """The parameters that this module holds itself, without those of the modules inside."""
        return [p for _, p in self._inside() if isinstance(p, Parameter)]

    def named_buffers(self) -> list[tuple[str, Buffer]]:
        """All buffers with their names, each once."""
        return [(n, b) for n, b in self._once() if isinstance(b, Buffer)]

    def num_parameters(self, trainable_only: bool = False) -> int:
        """How many numbers the parameters hold; shared ones count once."""
        return sum(p.size for p in self.parameters() if p.requires_grad or not trainable_only)

    # What is done to all of it

    def train(self, mode: bool = True) -> Self:
        """Training behaviour (the default): dropout drops, batch norm uses the batch.

        The modules inside are asked by their own `train`, which a class may define
        anew.
        """
        switching = _calls.switching
        if any(module is self for module in switching):
            return self  # a child that knows its parent asks it back
        self.training = mode
        switching.append(self)
        try:
            for child in self.children():
                child.train(mode)
        finally:
            switching.pop()
        return self

    def eval(self) -> Self:
        """Evaluation: nothing random, nothing that depends on the rest of the batch."""
        return self.train(False)

    def requires_grad_(self, wanted: bool = True) -> Self:
        """Train (or, with False, freeze) all parameters."""
        for parameter in self.parameters():
            parameter.requires_grad = wanted
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, since `backward` adds to them; they are None afterwards."""
        for parameter in self.parameters():
            parameter.grad = None

    def apply(self, function: Callable[[Module], object]) -> Self:
        """Call ``function(module)`` for this module and then for every one inside, in order."""
        for _, module in self.named_modules():
            function(module)
        return self

    def astype(self, dtype: DType) -> Self:
        """Convert all float parameters and buffers; their gradients are dropped."""
        dtype = np.dtype(dtype)
        if dtype.kind != "f":
            raise TypeError(f"astype needs a float type, got {dtype}: use 'float32' or "
                            "'float64'")
        for _, item in self._once():
            if isinstance(item, Tensor) and item.data.dtype.kind == "f":
                trained = item.requires_grad
                item.requires_grad = False
                item.data = item.data.astype(dtype)
                item.requires_grad = trained
        return self

    def double(self) -> Self:
        """Convert to float64, to check gradients."""
        return self.astype(np.float64)

    def float(self) -> Self:
        """Convert to float32, to train."""
        return self.astype(np.float32)

    # Its state

    def _state(self) -> dict[str, Tensor]:
        """Parameters and buffers under all their names, as PyTorch lists shared ones."""
        return {n: t for n, t in self._places() if isinstance(t, Tensor)}

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters and buffers by name, which training does not change.

        Names and shapes are those of the same network in PyTorch.
        """
        return {name: tensor.data.copy() for name, tensor in self._state().items()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> Unmatched:
        """Write `state` (arrays, tensors, PyTorch's too) into the parameters and buffers.

        With `strict` every name must be found on both sides. Wrong shapes are an error
        in any case. Nothing is written unless all of it fits.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state must be arrays by name, got {type(state).__name__}: of a "
                            "file, train.load_model(path, model); of another net, "
                            "other.state_dict(); of PyTorch's, torch.load(path)")
        own = self._state()
        new = {name: _as_array(name, value) for name, value in state.items()
               if name.rpartition(".")[2] != _FOUND_IN_PYTORCH_ONLY or name in own}
        unmatched = Unmatched(missing=[n for n in own if n not in new],
                              unexpected=[n for n in new if n not in own])
        wrong = [f"{n} is {tuple(new[n].shape)} in the state, {t.shape} here"
                 for n, t in own.items() if n in new and tuple(new[n].shape) != t.shape]
        faults = {"of another shape": wrong}
        if strict:
            faults = {"missing in the state": unmatched.missing,
                      "unexpected in the state": unmatched.unexpected, **faults}
        problems = [f"{fault}: {', '.join(names)}" for fault, names in faults.items() if names]
        if problems:
            raise ValueError(f"the state does not fit this {type(self).__name__}\n  "
                             + "\n  ".join(problems))
        for name, tensor in own.items():
            if name in new:
                tensor.copy_(new[name])
        return unmatched

    # How it looks

    def extra_repr(self) -> str:
        """What stands between the parentheses of the printed module.

        That is what `__init__` was given and an attribute of the same name remembers:
        all that has no default, the first in any case, the others where they are not
        the default. Of a parameter it says whether there is one.
        """
        shown = []
        for place, p in enumerate(inspect.signature(type(self)).parameters.values()):
            value = getattr(self, p.name, p.default)
            if isinstance(p.default, bool) and not isinstance(value, bool):
                value = value is not None  # bias: a parameter, or None
            if isinstance(value, Module | Tensor | Generator) or p.name not in vars(self):
                continue
            first = place == 0 and value is not None
            defaults = (repr(p.default), repr((p.default, p.default)))  # a size may be a pair
            if first or repr(value) not in defaults:
                shown.append(f"{p.name}={value!r}")
        return ", ".join(shown)

    @reprlib.recursive_repr()  # a child may know its parent
    def __repr__(self) -> str:
        children = [f"({name}): {child!r}" for name, child in self.named_children()]
        lines = [*filter(None, [self.extra_repr()]), *children]
        if not children:
            return f"{type(self).__name__}({''.join(lines)})"
        body = "\n".join(lines).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {body}\n)"

    def multiply_adds(self, inputs: tuple[Any, ...], output: Any) -> int:
        """Multiplications of one pass that this layer does itself; `summary` adds them up."""
        return 0


Held = Parameter | Buffer | Module


def _joined(name: str, key: str) -> str:
    if name:
        return f"{name}.{key}"
    return key


def _items(name: str, value: Any) -> Iterator[tuple[str, Held]]:
    """The parameters, buffers and modules in `value`, which may be a list, tuple or dict."""
    if isinstance(value, Held):
        yield name, value
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _items(f"{name}.{i}", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _items(f"{name}.{key}", item)


def _as_array(name: str, value: Any) -> Array:
    """`value` as an array of this backend; bfloat16, which NumPy lacks, as float32."""
    if isinstance(value, Tensor):
        value = value.data
    if str(getattr(value, "dtype", "")) == "torch.bfloat16":
        value = value.float()
    if not is_array(value):
        for step in ("detach", "cpu", "numpy"):  # the way out of a PyTorch tensor
            value = getattr(value, step, lambda same=value: same)()
        value = np.asarray(value)
    if value.dtype.name == "bfloat16":  # of the package ml_dtypes
        value = value.astype("float32")
    if value.dtype.kind not in "biuf":
        raise TypeError(f"{name} in the state is no array of numbers but "
                        f"{value.dtype}: layers hold real numbers")
    return asarray(value.astype(value.dtype.newbyteorder("="), copy=False))


def check_dtype(x: Any, weight: Any) -> None:
    """Refuse an input that would silently change what the network computes in."""
    if not hasattr(x, "dtype"):
        raise TypeError(f"the input is a {type(x).__name__}: pass a Tensor or an "
                        "array, for example tn.tensor(values)")
    if weight is not None and x.dtype != weight.dtype:
        if not isinstance(x.dtype, np.dtype):
            raise TypeError(f"the input is a tensor of another library ({x.dtype}): "
                            "convert it with tn.tensor(x)")
        fix = f"convert the input with x.astype('{weight.dtype}')"
        if x.dtype.kind == "f":
            fix += f" (or the network with model.astype('{x.dtype}'))"
        else:
            fix += ", pictures also to small numbers, as in x.astype('float32') / 255"
        raise TypeError(f"the input is {x.dtype}, the weights are {weight.dtype}: "
                        f"{fix}")


def parameter_dtype(module: Module) -> Any:
    """The dtype that a network computes in: that of its first float parameter or buffer."""
    found = (t.dtype for _, t in module._once()
             if isinstance(t, Tensor) and t.dtype.kind == "f")
    return next(found, get_default_dtype())


Modes = list[tuple[Module, bool]]


def modes_of(model: Module) -> Modes:
    """Each module inside, outer ones first, and whether it is in training mode."""
    return [(module, module.training) for _, module in model.named_modules()]


def set_modes(modes: Modes) -> None:
    """Bring each module into its mode, by its own `train`: that may do more than set a flag."""
    for module, training in modes:
        if module.training != training:
            module.train(training)  # those inside follow, and have their turn later
    for module, training in modes:  # and where a `train` decided otherwise
        module.training = training


@contextlib.contextmanager
def modes_kept(model: Module) -> Iterator[None]:
    """Inside, training and evaluation mode may be changed; each module's own comes back after."""
    modes = modes_of(model)
    try:
        yield
    finally:
        set_modes(modes)
