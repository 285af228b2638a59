"""MAF, NSF and IAF conditioned on x: densities, derivatives, and the number of passes that each direction takes."""

from __future__ import annotations

import pytest
import torch
import zuko
from torch import Tensor, nn
from zuko.distributions import NormalizingFlow

from lowerbound.gradients import DReG, Pathwise, ScoreFunction, StickTheLanding
from lowerbound.likelihoods import Normal
from lowerbound.model import LatentVariableModel
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO, IWAE
from lowerbound.posteriors.autoregressive_flows import IAF, MAF, NSF
from lowerbound.priors import StandardNormal
from lowerbound.testing import check_conditional, check_gradient, flat_gradient

KINDS = [IAF, MAF, NSF]


def build(kind: type, latent_dim: int = 3) -> nn.Module:
    net = MLP(4, [], kind.parameter_shape(latent_dim, features=5))
    return kind(net, transforms=2, hidden=16, features=5).double()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("latent_dim", [1, 3])
def test_conforms_and_returns_zukos_distribution(kind: type, latent_dim: int) -> None:
    posterior = build(kind, latent_dim)
    x = torch.randn(6, 4, dtype=torch.float64)
    assert posterior.latent_dim == latent_dim
    assert type(posterior(x)) is NormalizingFlow
    check_conditional(posterior, x)


@pytest.mark.parametrize("kind", KINDS)
def test_density_integrates_to_one_and_depends_on_x(kind: type) -> None:
    posterior = build(kind, 2)
    x = torch.randn(2, 4, dtype=torch.float64)
    axis = torch.linspace(-12, 12, 201, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)[:, None]
    with torch.no_grad():
        density = posterior(x).log_prob(grid).exp()
    assert (density.sum(0) * 0.12**2).tolist() == pytest.approx([1, 1], abs=2e-3)
    assert (density[:, 0] - density[:, 1]).abs().max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_density_of_a_draw_is_that_of_a_copy_along_every_parameter(kind: type) -> None:
    """The remembered origin of a draw must not cost a derivative: the total one along the parameters is the same."""
    posterior = build(kind)
    x = torch.randn(6, 4, dtype=torch.float64)
    q = posterior(x)
    z = q.rsample(torch.Size((5,)))
    log_q, copied = q.log_prob(z), q.log_prob(z.clone())
    torch.testing.assert_close(log_q, copied, rtol=0, atol=1e-9)
    parameters = [p for p in posterior.parameters() if p.requires_grad]
    remembered, inverted = flat_gradient(log_q.sum(), parameters), flat_gradient(copied.sum(), parameters)
    torch.testing.assert_close(remembered, inverted, rtol=0, atol=1e-8)


def count_passes(posterior: nn.Module) -> list[int]:
    calls = [0]
    for module in posterior.modules():
        if isinstance(module, zuko.nn.MaskedMLP):
            module.register_forward_hook(lambda *_: calls.__setitem__(0, calls[0] + 1))
    return calls


@pytest.mark.parametrize(
    "kind, draw, score",
    [(IAF, 2, 2), (MAF, 12, 2), (NSF, 4, 2)],
)
def test_cost_of_a_draw_and_of_its_density(kind: type, draw: int, score: int) -> None:
    """Two maps of six latents: one pass each in the fast direction, six (two for coupling) in the other."""
    posterior = build(kind, 6)
    q, calls = posterior(torch.randn(3, 4, dtype=torch.float64)), count_passes(posterior)
    z = q.rsample(torch.Size((2,)))
    assert calls[0] == draw
    q.log_prob(z)
    assert calls[0] == draw + score


def model_of(posterior: nn.Module) -> LatentVariableModel:
    likelihood = Normal(MLP(3, [], 4), scale=1.0).double()
    return LatentVariableModel(prior=StandardNormal(3).double(), likelihood=likelihood, posterior=posterior)


@pytest.mark.parametrize("kind", KINDS)
def test_estimators_accept_it(kind: type) -> None:
    model, x = model_of(build(kind)), torch.randn(6, 4, dtype=torch.float64)
    for estimator, objective in [
        (Pathwise(), ELBO()),
        (StickTheLanding(), ELBO()),
        (DReG(), IWAE()),
        (ScoreFunction(), IWAE()),
    ]:
        assert check_gradient(estimator, objective, model, x)


def test_stick_the_landing_of_the_inverse_flow_is_pathwise_less_the_score() -> None:
    model, x = model_of(build(IAF)), torch.randn(6, 4, dtype=torch.float64)
    parameters = [p for p in model.posterior.parameters() if p.requires_grad]

    def gradient(estimator: Pathwise | StickTheLanding) -> Tensor:
        torch.manual_seed(5)
        return flat_gradient(estimator.estimate(ELBO(), model.infer(x), model.joint(x), 4).surrogate.sum(), parameters)

    torch.manual_seed(5)
    z = model.infer(x).sample(torch.Size((4,)))
    score = flat_gradient(model.infer(x).log_prob(z).mean(0).sum(), parameters)
    torch.testing.assert_close(gradient(StickTheLanding()), gradient(Pathwise()) + score, rtol=0, atol=1e-8)


def test_a_flow_of_zuko_is_a_posterior_as_it_is() -> None:
    flow = zuko.flows.MAF(3, context=4, transforms=2, hidden_features=(16,)).double()
    model, x = model_of(flow), torch.randn(6, 4, dtype=torch.float64)
    check_conditional(flow, x)
    assert model.log_weights(x, 7).log_w.shape == (7, 6)
    assert check_gradient(StickTheLanding(), ELBO(), model, x)
    assert check_gradient(DReG(), IWAE(), model, x)


def test_a_size_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="NSF got bins=0"):
        NSF(MLP(4, [], 36), bins=0)
