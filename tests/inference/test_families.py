"""Free parameters start where they should, and mean what the posterior's own net would mean by them."""

from __future__ import annotations

import pytest
import torch

from lowerbound import posteriors
from lowerbound.exact import EnumerableBernoulli, LinearGaussian
from lowerbound.inference.families import free_parameters, moments
from lowerbound.model import LatentVariableModel
from lowerbound.models import vae
from lowerbound.spelling import choices

SPELLED = {"categorical": "categorical:categories=3", "relaxed-categorical": "relaxed-categorical:categories=3"}
CODES = ("finite-scalar", "lookup-free", "residual-quantized", "vector-quantized")
DISCRETE = ("bernoulli", "categorical", "relaxed-bernoulli", "relaxed-categorical")


@pytest.mark.parametrize("name", sorted(set(choices(posteriors)) - {*CODES, "implicit"}))  # which has no density
def test_own_parameters_start_at_the_posterior_of_the_encoder(name):
    model = vae((5,), latent_dim=3, hidden=[7], posterior=SPELLED.get(name, name)).double()
    x = torch.rand(4, 5, dtype=torch.float64)
    free, head = free_parameters(model, x, None, "own", "encoder")
    q = model.infer(x)
    z = q.sample((2,))
    assert torch.allclose(head(free).log_prob(z), q.log_prob(z))
    assert free.shape[0] == 4
    moved = head(free + torch.randn_like(free))
    assert moved.batch_shape == (4,)
    assert not torch.allclose(moved.log_prob(z), q.log_prob(z))
    assert model.posterior.net(x).shape == free.shape  # the model kept its net


@pytest.mark.parametrize("family", ["diagonal", "full"])
@pytest.mark.parametrize("name", sorted(set(choices(posteriors)) - set(DISCRETE) - set(CODES)))
def test_gaussian_families_start_at_the_moments_of_q(name, family):
    torch.manual_seed(1)
    model = vae((5,), latent_dim=3, hidden=[7], posterior=name).double()
    x = torch.rand(4, 5, dtype=torch.float64)
    torch.manual_seed(2)
    free, head = free_parameters(model, x, None, family, "encoder")
    torch.manual_seed(2)
    mean, stddev = moments(model.infer(x))
    assert torch.allclose(head(free).mean, mean)
    if name != "full-normal" or family == "diagonal":
        assert torch.allclose(head(free).stddev, stddev)


@pytest.mark.parametrize("family", ["own", "diagonal", "full"])
@pytest.mark.parametrize("name", CODES)
def test_codes_have_no_parameters_to_start(name, family):
    model = vae((5,), latent_dim=3, hidden=[7], posterior=name)
    with pytest.raises(ValueError, match="codes have none"):
        free_parameters(model, torch.rand(4, 5), None, family, "encoder")


def test_the_full_family_starts_at_a_full_normal():
    exact = LinearGaussian.random(4, 3)
    x = exact.sample(5)
    for family in ("own", "full"):
        free, head = free_parameters(exact.model(), x, None, family, "encoder")
        assert torch.allclose(head(free).covariance_matrix, exact.posterior(x).covariance_matrix)
        assert torch.allclose(head(free).mean, exact.posterior(x).mean)


@pytest.mark.parametrize("family", ["own", "diagonal", "full"])
def test_from_scratch_they_start_at_the_prior(family):
    model = vae((5,), latent_dim=3, hidden=[7])
    free, head = free_parameters(model, torch.rand(4, 5), None, family, "prior")
    assert torch.allclose(head(free).mean, torch.zeros(4, 3))
    assert torch.allclose(head(free).stddev, torch.ones(4, 3), atol=2e-4)


def test_they_differentiate_into_the_encoder_when_they_start_there():
    model = vae((5,), latent_dim=3, hidden=[7])
    for family in ("own", "diagonal", "full"):
        assert free_parameters(model, torch.rand(4, 5), None, family, "encoder")[0].requires_grad


def test_what_does_not_fit_is_refused():
    discrete = EnumerableBernoulli.random(2, 3).model()
    ones = torch.ones(1, 3, dtype=torch.float64)
    for family in ("diagonal", "full"):
        with pytest.raises(ValueError, match="use family='own'"):
            free_parameters(discrete, ones, None, family, "encoder")
    planar = vae((3,), latent_dim=2, posterior="planar")
    without_net = LatentVariableModel(
        prior=planar.prior, likelihood=planar.likelihood, posterior=lambda context: planar.posterior(context)
    )
    with pytest.raises(ValueError, match="use family='diagonal'"):
        free_parameters(without_net, torch.ones(1, 3), None, "own", "encoder")


@pytest.mark.usefixtures("as_users_run")
def test_unknown_names_are_refused():
    model = vae((5,), latent_dim=3)
    with pytest.raises(ValueError, match="choose own, diagonal or full"):
        free_parameters(model, torch.ones(1, 5), None, "ful", "encoder")
    with pytest.raises(ValueError, match="choose encoder or prior"):
        free_parameters(model, torch.ones(1, 5), None, "full", "scratch")
