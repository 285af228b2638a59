"""The terms of log w, in their three forms."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Independent, Normal, StudentT

from lowerbound.exact import EnumerableBernoulli, LinearGaussian
from lowerbound.weights import LogWeights, weigh


def case():
    exact = LinearGaussian.random(3, 2)
    model, x = exact.model(exact.posterior_module(diagonal=True)), exact.sample(4)
    return model, x, model.infer(x)


def test_signs_and_sums():
    a, b, c = torch.randn(3, 2, 5)
    w = LogWeights(log_likelihood=a, log_prior=b, log_q=c, z=a)
    assert torch.equal(w.log_w, a + b - c)
    assert torch.equal(w.distortion, -a)
    assert torch.allclose(w.log_w, -w.distortion - w.rate)


@pytest.mark.parametrize("form", ["sampled", "entropy", "kl"])
def test_every_form_has_the_same_expectation(form):
    model, x, q = case()
    w = weigh(q, model.joint(x), q.rsample((40_000,)), rate=form)
    exact = LinearGaussian.of(model.likelihood)
    expected = exact.elbo(x, q.base_dist.loc, scale=q.base_dist.scale)
    assert w.form == form
    assert w.log_w.shape == w.rate.shape == (40_000, 4)
    assert ((w.log_w.mean(0) - expected).abs() < 5 * w.log_w.std(0) / 200 + 1e-9).all()


def test_closed_forms_do_not_depend_on_the_sample():
    model, x, q = case()
    w = weigh(q, model.joint(x), q.rsample((5,)), rate="kl")
    assert torch.allclose(w.rate, w.rate[:1].expand(5, 4))
    assert torch.equal(w.log_q, torch.zeros_like(w.log_q))


def test_kl_between_discrete_distributions():
    """Also where the prior does not depend on a context and the posterior does."""
    model, x = EnumerableBernoulli.random(3, 4).model(), torch.ones(2, 4, dtype=torch.float64)
    q, p = model.infer(x), model.prior(None)
    z = torch.cartesian_prod(*[torch.arange(2.0, dtype=torch.float64)] * 3)[:, None].expand(-1, 2, -1)
    expected = (q.log_prob(z).exp() * (q.log_prob(z) - p.log_prob(z))).sum(0)
    assert torch.allclose(weigh(q, model.joint(x), z, rate="kl").rate[0], expected)


def test_missing_closed_forms_are_refused_by_name():
    model, x, _ = case()
    q = Independent(StudentT(torch.full((4, 2), 3.0, dtype=torch.float64)), 1)
    with pytest.raises(ValueError, match=r"KL\(StudentT ‖ Normal\).*rate='sampled'"):
        weigh(q, model.joint(x), q.rsample((2,)), rate="kl")

    class NoEntropy(Normal):
        def entropy(self):
            raise NotImplementedError

    q = Independent(NoEntropy(torch.zeros(4, 2, dtype=torch.float64), 1.0), 1)
    with pytest.raises(ValueError, match=r"entropy of NoEntropy.*rate='sampled'"):
        weigh(q, model.joint(x), q.rsample((2,)), rate="entropy")


def test_a_density_that_the_caller_has_is_used():
    model, x, q = case()
    z = q.rsample((2,))
    given = torch.full((2, 4), 7.0, dtype=torch.float64)
    assert torch.equal(weigh(q, model.joint(x), z, log_q=given).log_q, given)
