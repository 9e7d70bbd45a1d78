"""`python -m tinynet twins`: every kernel with a twin is there, and the numbers are the same."""

from __future__ import annotations

import pytest

from tinynet import twins
from tinynet.kernels.kernel import kernels

pytestmark = pytest.mark.numpy_only("compares the bodies that a CPU has")


def test_every_kernel_with_a_twin_has_a_row() -> None:
    with_twins = {name.removeprefix("kernels.") for name, found in kernels.items()
                  if found.plain and name.startswith("kernels.")}
    assert {case.kernel for case in twins.CASES} == with_twins - twins.NO_CASE


@pytest.mark.parametrize("case", twins.CASES, ids=lambda case: f"{case.kernel}, {case.on}")
def test_both_bodies_run_and_give_the_same_numbers(case: twins.Case) -> None:
    found = twins.compare(case.make(2), seconds=0)
    assert 0 <= found.difference < 2e-5


def test_a_training_step_gives_the_same_loss_and_weights() -> None:
    found = list(twins.twins(["whole"], pictures=8, seconds=0))
    assert [name for name, _, _ in found] == [twins.WHOLE]
    assert found[0][2].difference < 1e-4


def test_the_command_prints_a_line_for_each_and_their_mean(
        capsys: pytest.CaptureFixture[str]) -> None:
    assert twins.main(["channel_sum", "avg_pool2d", "--pictures", "2", "--seconds", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[3:6]] == [
        "channels.channel_sum", "pool.avg_pool2d", "pool.avg_pool2d_backward"]
    assert lines[-1].startswith("3 rows; plain / fast on (geometric) average: ")


@pytest.mark.parametrize(("arguments", "said"), [
    (["nothing"], "no kernel's name holds 'nothing'"),
    (["--pictures", "0"], "--pictures must be 1 or more, not 0"),
])
def test_what_cannot_be_compared_is_said(arguments: list[str], said: str,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        twins.main(arguments)
    assert said in capsys.readouterr().err
