r"""Checkpoints of a run: all that its future depends on, so that nothing is lost.

    saver = Checkpoints("runs/x", every=100)
    trainer = Trainer(model, optimizer, callbacks=[saver])
    trainer.fit(loader, val, epochs=30, resume="runs/x")

Kill the process at any moment, run the same lines again, and the weights, the history
and the logs end bit-equal to those of an uninterrupted run (but for seconds). The state
is a tree of dicts, lists, numbers and arrays: parameters, buffers, optimizer, the
generator's counter, the loader's position, curves, callbacks. Draws and pictures are
functions of (seed, epoch, index), so there is nothing else to save. In the file, a
safetensors file as in `checkpoint.py`, the tree is JSON text in the header and each
array in it the name of an entry. A loop of your own does the same by `save_checkpoint`
and `load_checkpoint`: `examples/own_loop.py`.

Read next: `train/tree.py`.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..checks import check_whole
from ..files import explained, remove_leftovers, write_atomic
from ..locks import Lock
from ..nn.noise import noise_state, set_noise_state
from .callbacks import Callback, Run
from .checkpoint import CHECKPOINT, read_file, save_model, write_file
from .distributed import weights_digest
from .history import History
from .settings import Settings, differences, settings_of
from .state import check_settings, check_state
from .tree import pack, unpack

_PATTERN = "step-*.safetensors"
_BEST = "best.safetensors"


@dataclass
class Fit:
    """Where a call of `Trainer.fit` stands, besides what every callback may read."""

    loaders: list[Any] = field(default_factory=list)  # of training, of validation
    first_epoch: int = 0
    started: float = 0.0  # when the epoch did, by perf_counter
    stop: str = ""  # why to end after this epoch
    sums: dict[str, float] = field(default_factory=dict)  # of the epoch that is begun
    unjudged: list[int] = field(default_factory=list)  # epochs: no finite val_loss
    settings: Settings = field(default_factory=dict)  # {}: not asked for yet
    frozen: list[str] = field(default_factory=list)  # parameters, when the fit began

    @property
    def batches_done(self) -> int:
        """Of the epoch that is begun."""
        return int(self.sums.get("batches", 0))


class Resumable(Run, Protocol):
    """What else of a run a checkpoint holds; `Trainer` has it."""

    callbacks: list[Callback]
    fitting: Fit


def run_state(run: Resumable) -> dict[str, Any]:
    """All that the rest of `run` depends on: dicts, lists, numbers and arrays."""
    fit = run.fitting
    positions = [loader.get_state() if hasattr(loader, "get_state") else None
                 for loader in fit.loaders]
    callbacks = [[type(callback).__name__, callback.state_dict()]
                 for callback in run.callbacks]
    return {
        "step": run.step,
        "epoch": run.epoch,
        "first_epoch": fit.first_epoch,
        "stop": fit.stop,
        "sums": dict(fit.sums),
        "unjudged": list(fit.unjudged),
        "seconds": time.perf_counter() - fit.started,
        "random": noise_state(run.model),
        "loaders": positions,
        "settings": _settings(run),
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "history": run.history.state_dict(),
        "callbacks": callbacks,
    }


def load_run_state(run: Resumable, state: Mapping[str, Any]) -> None:
    """Take over what `run_state` returned; ValueError if it is of another kind."""
    mine = _settings(run)
    try:
        check_state(state)
        check_settings(state["optimizer"]["groups"], run.optimizer.param_groups)
        _take_over(run, state)
        run.fitting.settings = {}
        lines = differences(state.get("settings", {}), mine, _settings(run))
    except (LookupError, TypeError, AttributeError, ValueError,
            ArithmeticError) as error:
        raise ValueError(f"the checkpoint does not fit this run: {error}") from error
    if lines:
        head = "resumed with other settings than those of the checkpoint:"
        run.tell("\n  ".join([head, *lines]))


def _take_over(run: Resumable, state: Mapping[str, Any]) -> None:
    run.model.load_state_dict(state["model"])
    run.optimizer.load_state_dict(state["optimizer"])
    fit = run.fitting
    for loader, position in zip(fit.loaders, state["loaders"], strict=False):
        if position is not None and hasattr(loader, "set_state"):
            loader.set_state(position)
    _load_callbacks(run.callbacks, state["callbacks"])
    set_noise_state(run.model, state["random"])
    run.history = History.from_dict(state["history"])
    run.step = int(state["step"])
    run.epoch = int(state["epoch"])
    fit.first_epoch = int(state["first_epoch"])
    fit.stop = str(state["stop"])
    fit.sums = dict(state["sums"])
    fit.unjudged = [int(epoch) for epoch in state.get("unjudged", [])]
    fit.started = time.perf_counter() - float(state["seconds"])


def _load_callbacks(callbacks: Iterable[Callback], states: Iterable[Any]) -> None:
    """By the names of their classes; of several alike, in their order."""
    waiting = list(callbacks)
    for name, saved in states:
        match = next((c for c in waiting if type(c).__name__ == name), None)
        if match is not None:
            waiting.remove(match)
            match.load_state_dict(saved)
        elif saved:  # one that remembers nothing, a progress bar say, may be missing
            raise ValueError(
                f"it holds the state of a {name}, and this trainer has no such "
                "callback (left): give it those of the run it is from")


def _settings(run: Resumable) -> Settings:
    """The settings of this fit, as they were when they were first asked for."""
    fit = run.fitting
    if not fit.settings:
        names = ("training loader", "validation loader")
        fit.settings = settings_of(run, dict(zip(names, fit.loaders, strict=False)))
    return fit.settings


def run_facts(run: Resumable) -> dict[str, str]:
    """What must be alike on all ranks that train one model, as texts by name."""
    return {**_settings(run), "weights": weights_digest(run.model)}


def save_checkpoint(path: str | os.PathLike[str], state: Any) -> None:
    """Write a tree of arrays, numbers and texts to one file, atomically.

    The state of a run (``trainer.state_dict()``), or of a loop of your own: lists,
    tuples and dicts of arrays, tensors, numbers, texts and None, which
    `load_checkpoint` gives back as they were (`tree.py`). Before the call the file
    holds the old checkpoint or none, after it the new one, at no time a part. OSError
    if it cannot be written; TypeError names the place of a value that is nothing of
    these.

        train.save_checkpoint("runs/x.safetensors", {
            "model": model.state_dict(), "optimizer": optimizer.state_dict(),
            "random": tn.get_state(), "loader": loader.get_state(), "step": step})
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError("save_checkpoint(path, state) takes the file's name first, got "
                        f"{type(path).__name__}")
    library = sys.modules[__name__.partition(".")[0]]  # upstairs: not to be imported
    arrays: dict[str, Any] = {}
    tree = json.dumps(pack(state, arrays))
    metadata = {"tinynet": getattr(library, "__version__", "unknown"), "state": tree}
    if isinstance(state, Mapping):
        metadata |= {name: str(state[name]) for name in ("step", "epoch")
                     if isinstance(state.get(name), int)}
    write_file(path, CHECKPOINT, arrays, metadata)


