"""Steps 4 to 7 and the whole run: five planted bugs named in place, resumed to the same end."""

from __future__ import annotations

import functools
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from tests.tune.problem import clouds, problem
from tinynet import nn, random, to_numpy, train, tune
from tinynet.functional import mse_loss
from tinynet.optim import SGD
from tinynet.train import History
from tinynet.tune import LogUniform, Search, Trial, recipe, search

QUICK: dict[str, Any] = {"coarse_epochs": 1, "fine_epochs": 4, "fine_trials": 3}
BUGS = {"bad init": (1, "initial loss too high"), "lr x 1000": (2, "lr too high"),
        "lr / 1000": (2, "lr too low"), "unshuffled data": (2, "unshuffled data"),
        "shuffled labels": (3, "labels do not follow from the pictures")}


def facts(found: recipe.Found) -> list[dict[str, Any]]:
    """All that was found, but for how long it took."""
    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {n: plain(v) for n, v in value.items() if n != "seconds"}
        return [plain(v) for v in value] if isinstance(value, list) else value

    return [plain(step.to_dict()) for step in found.steps]


@functools.cache
def whole(rounds: int = 2) -> recipe.Found:
    """A run without bugs that nothing interrupts."""
    random.manual_seed(0)
    return recipe.run(**problem(n=640), **QUICK, rounds=rounds)


@pytest.mark.parametrize("bug", BUGS)
@pytest.mark.lecture("H1", "H2", "H3")
def test_H7_a_planted_bug_is_named_at_its_step(bug: str) -> None:
    for seed in range(2):
        found = recipe.run(**problem(seed, bug), seed=seed)
        number, fault = BUGS[bug]
        assert (found.steps[-1].number, found.fault) == (number, fault), str(found)
        assert recipe.FAULTS[fault] == number and found.steps[-1].advice
        assert [step.status for step in found.steps[:-1]] == ["ok"] * (number - 1)
        assert found.stopped == f"step {number} found a fault: {fault}" and found.best is None


def test_H7_a_run_without_bugs_goes_through_all_steps() -> None:
    for seed in range(2):
        found = recipe.run(**problem(seed, n=960), seed=seed, **QUICK)
        assert [step.number for step in found.steps] == [1, 2, 3, 4, 5, 6, 5, 6, 7]
        assert found.fault == "" and all(step.status == "ok" for step in found.steps[:3])
        assert found.best is not None and found.best.score > 0.7
        assert found.stopped == "2 rounds are done" and "Chosen: lr=" in str(found)


def test_H4_a_grid_of_4_rates_and_3_decays_and_its_border() -> None:
    p = problem()
    setup = recipe.Setup(p["model"], p["optimizer"], p["train_loader"], p["val_loader"])
    lrs = [1e-5, 0.01, 0.03, 30.0]
    step, found = recipe.coarse_grid(setup, lrs, epochs=1)
    assert len(found.trials) == 12 and found.values("lr") == lrs
    assert found.values("weight_decay") == [0.0, 1e-5, 1e-4]
    assert step.status == "ok" and found.best.config["lr"] in (0.01, 0.03)
    assert step.numbers["score"] == max(t.score for t in found.trials)
    step, found = recipe.coarse_grid(setup, [1e-5, 1e-4, 1e-3, 1e-2], decays=(0.0,), epochs=1)
    assert (step.status, step.fault) == ("warning", "best on the border")
    assert "best lr, 0.01, lies at the border" in step.advice and "try larger" in step.advice
    step, _ = recipe.coarse_grid(setup, [1e-9], decays=(0.0,), epochs=1)
    assert step.fault == "nothing learned"


def test_H5_the_finer_range_follows_from_the_coarse_grid() -> None:
    def best(lr: float, decay: float, space: Any = ()) -> dict[str, LogUniform]:
        configs = tune.grid({"lr": [1e-3, 1e-2, 1e-1], "weight_decay": [1e-4, 1e-5, 0.0]})
        return recipe.refined(Search([Trial(i, c, float(c == {"lr": lr, "weight_decay": decay}), 1)
                                      for i, c in enumerate(configs)], dict(space)))

    half = 10**0.5
    for lr in (1e-3, 1e-2, 1e-1):
        axis = best(lr, 1e-5)["lr"]
        assert (axis.low, axis.high) == (pytest.approx(lr / half), pytest.approx(lr * half))
    decay = best(1e-2, 1e-5)["weight_decay"]
    assert (decay.low, decay.high) == (pytest.approx(1e-5 / half), pytest.approx(1e-5 * half))
    none = best(1e-2, 0.0)["weight_decay"]
    assert (none.low, none.high) == (pytest.approx(1e-6), pytest.approx(1e-5))
    again = best(1e-2, 1e-5, {"lr": LogUniform(1e-3, 1e-1)})["lr"]  # half as wide as before
    assert again.high / again.low == pytest.approx(10)


