"""Relaxed priors: densities, what they bound, the limit of low temperature, and which posteriors they go with."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.distributions import RelaxedBernoulli as TorchRelaxedBernoulli
from torch.distributions import RelaxedOneHotCategorical

from lowerbound import posteriors, priors
from lowerbound.gradients import Pathwise, ScoreFunction
from lowerbound.likelihoods import Bernoulli
from lowerbound.losses import VariationalLoss
from lowerbound.model import LatentVariableModel
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO, IWAE
from lowerbound.testing import check_conditional

LOGITS = torch.tensor([-1.0, 0.3], dtype=torch.float64)
ROWS = torch.tensor([[0.3, -0.5, 1.0], [0.0, 2.0, 0.0]], dtype=torch.float64)


def bits(temperature=0.5, space="unit"):
    prior = priors.RelaxedBernoulli(2, temperature, space).double()
    with torch.no_grad():
        prior.logits.copy_(LOGITS)
    return prior


def one_hots(temperature=0.5, space="simplex"):
    prior = priors.RelaxedCategorical(2, 3, temperature, space).double()
    with torch.no_grad():
        prior.logits.copy_(ROWS)
    return prior


def test_densities_are_those_of_torch():
    z = bits()().sample((20, 4))
    oracle = TorchRelaxedBernoulli(torch.tensor(0.5, dtype=torch.float64), logits=LOGITS)
    torch.testing.assert_close(bits()().log_prob(z).detach(), oracle.log_prob(z).sum(-1))
    z = one_hots()().sample((20, 4))
    oracle = RelaxedOneHotCategorical(torch.tensor(0.5, dtype=torch.float64), logits=ROWS)
    torch.testing.assert_close(one_hots()().log_prob(z).detach(), oracle.log_prob(z).sum(-1))


@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_the_density_of_bits_integrates_to_one(temperature):
    """Over both bits at once, on a grid of logits."""
    prior = bits(temperature, "logit")
    axis = torch.linspace(-60, 60, 1201, dtype=torch.float64)
    y = torch.cartesian_prod(axis, axis)
    assert (prior().log_prob(y).exp().sum() * 0.1**2).item() == pytest.approx(1, abs=1e-6)
    log_z, log_not_z = nn.functional.logsigmoid(y[::997]), nn.functional.logsigmoid(-y[::997])
    inside = (log_z.sum(-1) > -30) & (log_not_z.sum(-1) > -30)
    unit = bits(temperature)().log_prob(y[::997].sigmoid()) + (log_z + log_not_z).sum(-1)
    torch.testing.assert_close(unit[inside], prior().log_prob(y[::997])[inside], rtol=1e-3, atol=1e-3)


def test_low_temperature_is_the_discrete_prior():
    """The mass near a corner of the cube, or of the simplices, becomes the probability of that corner."""
    z = bits(0.01)().sample((100_000,))
    for corner in torch.cartesian_prod(torch.arange(2.0), torch.arange(2.0)).double():
        near = ((z - corner).abs() < 0.01).all(-1).double().mean()
        assert abs(near - priors_at(priors.Bernoulli(2), LOGITS, corner)) < 0.03
    z = one_hots(0.01)().sample((100_000,))
    corner = torch.eye(3, dtype=torch.float64)[[2, 1]]
    near = ((z - corner).abs() < 0.01).flatten(1).all(-1).double().mean()
    assert abs(near - priors_at(priors.Categorical(2, 3), ROWS, corner)) < 0.03


def priors_at(prior, logits, z):
    with torch.no_grad():
        return torch.func.functional_call(prior, {"logits": logits}, ()).log_prob(z).exp()


@pytest.mark.parametrize("prior", [bits(), bits(space="logit"), one_hots(), one_hots(space="log")])
def test_conform(prior):
    check_conditional(prior)


@pytest.mark.parametrize("space", ["unit", "logit"])
def test_the_bound_of_the_relaxed_model_lies_below_its_evidence_and_reaches_it(space):
    """One latent: log p(x) = log ∫ p(x | z) p(z) dz on a grid of logits, which is the same in both spaces."""
    prior = priors.RelaxedBernoulli(1, 0.7, space).double()
    likelihood = Bernoulli(nn.Sequential(*[nn.Sigmoid()] * (space == "logit"), MLP(1, [], 3)), 3).double()
    posterior = posteriors.RelaxedBernoulli(MLP(3, [], 1), 0.9, space).double()
    with torch.no_grad():
        likelihood.net[-1].layers[0].weight.mul_(4)
    model, x = LatentVariableModel(prior=prior, likelihood=likelihood, posterior=posterior), torch.eye(3).double()
    y = torch.linspace(-30, 30, 12_001, dtype=torch.float64)[:, None, None].expand(-1, 3, 1)
    z = y if space == "logit" else y.sigmoid()
    log_jacobian = nn.functional.logsigmoid(y).add(nn.functional.logsigmoid(-y))[..., 0] * (space == "unit")
    with torch.no_grad():
        evidence = torch.logsumexp(sum(model.joint(x)(z)) + log_jacobian, 0) + torch.tensor(0.005).log()
        many = x.repeat_interleave(20_000, 0)
        elbo = -VariationalLoss(model, ELBO(), Pathwise())(many).loss
        iwae = -VariationalLoss(model, IWAE(), Pathwise(), 50)(x.repeat_interleave(2000, 0)).loss
    assert elbo < evidence.mean() - 0.01
    assert iwae == pytest.approx(evidence.mean().item(), abs=0.01)


@pytest.mark.parametrize(
    "prior, posterior, fits",
    [
        (bits(), posteriors.RelaxedBernoulli(MLP(3, [], 2)), True),
        (bits(space="logit"), posteriors.RelaxedBernoulli(MLP(3, [], 2), space="logit"), True),
        (priors.Bernoulli(2), posteriors.RelaxedBernoulli(MLP(3, [], 2)), False),
        (bits(), posteriors.Bernoulli(MLP(3, [], 2)), False),
        (one_hots(), posteriors.RelaxedCategorical(MLP(3, [], (2, 3)), 3), True),
        (one_hots(space="log"), posteriors.RelaxedCategorical(MLP(3, [], (2, 3)), 3, space="log"), True),
        (priors.Categorical(2, 3), posteriors.RelaxedCategorical(MLP(3, [], (2, 3)), 3), False),
    ],
)
def test_a_density_goes_with_a_density(prior, posterior, fits):
    event = prior().event_shape
    model = LatentVariableModel(prior=prior, likelihood=Bernoulli(MLP(event, [], 3)), posterior=posterior).double()
    loss, x = VariationalLoss(model, ELBO(), ScoreFunction(), 2), torch.ones(4, 3, dtype=torch.float64)
    if fits:
        loss.check(x)
        assert loss(x).loss.isfinite()
    else:
        with pytest.raises(ValueError, match="bounds nothing"):
            loss.check(x)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: priors.RelaxedBernoulli(2, 0.0), "temperature=0.0 and needs a positive number"),
        (lambda: priors.RelaxedCategorical(2, 3, -1.0), "temperature=-1.0 and needs a positive number"),
        (lambda: priors.RelaxedCategorical(2, 1), "categories=1 and needs at least 2"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.usefixtures("as_users_run")
@pytest.mark.parametrize("name", ["RelaxedBernoulli", "RelaxedCategorical"])
def test_unknown_spaces_are_refused(name):
    with pytest.raises(ValueError, match="space='cube' and expected"):
        getattr(priors, name)(2, space="cube")


def test_logits_can_be_fixed_and_the_temperature_is_kept_by_a_checkpoint():
    assert not any(p.requires_grad for p in priors.RelaxedBernoulli(2, learned=False).parameters())
    first, second = priors.RelaxedCategorical(2, 3, 0.3), priors.RelaxedCategorical(2, 3, 0.9)
    second.load_state_dict(first.state_dict())
    assert second.temperature.item() == pytest.approx(0.3)
