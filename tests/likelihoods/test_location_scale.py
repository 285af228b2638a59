"""Laplace and Student-t: the choices of scale, refusals, and the starting point."""

from inspect import unwrap

import pytest
import torch

from lowerbound.likelihoods.laplace import Laplace
from lowerbound.likelihoods.location_scale import _check_scale
from lowerbound.likelihoods.student_t import StudentT
from lowerbound.nets import MLP


@pytest.mark.parametrize("family", [Laplace, StudentT])
@pytest.mark.parametrize(
    "scale, expected", [(0.3, 0.3), ("shared", 1.001), ("per-dimension", 1.001), ("heteroscedastic", 1.001)]
)
def test_an_untrained_scale_is_as_chosen_or_near_one(family, scale, expected):
    net = MLP(2, [], family.parameter_shape((3, 2), scale))
    net.layers[-1].bias.data.zero_()
    p = family(net, scale=scale)(torch.zeros(5, 2)).base_dist
    torch.testing.assert_close(p.scale, torch.full((5, 3, 2), expected))


@pytest.mark.parametrize("family", [Laplace, StudentT])
@pytest.mark.parametrize("scale, shape", [("shared", ()), ("per-dimension", (3,))])
def test_a_learned_scale_is_one_parameter_of_its_shape_and_has_a_gradient(family, scale, shape):
    likelihood = family(MLP(2, [], 3), scale=scale)
    likelihood(torch.zeros(5, 2)).log_prob(torch.ones(5, 3)).sum().backward()
    assert likelihood.raw_scale.shape == shape
    assert (likelihood.raw_scale.grad != 0).all()


@pytest.mark.parametrize("family", [Laplace, StudentT])
@pytest.mark.parametrize("scale", ["shared", "heteroscedastic"])
def test_initialize_puts_the_location_at_the_median(family, scale):
    x = torch.tensor([[1.0, -1], [2, 0], [100, 5]])
    likelihood = family(MLP(2, [], family.parameter_shape(2, scale)), scale=scale)
    likelihood.initialize(x)
    torch.testing.assert_close(likelihood(torch.zeros(2)).mean, torch.tensor([2.0, 0.0]))


@pytest.mark.parametrize("family", [Laplace, StudentT])
@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan")])
def test_refuses_a_scale_that_is_not_positive(family, scale):
    with pytest.raises(ValueError, match=f"{family.__name__} got scale="):
        family(MLP(2, [], 3), scale=scale)


@pytest.mark.parametrize("choice", ["other", True])
def test_refuses_a_choice_that_is_none(choice):
    """Unwrapped, for the type checker of the tests would refuse it first."""
    with pytest.raises(ValueError, match=r"Laplace got scale=.* or one of shared, per-dimension, heteroscedastic"):
        unwrap(_check_scale)(choice, "Laplace")
    with pytest.raises(ValueError, match=r"StudentT got dof=.* or one of shared, per-dimension\."):
        unwrap(StudentT.__init__)(StudentT.__new__(StudentT), MLP(2, [], 3), dof=choice)


@pytest.mark.parametrize("dof", [0.0, -2.0])
def test_refuses_a_dof_that_is_not_positive(dof):
    with pytest.raises(ValueError, match="StudentT got dof="):
        StudentT(MLP(2, [], 3), dof=dof)


def test_refuses_a_heteroscedastic_net_without_scales():
    with pytest.raises(ValueError, match=r"Laplace got a net of output shape \(3,\) and expected \(2, \*event_shape\)"):
        Laplace(MLP(2, [], 3), scale="heteroscedastic")
