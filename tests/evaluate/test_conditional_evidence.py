"""log p(x | c) by draws from the prior, against a linear-Gaussian model in closed form, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from lowerbound import likelihoods, posteriors, priors
from lowerbound.evaluate import log_evidence
from lowerbound.evaluate.conditional_evidence import prior_evidence
from lowerbound.exact import LinearGaussian
from lowerbound.model import LatentVariableModel
from lowerbound.models.conditional_autoencoder import ConditionalModel, cvae
from lowerbound.nets import MLP, positive
from lowerbound.randomness import forked

ROWS = 40


def conditional(latent_dim: int = 2) -> tuple[ConditionalModel, Tensor, Tensor, Tensor]:
    """A linear CVAE, x drawn from it, c, and the exact log p(x | c)."""
    model = cvae(
        (4,),
        context_shape=(3,),
        latent_dim=latent_dim,
        hidden=[],
        likelihood="normal:scale=0.7",
        posterior="diagonal-normal:min_scale=1.0",  # wider than p(z | x, c), as a proposal should be
    ).double()
    c = torch.randn(ROWS, 3, dtype=torch.float64)
    x = model.sample(1, c)[0]
    assert isinstance(model.prior, posteriors.DiagonalNormal)
    assert isinstance(model.likelihood, likelihoods.Normal)
    loc, raw = model.prior.net(c).unbind(-2)
    scale = positive(raw, model.prior.min_scale)
    net = model.likelihood.net
    assert isinstance(net, MLP)
    layer = net.layers[-1]
    assert isinstance(layer, nn.Linear)
    weight, rest = layer.weight[:, :latent_dim], layer.weight[:, latent_dim:]
    covariance = weight @ torch.diag_embed(scale**2) @ weight.T + 0.49 * torch.eye(4, dtype=torch.float64)
    exact = MultivariateNormal(loc @ weight.T + c @ rest.T + layer.bias, covariance).log_prob(x)
    return model, x, c, exact.detach()


def test_it_and_importance_sampling_are_within_their_stated_errors() -> None:
    """Red if the prior is drawn or scored at another context, or the prior term is left in the weight."""
    model, x, c, exact = conditional()
    for estimate in (prior_evidence, log_evidence):
        got = estimate(model, x, num_samples=4000, context=c)
        z = (got.log_evidence - exact) / got.standard_error
        assert z.abs().max() < 5
        assert got.standard_error.max() < 0.1
    assert 0.7 < z.std() < 1.3


def test_the_weight_is_the_likelihood() -> None:
    model, x, c, _ = conditional()
    got = prior_evidence(model, x, num_samples=7, context=c, seed=3)
    with forked(torch.device("cpu"), 3, "log_evidence"):
        z = model.prior(c).rsample(torch.Size((7,)))
    log_likelihood = model.decode(z, c).log_prob(x).detach()
    torch.testing.assert_close(got.log_evidence, log_likelihood.logsumexp(0) - math.log(7))
    torch.testing.assert_close(got.elbo, log_likelihood.mean(0))


def test_the_mean_log_likelihood_under_the_prior_is_below_and_more_samples_are_nearer() -> None:
    model, x, c, exact = conditional()
    few, more = (prior_evidence(model, x, num_samples=s, context=c).mean for s in (2, 200))
    assert few < more < exact.mean() + 0.05
    assert prior_evidence(model, x, num_samples=200, context=c).mean_elbo < more


@pytest.mark.parametrize("prior", [priors.StandardNormal(2), priors.MixtureNormal(2, 3)])
def test_priors_without_rows_are_drawn_anew_for_each_datum(prior: nn.Module) -> None:
    """Without this a whole block would share its draws, and a mixture, which cannot be expanded, would fail."""
    made = LatentVariableModel(
        prior=prior,  # type: ignore[arg-type]
        likelihood=likelihoods.Bernoulli(MLP(2, [], 5)),
        posterior=posteriors.DiagonalNormal(MLP(5, [], (2, 2))),
    )
    x = torch.ones(6, 5)
    got = prior_evidence(made, x, num_samples=50)
    assert len(got.log_evidence.unique()) == 6  # equal data, other draws
    torch.testing.assert_close(got.mean, log_evidence(made, x, num_samples=4000).mean, atol=0.15, rtol=0)


def test_unconditional_models_are_scored_too() -> None:
    exact = LinearGaussian.random(4, 1)
    x = exact.sample(30)
    got = prior_evidence(exact.model(), x, num_samples=20_000)
    assert ((got.log_evidence - exact.log_evidence(x)).abs() < 5 * got.standard_error).all()


def test_the_slices_do_not_matter_and_the_random_state_is_left_alone() -> None:
    model, x, c, _ = conditional()
    state = torch.get_rng_state()
    whole, sliced = (prior_evidence(model, x, num_samples=600, context=c, max_elements=n) for n in (2**20, 1000))
    torch.testing.assert_close(whole.log_evidence, sliced.log_evidence)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    "rows, samples, words", [(ROWS, 0, "prior_evidence got num_samples=0"), (3, 2, "40 rows of x and 3 of context")]
)
def test_refusals(rows: int, samples: int, words: str) -> None:
    model, x, c, _ = conditional()
    with pytest.raises(ValueError, match=words):
        prior_evidence(model, x, num_samples=samples, context=c[:rows])