def test_H5_trains_longer_at_a_constant_rate() -> None:
    found = recipe.run(**problem(n=640), rounds=1, fine_epochs=10, fine_trials=3)
    (fine,) = [step for step in found.steps if step.number == 5]
    assert fine.numbers["epochs"] == 10 and len(fine.data["trials"]) == 3
    for row in fine.data["trials"]:
        history = History.from_dict(row["history"])
        assert set(history.steps["lr"]) == {row["lr"]} and len(history.epochs["epoch"]) == 10
    coarse = next(step for step in found.steps if step.number == 4)
    lrs = [row["lr"] for row in fine.data["trials"]]
    assert len(set(lrs)) == 3
    assert all(abs(lr / coarse.numbers["lr"]) < 10**0.26 for lr in lrs)  # half-decades apart
    assert all(coarse.numbers["lr"] / lr < 10**0.26 for lr in lrs)


def test_H6_steers_the_next_round_of_H7(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, float]] = []

    def watch(setup: Any, space: Any, **options: Any) -> Any:
        seen.append((options["epochs"], space["weight_decay"].high / space["weight_decay"].low))
        step, found = refine(setup, space, **options)
        centres.append((space["weight_decay"].low * space["weight_decay"].high) ** 0.5)
        bests.append(found.best.config["weight_decay"])
        return step, found

    refine, centres, bests = recipe.refine, [], []
    monkeypatch.setattr(recipe, "refine", watch)
    verdicts = iter(["still rising", "overfitting", "healthy"])

    def read(history: Any) -> Any:
        verdict = next(verdicts)
        return recipe.Step(6, "curves", "", fault=verdict, data={"findings": {verdict: ""}})

    monkeypatch.setattr(recipe, "read_curves", read)
    recipe.run(**problem(n=640), **QUICK, rounds=3)
    assert [epochs for epochs, _ in seen] == [4, 8, 8]
    widths = [width for _, width in seen]
    assert widths[1] == pytest.approx(widths[0] ** 0.5) and widths[2] < widths[1]
    assert centres[1] == pytest.approx(bests[0]) and centres[2] == pytest.approx(3 * bests[1])


class Stop(Exception):
    pass


def test_H7_an_interrupted_run_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    for cut in (3, 5):
        path = tmp_path / f"{cut}.jsonl"

        def stop(found: recipe.Found, cut: int = cut) -> None:
            if len(found.steps) == cut:
                raise Stop

        with pytest.raises(Stop):
            recipe.run(**problem(n=640), **QUICK, journal=path, report=stop)
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[:-1]) + lines[-1][:-9])  # killed while writing a line
        assert facts(recipe.run(**problem(n=640), **QUICK, journal=path)) == facts(whole())
        again = recipe.run(**problem(n=640), **QUICK, journal=path)
        assert facts(again) == facts(whole()) and again.seconds > 0
    other = problem(1, n=640)
    with pytest.raises(ValueError, match="belongs to another run: data is"):
        recipe.run(**other, **QUICK, journal=path)
    with pytest.raises(ValueError, match="belongs to another run: weights is"):
        recipe.run(**{**problem(n=640), "model": other["model"]}, **QUICK, journal=path)


def test_H7_keeps_to_its_budget_and_goes_on_with_more(tmp_path: Path) -> None:
    path = tmp_path / "recipe.jsonl"
    part = recipe.run(**problem(n=640), **QUICK, journal=path, budget=0.0)
    assert "budget" in part.stopped and part.steps[-1].number == 7 and len(part.steps) == 5
    assert len(part.steps[3].data["trials"]) == 1 and "Not all trials ran" in part.steps[3].said
    assert facts(recipe.run(**problem(n=640), **QUICK, journal=path, budget=600)) == facts(whole())