def load_checkpoint(path: str | os.PathLike[str]) -> Any:
    """The tree that `save_checkpoint` wrote, its arrays on the host.

    FileNotFoundError if there is no such file; ValueError if it is truncated, damaged
    (one flipped bit suffices), of a newer tinynet, or something else than a checkpoint.
    """
    arrays, metadata = read_file(path)
    if metadata.get("format") != CHECKPOINT:
        raise ValueError(
            f"{path} is no checkpoint of a run: its format is "
            f"{metadata.get('format')!r}. Weights alone are read by load_model")
    try:
        return unpack(json.loads(metadata["state"]), arrays)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} holds no state of a run ({error!r}): "
                         "use another checkpoint") from error


read_checkpoint = load_checkpoint  # its name in earlier versions


def read_newest(path: str | os.PathLike[str]) -> tuple[Path, dict[str, Any]] | None:
    """The newest whole checkpoint of a folder (None: it has none), or the file named.

    A file that cannot be read is passed over, with a warning that says why, for the one
    before it. ValueError if none can be read.
    """
    path = Path(path)
    if not path.is_dir():
        # a folder that is not there yet has no checkpoints; a file that is not there is
        # a mistake
        missing = not path.exists() and path.suffix != ".safetensors"
        return None if missing else (path, load_checkpoint(path))
    problems: list[str] = []
    for file in sorted(path.glob(_PATTERN), reverse=True):
        try:
            found = file, load_checkpoint(file)
        except FileNotFoundError:  # another process has a newer one, and removed it
            continue
        except (ValueError, OSError) as error:
            problems.append(str(error))
            continue
        for problem in problems:
            warnings.warn(f"{problem}. Going on from {file.name} instead",
                          RuntimeWarning, stacklevel=3)
        return found
    if problems:
        head = f"no checkpoint in {path} can be read:"
        raise ValueError("\n  ".join([head, *problems]))
    return None


