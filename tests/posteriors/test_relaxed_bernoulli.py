"""The binary Concrete: density against scipy and torch, both spaces, P(z > ½), and the limit of low temperature."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.distributions import RelaxedBernoulli as TorchRelaxedBernoulli

from lowerbound.distributions.relaxed import RelaxedBernoulliDistribution
from lowerbound.nets import MLP
from lowerbound.posteriors import RelaxedBernoulli
from lowerbound.testing import check_conditional


def at(logit: float, temperature: float, space: str = "unit") -> RelaxedBernoulliDistribution:
    a, t = torch.tensor([logit, temperature], dtype=torch.float64)
    return RelaxedBernoulliDistribution(a, t, space)  # type: ignore[arg-type]


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
def test_densities_are_scipys_and_torchs(temperature: float) -> None:
    y = torch.linspace(-6, 6, 25, dtype=torch.float64)
    exact = stats.logistic.logpdf(y.numpy(), 0.7 / temperature, 1 / temperature)
    assert at(0.7, temperature, "logit").log_prob(y).tolist() == pytest.approx(exact.tolist(), rel=1e-9)
    z = y.sigmoid()
    oracle = TorchRelaxedBernoulli(
        torch.tensor(temperature, dtype=torch.float64), logits=torch.tensor(0.7, dtype=torch.float64)
    )
    assert at(0.7, temperature).log_prob(z).tolist() == pytest.approx(oracle.log_prob(z).tolist(), rel=1e-9)


def mass(q: RelaxedBernoulliDistribution, low: float, high: float) -> float:
    """∫ q(z) dz over (low, high), on a grid of logits so that both ends are resolved."""
    edges = torch.tensor([low, high], dtype=torch.float64).logit(eps=1e-15)
    y = torch.linspace(edges[0].item(), edges[1].item(), 400_001, dtype=torch.float64)
    z = y.sigmoid()
    return torch.trapezoid((q.log_prob(z) + z.log() + torch.log1p(-z)).exp(), y).item()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_density_integrates_to_one_and_halves_at_the_probability(temperature: float) -> None:
    q = at(1.1, temperature)
    probability = torch.tensor(1.1, dtype=torch.float64).sigmoid().item()
    assert mass(q, 0.0, 1.0) == pytest.approx(1, abs=1e-6)
    assert mass(q, 0.5, 1.0) == pytest.approx(probability, abs=1e-6)


def test_low_temperature_is_the_bernoulli() -> None:
    """What lies between 0.01 and 0.99 vanishes linearly in τ, and the mean becomes the probability."""
    between = [mass(at(1.1, t), 0.01, 0.99) for t in (0.1, 0.01, 0.001)]
    assert between[0] > 9 * between[1] > 81 * between[2]
    assert between[2] < 3e-3
    z = at(1.1, 0.001).rsample((200_000,))
    probability = torch.tensor(1.1, dtype=torch.float64).sigmoid()
    assert abs(z.mean() - probability) < 6 * 0.5 / 200_000**0.5


def test_both_spaces_draw_the_same_and_give_the_same_log_weight() -> None:
    def log_ratio(space: str) -> tuple[Tensor, Tensor]:
        torch.manual_seed(4)
        q, p = at(0.7, 0.5, space), at(-0.2, 0.8, space)
        z = q.rsample((50,))
        return z, p.log_prob(z) - q.log_prob(z)

    (z, unit), (y, logit) = log_ratio("unit"), log_ratio("logit")
    torch.testing.assert_close(z, y.sigmoid())
    torch.testing.assert_close(unit, logit, rtol=0, atol=1e-6)


def test_logit_space_is_exact_in_float32_where_the_unit_interval_saturates() -> None:
    q = RelaxedBernoulliDistribution(torch.tensor(6.0), torch.tensor(0.1), "logit")
    y = q.rsample((1000,))
    exact = stats.logistic.logpdf(y.double().numpy(), 60, 10)
    assert q.log_prob(y).tolist() == pytest.approx(exact.tolist(), abs=1e-4)
    unit = RelaxedBernoulliDistribution(torch.tensor(6.0), torch.tensor(0.1))
    z = unit.rsample((1000,))
    assert ((z > 0) & (z < 1)).all()
    assert unit.log_prob(z).isfinite().all()


@pytest.mark.parametrize("space", ["unit", "logit"])
def test_conforms(space: str) -> None:
    posterior = RelaxedBernoulli(MLP(4, [], 3), space=space).double()  # type: ignore[arg-type]
    check_conditional(posterior, torch.randn(5, 4, dtype=torch.float64))


def test_density_differentiates_along_the_logits_and_the_draw() -> None:
    temperature = torch.tensor(0.5, dtype=torch.float64)
    inputs = (torch.randn(4, dtype=torch.float64, requires_grad=True), torch.rand(4, dtype=torch.float64) * 0.8 + 0.1)
    inputs[1].requires_grad_()
    assert torch.autograd.gradcheck(lambda a, z: RelaxedBernoulliDistribution(a, temperature).log_prob(z), inputs)


def test_temperature_is_kept_by_a_checkpoint_and_must_be_positive() -> None:
    first, second = (RelaxedBernoulli(nn.Linear(2, 3), t, latent_shape=3) for t in (0.3, 0.9))
    second.load_state_dict(first.state_dict())
    assert second.temperature.item() == pytest.approx(0.3)
    with pytest.raises(ValueError, match=r"temperature=0\.0 and needs a positive number"):
        RelaxedBernoulli(nn.Linear(2, 3), 0.0, latent_shape=3)