def test_H7_starts_no_long_trial_that_the_budget_cannot_bear(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial of step 5 takes as long as its epochs took in step 4."""
    run_one = search.run_one

    def timed(objective: Any, *arguments: Any) -> Any:
        return {**run_one(objective, *arguments), "seconds": 100.0 * objective.epochs}

    monkeypatch.setattr(search, "run_one", timed)
    seen: list[Trial] = []
    for budget, fine in ((1550.0, 0), (1650.0, 1), (2450.0, 3)):
        seen.clear()
        found = recipe.run(**problem(n=640), **QUICK, rounds=1, budget=budget,
                           on_trial=seen.append)
        assert [t.seconds for t in seen] == [100.0] * 12 + [400.0] * fine
        assert found.best is not None and found.seconds < budget
        assert ("budget" in found.stopped) == (fine < 3)


def test_H7_ctrl_c_in_a_trial_leaves_no_half_trial(tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "recipe.jsonl"
    fit, calls = recipe.fit, []

    def interrupted(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 5:
            arguments[0].callbacks.append(_Interrupt())
        return fit(*arguments)

    monkeypatch.setattr(recipe, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        recipe.run(**problem(n=640), **QUICK, journal=path)
    assert path.read_text().count('"key": "step 4 ') == 4


class _Interrupt(train.Callback):
    def on_step(self, trainer: train.Trainer) -> None:
        raise KeyboardInterrupt


def test_H7_changes_neither_model_nor_optimizer_nor_random_numbers() -> None:
    p = problem(0, "batch norm", n=640, dropout=0.2)
    before = {n: to_numpy(x).tobytes() for n, x in p["model"].state_dict().items()}
    state = (repr(p["optimizer"].state_dict()), random.get_state(), p["train_loader"].get_state(),
             p["val_loader"].get_state())
    recipe.run(**p, **QUICK, rounds=1)
    assert {n: to_numpy(x).tobytes() for n, x in p["model"].state_dict().items()} == before
    assert (repr(p["optimizer"].state_dict()), random.get_state(), p["train_loader"].get_state(),
            p["val_loader"].get_state()) == state
    assert p["model"].training and all(q.grad is None for q in p["model"].parameters())


def test_H7_in_other_processes_finds_the_same() -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        there = recipe.run(**problem(n=640), **QUICK, rounds=1, executor=executor)
    assert facts(there) == facts(whole(rounds=1))


def test_H7_too_few_steps_for_a_curve_are_refused() -> None:
    p = problem(n=64)
    with pytest.raises(ValueError, match="fine_epochs=2 of 4 batches are fewer than 10 steps"):
        recipe.run(**p, fine_epochs=2)


@pytest.mark.parametrize("wrong, message", [
    ({"train_loader": iter(())}, "train_loader has no batches, or no len.*got tuple_iterator"),
    ({"val_loader": []}, "val_loader has no batches"), ({"val_loader": None}, "got NoneType"),
    ({"decays": ()}, "decays must hold at least one"), ({"lrs": ()}, "lrs must hold at least one"),
    ({"rounds": 0}, "rounds must be an integer of at least 1, got 0"),
    ({"budget": -1.0}, "budget must be 0 seconds or more, or None, got -1"),
])
def test_H7_wrong_arguments_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recipe.run(**{**problem(n=320), **wrong})


def test_H7_an_unknown_option_is_named() -> None:
    with pytest.raises(TypeError, match=r"'epochs' is no option here: .*coarse_epochs, decays, "):
        recipe.run(**problem(n=320), epochs=3)


def test_H7_more_rounds_go_on_from_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "recipe.jsonl"
    recipe.run(**problem(n=640), **QUICK, rounds=1, journal=path)
    seen: list[Trial] = []
    more = recipe.run(**problem(n=640), **QUICK, rounds=2, journal=path, on_trial=seen.append)
    assert facts(more) == facts(whole())
    assert len(seen) == QUICK["fine_trials"]
    with pytest.raises(ValueError, match="belongs to another run: fine_trials is 3 there and 2"):
        recipe.run(**problem(n=640), **{**QUICK, "fine_trials": 2}, journal=path)


def test_H7_without_classes_the_loss_decides() -> None:
    x, _ = clouds(640, 0)
    y = x[:, :3].sum(axis=1)  # numbers, not classes
    batches = [(x[i : i + 32], y[i : i + 32]) for i in range(0, 640, 32)]
    model = nn.Sequential(nn.Linear(30, 1), nn.Flatten(0))
    found = recipe.run(model, SGD(model.named_parameters(), 0.01), batches[:16], batches[16:],
                       loss=mse_loss, metric=None, expected=3.0, **QUICK, rounds=1)
    assert [step.number for step in found.steps] == [1, 3, 4, 5, 6, 7] and found.fault == ""
    assert found.best is not None and -0.1 < found.best.score < 0.0  # minus the loss
