"""From a batch to a scalar and its terms."""

from __future__ import annotations

import pytest
import torch

from lowerbound.exact import LinearGaussian
from lowerbound.gradients import DReG, Pathwise, ScoreFunction, StickTheLanding
from lowerbound.losses import VariationalLoss
from lowerbound.models import vae
from lowerbound.objectives import ELBO, IWAE


def case():
    exact = LinearGaussian.random(3, 2)
    return exact, exact.model(), exact.sample(6)


def test_loss_is_minus_the_mean_bound_in_nats():
    exact, model, x = case()
    loss, terms = VariationalLoss(model, ELBO(), Pathwise(), 3)(x)
    assert torch.allclose(loss, -exact.log_evidence(x).mean())  # weights are constant at the posterior
    assert torch.allclose(terms["bound"], -loss)
    assert torch.allclose(terms["bound"], terms["likelihood"] + terms["prior"] - terms["posterior"])
    assert not any(term.requires_grad for term in terms.values())


@pytest.mark.parametrize(
    "objective, estimator",
    [(ELBO(), StickTheLanding()), (ELBO(), ScoreFunction()), (IWAE(), DReG()), (IWAE(), ScoreFunction())],
)
def test_the_value_never_depends_on_the_estimator(objective, estimator):
    exact, _, x = case()
    model = exact.model(exact.posterior_module(diagonal=True))
    values = []
    for each in (Pathwise(), estimator):
        torch.manual_seed(0)
        values.append(VariationalLoss(model, objective, each, 4)(x).loss.detach())
    assert torch.allclose(*values)


def test_a_sample_at_least():
    _, model, _ = case()
    with pytest.raises(ValueError, match="num_samples=0"):
        VariationalLoss(model, ELBO(), Pathwise(), 0)


@pytest.mark.parametrize("prior, posterior", [("standard-normal", "bernoulli"), ("bernoulli", "diagonal-normal")])
def test_a_probability_is_not_set_against_a_density(prior, posterior):
    model = vae((4,), latent_dim=2, hidden=(3,), prior=prior, posterior=posterior)
    with pytest.raises(ValueError, match="bounds nothing; choose a prior and a posterior over the same latents"):
        VariationalLoss(model, ELBO(), ScoreFunction(), 2).check(torch.ones(3, 4))
    VariationalLoss(vae((4,), latent_dim=2, hidden=(3,)), ELBO(), ScoreFunction(), 2).check(torch.ones(3, 4))
