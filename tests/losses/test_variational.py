"""From a batch to a scalar and its terms."""

from __future__ import annotations

from inspect import unwrap

import pytest
import torch

from lowerbound.exact import LinearGaussian
from lowerbound.gradients import DReG, Pathwise, ScoreFunction, StickTheLanding
from lowerbound.inference import HMC
from lowerbound.losses import VariationalLoss
from lowerbound.losses.guards import check_direction
from lowerbound.models import vae
from lowerbound.objectives import CUBO, ELBO, IWAE, ChiDivergence
from lowerbound.testing import check_objective


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


def test_an_upper_bound_is_not_raised():
    _, model, x = case()
    with pytest.raises(ValueError, match="upper bound of log p"):
        VariationalLoss(model, CUBO(), Pathwise(), 2).check(x)


def test_the_chi_divergence_fits_q_to_a_p_that_is_held_fixed():
    _, model, x = case()
    loss = VariationalLoss(model, ChiDivergence(), Pathwise(), 2)
    with pytest.raises(ValueError, match="freeze the parameters"):
        loss.check(x)
    model.likelihood.requires_grad_(False)
    loss.check(x)


def test_a_penalty_is_taken_off_the_bound_and_checked():
    class TwoNats:
        def __call__(self, posterior, prior):
            return torch.tensor(2.0)

        allowed = True

        def check(self, posterior, prior):
            if not self.allowed:
                raise ValueError("not for these")

    _, model, x = case()
    torch.manual_seed(0)
    plain = VariationalLoss(model, ELBO(), Pathwise())(x)
    torch.manual_seed(0)
    charged = VariationalLoss(model, ELBO(), Pathwise(), penalty=TwoNats())
    assert torch.allclose(charged(x).loss, plain.loss + 2)
    assert charged(x).terms["penalty"] == 2
    charged.penalty.allowed = False
    with pytest.raises(ValueError, match="not for these"):
        charged.check(x)


def test_a_closed_form_that_is_not_there_is_refused_before_training():
    model = vae((4,), latent_dim=2, hidden=(3,), posterior="planar")
    with pytest.raises(ValueError, match=r"use ELBO\(rate='sampled'\) for any pair"):
        VariationalLoss(model, ELBO(rate="kl"), Pathwise()).check(torch.ones(3, 4))


def test_chains_are_refused_before_they_are_run(monkeypatch):
    def run(*_: object) -> None:
        raise AssertionError("chains were run to be refused")

    monkeypatch.setattr(HMC, "__call__", run)
    model = vae((6,), latent_dim=3, hidden=[8])
    with pytest.raises(ValueError, match="with a density and HMC gives draws; use Local"):
        VariationalLoss(model, ELBO(), Pathwise(), inference=HMC()).check(torch.ones(2, 6))


def test_an_objective_without_its_statements_is_refused_in_a_sentence():
    class Half:
        cites = ()

        def signal(self, w):
            return w.log_w

        def reduce(self, signal):
            return signal.mean(0)

    model = vae((4,), latent_dim=2, hidden=[8])
    with pytest.raises(ValueError, match="Half is no objective: it needs the members bound, linear and rate"):
        unwrap(check_direction)(Half(), model)  # as it is without the tests' checks of types
    with pytest.raises(AssertionError, match="Half: it needs bound, linear, rate, signal and reduce"):
        unwrap(check_objective)(Half())
