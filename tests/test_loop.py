from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from waits import Waits

from lowerbound import LatentVariableModel, VariationalLoss
from lowerbound.data import InMemory, MemoryMapped, Stream
from lowerbound.gradients import Pathwise
from lowerbound.likelihoods import Bernoulli
from lowerbound.losses import LossOutput
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO
from lowerbound.posteriors import DiagonalNormal
from lowerbound.priors import StandardNormal
from lowerbound.protocols import Estimate, JointDensity, Objective
from lowerbound.training.checkpoint import Checkpoint
from lowerbound.training.engine import Engine
from lowerbound.training.held_out import HeldOut, held_out_terms
from lowerbound.training.history import NonFiniteError
from lowerbound.training.loop import steps_for, train
from lowerbound.training.record import Record


class Descent(nn.Module):
    """|w|² plus noise that the model draws; notes the rows it was shown, and in which mode."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(3))
        self.dropout = nn.Dropout(0.2)
        self.rows: list[int] = []
        self.modes: list[bool] = []

    def forward(self, x: Tensor) -> LossOutput:
        self.rows += [int(i) for i in x[:, 0]] if self.training else []
        self.modes.append(self.training)
        loss = self.dropout(self.w + 0.1 * torch.randn(3)).square().sum()
        return LossOutput(loss, {"bound": -loss.detach()})


class Spoilt(torch.autograd.Function):
    """The identity with a gradient of NaN."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0] * float("nan")


class Planted(nn.Module):
    """A loss with the terms of a bound, one of which goes bad at one step."""

    def __init__(self, where: str, when: int) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
        self.where, self.when, self.steps = where, when, 0

    def forward(self, x: Tensor) -> LossOutput:
        bad = self.steps == self.when
        self.steps += 1
        second = Spoilt.apply(self.second) if bad and self.where == "gradient" else self.second
        names = ("likelihood", "prior", "posterior")
        terms = {name: -(self.first.square().sum() + second.square().sum()) for name in names}
        if bad and self.where in names:
            terms[self.where] = terms[self.where] * float("nan")
        bound = terms["likelihood"] + terms["prior"] - 0.5 * terms["posterior"]
        return LossOutput(-bound, {name: term.detach() for name, term in {"bound": bound, **terms}.items()})


class LearnsItsMean(nn.Module):
    """A pathwise estimator with a parameter of its own, which learns the mean of log w."""

    kind = "unbiased"

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(()))

    def estimate(self, objective: Objective, posterior: Any, joint: JointDensity, num_samples: int) -> Estimate:
        inner = Pathwise().estimate(objective, posterior, joint, num_samples)
        error = -(inner.weights.log_w.detach().mean() - self.mean).abs()
        return Estimate(surrogate=inner.surrogate + (error - error.detach()), weights=inner.weights)

    def check(self, objective: Objective, posterior: Any, num_samples: int) -> None:
        Pathwise().check(objective, posterior, num_samples)


def rows(size: int = 20) -> InMemory:
    return InMemory(torch.arange(float(size))[:, None].expand(size, 2).contiguous())


def small_vae(gradient: Any = None) -> VariationalLoss:
    torch.manual_seed(2)
    model = LatentVariableModel(
        prior=StandardNormal(2),
        likelihood=Bernoulli(MLP(2, [8], 6)),
        posterior=DiagonalNormal(MLP(6, [8], (2, 2))),
    )
    return VariationalLoss(model, ELBO(), gradient or Pathwise())


def binary(size: int = 40) -> Tensor:
    return (torch.rand(size, 6, generator=torch.Generator().manual_seed(0)) > 0.5).float()


def finish(loss: nn.Module, source: Any, **plan: Any) -> list[Record]:
    return list(train(loss, source, **plan))


def test_records_come_every_interval_and_at_the_end() -> None:
    records = finish(Descent(), rows(20), num_steps=23, batch_size=5, log_every=10)
    assert [r.step for r in records] == [10, 20, 23]
    assert [r.epoch for r in records] == [2.5, 5.0, 5.75]
    assert all(a.seconds <= b.seconds for a, b in itertools.pairwise(records))
    assert all(r.held_out is None and r.stopped is None for r in records)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 20, 50])
