"""The full Gaussian against scipy, and against the exact posterior that a factorised one cannot reach."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.distributions import MultivariateNormal, kl_divergence

from lowerbound.exact import LinearGaussian
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO
from lowerbound.posteriors.diagonal_normal import DiagonalNormal
from lowerbound.posteriors.full_normal import FullNormal
from lowerbound.testing import check_conditional
from lowerbound.weights import weigh


def test_density_and_entropy_are_scipys(constant_net: Callable[..., nn.Module]) -> None:
    parameters = torch.randn(9, dtype=torch.float64)
    q = FullNormal(constant_net(parameters))(torch.zeros(1, 1))
    scale = 1e-4 + np.log1p(np.exp(parameters[3:6].numpy() + np.log(np.expm1(1.0))))
    below = parameters[6:].numpy() / 3
    factor = np.diag(scale) @ np.array([[1, 0, 0], [below[0], 1, 0], [below[1], below[2], 1]])
    oracle = stats.multivariate_normal(parameters[:3].numpy(), factor @ factor.T)
    z = torch.randn(5, 1, 3, dtype=torch.float64)
    assert q.log_prob(z)[:, 0].detach().numpy() == pytest.approx(oracle.logpdf(z[:, 0].numpy()), rel=1e-9)
    assert q.entropy().item() == pytest.approx(oracle.entropy(), rel=1e-9)


def test_weights_from_before_the_division_give_the_same_posterior(constant_net: Callable[..., nn.Module]) -> None:
    parameters = torch.randn(9, dtype=torch.float64)
    q = FullNormal(constant_net(parameters))
    former = {name: tensor for name, tensor in q.state_dict().items() if name != "coupling"}
    times_3 = torch.cat([parameters[:6], 3 * parameters[6:]])
    expected = FullNormal(constant_net(times_3))(torch.zeros(1, 1)).scale_tril
    q.load_state_dict(former)
    torch.testing.assert_close(q(torch.zeros(1, 1)).scale_tril, expected)
    again = FullNormal(constant_net(parameters))
    again.load_state_dict(q.state_dict())
    torch.testing.assert_close(again(torch.zeros(1, 1)).scale_tril, expected)


def test_conforms() -> None:
    q = FullNormal(MLP(5, [7], FullNormal.parameter_shape(4))).double()
    check_conditional(q, torch.randn(6, 5, dtype=torch.float64))


def correlated() -> tuple[LinearGaussian, torch.Tensor]:
    exact = LinearGaussian.random(4, 3, seed=2)
    return exact, exact.sample(8)


def fit(q: nn.Module, exact: LinearGaussian, x: torch.Tensor) -> torch.Tensor:
    """Maximise the exact ELBO; return KL(q ‖ p(z | x)) in nats per datum."""
    optimizer = torch.optim.LBFGS(q.parameters(), max_iter=400, line_search_fn="strong_wolfe", tolerance_change=1e-12)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        z = q(x)
        covariance = z.covariance_matrix if hasattr(z, "covariance_matrix") else torch.diag_embed(z.variance)
        loss = -exact.elbo(x, z.mean, covariance=covariance).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    z = q(x)
    if not isinstance(z, MultivariateNormal):
        covariance = z.covariance_matrix if hasattr(z, "covariance_matrix") else torch.diag_embed(z.variance)
        z = MultivariateNormal(z.mean, covariance)
    return kl_divergence(z, exact.posterior(x))


def test_reaches_the_posterior_that_the_factorised_one_cannot() -> None:
    exact, x = correlated()
    full = FullNormal(MLP(4, [], FullNormal.parameter_shape(3))).double()
    factorised = DiagonalNormal(MLP(4, [], (2, 3))).double()
    gap = (exact.log_evidence(x) - exact.optimal_elbo(x)).min()
    assert gap > 0.1
    assert fit(full, exact, x).max() < 1e-5
    assert fit(factorised, exact, x).min() > 0.99 * gap


def test_elbo_with_the_closed_form_entropy_is_exact_in_expectation() -> None:
    exact, x = correlated()
    model = exact.model(FullNormal(MLP(4, [], FullNormal.parameter_shape(3))).double())
    q, joint = model.infer(x[:1].expand(40_000, 4)), model.joint(x[:1].expand(40_000, 4))
    w = weigh(q, joint, q.sample((1,)), rate="entropy")
    value = ELBO(rate="entropy").reduce(w.log_w)
    truth = exact.elbo(x[:1], q.loc[:1], covariance=q.covariance_matrix[:1])
    assert abs(value.mean() - truth) < 6 * value.std() / 200


def test_float32_gradients_stay_finite_for_large_outputs(constant_net: Callable[..., nn.Module]) -> None:
    net = constant_net(10 * torch.randn(FullNormal.parameter_shape(5)))
    q = FullNormal(net)(torch.zeros(1, 1))
    q.log_prob(q.rsample((16,))).sum().backward()
    assert net.value.grad is not None
    assert net.value.grad.isfinite().all()
