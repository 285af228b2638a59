"""The auxiliary bound on a linear-Gaussian model: at most the ELBO of the marginal q, and equal with the exact r."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from lowerbound.evaluate import log_evidence, summary
from lowerbound.exact import LinearGaussian
from lowerbound.gradients import DReG, Pathwise, ScoreFunction, StickTheLanding
from lowerbound.model import LatentVariableModel
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO, IWAE
from lowerbound.posteriors.auxiliary import AuxiliaryNormal, AuxiliaryNormalDistribution
from lowerbound.priors import VampPrior
from lowerbound.protocols import Gradient, Objective
from lowerbound.testing import assert_unbiased, check_conditional, flat_gradient
from lowerbound.weights import JointDensity, weigh

LATENT, AUXILIARY, DATA, FEATURES = 2, 1, 3, 2


def raw(scale: Tensor) -> Tensor:
    """The inverse of `nets.positive` with a floor of 1e-4."""
    return torch.log(torch.expm1(scale - 1e-4)) - math.log(math.expm1(1.0))


class Case:
    """q(λ) = N(0.3, v), q(z | λ, x) = N(A x + m + c λ, t²), so that q(z | x) = N(A x + m + 0.3 c, diag t² + v c cᵀ)."""

    def __init__(self) -> None:
        self.exact = LinearGaussian.random(DATA, LATENT, seed=1)
        self.x = self.exact.sample(5)
        shape = AuxiliaryNormal.parameter_shape(LATENT, AUXILIARY, FEATURES)
        net = MLP(DATA, [], shape)
        self.posterior = AuxiliaryNormal(net, AUXILIARY, FEATURES, hidden=0).double()
        self.mean, self.v = torch.tensor(0.3, dtype=torch.float64), torch.tensor(0.6, dtype=torch.float64)
        self.c = torch.tensor([0.7, -0.4], dtype=torch.float64)
        self.t = torch.tensor([0.5, 0.8], dtype=torch.float64)
        self._fix()

    @torch.no_grad()
    def _fix(self) -> None:
        """Put these numbers where the nets compute them; x reaches z by weights left at random."""
        first, (conditional, reverse) = (
            self.posterior.net.layers[0],
            (module.layers[0] for module in (self.posterior.conditional, self.posterior.reverse)),
        )
        for layer in (conditional, reverse):
            layer.weight.zero_()
            layer.bias.zero_()
        first.weight[[0, 1, 4, 5]] = 0
        first.bias[0], first.bias[1] = self.mean, raw(self.v.sqrt())
        first.bias[4:6] = raw(self.t)
        conditional.weight[:LATENT, 0] = self.c

    @torch.no_grad()
    def exact_reverse(self) -> None:
        """r = q(λ | z, x): precision 1/v + Σ c²/t², mean linear in z − A x − m; h carries c·(A x + m)/t²."""
        first, reverse = self.posterior.net.layers[0], self.posterior.reverse.layers[0]
        variance = 1 / (1 / self.v + (self.c**2 / self.t**2).sum())
        gain = variance * self.c / self.t**2
        first.weight[6] = gain @ first.weight[2:4]
        first.bias[6] = gain @ first.bias[2:4] - variance * self.mean / self.v
        reverse.weight[0] = torch.cat([gain, torch.tensor([-1.0, 0.0], dtype=torch.float64)])
        reverse.bias[1] = raw(variance.sqrt())

    def marginal(self, x: Tensor) -> MultivariateNormal:
        first = self.posterior.net.layers[0]
        mean = x @ first.weight[2:4].mT + first.bias[2:4] + self.c * self.mean
        covariance = torch.diag(self.t**2) + self.v * torch.outer(self.c, self.c)
        return MultivariateNormal(mean, covariance)

    def problem(self, x: Tensor) -> tuple[AuxiliaryNormalDistribution, JointDensity]:
        q = self.posterior(x)
        return q, q.augment(self.model().joint(x))

    def model(self) -> LatentVariableModel:
        return self.exact.model(self.posterior)


@pytest.fixture
def case() -> Case:
    return Case()


def test_with_the_exact_reverse_every_weight_is_that_of_the_marginal(case: Case) -> None:
    case.exact_reverse()
    q, joint = case.problem(case.x)
    w = weigh(q, joint, q.sample((6,)))
    z, _ = q.split(w.z)
    likelihood, prior = case.model().joint(case.x)(z)
    exact = likelihood + prior - case.marginal(case.x).log_prob(z)
    torch.testing.assert_close(w.log_w, exact, rtol=0, atol=1e-9)


def test_any_other_reverse_loses_its_divergence(case: Case) -> None:
    """E[log w] = ELBO of the marginal − E KL(q(λ | z, x) ‖ r); here r = N(0, (1 + 1e-4)²) whatever z."""
    x = case.x[:1]
    case.exact_reverse()
    q = case.posterior(x)
    z, _ = q.split(q.sample((20_000,)))
    reverse = q.reverse(z).base_dist
    loss = kl_divergence(reverse, Normal(torch.zeros_like(reverse.loc), 1 + 1e-4)).sum(-1).mean().item()
    marginal = case.marginal(x)
    exact = case.exact.elbo(x, marginal.mean, covariance=marginal.covariance_matrix).item()
    with torch.no_grad():
        case.posterior.reverse.layers[0].weight.zero_()
        case.posterior.reverse.layers[0].bias.zero_()
    many = x.expand(100_000, DATA)
    q, joint = case.problem(many)
    log_w = weigh(q, joint, q.sample((1,))).log_w
    error = log_w.std().item() / 100_000**0.5
    assert loss > 0.3
    assert log_w.mean().item() == pytest.approx(exact - loss, abs=6 * error + 0.02)
    assert log_w.mean().item() < exact - 0.2


def test_importance_weighting_closes_the_gap_to_the_evidence(case: Case) -> None:
    x = case.x[:1].expand(2000, DATA)
    q, joint = case.problem(x)
    evidence = case.exact.log_evidence(case.x[:1]).item()
    with torch.no_grad():
        log_w = weigh(q, joint, q.sample((200,))).log_w
    elbo, iwae = ELBO().reduce(log_w), IWAE().reduce(log_w)
    assert elbo.mean() < iwae.mean() < evidence + 6 * iwae.std() / 2000**0.5
    assert evidence - iwae.mean() < 0.25 * (evidence - elbo.mean())


def parameters_of(case: Case) -> list[Tensor]:
    return list(case.posterior.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(
    "estimator, objective",
    [(StickTheLanding(), ELBO()), (ScoreFunction(), ELBO()), (DReG(), IWAE()), (ScoreFunction(), IWAE())],
    ids=["stick-the-landing", "score-function", "dreg", "vimco"],
)
def test_estimators_agree_with_the_pathwise_gradient_for_q_and_r(
    case: Case, estimator: Gradient, objective: Objective
) -> None:
    case.exact_reverse()
    with torch.no_grad():
        case.posterior.reverse.layers[0].weight.add_(0.3)
    x = case.x[:1].expand(4000, DATA)

    def gradient(of: Gradient) -> Tensor:
        q, joint = case.problem(x)
        return flat_gradient(of.estimate(objective, q, joint, 4).surrogate.mean(), parameters_of(case))

    reference = torch.stack([gradient(Pathwise()) for _ in range(20)])
    difference = torch.stack([gradient(estimator) for _ in range(20)]) - reference
    exact = reference.mean(0)
    shifted = iter(difference + exact)
    assert_unbiased(lambda: next(shifted), exact, num_repeats=20, smallest_detectable=0.2)


def test_conforms() -> None:
    shape = AuxiliaryNormal.parameter_shape(LATENT, 3, 4)
    posterior = AuxiliaryNormal(MLP(DATA, [7], shape), 3, 4).double()
    assert posterior.latent_dim == LATENT
    check_conditional(posterior, torch.randn(6, DATA, dtype=torch.float64))


def test_closed_forms_are_refused(case: Case) -> None:
    q, joint = case.problem(case.x)
    for rate in ("kl", "entropy"):
        with pytest.raises(ValueError, match="closed form"):
            weigh(q, joint, q.sample((2,)), rate=rate)


@pytest.mark.slow
def test_the_whole_library_takes_it_as_a_posterior() -> None:
    """What is evaluated, drawn and decoded is z; λ is weighed by r and seen nowhere else."""
    case = Case()
    case.exact_reverse()
    model = case.exact.model(case.posterior)
    evidence = log_evidence(model, case.x, num_samples=20_000, max_elements=24)
    assert torch.allclose(evidence.log_evidence, case.exact.log_evidence(case.x), atol=0.3)
    elbo = torch.stack([evidence.elbo, model.log_weights(case.x, 60_000).log_w.mean(0)])
    assert torch.allclose(elbo[0], elbo[1], atol=0.1)
    assert summary(model, case.x, num_samples=50).activity.shape == (LATENT,)
    assert model.reconstruct(case.x).shape == case.x.shape


def test_a_vamp_prior_of_it_is_refused() -> None:
    case = Case()
    model = case.exact.model(case.posterior)
    model.prior = VampPrior(case.posterior, (DATA,), components=3, bounded=False).double()
    with pytest.raises(ValueError, match="use MixtureNormal"):
        model.log_weights(case.x, 2)
