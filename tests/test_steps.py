"""One step against torch's own Adam and clipping, on losses without noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jaxtyping
import pytest
import torch
from torch import Tensor, nn

from lowerbound.data import InMemory, Stream
from lowerbound.losses import LossOutput
from lowerbound.optimizers import Adam, load_optimizer_tensors, optimizer_tensors
from lowerbound.schedules import Cosine
from lowerbound.training.engine import Engine
from lowerbound.training.loop import train
from lowerbound.training.steps import CompiledStep, EagerStep

NUM_ROWS, BATCH, STEPS, SEED = 50, 20, 12, 3
BOTH = [False, pytest.param(True, marks=pytest.mark.slow)]


OF_THE_COMPILER = pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")


@pytest.fixture
def without_type_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run-time type checks of this test suite cannot be compiled."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


class Regression(nn.Module):
    """A small net that learns the sum of its inputs; nothing is random."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))

    def forward(self, x: Tensor) -> LossOutput:
        loss = (self.net(x)[:, 0] - 3 * x.sum(-1)).square().mean()
        return LossOutput(loss, {"bound": -loss.detach(), "size": x.square().mean().detach()})


class Sometimes(nn.Module):
    """`rare` takes part in every third step."""

    def __init__(self) -> None:
        super().__init__()
        self.always = nn.Parameter(torch.ones(2))
        self.rare = nn.Parameter(torch.ones(2))
        self.steps = 0

    def forward(self, x: Tensor) -> LossOutput:
        self.steps += 1
        loss = (self.always * x[:, :2]).square().mean()
        if self.steps % 3 == 0:
            loss = loss + (self.rare - 5).square().mean()
        return LossOutput(loss, {"bound": -loss.detach()})


def by_hand(loss: nn.Module, x: Tensor, lr: Callable[[int], float], clip_norm: float | None) -> nn.Module:
    optimizer = torch.optim.Adam(loss.parameters(), lr=1.0, foreach=False, fused=False)
    rows = Stream(len(x), BATCH, SEED)
    for i in range(STEPS):
        optimizer.param_groups[0]["lr"] = lr(i)
        optimizer.zero_grad()
        loss(x[rows[i]]).loss.backward()
        if clip_norm is not None:
            nn.utils.clip_grad_norm_(loss.parameters(), clip_norm)
        optimizer.step()
    return loss


def twins(make: Callable[[], nn.Module]) -> tuple[Any, Any]:
    torch.manual_seed(1)
    first = make()
    torch.manual_seed(1)
    return first, make()


@OF_THE_COMPILER
@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize("compile", BOTH)
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_steps_are_those_of_adam(compile: bool, clip_norm: float | None) -> None:
    x, lr = torch.randn(NUM_ROWS, 3), Cosine(0.1, 0.01, STEPS)
    ours, theirs = twins(Regression)
    by_hand(theirs, x, lr, clip_norm)
    for _ in train(
        ours, InMemory(x), num_steps=STEPS, batch_size=BATCH, lr=lr, clip_norm=clip_norm, seed=SEED, compile=compile
    ):
        pass
    start = twins(Regression)[0]
    for p, q, before in zip(ours.parameters(), theirs.parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-5)
        assert (p - before).abs().max() > 0.01


def test_the_schedule_is_asked_once_for_each_step() -> None:
    asked: list[int] = []

    def schedule(step: int) -> float:
        asked.append(step)
        return 0.01 * (step + 1)

    records = list(train(Regression(), InMemory(torch.randn(20, 3)), num_steps=7, lr=schedule, log_every=3))
    assert sorted(set(asked)) == list(range(7))
    assert [r.learning_rate for r in records] == pytest.approx([0.03, 0.06, 0.07])


@pytest.mark.parametrize("clip_norm", [1e-3, 0.5, 1e6])
def test_clipping_is_that_of_torch(clip_norm: float) -> None:
    """Plain gradient descent with lr 1 moves the parameters by the gradient that was applied."""
    x = torch.randn(NUM_ROWS, 3)
    ours, theirs = twins(Regression)
    before = [p.detach().clone() for p in ours.parameters()]
    step = EagerStep(ours, InMemory(x).transform, Engine(device="cpu"), torch.optim.SGD, clip_norm)
    row = step((x,), 1.0)
    theirs(x).loss.backward()
    norm = nn.utils.clip_grad_norm_(theirs.parameters(), clip_norm)
    applied = [b - p.detach() for b, p in zip(before, ours.parameters(), strict=True)]
    assert row[2:].norm().item() == pytest.approx(norm.item(), rel=1e-5)  # what is reported is not clipped
    assert torch.cat([a.flatten() for a in applied]).norm() <= clip_norm * (1 + 1e-4)
    for a, p in zip(applied, theirs.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad, rtol=1e-3, atol=1e-6)


