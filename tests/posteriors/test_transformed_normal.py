"""log q(z) of a chain is one function of z and of the parameters, whichever way the inverse is reached."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lowerbound.gradients import DReG, Pathwise, ScoreFunction, StickTheLanding
from lowerbound.likelihoods import Normal
from lowerbound.model import LatentVariableModel
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO, IWAE
from lowerbound.posteriors.planar import Planar
from lowerbound.posteriors.radial import Radial
from lowerbound.posteriors.sylvester import Sylvester
from lowerbound.posteriors.transformed_normal import Layer, TransformedNormal
from lowerbound.priors import StandardNormal
from lowerbound.protocols import Gradient, Objective
from lowerbound.testing import assert_unbiased, flat_gradient

MAKE: dict[str, Callable[[Callable[[Tensor], nn.Module]], nn.Module]] = {
    "planar": lambda net: Planar(net(_parameters(Planar.parameter_shape(2, 2))), layers=2),
    "radial": lambda net: Radial(net(_parameters(Radial.parameter_shape(2, 2))), layers=2),
    "orthogonal": lambda net: Sylvester(
        net(_parameters(Sylvester.parameter_shape(2, "orthogonal", 2, 1))), layers=2, columns=1
    ),
    "householder": lambda net: Sylvester(
        net(_parameters(Sylvester.parameter_shape(2, "householder", 2, reflections=2))),
        "householder",
        layers=2,
        reflections=2,
    ),
    "triangular": lambda net: Sylvester(
        net(_parameters(Sylvester.parameter_shape(2, "triangular", 2))), "triangular", layers=2
    ),
}


def _parameters(shape: tuple[int, ...]) -> Tensor:
    return 0.8 * torch.randn(shape, dtype=torch.float64)


@pytest.fixture(params=list(MAKE))
def posterior(request: pytest.FixtureRequest, constant_net: Callable[[Tensor], nn.Module]) -> nn.Module:
    return MAKE[request.param](constant_net)


def forget(q: TransformedNormal) -> TransformedNormal:
    """The same distribution, without memory of a draw."""
    return TransformedNormal(q.base.base_dist.loc, q.base.base_dist.scale, q.layers)


def test_value_is_the_change_of_variables_of_the_draw(posterior: nn.Module) -> None:
    q = posterior(torch.zeros(1, 1))
    torch.manual_seed(3)
    z = q.rsample((4,))
    torch.manual_seed(3)
    start = q.base.rsample((4,))

    def push(v: Tensor) -> Tensor:
        v = v[None]
        for layer in q.layers:
            v = layer.forward(v)[0]
        return v[0]

    jacobian = torch.stack([torch.func.jacrev(push)(start[k, 0]) for k in range(4)])
    exact = q.base.log_prob(start)[:, 0] - torch.linalg.slogdet(jacobian)[1]
    torch.testing.assert_close(q.log_prob(z)[:, 0], exact, rtol=0, atol=1e-9)
    torch.testing.assert_close(forget(q).log_prob(z)[:, 0], exact, rtol=0, atol=1e-9)


@pytest.mark.slow
def test_first_and_second_derivatives_along_z_and_the_parameters(posterior: nn.Module) -> None:
    z = torch.randn(2, 1, 2, dtype=torch.float64, requires_grad=True)
    value = posterior.net.value.detach().requires_grad_()

    def log_q(parameters: Tensor, z: Tensor) -> Tensor:
        q = torch.func.functional_call(posterior, {"net.value": parameters}, (torch.zeros(1, 1),))
        return q.log_prob(z)

    assert torch.autograd.gradcheck(log_q, (value, z))
    assert torch.autograd.gradgradcheck(log_q, (value, z))


@pytest.mark.parametrize("handle", [lambda z: z, lambda z: z.detach(), lambda z: z.view_as(z)])
def test_remembered_roots_change_neither_value_nor_derivative(
    posterior: nn.Module, handle: Callable[[Tensor], Tensor]
) -> None:
    q = posterior(torch.zeros(1, 1))
    drawn = handle(q.rsample((5,)))
    z = drawn.detach().requires_grad_() if not drawn.requires_grad else drawn
    parameters = [*posterior.parameters(), z]
    with_roots = q.log_prob(z)
    searched = forget(q).log_prob(z)
    torch.testing.assert_close(with_roots, searched, rtol=0, atol=1e-9)
    for a, b in zip(
        torch.autograd.grad(with_roots.sum(), parameters, retain_graph=True),
        torch.autograd.grad(searched.sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("make", ["planar", "triangular"])
def test_only_the_unchanged_last_draw_is_remembered(
    constant_net: Callable[[Tensor], nn.Module], make: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    q = MAKE[make](constant_net)(torch.zeros(1, 1))
    seen: list[bool] = []
    kind = type(q.layers[0])
    inverse = kind.inverse

    def spy(self: Layer, y: Tensor, root: Tensor | None) -> tuple[Tensor, Tensor]:
        seen.append(root is not None)
        return inverse(self, y, root)

    monkeypatch.setattr(kind, "inverse", spy)
    first = q.sample((3,))
    z = q.sample((3,))
    cases = [(z, True), (z.detach(), True), (z.view_as(z), True), (first, False), (z[:2], False), (z.clone(), False)]
    for value, known in cases:
        seen.clear()
        q.log_prob(value)
        assert seen == [known] * 2
    z.add_(1.0)
    seen.clear()
    torch.testing.assert_close(q.log_prob(z), forget(q).log_prob(z.clone()))
    assert seen[0] is False


def test_draws_follow_the_density(posterior: nn.Module) -> None:
    """E_q[p / q] = 1 for a narrow p, which fails if draws and density disagree."""
    q = posterior(torch.zeros(1, 1))
    centre = q.sample((1,))[0, 0]
    z = q.sample((200_000,))[:, 0]
    log_p = torch.distributions.Normal(centre, 0.5).log_prob(z).sum(-1)
    ratio = (log_p - q.log_prob(z[:, None])[:, 0]).exp()
    error = ratio.std().item() / 200_000**0.5
    assert abs(ratio.mean().item() - 1) < 6 * error + 1e-3
    assert error < 0.05


def model_of(posterior: nn.Module) -> LatentVariableModel:
    likelihood = Normal(MLP(2, [], 3), scale=1.0).double()
    return LatentVariableModel(prior=StandardNormal(2).double(), likelihood=likelihood, posterior=posterior)


def gradients(model: LatentVariableModel, estimator: Gradient, objective: Objective, num_samples: int) -> Tensor:
    """The mean over many copies of a datum of the estimate of ∂/∂φ."""
    x = torch.tensor([[1.0, -0.5, 0.3]], dtype=torch.float64).expand(4000, 3)
    estimate = estimator.estimate(objective, model.infer(x), model.joint(x), num_samples)
    return flat_gradient(estimate.surrogate.mean(), list(model.posterior.parameters()))


@pytest.mark.slow
@pytest.mark.parametrize("make", ["planar", "orthogonal"])
@pytest.mark.parametrize(
    "estimator, objective",
    [(StickTheLanding(), ELBO()), (ScoreFunction(), ELBO()), (DReG(), IWAE())],
    ids=["stick-the-landing", "score-function", "dreg"],
)
def test_estimators_agree_with_the_pathwise_gradient(
    constant_net: Callable[[Tensor], nn.Module], make: str, estimator: Gradient, objective: Objective
) -> None:
    model = model_of(MAKE[make](constant_net))
    samples = 3
    reference = torch.stack([gradients(model, Pathwise(), objective, samples) for _ in range(20)])
    difference = torch.stack([gradients(model, estimator, objective, samples) for _ in range(20)]) - reference
    exact = reference.mean(0)
    shifted = iter(difference + exact)
    assert_unbiased(lambda: next(shifted), exact, num_repeats=20, smallest_detectable=0.15)