class Checkpoints(Callback):
    """Save the run after every epoch, and every so many steps, to survive a crash.

    folder: gets step-00000300.safetensors, ... and best.safetensors, the model
    (`load_model`) of
            the best validation so far
    every:  steps between two checkpoints, besides the ends of epochs
    keep:   so many of the newest stay, None: all; others go when the new one is whole

    A folder with checkpoints of an earlier run is refused, unless this run resumes from
    there: `Trainer.fit(..., resume=folder)`. Then newer files (those that could not be
    read, or the future of an older checkpoint that was asked for) get the ending .old
    and are left alone. So is a folder in use by another run, in this process or another
    one (BlockingIOError). OSError ends the run when a checkpoint cannot be written;
    those before it are whole.
    """

    only_watches = True
    writes_files = True

    def __init__(self, folder: str | os.PathLike[str], every: int | None = None,
                 keep: int | None = 2) -> None:
        for name, value in (("every", every), ("keep", keep)):
            if value is not None:
                check_whole(name, value)
        self.folder = Path(folder)
        self.every = every
        self.keep = keep
        self._epoch = 0
        self._lock = Lock(self.folder / ".lock", self.folder)

    def files(self) -> list[Path]:
        """The checkpoints in the folder, the oldest first."""
        return sorted(self.folder.glob(_PATTERN))

    def on_start(self, trainer: Run) -> None:
        """Find out now, not after an hour, whether the folder can be used."""
        self._epoch = trainer.epoch
        with explained(self.folder):
            self._lock.acquire()
        newer = [file for file in self.files() if file.name > _name(trainer.step)]
        if newer and trainer.step == 0:
            raise FileExistsError(
                f"{self.folder} holds checkpoints of an earlier run (the newest is "
                f"{newer[-1].name}): go on from it with fit(..., "
                f"resume={str(self.folder)!r}), remove it, or choose another folder")
        write_atomic(self.folder / ".probe", b"").unlink()
        remove_leftovers(self.folder, _PATTERN, _BEST)
        for file in newer:
            file.replace(file.with_name(file.name + ".old"))

    def on_end(self, trainer: Run) -> None:
        """Let other runs use the folder."""
        self._lock.release()

    def at_rest(self, trainer: Run) -> None:
        """Save when it is time: the best model first, as no resumed run will meet it."""
        epoch_ended = trainer.epoch > self._epoch
        if not epoch_ended and (self.every is None or trainer.step % self.every):
            return
        self._epoch = trainer.epoch
        monitor = trainer.monitor
        if epoch_ended and trainer.history.is_best(monitor, trainer.epoch):
            value = trainer.history.epochs[monitor][-1]
            metadata = {"epoch": str(trainer.epoch), monitor: str(value)}
            save_model(trainer.model, self.folder / _BEST, metadata)
        save_checkpoint(self.folder / _name(trainer.step), trainer.state_dict())
        if self.keep is not None:
            for file in self.files()[: -self.keep]:
                file.unlink(missing_ok=True)


def _name(step: int) -> str:
    return f"step-{step:08d}.safetensors"
