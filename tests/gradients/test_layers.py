"""Every estimator that takes layers against exact gradients, for every parameter: shared ones of a ladder included.

Linear Gaussian layers have the ELBO in closed form, and two layers of one number each have L_2 by quadrature. False
failures: 1e-6. Biases of 2 % (5 % with scores) of the norm of the gradient are noticed, or the test refuses to pass.
"""

from __future__ import annotations

import functools

import pytest
import torch
from linear_layers import exact_elbo, exact_iwae, linear_layers

from lowerbound.evaluate import gradient_statistics
from lowerbound.gradients import DReG, Pathwise, ScoreFunction, StickTheLanding
from lowerbound.losses import VariationalLoss
from lowerbound.objectives import ELBO, IWAE
from lowerbound.testing import assert_unbiased, flat_gradient

X = torch.tensor([[0.5, -0.3]], dtype=torch.float64)


@functools.cache
def case(posterior, dims=(1, 1)):
    torch.manual_seed(3)
    return linear_layers(2, dims, posterior)


def check(model, objective, estimator, exact, copies, smallest=0.02, repeats=48):
    loss = VariationalLoss(model, objective, estimator, 2)
    loss.check(X)
    parameters, many = [*model.parameters()], X.expand(copies, -1)
    truth = flat_gradient(exact, parameters)
    assert_unbiased(
        lambda: flat_gradient(-loss(many).loss, parameters),
        truth,
        num_repeats=repeats,
        smallest_detectable=smallest,
    )


@pytest.mark.parametrize("dims", [(1, 1), pytest.param((2, 2, 1), marks=pytest.mark.slow)])
@pytest.mark.parametrize("posterior", ["bottom-up", "top-down"])
@pytest.mark.parametrize("estimator", [Pathwise(), StickTheLanding()], ids=str)
def test_pathwise_derivatives_of_the_elbo(estimator, posterior, dims):
    model = case(posterior, dims)
    check(model, ELBO(), estimator, exact_elbo(model, X), 4_000)


def test_the_elbo_with_the_rate_of_each_layer_in_closed_form():
    model = case("top-down", (2, 2, 1))
    check(model, ELBO(rate="kl"), Pathwise(), exact_elbo(model, X), 4_000)


@pytest.mark.slow
@pytest.mark.parametrize("rate", ["sampled", "kl"])
def test_the_score_function_of_the_elbo(rate):
    """In closed form the KL of a layer varies with the draw of those above it, and has a score."""
    model = case("top-down")
    check(model, ELBO(rate=rate), ScoreFunction(), exact_elbo(model, X), 30_000, 0.05)


@pytest.mark.slow
def test_the_score_function_of_a_bottom_up_chain():
    model = case("bottom-up")
    check(model, ELBO(), ScoreFunction(), exact_elbo(model, X), 30_000, 0.05)


@pytest.mark.parametrize("posterior", ["bottom-up", "top-down"])
@pytest.mark.parametrize(
    "estimator, copies", [(Pathwise(), 5_000), pytest.param(ScoreFunction(), 30_000, marks=pytest.mark.slow)], ids=str
)
def test_importance_weighted_bounds(posterior, estimator, copies):
    model = case(posterior)
    check(model, IWAE(), estimator, exact_iwae(model, X), copies, 0.05)


def test_the_quadrature_has_converged():
    model = case("top-down")
    assert torch.allclose(exact_iwae(model, X, 12), exact_iwae(model, X, 20), atol=1e-4)
    assert exact_elbo(model, X) < exact_iwae(model, X)


@pytest.mark.parametrize("posterior", ["bottom-up", "top-down"])
def test_dreg_refuses_layers_before_training(posterior):
    with pytest.raises(ValueError, match=r"chain of latents.*use Pathwise\(\)"):
        VariationalLoss(case(posterior), IWAE(), DReG(), 2).check(X)


def test_every_parameter_is_in_one_group_of_the_statistics():
    """Those of a ladder that p and q share are the prior's."""
    model = case("top-down")
    found = gradient_statistics(model, ELBO(), Pathwise(), X, num_repeats=4)
    assert sum(group.num_parameters for group in found.values()) == sum(p.numel() for p in model.parameters())
    assert found["prior"].num_parameters == sum(p.numel() for p in model.prior.parameters())
