import copy

import pytest
import torch
from torch import nn
from torch.distributions import Independent, MixtureSameFamily, MultivariateNormal, Normal

from lowerbound.likelihoods import Bernoulli
from lowerbound.model import LatentVariableModel
from lowerbound.nets import MLP
from lowerbound.posteriors import DiagonalNormal
from lowerbound.priors.mixture_distribution import NormalMixture
from lowerbound.priors.vamp_prior import VampPrior

EVENT = (3, 2)


def posterior():
    return DiagonalNormal(MLP(EVENT, [8], (2, 2)))


def model():
    torch.manual_seed(0)
    q = posterior()
    return LatentVariableModel(
        prior=VampPrior(q, EVENT, components=4),
        likelihood=Bernoulli(MLP(2, [8], EVENT)),
        posterior=q,
    )


class FullNormal(nn.Module):
    """q(z | x) with a dense covariance: not a diagonal Gaussian."""

    def __init__(self):
        super().__init__()
        self.net = MLP(EVENT, [8], 2)
        self.factor = torch.tensor([[0.7, 0.0], [0.4, 0.5]])

    def forward(self, context=None):
        return MultivariateNormal(self.net(context), scale_tril=self.factor, validate_args=False)


@pytest.mark.parametrize("make", [posterior, FullNormal])
def test_it_is_the_mean_of_the_posteriors_of_its_pseudo_inputs(make):
    torch.manual_seed(0)
    q = make()
    prior = VampPrior(q, EVENT, components=4)
    z = torch.randn(5, 6, 2)
    by_hand = torch.stack([q(u[None]).log_prob(z) for u in prior.pseudo_inputs]).exp().mean(0).log()
    torch.testing.assert_close(prior().log_prob(z), by_hand)
    assert prior().sample(torch.Size((5, 6))).shape == (5, 6, 2)


def test_only_a_dense_posterior_pays_for_the_extra_axis():
    assert isinstance(VampPrior(posterior(), EVENT)(), NormalMixture)
    assert isinstance(VampPrior(FullNormal(), EVENT)(), MixtureSameFamily)


def test_the_posterior_is_registered_once():
    m = model()
    assert sorted(m.prior.state_dict()) == ["raw_pseudo_inputs"]
    assert [name for name, _ in m.prior.named_parameters()] == ["raw_pseudo_inputs"]
    assert not any(name.startswith("prior.") and "net" in name for name in m.state_dict())
    assert len(list(m.prior.modules())) == 1


def test_gradients_reach_pseudo_inputs_and_posterior():
    m = model()
    m.prior().log_prob(torch.randn(5, 2)).sum().backward()
    assert (m.prior.raw_pseudo_inputs.grad != 0).any()
    assert all((p.grad != 0).any() for p in m.posterior.parameters())


def test_a_deep_copy_is_tied_to_its_own_posterior():
    m = model()
    twin = copy.deepcopy(m)
    z = torch.randn(5, 2)
    before, twin_before = m.prior().log_prob(z), twin.prior().log_prob(z)
    torch.testing.assert_close(before, twin_before)
    with torch.no_grad():
        for p in twin.posterior.parameters():
            p.add_(0.5)
    torch.testing.assert_close(m.prior().log_prob(z), before)
    assert not torch.allclose(twin.prior().log_prob(z), twin_before)


def test_a_loaded_model_has_the_same_prior():
    m, other = model(), model()
    with torch.no_grad():
        for p in other.parameters():
            p.add_(0.1)
    z = torch.randn(5, 2)
    assert not torch.allclose(other.prior().log_prob(z), m.prior().log_prob(z))
    other.load_state_dict(m.state_dict())
    torch.testing.assert_close(other.prior().log_prob(z), m.prior().log_prob(z))


def test_moving_the_model_moves_the_posterior_it_refers_to():
    m = model().double()
    assert m.prior().log_prob(torch.zeros(2, dtype=torch.float64)).dtype == torch.float64


def test_gradients_pass_gradcheck_in_float64():
    m = model().double()
    z = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    raw = m.prior.raw_pseudo_inputs.detach().clone().requires_grad_()

    def log_p(raw, z):
        return torch.func.functional_call(m.prior, {"raw_pseudo_inputs": raw}).log_prob(z)

    assert torch.autograd.gradcheck(log_p, (raw, z))


def test_a_model_step_with_it_is_finite():
    m = model()
    m.initialize(torch.rand(50, *EVENT).round())
    loss = -m.log_weights(torch.rand(6, *EVENT).round(), num_samples=3).log_w.mean()
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in m.parameters())


@pytest.mark.parametrize("start", ["rows", "means"])
def test_initialize_starts_at_the_data_and_stays_in_range(start):
    torch.manual_seed(0)
    rows = torch.stack([torch.zeros(EVENT), torch.ones(EVENT)]).repeat(20, 1, 1)
    prior = VampPrior(posterior(), EVENT, components=2, start=start)
    prior.initialize(rows)
    u = prior.pseudo_inputs
    assert ((u > 0) & (u < 1)).all()
    nearest = torch.cdist(rows.flatten(1), u.detach().flatten(1))
    assert float(nearest.amin(0).max()) < 0.1
    if start == "means":  # both clusters, where two random rows may coincide
        assert float(nearest.amin(1).max()) < 0.1


def test_more_components_than_rows_use_every_row():
    prior = VampPrior(posterior(), EVENT, components=7, bounded=False)
    rows = torch.arange(3.0)[:, None, None].expand(3, *EVENT) * 10
    prior.initialize(rows)
    counts = prior.pseudo_inputs.mean((1, 2)).div(10).round().long().bincount()
    assert sorted(counts.tolist()) == [2, 2, 3]


def test_unbounded_pseudo_inputs_keep_any_range():
    prior = VampPrior(posterior(), EVENT, components=2, bounded=False)
    prior.initialize(torch.full((5, *EVENT), -7.0))
    torch.testing.assert_close(prior.pseudo_inputs, torch.full((2, *EVENT), -7.0), atol=0.1, rtol=0)


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match="components=0"):
        VampPrior(posterior(), EVENT, components=0)
    with pytest.raises(ValueError, match="'rows' or 'means'"):
        VampPrior(posterior(), EVENT, start="data")
    prior = VampPrior(posterior(), EVENT, components=2)
    with pytest.raises(ValueError, match="bounded=False"):
        prior.initialize(torch.full((5, *EVENT), 2.0))
    with pytest.raises(ValueError, match="give it the event_shape"):
        prior.initialize(torch.zeros(5, 6))


def test_a_posterior_of_other_event_shape_is_mixed_over_its_whole_event():
    class Pair(nn.Module):
        def forward(self, x):
            loc = x.flatten(1)[:, :4].unflatten(1, (2, 2))
            return Independent(Normal(loc, torch.ones_like(loc), validate_args=False), 2)

    prior = VampPrior(Pair(), EVENT, components=3)
    assert prior().log_prob(torch.zeros(5, 6, 2, 2)).shape == (5, 6)
