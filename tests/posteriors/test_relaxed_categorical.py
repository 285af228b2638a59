"""The Concrete: density against torch, mass on the simplex, P(argmax), both spaces, the limit of low temperature."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import RelaxedOneHotCategorical

from lowerbound.distributions.relaxed import RelaxedCategoricalDistribution
from lowerbound.nets import MLP
from lowerbound.posteriors import RelaxedCategorical
from lowerbound.testing import check_conditional

LOGITS = torch.tensor([0.3, -0.5, 1.0], dtype=torch.float64)


def at(temperature: float, space: str = "simplex", logits: Tensor = LOGITS) -> RelaxedCategoricalDistribution:
    return RelaxedCategoricalDistribution(logits, logits.new_tensor(temperature), space)  # type: ignore[arg-type]


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.0])
def test_density_is_torchs_and_ignores_a_constant_in_the_logits(temperature: float) -> None:
    oracle = RelaxedOneHotCategorical(torch.tensor(temperature, dtype=torch.float64), logits=LOGITS)
    z = oracle.sample((20,))
    torch.testing.assert_close(at(temperature).log_prob(z), oracle.log_prob(z), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(at(temperature, logits=LOGITS + 7).log_prob(z), oracle.log_prob(z), rtol=1e-9, atol=1e-9)


def on_the_simplex(q: RelaxedCategoricalDistribution) -> tuple[Tensor, Tensor]:
    """Points and masses of a grid over u = log z_1 / z_3, v = log z_2 / z_3, whose Jacobian is z_1 z_2 z_3."""
    axis = torch.linspace(-60, 60, 1201, dtype=torch.float64)
    uv = torch.cartesian_prod(axis, axis)
    y = torch.log_softmax(torch.cat([uv, torch.zeros(len(uv), 1, dtype=torch.float64)], -1), -1)
    return y, (q.log_prob(y.exp()) + y.sum(-1)).exp() * 0.1**2


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_density_integrates_to_one_and_the_largest_is_the_category(temperature: float) -> None:
    y, mass = on_the_simplex(at(temperature))
    assert mass.sum().item() == pytest.approx(1, abs=1e-6)
    largest = [mass[y.argmax(-1) == k].sum().item() for k in range(3)]
    assert largest == pytest.approx(torch.softmax(LOGITS, 0).tolist(), abs=0.02)


def test_low_temperature_is_the_categorical() -> None:
    z = {t: at(t).rsample((100_000,)) for t in (0.1, 0.01)}
    between = {t: (v.amax(-1) < 0.99).double().mean() for t, v in z.items()}
    assert between[0.1] > 5 * between[0.01]
    assert between[0.01] < 0.03
    assert (z[0.01].mean(0) - torch.softmax(LOGITS, 0)).abs().max() < 6 * 0.5 / 100_000**0.5


def test_both_spaces_draw_the_same_and_give_the_same_log_weight() -> None:
    def log_ratio(space: str) -> tuple[Tensor, Tensor]:
        torch.manual_seed(4)
        q, p = at(0.5, space), at(0.8, space, torch.zeros_like(LOGITS))
        z = q.rsample((50,))
        return z, p.log_prob(z) - q.log_prob(z)

    (z, simplex), (y, log) = log_ratio("simplex"), log_ratio("log")
    torch.testing.assert_close(z, y.exp())
    torch.testing.assert_close(simplex, log, rtol=0, atol=1e-8)


def test_draws_follow_the_density() -> None:
    """E_q[p / q] = 1 for a p of lighter tails, which fails if draws and density disagree."""
    q, p = at(0.5), at(1.0, logits=torch.zeros_like(LOGITS))
    z = q.rsample((100_000,))
    ratio = (p.log_prob(z) - q.log_prob(z)).exp()
    assert abs(ratio.mean().item() - 1) < 6 * ratio.std().item() / 100_000**0.5


@pytest.mark.parametrize("space", ["simplex", "log"])
def test_float32_stays_finite_at_low_temperature(space: str) -> None:
    logits = torch.tensor([30.0, 0.0, -30.0], requires_grad=True)
    q = RelaxedCategoricalDistribution(logits, torch.tensor(0.1), space)  # type: ignore[arg-type]
    log_q = q.log_prob(q.rsample((1000,)))
    log_q.sum().backward()
    assert log_q.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("space", ["simplex", "log"])
def test_conforms(space: str) -> None:
    posterior = RelaxedCategorical(MLP(4, [], (2, 3)), categories=3, space=space).double()  # type: ignore[arg-type]
    check_conditional(posterior, torch.randn(5, 4, dtype=torch.float64))


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="categories=1 and needs at least 2"):
        RelaxedCategorical(nn.Linear(2, 2), categories=1, latent_shape=2)
    with pytest.raises(ValueError, match=r"temperature=-1\.0 and needs a positive number"):
        RelaxedCategorical(nn.Linear(2, 20), temperature=-1.0, latent_shape=2)
