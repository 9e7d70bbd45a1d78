r"""Search for hyper-parameters: grid or random, in parallel, resumed whenever stopped.

    def objective(config):              # trains with config["lr"] ..., returns a score:
        ...                             # the higher the better; or {"score": ..., more}

    space = {"lr": LogUniform(1e-4, 1e-1)}
    found = random_search(objective, space, trials=20, journal="lr.jsonl")
    print(found.table(), found.best.config, found.warnings())

Trial i starts from the random numbers (seed, i), whatever ran before it and wherever it
runs, so a search gives the same trials in any order, on any number of workers. Finished
trials are in the journal; called again, a search runs only what is missing. An
`executor` of `concurrent.futures` runs trials at the same time: processes (start them
by spawn), or another package's executor for many machines. The objective must then be
picklable: a function of a module, or an object of one.

A trial that raises FloatingPointError (its loss became nan) has failed: its score is
nan, and the search goes on. Other errors are mistakes, and end it; finished trials are
kept.

Read next: `tune/journal.py`.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, as_completed
from dataclasses import dataclass, field, fields
from typing import Any

from .. import text
from ..checks import check_whole
from ..kernels.threads import get_num_workers, set_num_workers
from ..random import get_state, key, manual_seed, set_state
from ..train.history import finite_or_none
from .journal import Journal, opened
from .space import Config, Space, Uniform, describe, distinct, grid, is_number, label, sample

Objective = Callable[[Config], "float | Mapping[str, Any]"]
_EDGE = 0.05  # share of a range that counts as its border
_one_at_a_time = threading.Lock()  # the threads of a process share its random numbers


@dataclass(frozen=True)
class Trial:
    """One set of hyper-parameters and what came of it."""

    i: int
    config: Config
    score: float  # nan: it failed
    seconds: float
    extra: dict[str, Any] = field(default_factory=dict)  # what the objective returned besides

    @property
    def rank(self) -> float:
        """The score, or minus infinity for a failed trial."""
        return self.score if math.isfinite(self.score) else -math.inf


@dataclass(frozen=True)
class Search:
    """The finished trials, in order of i; `stopped` says why some are missing."""

    trials: list[Trial]
    space: Space = field(default_factory=dict)
    stopped: str = ""

    @property
    def best(self) -> Trial:
        """The trial of the highest score, the first of equal ones."""
        if not self.trials:
            raise ValueError("no trial has finished "
                             f"({self.stopped or 'there were none'})")
        return max(self.trials, key=lambda trial: trial.rank)

    @property
    def seconds(self) -> float:
        """Of all trials together."""
        return sum(trial.seconds for trial in self.trials)

    def values(self, name: str) -> list[Any]:
        """The different values of a parameter: numbers in order, then others."""
        return distinct(t.config[name] for t in self.trials if name in t.config)

    def table(self) -> str:
        """The trials as text, the best one marked with a star."""
        rows, best = self._rows()
        return text.table(rows, align="r", starred=best)

    def _rows(self) -> tuple[list[list[str]], int | None]:
        """The trials below a head, and the row of the best one."""
        names = list(dict.fromkeys(name for t in self.trials for name in t.config))
        rows = [["trial", *names, "score", "seconds"]]
        for t in self.trials:
            cells = [label(t.config.get(name, "-")) for name in names]
            rows.append([str(t.i), *cells, label(t.score), f"{t.seconds:.1f}"])
        if not self.trials:
            return rows, None
        best = self.best
        return rows, next(n for n, t in enumerate(self.trials, 1) if t is best)

    def _repr_html_(self) -> str:
        rows, best = self._rows()
        return text.html(rows, f"{len(self.trials)} trials, bold: the best", best)

    def warnings(self) -> list[str]:
        """A line for each number whose best value lies on the border of what was tried.

        The optimum may then lie outside. No decay, no dropout (0) is no border: there
        is no less. A border value that is only as good as one inside is none either.
        """
        found = []
        for name, best in self.best.config.items():
            if not is_number(best):
                continue
            low, high, tried = self._edges(name)
            as_good: list[Any] = [t.config.get(name) for t in self.trials
                                  if t.rank == self.best.rank]
            inside = any(is_number(value) and low < value < high for value in as_good)
            if len(self._numbers(name)) > 1 and not inside:
                found.append(f"the best {name}, {float(best):.3g}, lies at the border of what "
                             f"was tried ({float(tried[0]):.3g} to {float(tried[1]):.3g}): try "
                             f"{'larger' if best >= high else 'smaller'} ones as well")
        return found

    def _edges(self, name: str) -> tuple[float, float, tuple[float, float]]:
        """Between the first two numbers is inside; and the ends of what was tried."""
        axis = self.space.get(name)
        values = self._numbers(name)
        low = values[0]
        high = values[-1]
        ends = (low, high)
        if isinstance(axis, Uniform):
            low = axis.at(_EDGE)
            high = axis.at(1 - _EDGE)
            ends = (axis.low, axis.high)
        return (low if ends[0] > 0 else -math.inf), high, ends

    def _numbers(self, name: str) -> list[float]:
        """The different numbers among the values of a parameter, in order."""
        return [value for value in self.values(name) if is_number(value)]


@dataclass(frozen=True)
class Options:
    """How trials are run: every search takes these by name.

    seed      of the trials' random numbers, and of the points of a random search
    journal   a file for the finished trials (or an open `Journal`, where they are called
              `name`)
    executor  runs the trials, each on `threads` threads (default 1); without one they run
              here, one after the other, on all threads
    budget    seconds of training in all: no trial is started that is likely to exceed it,
              judged by the longest so far; before one has finished, by the `seconds` that
              it should take
    on_trial  called with each trial that has just finished
    """

    seed: int = 0
    journal: Journal | str | os.PathLike[str] | None = None
    name: str = "trial"
    executor: Executor | None = None
    threads: int | None = None
    budget: float | None = None
    seconds: float = 0.0
    on_trial: Callable[[Trial], object] = lambda trial: None

    def __post_init__(self) -> None:
        if self.threads is not None:
            check_whole("threads", self.threads)
        if self.budget is not None and not self.budget >= 0:
            raise ValueError("budget must be 0 seconds or more, or None, got "
                             f"{self.budget}")

    def is_over(self, done: Iterable[Trial]) -> bool:
        """Whether one more trial is likely to exceed the budget."""
        if self.budget is None:
            return False
        times = [trial.seconds for trial in done]
        return sum(times) + max(times, default=self.seconds) > self.budget


def by_name(options: Mapping[str, Any], *kinds: type[Any]) -> list[Any]:
    """One object of each of these dataclasses, from the options that are its fields.

    >>> by_name({"trials": 3}, Options)
    Traceback (most recent call last):
        ...
    TypeError: 'trials' is no option here: there are budget, executor, ...
    """
    known = {field.name: kind for kind in reversed(kinds) for field in fields(kind)}
    for name in options:
        if name not in known:
            raise TypeError(f"{name!r} is no option here: there are "
                            f"{', '.join(sorted(known))}")
    return [kind(**{name: value for name, value in options.items() if known[name] is kind})
            for kind in kinds]


def run_trials(objective: Objective, configs: Sequence[Config] | Mapping[int, Config], *,
               space: Space | None = None, **options: Any) -> Search:
    """Run ``objective(config)`` for every config (a list, or a dict by trial number).

    `options` are the fields of `Options`, by name; `space` is what the configs were
    drawn from.
    """
    (how,) = by_name(options, Options)
    if not isinstance(configs, Mapping):
        configs = dict(enumerate(configs))
    with opened(how.journal, {"seed": how.seed}) as journal:
        described = _described(configs, journal)
        keys = {i: f"{how.name} {i}" for i in configs}
        done = {i: _from_journal(journal, keys[i], i, configs[i], described[i])
                for i in configs if keys[i] in journal}
        left = {i: configs[i] for i in configs if i not in done}
        run = _run_here if how.executor is None else _run_on
        for i, found in run(objective, left, how, done):
            journal.add(keys[i], {"config": described[i]} | found)
            done[i] = _from_journal(journal, keys[i], i, configs[i], described[i])
            how.on_trial(done[i])
    stopped = "the budget was used up" if len(done) < len(configs) else ""
    return Search([done[i] for i in sorted(done)], space or {}, stopped)


Results = Iterator[tuple[int, dict[str, Any]]]


def _run_here(objective: Objective, configs: Mapping[int, Config], how: Options,
              done: Mapping[int, Trial]) -> Results:
    """What each trial gives, one after the other, in this process."""
    for i, config in configs.items():
        if how.is_over(done.values()):
            return
        yield i, run_one(objective, config, how.seed, i, how.threads)


def _run_on(objective: Objective, configs: Mapping[int, Config], how: Options,
            done: Mapping[int, Trial]) -> Results:
    """What each gives, as they finish; none is begun when time is up."""
    if how.executor is None or how.is_over(done.values()):
        return
    futures: dict[Future[dict[str, Any]], int] = {
        how.executor.submit(run_one, objective, config, how.seed, i, how.threads or 1): i
        for i, config in configs.items()}
    try:
        for future in as_completed(futures):
            if not future.cancelled():
                yield futures[future], future.result()
            if how.is_over(done.values()):
                for waiting in futures:
                    waiting.cancel()
    finally:  # after an error: leave nothing waiting in the executor
        for future in futures:
            future.cancel()


def _described(configs: Mapping[int, Config], journal: Journal) -> dict[int, Any]:
    """What the journal keeps of each config; TypeError, before any trial, if it cannot.

    A journal in memory is read by nobody else: there the text of any object will do.
    """
    if journal.path is None:
        return {i: _told(config) for i, config in configs.items()}
    return {i: {name: describe(value, f"{name}, of trial {i},")
                for name, value in config.items()} for i, config in configs.items()}


def _told(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as a journal can hold them, if need be by their text."""
    found = {}
    for name, value in values.items():
        try:
            found[name] = describe(value)
        except TypeError:
            found[name] = text.shown(value, most=None)
    return found


