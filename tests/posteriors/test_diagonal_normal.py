"""q(z | x) = N(μ(x), diag σ(x)²)."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import nn

from lowerbound.nets import MLP
from lowerbound.posteriors import DiagonalNormal
from lowerbound.testing import check_conditional


class Constant(nn.Module):
    """A net that gives the same parameters to every datum."""

    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(value)

    def forward(self, x):
        return self.value.expand(x.shape[0], *self.value.shape)


def test_density_is_that_of_scipy():
    q = DiagonalNormal(MLP(4, [5], (2, 3))).double()
    x = torch.randn(6, 4, dtype=torch.float64)
    loc, raw = q.net(x).detach().unbind(1)
    scale = torch.nn.functional.softplus(raw + torch.log(torch.expm1(torch.ones(())))) + q.min_scale
    z = q(x).sample((2,))
    expected = stats.norm(loc.numpy(), scale.numpy()).logpdf(z.numpy()).sum(-1)
    assert torch.allclose(q(x).log_prob(z), torch.from_numpy(expected), atol=1e-6)


def test_conforms():
    check_conditional(DiagonalNormal(MLP(4, [5], (2, 3))).double(), torch.randn(6, 4, dtype=torch.float64))
    both = (torch.randn(6, 4), torch.randn(6, 2))
    check_conditional(DiagonalNormal(MLP([4, 2], [5], (2, 3))), both)


@pytest.mark.parametrize("size", [1e4, 1e18])
def test_no_output_of_the_net_breaks_the_scale(size):
    net = Constant(torch.tensor([[0.0, 0.0, 0.0], [-size, 0.0, size]]))
    posterior = DiagonalNormal(net, latent_shape=3)
    q = posterior(torch.zeros(2, 1))
    assert (q.base_dist.scale >= posterior.min_scale).all()
    z = q.rsample((5,))
    (gradient,) = torch.autograd.grad((q.log_prob(z) + z.sum(-1)).sum(), net.value)
    assert gradient.isfinite().all()


def test_an_untrained_scale_is_about_one():
    q = DiagonalNormal(Constant(torch.zeros(2, 3)), latent_shape=3)(torch.zeros(1, 1))
    assert torch.allclose(q.base_dist.scale, torch.ones(1, 3), atol=1e-3)


def test_shapes_are_stated_and_wrong_ones_refused():
    assert DiagonalNormal.parameter_shape(5) == (2, 5)
    with pytest.raises(ValueError, match=r"needs \(2, \*latent_shape\)"):
        DiagonalNormal(MLP(4, [], 6))
    with pytest.raises(ValueError, match="pass latent_shape="):
        DiagonalNormal(nn.Linear(2, 2))