def test_every_row_is_seen_once_an_epoch(batch_size: int) -> None:
    loss = Descent()
    finish(loss, rows(20), num_steps=60, batch_size=batch_size, log_every=7)
    seen = loss.rows[: len(loss.rows) // 20 * 20]
    epochs = [seen[i : i + 20] for i in range(0, len(seen), 20)]
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("epochs, num_rows, batch_size, steps", [(1, 100, 10, 10), (1, 101, 10, 11), (0.5, 100, 10, 5)])
def test_steps_for(epochs: float, num_rows: int, batch_size: int, steps: int) -> None:
    assert steps_for(float(epochs), num_rows, batch_size) == steps


@pytest.mark.parametrize("name", ["num_steps", "batch_size", "log_every"])
def test_numbers_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}=0"):
        finish(Descent(), rows(), **{"num_steps": 5, name: 0})


def test_terms_are_means_over_the_interval_alone() -> None:
    """With lr 0 and no noise every step has the same bound; with a slope the mean lies between its ends."""
    loss = Planted("nowhere", -1)
    records = finish(loss, rows(), num_steps=4, log_every=2, lr=0.1)
    by_step = finish(Planted("nowhere", -1), rows(), num_steps=4, log_every=1, lr=0.1)
    for record, pair in zip(records, (by_step[:2], by_step[2:]), strict=True):
        assert record.terms["bound"] == pytest.approx(sum(r.terms["bound"] for r in pair) / 2)
        assert record.gradient_norm == pytest.approx(sum(r.gradient_norm for r in pair) / 2)


def test_nothing_waits_for_the_device_within_an_interval() -> None:
    events: list[str] = []

    class Marks(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> LossOutput:
            if self.training:
                events.append("step")
            return self.inner(x)

    source = InMemory(binary())
    plan = HeldOut(source=InMemory(binary(10)), every=1)
    run = train(Marks(small_vae()), source, num_steps=30, log_every=10, clip_norm=1.0, held_out=plan)
    with Waits(events):
        events.extend("record" for _ in run)
    intervals = "".join({"step": "s", "record": "|"}.get(event, "r") for event in events).split("|")[:3]
    assert [interval.count("s") for interval in intervals] == [10, 10, 10]
    within = [interval[interval.index("s") : interval.rindex("s")] for interval in intervals]
    assert all("r" not in interval for interval in within[1:]), intervals
    assert all("r" in interval for interval in intervals)  # the counter does count, at the record


def test_the_body_may_draw_random_numbers() -> None:
    quiet, loud = Descent(), Descent()
    finish(quiet, rows(), num_steps=30, log_every=5, lr=0.1)
    torch.manual_seed(7)
    expected = torch.rand(6)
    torch.manual_seed(7)
    drawn = [torch.rand(()) for _ in train(loud, rows(), num_steps=30, log_every=5, lr=0.1)]
    assert torch.equal(loud.w, quiet.w)
    assert torch.equal(torch.stack(drawn), expected)


def test_the_seed_decides_everything() -> None:
    def trained(seed: int) -> Tensor:
        loss = Descent()
        finish(loss, rows(), num_steps=10, batch_size=4, seed=seed)
        return loss.w.detach()

    torch.rand(3)
    assert torch.equal(trained(1), trained(1))
    assert not torch.equal(trained(1), trained(2))


def test_each_interval_draws_other_numbers() -> None:
    records = finish(Descent(), rows(), num_steps=6, log_every=1, lr=0.0)
    assert len({r.terms["bound"] for r in records}) == 6


def test_denormals_are_the_callers_in_the_body() -> None:
    for _ in train(Descent(), rows(), num_steps=4, log_every=2):
        assert torch.tensor(1e-310, dtype=torch.float64) * 1.0 != 0


def test_held_out_rows_meet_the_same_random_numbers_in_evaluation_mode() -> None:
    loss = Descent()
    plan = HeldOut(source=rows(7), every=1, batch_size=3)
    records = finish(loss, rows(), num_steps=6, log_every=2, lr=0.0, held_out=plan)
    assert len({r.held_out["bound"] for r in records if r.held_out}) == 1
    assert loss.modes == ([True] * 2 + [False] * 3) * 3


def test_held_out_terms_are_means_over_rows_and_not_over_batches() -> None:
    class Mean(nn.Module):
        def forward(self, x: Tensor) -> LossOutput:
            return LossOutput(x.mean(), {"bound": x.mean(), "largest": x.max()})

    plan = HeldOut(source=rows(7), every=1, batch_size=3)
    terms = held_out_terms(Mean(), plan, 0, Engine(device="cpu"))
    assert terms["bound"] == pytest.approx(3.0)
    assert terms["largest"] == pytest.approx((2 * 3 + 5 * 3 + 6 * 1) / 7)


def test_evaluations_happen_at_the_next_record() -> None:
    plan = HeldOut(source=rows(7), every=15)
    records = finish(Descent(), rows(), num_steps=45, log_every=10, held_out=plan)
    assert [r.step for r in records if r.held_out] == [20, 30, 45]


def test_training_stops_when_the_held_out_bound_does() -> None:
    plan = HeldOut(source=rows(7), every=2, patience=3)
    records = finish(Descent(), rows(), num_steps=100, log_every=2, lr=0.0, held_out=plan)
    assert [r.is_best for r in records] == [True, False, False, False]
    assert [r.stopped is None for r in records] == [True, True, True, False]
    assert records[-1].step == 8


def climb_then_fall(step: int) -> float:
    return 0.05 if step < 12 else 5.0


def test_the_best_weights_are_given_back_without_a_copy_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy, "deepcopy", lambda *args: pytest.fail("the model was copied"))
    loss, best = Descent(), None
    plan = HeldOut(source=rows(7), every=1)
    for record in train(loss, rows(), num_steps=20, log_every=1, lr=climb_then_fall, held_out=plan):
        if record.is_best:
            best, last_best = loss.w.detach().clone(), record.step
    assert best is not None
    assert 1 < last_best < 20
    assert torch.equal(loss.w, best)