def test_a_row_holds_the_terms_and_the_norm_of_each_gradient() -> None:
    x = torch.randn(NUM_ROWS, 3)
    ours, theirs = twins(Regression)
    step = EagerStep(ours, InMemory(x).transform, Engine(device="cpu"), Adam(), None)
    row = step((x,), 0.0)
    output = theirs(x)
    output.loss.backward()
    assert step.terms == ["bound", "size"]
    assert step.parameters == [name for name, _ in theirs.named_parameters()]
    expected = [*output.terms.values(), *(p.grad.norm() for p in theirs.parameters())]
    torch.testing.assert_close(row, torch.stack(expected))
    assert all(p.grad is None for p in ours.parameters())


def test_a_parameter_without_gradient_stands_still_that_step() -> None:
    loss = Sometimes()
    step = EagerStep(loss, InMemory(torch.ones(4, 3)).transform, Engine(device="cpu"), Adam(), 1.0)
    for i in range(6):
        before = loss.rare.detach().clone()
        row = step((torch.ones(4, 3),), 0.1)
        takes_part = i % 3 == 2
        assert (row[-1] > 0) == takes_part
        assert torch.equal(loss.rare, before) != takes_part


@OF_THE_COMPILER
@pytest.mark.slow
@pytest.mark.usefixtures("without_type_checks")
def test_a_compiled_step_goes_on_from_parameters_that_took_part_in_different_numbers_of_steps() -> None:
    """As they do after eager steps; Adam divides by 1 − β^t, where t is the number of each parameter."""
    x, state = torch.randn(4, 3), {}
    ours, theirs = twins(Regression)
    eager = EagerStep(theirs, InMemory(x).transform, Engine(device="cpu"), Adam(), None)
    eager((x,), 0.1)
    for i, (name, value) in enumerate(optimizer_tensors(eager.optimizer).items()):
        state[name] = value + i if name.endswith("step") else value
    load_optimizer_tensors(eager.optimizer, state)
    compiled = CompiledStep(ours, InMemory(x).transform, None)
    compiled.prepare((x,))
    load_optimizer_tensors(compiled.optimizer, {name: value.clone() for name, value in state.items()})
    ours.load_state_dict(theirs.state_dict())
    eager = EagerStep(theirs, InMemory(x).transform, Engine(device="cpu"), Adam(), None)
    load_optimizer_tensors(eager.optimizer, state)
    for _ in range(3):
        torch.testing.assert_close(compiled((x,), 0.1), eager((x,), 0.1))
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q)


def test_frozen_parameters_are_left_alone() -> None:
    loss = Regression()
    loss.net[0].requires_grad_(False)
    frozen = loss.net[0].weight.detach().clone()
    list(train(loss, InMemory(torch.randn(20, 3)), num_steps=3, lr=0.1))
    assert torch.equal(loss.net[0].weight, frozen)


def test_another_optimizer_trains() -> None:
    x = torch.randn(NUM_ROWS, 3)
    ours, theirs = twins(Regression)
    list(train(ours, InMemory(x), num_steps=1, batch_size=BATCH, lr=0.05, seed=SEED, optimizer=torch.optim.SGD))
    theirs(x[Stream(NUM_ROWS, BATCH, SEED)[0]]).loss.backward()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q - 0.05 * q.grad)


def test_another_optimizer_is_not_compiled() -> None:
    with pytest.raises(ValueError, match="default Adam"):
        list(train(Regression(), InMemory(torch.randn(20, 3)), num_steps=1, optimizer=torch.optim.SGD, compile=True))


@pytest.mark.slow
@OF_THE_COMPILER
@pytest.mark.usefixtures("without_type_checks")
def test_a_compiled_step_in_bf16_is_the_eager_one_in_bf16_with_weights_in_fp32() -> None:
    x, rows = torch.randn(NUM_ROWS, 3), {}
    for name, precision in {"eager": "bf16", "full": "fp32", "compiled": "bf16"}.items():
        loss, _ = twins(Regression)
        if name == "compiled":
            step: Any = CompiledStep(loss, InMemory(x).transform, None, low=True)
            step.prepare((x,))
        else:
            engine = Engine(device="cpu", precision=precision)  # type: ignore[arg-type]
            step = EagerStep(loss, InMemory(x).transform, engine, Adam(), None)
        rows[name] = torch.stack([step((x,), 0.01) for _ in range(3)])
        assert all(p.dtype == torch.float32 for p in loss.parameters())
    torch.testing.assert_close(rows["compiled"], rows["eager"], rtol=2e-2, atol=2e-2)
    assert not torch.allclose(rows["compiled"], rows["full"], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@OF_THE_COMPILER
@pytest.mark.usefixtures("without_type_checks")
def test_a_compiled_step_reports_what_an_eager_one_does() -> None:
    x = torch.randn(NUM_ROWS, 3)
    ours, theirs = twins(Regression)
    compiled = CompiledStep(ours, InMemory(x).transform, 0.5)
    eager = EagerStep(theirs, InMemory(x).transform, Engine(device="cpu"), Adam(), 0.5)
    compiled.prepare((x,))
    for _ in range(3):
        torch.testing.assert_close(compiled((x,), 0.1), eager((x,), 0.1), rtol=1e-4, atol=1e-5)
    assert (compiled.terms, compiled.parameters) == (eager.terms, eager.parameters)
