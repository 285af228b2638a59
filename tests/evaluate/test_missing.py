"""Missing entries given the others, against Gaussian conditioning in closed form."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

import lowerbound as lb
from lowerbound.evaluate import completions, draw_missing, log_conditionals, log_evidence
from lowerbound.evaluate.missing import weighted_mode, weighted_quantile
from lowerbound.evaluate.resampling import systematic_resampling
from lowerbound.exact import LinearGaussian
from lowerbound.linear import FactorAnalysers
from lowerbound.models.mixture_of_factor_analysers import model_of
from lowerbound.nets.softplus import raw_of

LOC, WEIGHT, SCALE = torch.tensor([0.5, -1.0, 2.0]), torch.tensor([[1.0], [0.7], [-0.5]]), torch.tensor([0.3, 0.5, 0.2])
COVARIANCE = (WEIGHT @ WEIGHT.T + torch.diag(SCALE**2)).double()
ROW = torch.tensor([1.1, -0.2, 1.4])
MASKS = [torch.tensor(mask) for mask in product((True, False), repeat=3) if not all(mask)]
S = 20_000


def _exact() -> nn.Module:
    return model_of(FactorAnalysers(torch.ones(1), (LinearGaussian(WEIGHT, LOC, SCALE),)))


class _Decoder(nn.Module):
    """The same p(x | z) by the outputs that `Mixed` wants."""

    def forward(self, z: Tensor) -> Tensor:
        loc = LOC + z @ WEIGHT.T
        raw = raw_of(SCALE, 1e-3)
        return torch.stack([loc, raw.expand_as(loc)], -1).flatten(-2)


class _Wide(nn.Module):
    """A q(z | x) that ignores x: only the weights make draws of it right."""

    def forward(self, x: Tensor) -> Independent:
        zero = x.new_zeros(len(x), 1)
        return Independent(Normal(zero, zero + 1.5), 1)


def _weighted() -> nn.Module:
    return lb.LatentVariableModel(
        prior=lb.priors.StandardNormal(1),
        likelihood=lb.likelihoods.Mixed(_Decoder(), "3*continuous"),
        posterior=_Wide(),
    )


def _conditional(observed: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the missing entries of ROW."""
    seen, gap = observed.nonzero()[:, 0], (~observed).nonzero()[:, 0]
    gain = COVARIANCE[gap][:, seen] @ torch.linalg.inv(COVARIANCE[seen][:, seen])
    mean = LOC[gap].double() + gain @ (ROW - LOC)[seen].double()
    return mean, COVARIANCE[gap][:, gap] - gain @ COVARIANCE[seen][:, gap]


@pytest.mark.parametrize("make", [_exact, _weighted])
@pytest.mark.parametrize("observed", MASKS, ids=str)
def test_moments_are_those_of_gaussian_conditioning_for_every_mask(make, observed):
    x = torch.where(observed, ROW, torch.nan)[None]
    (found,) = completions(make(), x, num_samples=S, seed=3)
    mean, covariance = _conditional(observed)
    gap = ~observed
    weight = found.weight.double()
    draws = found.x[:, 0, gap].double()
    error = covariance.diag().sqrt() * weight.square().sum().sqrt()
    assert torch.equal(found.x[:, 0, observed], ROW[observed].expand(S, -1))
    assert ((weight.T @ draws)[0] - mean).abs().le(5 * error).all()
    assert ((weight.T @ found.mean[:, 0, gap].double())[0] - mean).abs().le(5 * error).all()
    spread = (weight * (draws - mean) ** 2).sum(0) / covariance.diag()
    assert (spread - 1).abs().max() < 5 * math.sqrt(2) * weight.square().sum().sqrt()


@pytest.mark.parametrize("make", [_exact, _weighted])
def test_draws_have_the_conditional_covariance(make):
    observed = torch.tensor([True, False, False])
    rows = torch.where(observed, ROW, torch.nan).expand(3, -1)
    drawn, effective = draw_missing(make(), rows, 4000, num_samples=20_000, seed=1)
    assert drawn.shape == (4000, 3, 3)
    assert torch.equal(drawn[..., 0], ROW[0].expand(4000, 3))
    mean, covariance = _conditional(observed)
    centred = drawn[:, 1, 1:].double() - mean
    assert centred.mean(0).abs().le(5 * (covariance.diag() / 4000).sqrt()).all()
    assert (centred.T @ centred / 4000 - covariance).abs().max() < 5 * math.sqrt(2 / 4000) * covariance.diag().max()
    exact = make is _exact
    assert effective.ge(19_990 if exact else 2_000).all()
    assert effective.le(20_001 if exact else 15_000).all()


def test_nothing_observed_draws_from_the_model_itself():
    drawn, _ = draw_missing(_exact(), torch.full((1, 3), torch.nan), 20_000, seed=0)
    covariance = torch.cov(drawn[:, 0].double().T)
    assert (covariance - COVARIANCE).abs().max() < 5 * math.sqrt(2 / 20_000) * COVARIANCE.diag().max()


@pytest.mark.parametrize("make, tolerance", [(_exact, 1e-4), (_weighted, 0.06)])
def test_cells_given_the_rest_are_gaussian_conditionals(make, tolerance):
    rows = torch.stack([ROW, torch.tensor([1.1, torch.nan, 1.4])])
    found = log_conditionals(make(), rows, num_samples=S)
    assert found[1, 1].isnan()
    for d in range(3):
        mean, variance = _conditional(torch.arange(3) != d)
        expected = Normal(mean, variance.sqrt()).log_prob(ROW[d].double()).item()
        assert found[0, d].item() == pytest.approx(expected, abs=tolerance)
    pair = log_evidence(_exact(), rows[1:], num_samples=2).log_evidence
    alone = Normal(LOC[2], COVARIANCE[2, 2].sqrt().float()).log_prob(ROW[2])
    assert (pair - alone).item() == pytest.approx(found[1, 0].item(), abs=tolerance)