def test_without_held_out_rows_the_last_weights_stay() -> None:
    loss, last = Descent(), None
    for _ in train(loss, rows(), num_steps=6, log_every=2, lr=0.1):
        last = loss.w.detach().clone()
    assert last is not None
    assert torch.equal(loss.w, last)


@pytest.mark.parametrize("when", [0, 13, 19])
@pytest.mark.parametrize(
    "where, words",
    [
        ("likelihood", r"log p\(x \| z\)"),
        ("prior", r"log p\(z\)"),
        ("posterior", r"log q\(z \| x\)"),
        ("gradient", "gradient of second"),
    ],
)
def test_a_number_that_is_not_finite_is_named_within_its_interval(
    where: str, words: str, when: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the gradient of the last step of an interval, which no later loss has seen; the record before is kept."""
    saved: list[int] = []
    monkeypatch.setattr(Checkpoint, "save", lambda self, groups, state: saved.append(state["step"]))
    loss, steps = Planted(where, when), []
    run = train(loss, rows(), num_steps=40, log_every=10, checkpoint=Checkpoint(path=tmp_path / "state", every=0.0))
    with pytest.raises(NonFiniteError, match=words) as caught:
        steps += [record.step for record in run]
    assert caught.value.step == when
    assert saved == [*range(10, when + 1, 10), when // 10 * 10]
    assert caught.value.kept == when // 10 * 10
    assert all(p.isfinite().all() for p in loss.parameters())
    assert loss.steps == (when // 10 + 1) * 10


def test_the_rows_of_the_step_that_went_bad_are_named() -> None:
    """All rows of the batch; and those of them alone that hold NaN, where some do."""
    with pytest.raises(NonFiniteError, match=r"in a batch of rows [\d, ]+, … of the data\)") as caught:
        finish(Planted("prior", 13), rows(), num_steps=40, batch_size=8, log_every=10)
    assert caught.value.rows == Stream(20, 8, 0)[13].tolist()
    x = rows().tensors[0].clone()
    x[17, 1] = float("nan")
    first = next(i for i in range(9) if 17 in Stream(20, 4, 0)[i].tolist())
    with pytest.raises(NonFiniteError, match=r"\(rows 17 of the data hold NaN or infinity\)") as caught:
        finish(SquareOf(), InMemory(x), num_steps=10, batch_size=4, log_every=10)
    assert (caught.value.step, caught.value.bad_rows) == (first, [17])


class SquareOf(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> LossOutput:
        loss = (self.w * x).square().mean()
        return LossOutput(loss, {"bound": -loss.detach()})


def test_a_parameter_that_the_last_step_spoilt_is_named() -> None:
    """Its gradient was finite and its step was not: no term has seen it yet."""
    with pytest.raises(NonFiniteError, match="parameter first became") as caught:
        finish(Planted("nowhere", -1), rows(), num_steps=20, log_every=10, lr=lambda i: float("inf") if i == 9 else 0.1)
    assert caught.value.step == 9


def test_parameters_of_the_gradient_estimator_are_trained_and_saved(tmp_path: Path) -> None:
    gradient = LearnsItsMean()
    loss = small_vae(gradient)
    plan = Checkpoint(path=tmp_path / "state")
    records = finish(loss, InMemory(binary()), num_steps=60, log_every=60, lr=0.05, checkpoint=plan)
    assert gradient.mean.item() == pytest.approx(-3, abs=1.2)
    assert records[-1].terms["bound"] == pytest.approx(-4.2, abs=1.2)
    groups, _ = plan.load()
    assert torch.equal(groups["loss"]["gradient.mean"], gradient.mean.detach())


def test_training_raises_the_bound() -> None:
    records = finish(small_vae(), InMemory(binary()[:2]), num_steps=150, log_every=50, lr=0.02)
    assert records[-1].terms["bound"] > records[0].terms["bound"] + 0.5
    assert records[-1].terms["bound"] == pytest.approx(
        records[-1].terms["likelihood"] + records[-1].terms["prior"] - records[-1].terms["posterior"], abs=1e-4
    )


def test_rows_on_disk_and_in_memory_train_to_the_same_bits(tmp_path: Path) -> None:
    x = binary()
    np.save(tmp_path / "x.npy", x.numpy())
    memory, disk = small_vae(), small_vae()
    finish(memory, InMemory(x), num_steps=30, batch_size=16, log_every=10)
    finish(disk, MemoryMapped(np.load(tmp_path / "x.npy", mmap_mode="r")), num_steps=30, batch_size=16, log_every=10)
    for p, q in zip(memory.parameters(), disk.parameters(), strict=True):
        assert torch.equal(p, q)


def test_labels_reach_the_loss_beside_the_data() -> None:
    class Pair(Descent):
        def forward(self, x: Tensor, y: Tensor) -> LossOutput:  # type: ignore[override]
            assert torch.equal(y, 2 * x[:, 0])
            return super().forward(x)

    x = torch.arange(20.0)[:, None].expand(20, 2).contiguous()
    assert finish(Pair(), InMemory((x, 2 * x[:, 0])), num_steps=3)


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"lr": -1.0}, "train got lr=-1.0 and needs a finite number, 0 or more"),
        ({"lr": float("nan")}, "train got lr=nan and expected a number"),
        ({"clip_norm": 0.0}, "train got clip_norm=0.0 and needs a finite number above 0"),
        ({"ema": float("inf")}, "train got ema=inf and expected a number or None"),
    ],
)
def test_numbers_by_which_nothing_is_learnt_are_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        next(train(Descent(), torch.ones(8, 1), num_steps=1, **given))


@pytest.mark.parametrize("make", [torch.Tensor.numpy, lambda x: x, lambda x: [x[:4], x[4:]]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_data_become_the_numbers_of_the_model(make: Any, dtype: torch.dtype) -> None:
    """Double data and a model in single precision were torch's complaint about a matrix."""
    model = LatentVariableModel(
        prior=StandardNormal(2), likelihood=Bernoulli(MLP(2, [4], 3)), posterior=DiagonalNormal(MLP(3, [4], (2, 2)))
    )
    loss = VariationalLoss(model, ELBO(), Pathwise()).to(torch.float32)
    data = make((torch.rand(8, 3) > 0.5).to(dtype))
    assert next(train(loss, data, num_steps=1)).step == 1
