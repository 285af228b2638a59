"""Skipped updates: that they change nothing and end, that they are counted, and resumed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from torch import Tensor, nn
from waits import Waits

from lowerbound.data import InMemory
from lowerbound.losses import LossOutput
from lowerbound.optimizers import SGD, Adam, Adamax, AdamW, MakeOptimizer, optimizer_tensors
from lowerbound.training.checkpoint import Checkpoint
from lowerbound.training.engine import Engine
from lowerbound.training.loop import train
from lowerbound.training.skipping import Skipping
from lowerbound.training.steps import CompiledStep, EagerStep

CPU = torch.device("cpu")
KINDS = ["eager", pytest.param("compiled", marks=pytest.mark.slow)]


class Sum(nn.Module):
    """The gradient is the mean of the rows."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor) -> LossOutput:
        loss = (x * self.weight).sum(-1).mean()
        return LossOutput(loss, {"bound": -loss.detach()})


def gradients(count: int) -> Tensor:
    """Rows of norm 1."""
    return nn.functional.normalize(torch.randn(count, 3, generator=torch.Generator().manual_seed(0)), dim=-1)


def whole(x: Tensor) -> tuple[Tensor]:
    """The transform of nothing, which the compiler can follow."""
    return (x,)


def step_of(loss: nn.Module, kind: str, skipping: Skipping, optimizer: MakeOptimizer) -> EagerStep | CompiledStep:
    """A step that was not taken yet."""
    if kind == "eager":
        return EagerStep(loss, whole, Engine(device="cpu"), optimizer, None, 1, skipping)
    step = CompiledStep(loss, whole, None, skipping)
    step.prepare((gradients(1),))
    return step


def steps(kind: str, rows: Tensor) -> tuple[Sum, Skipping, list[Tensor]]:
    """Take one step on each row, and return the weights after each."""
    loss, skipping = Sum(), Skipping(10.0, CPU)
    step = step_of(loss, kind, skipping, Adam())
    weights = []
    for row in rows:
        step((row[None],), 0.1)
        weights.append(loss.weight.detach().clone())
    return loss, skipping, weights


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_a_skipped_update_changes_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moments or a count of Adam that saw the outlier would move every later step."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    usual = gradients(40)
    with_outlier = torch.cat([usual[:30], 1000 * usual[:1], usual[30:]])
    _, skipping, weights = steps(kind, with_outlier)
    _, none, expected = steps(kind, usual)
    assert (skipping.count, none.count) == (1, 0)
    assert torch.equal(weights[30], weights[29])
    assert torch.equal(weights[-1], expected[-1])


class TwoRates(Sum):
    """Two parameters, one of which learns at a rate of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = Sum()
        self.slow.lr_factor = 0.1

    def forward(self, x: Tensor) -> LossOutput:
        return LossOutput(super().forward(x).loss + self.slow(x).loss, {"bound": x.sum()})


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    "kind, optimizer, asks",
    [
        ("eager", Adam(), False),
        ("eager", AdamW(), False),
        ("eager", Adamax(), True),
        ("eager", SGD(momentum=0.9), True),
        pytest.param("compiled", Adam(), False, marks=pytest.mark.slow),
    ],
)
def test_a_skipped_update_leaves_every_bit_and_asks_no_device(
    kind: str, optimizer: MakeOptimizer, asks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parameters, moments and counts, in every group; but an optimiser that has no fused kernel is asked for."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    loss, skipping, seen = TwoRates(), Skipping(10.0, CPU), list[str]()
    step = step_of(loss, kind, skipping, optimizer)

    def state() -> list[Tensor]:
        return [t.detach().clone() for t in (*loss.parameters(), *optimizer_tensors(step.optimizer).values())]

    usual = gradients(30)
    for row in usual:
        step((row[None],), 0.1)
    before = state()
    with Waits(seen):
        step((1000 * usual[:1],), 0.1)
    assert skipping.count == 1
    assert all(map(torch.equal, state(), before))
    assert bool(seen) == asks
    step((usual[:1],), 0.1)
    assert not any(map(torch.equal, state()[:2], before))


def test_an_optimiser_goes_on_after_a_skipped_update_as_if_nothing_was() -> None:
    """The flag that was left on it would hold for every later update by whoever has the optimiser."""
    loss, skipping = Sum(), Skipping(10.0, CPU)
    step = step_of(loss, "eager", skipping, AdamW())
    usual = gradients(21)
    for row in [*usual, 1000 * usual[0]]:
        step((row[None],), 0.1)
    assert skipping.count == 1
    before = loss.weight.detach().clone()
    loss.weight.grad = torch.ones(3)
    step.optimizer.step()
    assert not torch.equal(loss.weight, before)


def test_an_optimiser_of_ones_own_is_not_called_for_a_skipped_update() -> None:
    """Its step may do more than call the fused kernel that it inherits."""

    class Counting(torch.optim.Adam):
        calls = 0

        def step(self, closure: Any = None) -> Any:
            self.calls += 1
            return super().step(closure)

    step = step_of(Sum(), "eager", Skipping(10.0, CPU), lambda parameters: Counting(parameters, fused=True))
    usual = gradients(21)
    for row in [*usual, 1000 * usual[0]]:
        step((row[None],), 0.1)
    assert isinstance(step.optimizer, Counting)
    assert step.optimizer.calls == 21


def test_norms_that_stay_high_are_soon_usual() -> None:
    """Child's fixed threshold would skip for ever."""
    rows = torch.cat([gradients(100), 1000 * gradients(100)])
    _, skipping, weights = steps("eager", rows)
    assert skipping.count == 51
    assert torch.equal(weights[150], weights[99])
    assert not torch.equal(weights[151], weights[150])


def test_nothing_is_skipped_before_norms_are_known() -> None:
    rows = torch.cat([gradients(19), 1000 * gradients(1)])
    assert steps("eager", rows)[1].count == 0


def test_records_count_and_a_resumed_run_skips_the_same(tmp_path: Path) -> None:
    rows = gradients(90)
    rows[60] *= 1000

    def run(loss: Sum, *, leave_at: int | None = None, checkpoint: Checkpoint | None = None) -> list[dict[str, object]]:
        records = train(
            loss,
            InMemory(rows),
            num_steps=180,
            batch_size=1,
            seed=2,
            log_every=45,
            skip_above=5.0,
            checkpoint=checkpoint,
        )
        found = []
        for record in records:
            found.append({**asdict(record), "seconds": 0})
            if record.step == leave_at:
                break
        records.close()
        return found

    straight, resumed, checkpoint = Sum(), Sum(), Checkpoint(path=tmp_path / "state", every=1e9)
    expected = run(straight)
    assert expected[-1]["skipped"] == 2
    found = run(Sum(), leave_at=90, checkpoint=checkpoint) + run(resumed, checkpoint=checkpoint)
    assert found == expected
    assert torch.equal(straight.weight, resumed.weight)


@pytest.mark.parametrize("above", [1.0, float("inf"), float("nan")])
def test_a_threshold_that_skips_the_usual_is_refused(above: float) -> None:
    with pytest.raises(ValueError, match="skip_above"):
        list(train(Sum(), InMemory(gradients(4)), num_steps=1, skip_above=above))