def run_one(objective: Objective, config: Config, seed: int, i: int,
            threads: int | None = None) -> dict[str, Any]:
    """One trial, in any process: {"score": ..., "seconds": ..., "extra": {...}}."""
    with _one_at_a_time, _threads(threads), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # overflow: a trial may well explode
        before, start = get_state(), time.perf_counter()
        manual_seed(key(seed, "trial", i))
        try:
            found = objective(dict(config))
        except FloatingPointError as error:
            found = {"score": math.nan, "error": str(error)}
        finally:
            set_state(before)
        seconds = time.perf_counter() - start
    extra = dict(found) if isinstance(found, Mapping) else {"score": found}
    try:
        score = float(extra.pop("score"))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise TypeError("the objective must return its score, a number, or a dict with "
                        f"it under 'score', got {found!r:.200}") from error
    # Nothing that a trial has cost is lost for what it says besides.
    return {"score": finite_or_none(score), "seconds": seconds, "extra": _told(extra)}


@contextlib.contextmanager
def _threads(n: int | None) -> Iterator[None]:
    """This process computes on `n` threads inside, BLAS too (None: as it is set)."""
    if n is None:
        yield
        return
    from threadpoolctl import threadpool_limits

    before = get_num_workers()
    set_num_workers(n)
    try:
        with threadpool_limits(limits=n, user_api="blas"):
            yield
    finally:
        set_num_workers(before)


