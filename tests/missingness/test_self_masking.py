"""Gaps that depend on what they hide: log p(x_obs, s) and E[x_mis | x_obs, s] by quadrature."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal
from torch.special import ndtr

import lowerbound as lb
from lowerbound.evaluate import completions, draw_missing, log_conditionals, log_evidence
from lowerbound.evaluate.missing import of_values, weighted_quantile
from lowerbound.likelihoods.in_units import LogNormalInUnits, NormalInUnits
from lowerbound.missingness.hidden_values import hidden_values
from lowerbound.nets.softplus import raw_of

LOC, WEIGHT, SCALE = torch.tensor([0.5, -1.0, 0.2]), torch.tensor([1.0, 0.7, -0.5]), torch.tensor([0.6, 0.5, 0.4])
INTERCEPT, SLOPE = torch.tensor([-0.3, 0.2, -1.0]), torch.tensor([1.5, -0.8, 0.4])
CENTRES, UNITS = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([3.0, 0.5, 1.5])
CLASS_LOGIT, CLASS_INTERCEPT = torch.tensor([0.0, 1.2, -0.7]), torch.tensor([-1.0, 0.3, 1.1])
COUNT_INTERCEPT = torch.tensor([-0.4])
NODES = torch.linspace(-8, 8, 801, dtype=torch.float64)
KINDS = "continuous+categorical-3+positive+continuous+count"
SEEN = torch.tensor([3.1, 1.0, 2.2, -0.4, 2.0])
S = 4000


class _Decoder(nn.Module):
    """Two continuous columns, a positive one, three classes and a count, all linear in z of length 1."""

    def forward(self, z: Tensor) -> Tensor:
        loc = LOC + z * WEIGHT
        real = torch.stack([loc, raw_of(SCALE, 1e-3).expand_as(loc)], -1)
        classes = z * CLASS_LOGIT
        count = raw_of(torch.tensor(1.5), 1e-6).expand_as(z)
        return torch.cat([real[..., [0, 2], :].flatten(-2), classes, real[..., 1, :], count], -1)


class _Wide(nn.Module):
    """A q(z | x) that ignores x: only the weights make draws of it right."""

    def forward(self, x: Tensor) -> Independent:
        return Independent(Normal(x.new_zeros(len(x), 1), x.new_full((len(x), 1), 1.5)), 1)


@pytest.fixture(scope="module")
def model() -> lb.LatentVariableModel:
    likelihood: Any = lb.likelihoods.Mixed(_Decoder(), KINDS)
    gaps = lb.missingness.SelfMasking(likelihood)
    with torch.no_grad():
        of_reals, of_classes, of_positive, of_counts = gaps.intercepts
        of_reals.copy_(INTERCEPT[[0, 2]])
        gaps.slopes[0].copy_(SLOPE[[0, 2]])
        of_classes.copy_(CLASS_INTERCEPT)
        of_positive.copy_(INTERCEPT[1:2])
        gaps.slopes[2].copy_(SLOPE[1:2])
        of_counts.copy_(COUNT_INTERCEPT)
        for group, places in ((likelihood.groups[0], [0, 2]), (likelihood.groups[2], [1])):
            group.centres.copy_(CENTRES[places])
            group.units.copy_(UNITS[places])
    likelihood.take_missingness(gaps)
    return lb.LatentVariableModel(prior=lb.priors.StandardNormal(1), likelihood=likelihood, posterior=_Wide()).eval()


def _of_real(x: Tensor, place: int, *, positive: bool = False) -> tuple[Tensor, Tensor]:
    """∫ p(x, s | z) over what is missing and ∫ x p(x, s | z), at each node of z, by a sum over t."""
    loc = (LOC[place] + NODES * WEIGHT[place]).double()
    intercept, slope, centre, unit = (v[place].double() for v in (INTERCEPT, SLOPE, CENTRES, UNITS))
    if not x.isnan():
        y = x.double().log() if positive else x.double()
        t = (y - centre) / unit
        density = Normal(loc, SCALE[place].double()).log_prob(t).exp() / unit / (x.double() if positive else 1)
        return density * ndtr(-(intercept + slope * t)), torch.zeros_like(loc)
    t = loc[:, None] + SCALE[place].double() * NODES
    mass = Normal(0.0, 1.0).log_prob(NODES).exp() * ndtr(intercept + slope * t) * (NODES[1] - NODES[0])
    value = centre + unit * t
    return mass.sum(1), (mass * (value.exp() if positive else value)).sum(1)


def _exactly(x: Tensor) -> tuple[float, Tensor]:
    """log p(x_obs, s), and the means of the real entries that are missing with p(class | x_obs, s) beside."""
    places = ((0, 0, False), (2, 1, True), (3, 2, False))
    terms = {column: _of_real(x[column], place, positive=positive) for column, place, positive in places}
    p = (NODES[:, None] * CLASS_LOGIT.double()).softmax(-1)
    gap = p * ndtr(CLASS_INTERCEPT.double())
    of_class = gap.sum(1) if x[1].isnan() else (p * ndtr(-CLASS_INTERCEPT.double()))[:, int(x[1])]
    of_count = ndtr(COUNT_INTERCEPT.double() * (1 if x[4].isnan() else -1))
    if not x[4].isnan():
        r = torch.tensor(1.0 + 1e-6, dtype=torch.float64)  # of a raw number of 0
        of_count = of_count * torch.distributions.NegativeBinomial(r, 1.5 / (1.5 + r)).log_prob(x[4].double()).exp()
    each = Normal(0.0, 1.0).log_prob(NODES).exp() * of_class * of_count * (NODES[1] - NODES[0])
    for mass, _ in terms.values():
        each = each * mass
    means = [(each * moment / mass).sum() / each.sum() for mass, moment in terms.values()]
    classes = (each[:, None] * gap / gap.sum(1, keepdim=True)).sum(0) / each.sum()
    return each.sum().log().item(), torch.cat([torch.stack(means), classes])


@pytest.mark.parametrize("gaps", [[], [0], [2], [1, 3], [0, 1, 2, 3, 4], [1, 2, 4]], ids=str)
def test_evidence_and_what_gaps_hide_are_those_of_quadrature(model: Any, gaps: list[int]) -> None:
    x = SEEN.clone()
    x[gaps] = torch.nan
    log_p, expected = _exactly(x)
    found = log_evidence(model, x[None], num_samples=S, seed=1)
    assert found.log_evidence.item() == pytest.approx(log_p, abs=5 * found.standard_error.item() + 1e-4)
    (part,) = completions(model, x[None], num_samples=S, seed=2)
    weight = part.weight[:, 0].double()
    for column, mean in zip((0, 2, 3), expected, strict=False):
        if column in gaps:
            values = part.x[:, 0, column].double()
            error = ((weight * (values - mean)) ** 2).sum().sqrt()
            assert (weight @ part.mean[:, 0, column].double() - mean).abs() < 5 * error
            assert (weight @ values - mean).abs() < 5 * error
    if 1 in gaps:
        shares = torch.stack([(weight * (part.x[:, 0, 1] == k)).sum() for k in range(3)])
        assert (shares - expected[3:]).abs().max() < 5 * 0.5 * weight.square().sum().sqrt()


def test_log_p_of_masks_and_values_add_up_to_one(model: Any) -> None:
    """Over both masks of the classes and all classes, with everything else missing: no mass is lost or made."""
    rows = torch.full((4, 5), torch.nan)
    rows[:3, 1] = torch.arange(3.0)
    p = model.decode(torch.tensor([[0.7]]))
    with_it = p.log_prob(rows).exp().sum()
    others = torch.full((1, 5), torch.nan)
    others_alone = (p.log_prob(others) - p.log_prob_of_gaps(others)[:, 1]).exp()
    assert with_it.item() == pytest.approx(others_alone.item(), rel=1e-5)


def test_imputations_are_drawn_from_what_gaps_hide(model: Any) -> None:
    x = SEEN.clone()
    x[[0, 1]] = torch.nan
    _, expected = _exactly(x)
    drawn, _ = draw_missing(model, x.expand(3, -1), 4000, num_samples=S, seed=3)
    assert drawn[..., 2:].eq(SEEN[2:]).all()
    values = drawn[:, :, 0].double()
    assert (values.mean() - expected[0]).abs() < 5 * values.std() / math.sqrt(4000)
    shares = torch.stack([(drawn[..., 1] == k).double().mean() for k in range(3)])
    assert (shares - expected[3:]).abs().max() < 5 * 0.5 / math.sqrt(4000)


@pytest.mark.parametrize("slope", [0.0, 0.9, -3.0])
@pytest.mark.parametrize("kind", [NormalInUnits, LogNormalInUnits])
def test_hidden_numbers_have_the_moments_of_their_density(kind: Any, slope: float) -> None:
    values = kind(*(torch.tensor(v, dtype=torch.float64) for v in (0.4, 0.7, 1.0, 0.6)))
    hidden = hidden_values(values, torch.tensor(-1.2, dtype=torch.float64), torch.tensor(slope, dtype=torch.float64))
    t = torch.linspace(-6, 7, 200_001, dtype=torch.float64)
    x = 1.0 + 0.6 * t
    x, step = (x.exp(), x.exp() * 0.6) if kind is LogNormalInUnits else (x, 0.6)
    mass = hidden.log_prob(x).exp() * step * (t[1] - t[0])
    assert mass.sum().item() == pytest.approx(1, abs=1e-6)
    assert (mass * x).sum().item() == pytest.approx(hidden.mean.item(), rel=1e-6)
    torch.manual_seed(0)
    drawn = hidden.sample(torch.Size((40_000,)))
    assert (drawn.mean() - hidden.mean).abs() < 5 * drawn.std() / 200
    for level in (0.05, 0.5, 0.95):
        below = (mass * (x <= torch.quantile(drawn, level))).sum().item()
        assert below == pytest.approx(level, abs=5 * 0.5 / 200)


def test_numbers_that_are_hardly_ever_missing_are_drawn_beyond_the_reach_of_floats() -> None:
    """P(missing) is 1e-170 at the mean; what is hidden is then where it is more likely."""
    values = NormalInUnits(*(torch.tensor(v) for v in (0.0, 1.0, 0.0, 1.0)))
    hidden = hidden_values(values, torch.tensor(-40.0), torch.tensor(1.0))
    torch.manual_seed(0)
    drawn = hidden.sample(torch.Size((4000,)))
    assert drawn.isfinite().all()
    assert drawn.mean().item() == pytest.approx(hidden.mean.item(), abs=0.06)
    assert hidden.mean.item() == pytest.approx(20, abs=0.1)  # where t² / 2 + (t − 40)² / 2 is least


def test_cells_and_conditions_are_of_values_alone(model: Any) -> None:
    alone: Any = of_values(model)
    assert model.likelihood.missingness is not None
    assert alone.likelihood.missingness is None
    assert alone.likelihood.groups is model.likelihood.groups
    rows = torch.stack([SEEN, SEEN])
    rows[1, 0] = torch.nan
    together, apart = (log_conditionals(m, rows, num_samples=50) for m in (model, alone))
    assert torch.equal(together.nan_to_num(9.0), apart.nan_to_num(9.0))
    assert of_values(alone) is alone


def test_gradients_reach_slopes_and_do_not_through_gaps(model: Any) -> None:
    x = SEEN.expand(2, -1).clone()
    x[1, [0, 1]] = torch.nan
    z = torch.zeros(1, 2, 1, requires_grad=True)
    total = model.decode(z).log_prob(x).sum()
    gaps = model.likelihood.missingness
    found = torch.autograd.grad(total, [z, *gaps.intercepts, gaps.slopes[0]])
    assert all(g.isfinite().all() for g in found)
    assert all((g != 0).all() for g in found)


def test_start_is_at_the_frequencies_of_gaps() -> None:
    likelihood = lb.likelihoods.Mixed(
        lb.nets.MLP(1, [4], lb.likelihoods.Mixed.parameter_shape(2, "continuous+count")), "count+continuous"
    )
    likelihood.take_missingness(lb.missingness.SelfMasking(likelihood))
    x = torch.tensor([[1.0, torch.nan], [0.0, torch.nan], [2.0, 0.3]])
    likelihood.initialize(x)
    p = likelihood(torch.zeros(1, 1))
    gap = p.log_prob_of_gaps(torch.full((1, 2), torch.nan)).exp()
    torch.testing.assert_close(gap, torch.tensor([[0.5 / 4, 2.5 / 4]]))
    torch.testing.assert_close(p.of_missing().mean, p.mean)


def test_gaps_that_are_planted_so_are_filled_without_bias_and_their_intervals_cover(model: Any) -> None:
    """Without the missingness what they hide is taken for like what is seen, and is missed on one side."""
    torch.manual_seed(4)
    truth = model.sample(600)
    mask = torch.rand(600) < ndtr(INTERCEPT[0] + SLOPE[0] * (truth[:, 0] - CENTRES[0]) / UNITS[0])
    x, known = truth[mask].clone(), truth[mask][:, 0]
    x[:, 0] = torch.nan
    bias = {}
    for name, each in (("with", model), ("without", of_values(model))):
        (part,) = completions(each, x, num_samples=400, seed=5)
        errors = (part.weight * part.mean[..., 0]).sum(0) - known
        bias[name] = (errors.mean() / (errors.std() / math.sqrt(len(x)))).item()
        if name == "with":
            low, high = (weighted_quantile(part.x[..., 0], part.weight, level) for level in (0.05, 0.95))
            share = ((low <= known) & (known <= high)).double().mean().item()
    assert abs(share - 0.9) < 4 * math.sqrt(0.09 / len(x))
    assert abs(bias["with"]) < 4
    assert bias["without"] < -8
