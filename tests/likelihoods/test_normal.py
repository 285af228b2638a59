"""p(x | z) of real data, with four choices of scale."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import nn

from lowerbound.likelihoods import Normal
from lowerbound.nets import MLP
from lowerbound.testing import check_conditional

SCALES = [0.5, "shared", "per-dimension", "heteroscedastic"]
EVENT = (3, 4)


def build(scale, **options):
    return Normal(MLP(2, [5], Normal.parameter_shape(EVENT, scale)), scale, **options).double()


@pytest.mark.parametrize("scale", SCALES)
def test_density_is_that_of_scipy_summed_over_every_dimension(scale):
    likelihood = build(scale)
    if isinstance(scale, str) and scale != "heteroscedastic":
        with torch.no_grad():
            likelihood.raw_scale.copy_(torch.randn_like(likelihood.raw_scale))
    z, x = torch.randn(7, 6, 2, dtype=torch.float64), torch.randn(6, *EVENT, dtype=torch.float64)
    p = likelihood(z)
    loc, sigma = p.base_dist.loc.detach().numpy(), p.base_dist.scale.detach().numpy()
    expected = stats.norm(loc, sigma).logpdf(x.numpy()).sum((-1, -2))
    assert torch.allclose(p.log_prob(x), torch.from_numpy(expected))
    assert p.event_shape == EVENT


def test_scales_are_what_their_names_say():
    z = torch.randn(6, 2, dtype=torch.float64)
    sizes = {"shared": 1, "per-dimension": 12}
    for scale in SCALES:
        likelihood = build(scale)
        own = [p for name, p in likelihood.named_parameters() if name == "raw_scale"]
        assert sum(p.numel() for p in own) == sizes.get(scale, 0)
        sigma = likelihood(z).base_dist.scale
        if isinstance(scale, float):
            assert (sigma == scale).all()
        elif scale == "heteroscedastic":
            assert not torch.allclose(sigma[0], sigma[1])
        else:
            assert torch.allclose(sigma, torch.ones_like(sigma), atol=1e-2)


def test_a_learned_scale_finds_the_noise():
    """At the maximum of the likelihood the shared σ is the standard deviation of the residuals."""
    likelihood = Normal(nn.Identity(), "shared", event_shape=1).double()
    x = 0.3 * torch.randn(500, 1, dtype=torch.float64)
    optimiser = torch.optim.LBFGS(likelihood.parameters(), max_iter=50)

    def closure():
        optimiser.zero_grad()
        loss = -likelihood(torch.zeros_like(x)).log_prob(x).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    sigma = likelihood(torch.zeros_like(x)).base_dist.scale[0, 0].item()
    assert math.isclose(sigma, x.square().mean().sqrt().item(), rel_tol=1e-4)


@pytest.mark.parametrize("scale", SCALES)
def test_conforms(scale):
    check_conditional(build(scale), torch.randn(6, 2, dtype=torch.float64))


@pytest.mark.parametrize("raw", [-1e6, 1e6])
def test_the_floor_holds_and_gradients_stay_finite(raw):
    parameters = torch.tensor([[[0.0], [raw]]], requires_grad=True)
    p = Normal(nn.Identity(), "heteroscedastic", event_shape=1, min_scale=0.1)(parameters)
    assert p.base_dist.scale.item() >= 0.1
    (gradient,) = torch.autograd.grad(p.log_prob(torch.ones(1, 1)).sum(), parameters)
    assert gradient.isfinite().all()
    shared = Normal(nn.Identity(), "shared", event_shape=1, min_scale=0.1)
    with torch.no_grad():
        shared.raw_scale.fill_(-1e6)
    assert shared(torch.zeros(1, 1)).base_dist.scale.item() == pytest.approx(0.1)


@pytest.mark.parametrize("scale", SCALES)
def test_initialize_puts_the_bias_of_the_mean_at_the_mean_datum(scale):
    likelihood = build(scale)
    before = likelihood.net.output_bias.detach().clone()
    x = torch.randn(20, *EVENT, dtype=torch.float64)
    likelihood.initialize(x)
    bias = likelihood.net.output_bias
    if scale == "heteroscedastic":
        assert torch.equal(bias[1], before[1])
        bias = bias[0]
    assert torch.allclose(bias, x.mean(0), atol=1e-6)


@pytest.mark.parametrize("scale", [0, -1.0, math.inf, math.nan, True, "diagonal"])
@pytest.mark.usefixtures("as_users_run")
def test_other_scales_are_refused(scale):
    with pytest.raises(ValueError, match="a positive number or one of shared, per-dimension, heteroscedastic"):
        Normal(MLP(2, [], 3), scale)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"expected \(2, \*event_shape\)"):
        Normal(MLP(2, [], 3), "heteroscedastic")
    with pytest.raises(ValueError, match="pass event_shape="):
        Normal(nn.Identity())


@pytest.mark.usefixtures("as_users_run")
def test_a_whole_number_is_a_fixed_scale():
    p = Normal(nn.Identity(), 2, event_shape=1)(torch.zeros(1, 1))
    assert p.base_dist.scale.item() == 2
