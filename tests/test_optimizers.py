"""Optimisers by choice, rates of parts, parts of batches and averages of weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lowerbound import optimizers
from lowerbound.data import Stream
from lowerbound.losses import LossOutput
from lowerbound.training.averaged import Averaged
from lowerbound.training.checkpoint import Checkpoint, CheckpointError
from lowerbound.training.engine import Engine
from lowerbound.training.held_out import HeldOut
from lowerbound.training.loop import train
from lowerbound.training.steps import EagerStep

X = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
BATCH, STEPS, SEED = 20, 12, 3


class Regression(nn.Module):
    """Nothing is random."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))

    def forward(self, x: Tensor) -> LossOutput:
        loss = (self.net(x)[:, 0] - 3 * x.sum(-1)).square().mean()
        return LossOutput(loss, {"bound": -loss.detach()})


class OwnRate(nn.Linear):
    lr_factor = 0.5


class Slow(Regression):
    """The first layer learns at half the rate."""

    def __init__(self) -> None:
        super().__init__()
        own = OwnRate(3, 5)
        own.load_state_dict(self.net[0].state_dict())
        self.net[0] = own


def trained(loss: nn.Module, **plan: Any) -> nn.Module:
    plan = {"num_steps": STEPS, "batch_size": BATCH, "lr": 0.05, "seed": SEED, **plan}
    list(train(loss, X, **plan))
    return loss


def by_hand(loss: nn.Module, optimizer: torch.optim.Optimizer) -> nn.Module:
    rows = Stream(len(X), BATCH, SEED)
    for i in range(STEPS):
        optimizer.zero_grad()
        loss(X[rows[i]]).loss.backward()
        optimizer.step()
    return loss


def assert_same(a: nn.Module, b: nn.Module, **tolerance: float) -> None:
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(p, q, **({"rtol": 1e-5, "atol": 1e-6} | tolerance))


@pytest.mark.parametrize(
    "choice, make",
    [
        ("adam", lambda p: torch.optim.Adam(p, lr=0.05)),
        ("adamw", lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.01)),
        ("adamax", lambda p: torch.optim.Adamax(p, lr=0.05)),
        ("sgd", lambda p: torch.optim.SGD(p, lr=0.05)),
        (optimizers.Adam(weight_decay=0.3), lambda p: torch.optim.Adam(p, lr=0.05, weight_decay=0.3)),
        (optimizers.AdamW(weight_decay=0.3, beta2=0.9), lambda p: torch.optim.AdamW(p, 0.05, (0.9, 0.9), 1e-8, 0.3)),
        (optimizers.SGD(momentum=0.9), lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9)),
        (torch.optim.RAdam, lambda p: torch.optim.RAdam(p, lr=0.05)),
    ],
    ids=range(8),
)
def test_an_optimiser_is_that_of_torch(choice: Any, make: Any) -> None:
    theirs = Regression()
    assert_same(trained(Regression(), optimizer=choice), by_hand(theirs, make(theirs.parameters())))


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"adamax got weight_decay=1e\+308 and expected 0 or a number of size"):
        optimizers.optimizer_of("adamax:weight_decay=1e308")
    with pytest.raises(ValueError, match=r"adamax takes numbers up to 3.4e38, the largest of float32, and got 1e"):
        optimizers.Adamax(weight_decay=1e308)
    with pytest.raises(ValueError, match="There is no optimizer named 'lion'; choose one of adam"):
        optimizers.optimizer_of("lion")


@pytest.mark.parametrize("optimizer", [None, torch.optim.SGD])
def test_a_part_learns_at_its_own_multiple_of_the_rate(optimizer: Any) -> None:
    theirs = Slow()
    make = torch.optim.Adam if optimizer is None else optimizer
    groups = [{"params": theirs.net[0].parameters(), "lr": 0.025}, {"params": theirs.net[2].parameters()}]
    assert_same(trained(Slow(), optimizer=optimizer), by_hand(theirs, make(groups, lr=0.05)))


def test_a_part_has_its_own_momentum() -> None:
    """Under Adam and its kin; plain gradient descent has none to replace."""
    for make, own in ((torch.optim.Adam, {"betas": (0.5, 0.999)}), (torch.optim.SGD, {})):
        ours, theirs = Slow(), Slow()
        ours.net[0].optimizer_beta1 = 0.5
        groups = [{"params": theirs.net[0].parameters(), "lr": 0.025, **own}, {"params": theirs.net[2].parameters()}]
        chosen = None if own else "sgd"
        assert_same(trained(ours, optimizer=chosen), by_hand(theirs, make(groups, lr=0.05)))


def test_groups_of_an_optimiser_of_ones_own_keep_their_factor() -> None:
    ours, theirs = Regression(), Slow()
    groups = [{"params": list(ours.net[0].parameters()), "lr_factor": 0.5}, {"params": list(ours.net[2].parameters())}]
    trained(ours, optimizer=lambda _: torch.optim.SGD(groups, lr=1.0))
    assert_same(ours, trained(theirs, optimizer="sgd"))


def test_groups_of_an_optimiser_of_ones_own_keep_their_rate() -> None:
    ours, theirs = Regression(), Slow()
    groups = [{"params": list(ours.net[0].parameters()), "lr": 0.05}, {"params": list(ours.net[2].parameters())}]
    trained(ours, optimizer=lambda _: torch.optim.SGD(groups, lr=0.1))
    assert_same(ours, trained(theirs, optimizer="sgd"))
    with pytest.raises(ValueError, match=r"A group has lr=0\.05 and its optimiser lr=0"):
        trained(Regression(), optimizer=lambda p: torch.optim.SGD([{"params": p, "lr": 0.05}], lr=0.0))