def _from_journal(journal: Journal, key: str, i: int, config: Config, described: Any
                  ) -> Trial:
    found = journal[key]
    try:
        if found["config"] != described:
            raise ValueError(f"{journal.path or 'the journal'} belongs to another "
                             f"search: {key} was {found['config']} there and is "
                             f"{described} here")
        score = math.nan if found["score"] is None else float(found["score"])
        return Trial(i, dict(config), score, float(found["seconds"]), dict(found["extra"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{journal.path}: {key} is no trial ({error!r})") from error


def grid_search(objective: Objective, axes: Mapping[str, Sequence[Any]], **options: Any
                ) -> Search:
    """Try every combination of the values; for `options` see `Options`.

    >>> found = grid_search(lambda c: -(c["x"] - 2) ** 2, {"x": [0, 1, 2], "y": [5, 6, 7]})
    >>> len(found.trials), found.values("x"), found.best.config, found.warnings()[0][:26]
    (9, [0, 1, 2], {'x': 2, 'y': 5}, 'the best x, 2, lies at the')
    """
    return run_trials(objective, grid(axes), **options)


def random_search(objective: Objective, space: Space, trials: int, **options: Any
                  ) -> Search:
    """Try `trials` random points of the space; for `options` see `Options`.

    As many different values of every parameter as trials, where a grid has the root of
    it or less: the axis that matters is seen much more closely.

    >>> space = {"x": Uniform(0, 3)}
    >>> found = random_search(lambda c: -(c["x"] - 2) ** 2, space, trials=9, seed=0)
    >>> len(found.values("x")), abs(found.best.config["x"] - 2) < 0.3
    (9, True)
    """
    seed = options.get("seed", 0)
    configs = [sample(space, seed, i) for i in range(check_whole("trials", trials))]
    return run_trials(objective, configs, space=space, **options)


def successive_halving(objective: Objective, space: Space, trials: int, *,
                       resource: str = "epochs", least: int = 1, factor: int = 3,
                       **options: Any) -> list[Search]:
    r"""Give all trials little, and the best of them more: one `Search` for each rung.

        rung r: the best ceil(trials / factor^r) of the rung before,
                with resource least factor^r

    The last rung has one trial, the winner. Each rung costs about the same, so 27
    trials of 1, 3, 9 and 27 epochs cost 4 times 27 epochs instead of 27 times. The
    objective reads ``config[resource]``; every trial of a rung starts from nothing. For
    `options` see `Options`. Source: Jamieson and Talwalkar 2016, "Non-stochastic best
    arm identification".

    >>> space = {"x": Uniform(0, 1)}
    >>> rungs = successive_halving(lambda c: c["x"] * c["epochs"], space, trials=9)
    >>> [(len(rung.trials), rung.best.config["epochs"]) for rung in rungs]
    [(9, 1), (3, 3), (1, 9)]
    """
    if trials < 1 or least < 1 or factor < 2:
        raise ValueError("successive halving needs trials >= 1, least >= 1 and factor "
                         f">= 2, got {trials}, {least}, {factor}")
    (how,) = by_name(options, Options)
    alive = {i: sample(space, how.seed, i) for i in range(trials)}
    rungs: list[Search] = []
    with opened(how.journal, {"seed": how.seed}) as journal:
        while True:
            amount = least * factor ** len(rungs)
            configs = {i: config | {resource: amount} for i, config in alive.items()}
            options |= {"journal": journal, "name": f"rung {len(rungs)}, trial"}
            rungs.append(run_trials(objective, configs, space=space, **options))
            if len(alive) == 1 or rungs[-1].stopped:
                return rungs
            order = sorted(rungs[-1].trials, key=lambda trial: -trial.rank)
            alive = {t.i: alive[t.i] for t in order[: math.ceil(len(alive) / factor)]}
