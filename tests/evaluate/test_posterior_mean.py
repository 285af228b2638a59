"""One answer to "which latent stands for this row": closed forms where there are some, draws with their error else."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Distribution

import lowerbound as lb
from lowerbound.evaluate import latent_moments, posterior_mean, summary
from lowerbound.evaluate.posterior_moments import mean_of
from lowerbound.exact import LinearGaussian
from lowerbound.inference import HMC, InferenceWarning, with_inference
from lowerbound.model import LatentVariableModel


class Hidden(LatentVariableModel):
    """The same model, whose q says nothing of its mean."""

    def infer(self, x, context=None):
        q = super().infer(x, context)

        class WithoutMean(Distribution):
            arg_constraints = {}  # noqa: RUF012
            has_rsample = False

            def sample(self, shape):
                return q.sample(shape)

            def log_prob(self, z):
                return q.log_prob(z)

        return WithoutMean(q.batch_shape, q.event_shape, validate_args=False)


def linear(rows=1500):
    exact = LinearGaussian.random(4, 2, seed=1)
    model = exact.model()
    hidden = Hidden(prior=model.prior, likelihood=model.likelihood, posterior=model.posterior)
    return exact, model, hidden, exact.sample(rows)


def test_a_closed_form_is_used_and_has_no_error():
    exact, model, _, x = linear()
    got = posterior_mean(model, x)
    torch.testing.assert_close(got.values, exact.posterior(x).mean)
    torch.testing.assert_close(got.standard_deviation, exact.posterior(x).stddev)
    assert got.num_draws == 0
    assert not got.standard_error.any()
    assert got.latent_shapes == ((2,),)


def test_draws_are_within_their_stated_error():
    exact, _, hidden, x = linear()
    got = posterior_mean(hidden, x, num_draws=50)
    score = (got.values - exact.posterior(x).mean) / got.standard_error
    assert got.num_draws == 50
    assert abs(float(score.mean())) < 0.1
    torch.testing.assert_close(got.standard_deviation.mean(0), exact.posterior(x).stddev[0], rtol=0.03, atol=0)
    assert torch.equal(latent_moments(hidden, x, num_draws=50)[1], got.standard_deviation)
    assert 0.95 < float(score.std()) < 1.1  # Student t with 49 degrees of freedom: 1.02
    again = posterior_mean(hidden, x, num_draws=50)
    assert torch.equal(got.values, again.values)
    assert not torch.equal(got.values, posterior_mean(hidden, x, num_draws=50, seed=1).values)


def test_numbers_far_from_zero_keep_their_error():
    q = torch.distributions.Independent(torch.distributions.Normal(torch.full((3, 2), 1e6).double(), 1e-3), 1)

    class Far(Distribution):
        arg_constraints = {}  # noqa: RUF012

        def sample(self, shape):
            return q.sample(shape)

    got = mean_of(Far(q.batch_shape, q.event_shape, validate_args=False), 400)
    torch.testing.assert_close(got.standard_error, torch.full((3, 2), 1e-3 / 20).double(), rtol=0.2, atol=0)


def test_layers_stand_one_after_another_and_come_back_in_their_shapes():
    model = lb.models.deep_latent_gaussian((5,), latent_dims=(3, 2), hidden=[[4], [4]])
    got = posterior_mean(model, torch.rand(6, 5), num_draws=20)
    assert got.values.shape == (6, 5)
    assert got.latent_shapes == ((3,), (2,))
    assert [layer.shape for layer in got.layers] == [(6, 3), (6, 2)]
    assert torch.equal(torch.cat(got.layers, 1), got.values)


@pytest.mark.filterwarnings("ignore::lowerbound.inference.InferenceWarning")  # others than the one that is looked for
def test_a_chain_warns_and_says_what_its_mean_is_worth():
    exact, model, _, x = linear(3)
    with pytest.warns(InferenceWarning, match="effective sample size below 100"):
        got = posterior_mean(with_inference(model, HMC(num_warmup=50, num_samples=20)), x)
    assert got.num_draws == 80
    assert ((got.values - exact.posterior(x).mean).abs() < 6 * got.standard_error).all()


def test_the_activity_of_a_summary_is_that_of_these_means():
    exact, _, hidden, x = linear(200)
    got = summary(hidden, x, num_samples=1)
    torch.testing.assert_close(got.activity, exact.posterior(x).mean.var(0), rtol=0.02, atol=0)


def test_refusals():
    _, model, _, x = linear(3)
    with pytest.raises(ValueError, match="num_draws=1"):
        posterior_mean(model, x, num_draws=1)
    with pytest.raises(ValueError, match="N ≥ 1"):
        posterior_mean(model, x[:0])
