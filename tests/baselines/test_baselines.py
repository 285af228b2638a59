"""What each baseline guesses, and when it may look."""

from __future__ import annotations

import math

import pytest
import torch

from lowerbound import baselines, gradients
from lowerbound.baselines import Baseline, Constant, Learned, LeaveOneOut, MovingAverage
from lowerbound.spelling import choices, construct

X = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)


def signal(size=4):
    return torch.randn(size, 3, dtype=torch.float64)


def test_every_baseline_is_built_by_its_name():
    assert set(choices(baselines)) == {"constant", "learned", "leave-one-out", "moving-average"}
    for name in choices(baselines):
        baseline = construct(baselines, name, event_shape=(2,), latent_dim=3, num_data=4)
        assert isinstance(baseline, Baseline)
        guess = baseline(signal(), X.float())
        assert guess.shape == (4, 3)
        assert guess.dtype == torch.float64
        gradient = construct(gradients, "score-function")
        assert isinstance(gradient.baseline, LeaveOneOut)


def test_constant():
    assert (Constant(-3.5)(signal(), X) == -3.5).all()


@pytest.mark.parametrize("mean", ["geometric", "arithmetic"])
def test_leave_one_out_against_its_definition(mean):
    f = 5 * signal()
    guess = LeaveOneOut(mean)(f, X)
    for s in range(4):
        others = torch.cat([f[:s], f[s + 1 :]])
        expected = others.exp().mean(0).log() if mean == "arithmetic" else others.mean(0)
        torch.testing.assert_close(guess[s], expected)


@pytest.mark.parametrize("mean", ["geometric", "arithmetic"])
def test_leave_one_out_never_looks_at_its_own_sample(mean):
    f, other = signal(), signal()
    for s in range(4):
        changed = f.clone()
        changed[s] = other[s]
        torch.testing.assert_close(LeaveOneOut(mean)(f, X)[s], LeaveOneOut(mean)(changed, X)[s], atol=1e-14, rtol=0)


def test_leave_one_out_in_the_range_of_float32():
    f = torch.tensor([[-900.0], [-1000.0], [-1000.0]])
    torch.testing.assert_close(LeaveOneOut("arithmetic")(f, X)[:2, 0], torch.tensor([-1000.0, -900 - math.log(2)]))


@pytest.mark.parametrize("make", [MovingAverage, lambda: Learned(2).double()])
def test_the_guess_of_a_step_comes_from_earlier_steps(make):
    """Else it would depend on the samples that it is subtracted for."""
    baseline = make()
    baseline(signal(), X)
    state = {key: value.clone() for key, value in baseline.state_dict().items()}
    for _ in range(3):
        guesses = []
        for f in (signal(), 100 + signal()):
            baseline.load_state_dict(state)
            guesses.append(baseline(f, X).detach())
        assert torch.equal(*guesses)
        state = {key: value.clone() for key, value in baseline.state_dict().items()}


@pytest.mark.parametrize("make", [MovingAverage, lambda: Learned(2).double()])
def test_the_first_guess_comes_from_the_rest_of_the_batch(make):
    """Each entry is free of its own signal, and near the others."""
    f = signal() - 500
    for s, b in [(0, 0), (3, 1), (2, 2)]:
        changed = f.clone()
        changed[s, b] = 1e4
        baselines = make(), make()
        baselines[1].load_state_dict(baselines[0].state_dict())
        one, two = (baseline(g, X).detach() for baseline, g in zip(baselines, (f, changed), strict=True))
        torch.testing.assert_close(one[s, b], two[s, b], atol=1e-9, rtol=0)
        assert (one + 500).abs().max() < 3
    assert (MovingAverage()(f[:1, :1], X[:1]) == 0).all()


def test_moving_average_weighs_past_steps_by_their_age():
    average = MovingAverage(decay=0.9)
    steps = [signal() for _ in range(5)]
    for f in steps:
        average(f, X)
    weights = torch.tensor([0.9 ** (4 - i) for i in range(5)], dtype=torch.float64)
    expected = (weights * torch.stack([f.mean() for f in steps])).sum() / weights.sum()
    torch.testing.assert_close(average(signal(), X)[0, 0], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("make", [MovingAverage, lambda: Learned(2).double()])
def test_held_out_data_leave_the_average_alone(make):
    baseline = make()
    baseline(signal(), X)
    before = {key: value.clone() for key, value in baseline.state_dict().items()}
    baseline.eval()
    baseline(signal(), X)
    assert all(torch.equal(before[key], value) for key, value in baseline.state_dict().items())


def test_learned_predicts_the_level_of_a_datum():
    """The net must find what differs between data, and the average what they have in common."""
    baseline = Learned(2, hidden=10)
    optimizer = torch.optim.Adam(baseline.parameters(), lr=0.03)
    x, level, late = X.float(), torch.tensor([-300.0, -302.0, -305.0]), []
    for step in range(600):
        f = level + torch.randn(4, 3)
        optimizer.zero_grad()
        guess = baseline(f, x)
        (f - guess).square().mean().backward()
        optimizer.step()
        if step >= 400:
            late.append(guess[0].detach())
    torch.testing.assert_close(torch.stack(late).mean(0), level, atol=0.3, rtol=0)


def test_learned_is_the_net_and_the_level_of_what_is_left():
    baseline, f = Learned(2).double(), signal()
    predicted = baseline.net(X).squeeze(-1).detach()
    baseline(f, X)
    torch.testing.assert_close(baseline(signal(), X)[0].detach(), predicted + (f - predicted).mean())


def test_learned_takes_missing_entries():
    x = X.clone()
    x[0, 0] = float("nan")
    assert Learned(2).double()(signal(), x).isfinite().all()


def test_refusals():
    with pytest.raises(ValueError, match=r"num_samples ≥ 2.*MovingAverage"):
        LeaveOneOut()(signal(1), X)
    with pytest.raises(ValueError, match=r"decay=1.0 and expected a number in \[0, 1\)"):
        MovingAverage(1.0)


@pytest.mark.usefixtures("as_users_run")
def test_refusal_of_an_unknown_mean():
    with pytest.raises(ValueError, match="'geometric' or 'arithmetic'"):
        LeaveOneOut("harmonic")  # type: ignore[arg-type]