class _DecoderOfClasses(nn.Module):
    """Outputs of two columns of two classes, of a real one and of one of three classes; logits are lines in z."""

    def forward(self, z: Tensor) -> Tensor:
        two, real = z * torch.tensor([1.0, -1.0, -0.3, 0.3]), torch.cat([z, raw_of(torch.full_like(z, 0.5), 1e-3)], -1)
        return torch.cat([two, real, z * torch.tensor([0.0, 1.5, -2.0]) + 0.1], -1)


def test_probabilities_of_missing_classes_are_those_of_quadrature():
    """Under a q that ignores x, so that the weights have all the work; columns are not in the order of their groups."""
    columns = "categorical-2+continuous+categorical-3+categorical-2"
    likelihood = lb.likelihoods.Mixed(_DecoderOfClasses(), columns)
    model = lb.LatentVariableModel(prior=lb.priors.StandardNormal(1), likelihood=likelihood, posterior=_Wide())
    nan = torch.nan
    x = torch.tensor([[nan, 0.9, nan, nan], [nan, -0.4, nan, 1.0], [1.0, nan, nan, nan], [nan] * 4])
    (found,) = completions(model, x, num_samples=S)
    z = torch.linspace(-8, 8, 4001)[:, None]
    p = likelihood(z)
    seen = p.log_prob(x[:, None]) + Normal(0.0, 1.0).log_prob(z[:, 0])  # (row, point)
    weight = seen.double().softmax(1)
    two, _, three = p.parts
    exact = torch.zeros(4, 4, 3, dtype=torch.float64)
    exact[:, 0, :2], exact[:, 3, :2] = (weight @ two.log_probs[:, i].double().exp() for i in (0, 1))
    exact[:, 2] = weight @ three.log_probs[:, 0].double().exp()
    assert found.class_probabilities is not None
    torch.testing.assert_close(found.class_probabilities.double(), exact, atol=0.01, rtol=0)


@pytest.mark.slow
def test_intervals_of_ninety_per_cent_cover_ninety_per_cent():
    g = torch.Generator().manual_seed(0)
    z, noise = torch.randn(1500, 1, generator=g), torch.randn(1500, 3, generator=g)
    truth = LOC + z @ WEIGHT.T + SCALE * noise
    gap = torch.rand(1500, 3, generator=g) < 0.3
    inside = []
    for part in completions(_exact(), torch.where(gap, torch.nan, truth), num_samples=1000):
        low, high = (weighted_quantile(part.x, part.weight[..., None], level) for level in (0.05, 0.95))
        rows = truth[part.rows]
        inside.append(((low <= rows) & (rows <= high))[gap[part.rows]])
    hits = torch.cat(inside).double()
    assert abs(hits.mean().item() - 0.9) < 4 * math.sqrt(0.09 / len(hits))


def test_systematic_resampling_takes_each_as_often_as_its_weight_says():
    weight = torch.tensor([[0.5, 0.25], [0.2, 0.25], [0.3, 0.25], [0.0, 0.25]])
    index = systematic_resampling(weight, 10)
    counts = torch.stack([(index == s).sum(0) for s in range(4)])
    assert counts[:, 0].tolist() == [5, 2, 3, 0]
    assert ((counts[:, 1] - 2.5).abs() < 1).all()
    equal = systematic_resampling(torch.full((50, 2), 0.02), 50)
    assert equal[:, 0].tolist() == list(range(50))


def test_draws_of_different_rows_are_not_in_step():
    """Equal weights take each latent once; in the order of the latents draw m of every row would be of latent m."""
    drawn, _ = draw_missing(_exact(), torch.full((2, 3), torch.nan), 500, num_samples=500, seed=0)
    first, second = drawn[:, 0, 0], drawn[:, 1, 0]
    assert torch.corrcoef(torch.stack([first, second]))[0, 1].abs() < 5 / math.sqrt(500)


def test_weighted_quantiles_and_modes():
    x, weight = torch.tensor([4.0, 1.0, 3.0, 2.0]), torch.tensor([0.1, 0.2, 0.3, 0.4])
    assert [weighted_quantile(x, weight, level).item() for level in (0.1, 0.2, 0.5, 0.65, 1.0)] == [1, 1, 2, 3, 4]
    assert weighted_mode(torch.tensor([[1.0], [0.0], [1.0]]), torch.tensor([[0.3], [0.4], [0.3]])).item() == 1
    assert weighted_mode(torch.tensor([[1.0], [0.0], [3.0]]), torch.tensor([[0.2], [0.5], [0.3]])).item() == 0
    several = torch.tensor([[7.0, -1.0], [2e9, 4.0], [2e9, -1.0]])
    assert weighted_mode(several, torch.tensor([[0.4, 0.3], [0.3, 0.4], [0.3, 0.3]])).tolist() == [2e9, -1]


def test_a_likelihood_that_takes_no_gaps_is_refused():
    model = lb.LatentVariableModel(
        prior=lb.priors.StandardNormal(1),
        likelihood=lb.likelihoods.Normal(lb.nets.MLP(1, [4], 3), scale=1.0),
        posterior=lb.posteriors.DiagonalNormal(lb.nets.MLP(3, [4], (2, 1))),
    )
    with pytest.raises(ValueError, match="Normal takes no missing entries"):
        next(completions(model, torch.zeros(2, 3)))
