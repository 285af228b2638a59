import pytest
import torch
import zuko

from lowerbound.likelihoods import Bernoulli
from lowerbound.model import LatentVariableModel
from lowerbound.nets import MLP
from lowerbound.posteriors import DiagonalNormal
from lowerbound.priors.flow_prior import FlowPrior
from lowerbound.protocols import Conditional

KINDS = ["spline", "affine", "coupling"]


def made(kind, dim=2):
    """A flow away from its start: its parameters are enlarged so that it is far from N(0, I)."""
    torch.manual_seed(0)
    prior = FlowPrior(dim, kind=kind, transforms=2, hidden=16).double()
    with torch.no_grad():
        for p in prior.parameters():
            p.mul_(1.5)
    return prior


@pytest.mark.parametrize("kind", KINDS)
def test_it_integrates_to_one_in_two_dimensions(kind):
    axis = torch.linspace(-12, 12, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        density = made(kind)().log_prob(grid).exp().view(401, 401)
    assert float(torch.trapezoid(torch.trapezoid(density, axis), axis)) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_density_is_the_change_of_variables(kind):
    prior = made(kind, dim=3)
    z = torch.randn(3, dtype=torch.float64)
    transform = prior().transform
    jacobian = torch.autograd.functional.jacobian(transform, z)
    base = -0.5 * (transform(z) ** 2 + torch.log(torch.tensor(2 * torch.pi))).sum()
    expected = base + torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(prior().log_prob(z), expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_have_leading_axes_and_a_pathwise_derivative(kind):
    p = made(kind, dim=3)()
    z = p.rsample(torch.Size((4, 5)))
    assert z.shape == (4, 5, 3)
    assert z.requires_grad
    assert p.log_prob(z).shape == (4, 5)
    assert p.batch_shape == ()


@pytest.mark.parametrize("kind", KINDS)
def test_one_dimension_works(kind):
    p = FlowPrior(1, kind=kind)()
    assert p.log_prob(torch.zeros(4, 1)).shape == (4,)


def test_a_zuko_flow_needs_no_wrapper():
    flow = zuko.flows.NSF(2, transforms=1, hidden_features=(16,))
    assert isinstance(flow, Conditional)
    model = LatentVariableModel(
        prior=flow,
        likelihood=Bernoulli(MLP(2, [8], 5)),
        posterior=DiagonalNormal(MLP(5, [8], (2, 2))),
    )
    w = model.log_weights(torch.ones(3, 5), num_samples=7)
    assert w.log_w.shape == (7, 3)
    w.log_w.mean().backward()
    assert all(p.grad is not None for p in flow.parameters())
    assert model.sample(4).shape == (4, 5)


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match="spline, affine, coupling"):
        FlowPrior(2, kind="realnvp")
    with pytest.raises(ValueError, match="transforms=0"):
        FlowPrior(2, transforms=0)
    with pytest.raises(ValueError, match="hidden=8 for latent_shape=20"):
        FlowPrior(20, hidden=8)