@pytest.mark.parametrize("accumulate", [2, 3, 20])
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_parts_of_a_batch_make_the_gradient_of_the_whole(accumulate: int, clip_norm: float | None) -> None:
    """Also where the parts have different numbers of rows (3 of 20)."""
    whole = trained(Regression(), optimizer="sgd", clip_norm=clip_norm)
    assert_same(trained(Regression(), optimizer="sgd", clip_norm=clip_norm, accumulate=accumulate), whole)


def test_terms_of_parts_are_those_of_the_whole() -> None:
    rows = []
    for accumulate in (1, 3):
        step = EagerStep(Regression(), lambda x: (x,), Engine(device="cpu"), optimizers.Adam(), None, accumulate)
        rows.append(step((X[:20],), 0.1))
    torch.testing.assert_close(*rows)


def averaged_by_hand(decay: float) -> nn.Module:
    loss = Regression()
    average = [p.detach().clone() for p in loss.parameters()]
    optimizer, rows = torch.optim.Adam(loss.parameters(), lr=0.05), Stream(len(X), BATCH, SEED)
    for t in range(STEPS):
        optimizer.zero_grad()
        loss(X[rows[t]]).loss.backward()
        optimizer.step()
        d = min(decay, (1 + t) / (10 + t))
        average = [d * a + (1 - d) * p.detach() for a, p in zip(average, loss.parameters(), strict=True)]
    for p, a in zip(loss.parameters(), average, strict=True):
        p.data.copy_(a)
    return loss


@pytest.mark.parametrize("decay", [0.0, 0.4, 0.999])
def test_the_average_is_given_back(decay: float) -> None:
    assert_same(trained(Regression(), ema=decay), averaged_by_hand(decay), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"ema is 1.0 and expected in \[0, 1\)"):
        trained(Regression(), ema=1.0)


def test_the_average_is_evaluated_and_the_weights_go_on() -> None:
    plain = [r.terms for r in train(Regression(), X, num_steps=STEPS, batch_size=BATCH, lr=0.05, log_every=3)]
    loss, held_out, terms = Regression(), HeldOut(source=X, every=3), []
    for record in train(loss, X, num_steps=STEPS, batch_size=BATCH, lr=0.05, log_every=3, ema=0.9, held_out=held_out):
        terms.append(record.terms)
        evaluated = record.held_out
    assert terms == plain
    assert evaluated is not None
    assert loss(X).terms["bound"].item() == pytest.approx(evaluated["bound"], rel=1e-5)  # the last is the best here


@pytest.mark.parametrize("held_out", [None, HeldOut(source=X, every=2)])
def test_an_average_resumes_to_the_bit(held_out: HeldOut | None, tmp_path) -> None:
    plan = {"ema": 0.9, "log_every": 2, "held_out": held_out}
    whole = trained(Regression(), **plan)
    checkpoint = Checkpoint(path=tmp_path / "state", every=0.0)
    for record in train(
        Regression(), X, num_steps=STEPS, batch_size=BATCH, lr=0.05, seed=SEED, checkpoint=checkpoint, **plan
    ):
        if record.step == 6:
            break
    resumed = trained(Regression(), checkpoint=checkpoint, **plan)
    assert_same(resumed, whole, rtol=0.0, atol=0.0)
    assert_same(trained(Regression(), checkpoint=checkpoint, **plan), whole, rtol=0.0, atol=0.0)  # finished already


def test_a_checkpoint_without_an_average_does_not_start_one(tmp_path) -> None:
    checkpoint = Checkpoint(path=tmp_path / "state", every=0.0)
    trained(Regression(), checkpoint=checkpoint)
    with pytest.raises(CheckpointError, match="holds no average of the weights; train without ema"):
        trained(Regression(), checkpoint=checkpoint, ema=0.9, num_steps=20)
    other = Checkpoint(path=tmp_path / "other", every=0.0)
    trained(Regression(), checkpoint=other, ema=0.9)
    with pytest.raises(CheckpointError, match="holds an average of the weights; train with ema"):
        trained(Regression(), checkpoint=other)


def test_a_skipped_step_does_not_move_the_average() -> None:
    loss = Regression()
    average = Averaged(loss, 0.5)
    before = {name: a.clone() for name, a in average.tensors.items()}
    for p in loss.parameters():
        p.data += 1
    average.update(100, torch.tensor(False))
    assert all(torch.equal(a, before[name]) for name, a in average.tensors.items())
    average.update(100, torch.tensor(True))
    assert all(torch.allclose(a, before[name] + 0.5) for name, a in average.tensors.items())


@pytest.mark.parametrize("optimizer", ["adam", "adamax"])
def test_convolutions_with_channels_last_resume_to_the_bit(optimizer, tmp_path) -> None:
    """A fused update pairs numbers by their place in memory: moments are loaded in the layout of the weights."""

    class Images(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.net = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)

        def forward(self, x: Tensor) -> LossOutput:
            loss = self.net(x).square().mean()
            return LossOutput(loss, {"bound": -loss.detach()})

    images = torch.randn(20, 3, 5, 5, generator=torch.Generator().manual_seed(0))

    def trained(name: str, stops: list[int]) -> Tensor:
        for stop in stops:
            loss = Images()
            options = {"num_steps": 6, "batch_size": 10, "log_every": 1, "optimizer": optimizer, "compile": False}
            for record in train(loss, images, checkpoint=Checkpoint(path=tmp_path / name), **options):
                if record.step == stop:
                    break
        return loss.net.weight

    torch.testing.assert_close(trained("parts", [2, 6]), trained("whole", [6]), atol=0, rtol=0)
