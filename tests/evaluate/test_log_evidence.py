"""log p(x) against exact models, and the promises about samples, seeds and memory."""

from __future__ import annotations

import math

import pytest
import torch

from lowerbound import likelihoods, posteriors, priors
from lowerbound.evaluate import log_evidence
from lowerbound.exact import EnumerableBernoulli, LinearGaussian
from lowerbound.model import LatentVariableModel
from lowerbound.nets import MLP


def gaussian(widen=0.2):
    exact = LinearGaussian.random(4, 2)
    model = exact.model(exact.posterior_module(diagonal=True))
    with torch.no_grad():
        model.posterior.log_scale += widen
    return exact, model, exact.sample(100)


def test_within_the_stated_error_on_a_gaussian_model():
    exact, model, x = gaussian()
    got = log_evidence(model, x, num_samples=2000)
    z = (got.log_evidence - exact.log_evidence(x)) / got.standard_error
    assert z.abs().max() < 5
    assert 0.7 < z.std() < 1.3  # the stated error is neither too small nor too large
    assert abs(got.mean - exact.log_evidence(x).mean()) < 5 * got.sampling_error_of_mean
    assert (got.elbo < got.log_evidence).all()
    assert got.unreliable_fraction == 0


def test_of_two_weights_nothing_is_said_about_reliability():
    _, model, x = gaussian()
    assert log_evidence(model, x, num_samples=2).unreliable_fraction is None
    assert log_evidence(model, x, num_samples=20).unreliable_fraction is None
    assert log_evidence(model, x, num_samples=21).unreliable_fraction is not None


def test_within_the_stated_error_on_a_discrete_model():
    exact = EnumerableBernoulli.random(3, 4)
    x = torch.cartesian_prod(*[torch.arange(2.0, dtype=torch.float64)] * 4)
    got = log_evidence(exact.model(), x, num_samples=20_000)
    truth, elbo = exact.log_evidence(x).detach(), exact.elbo(x).detach()
    assert ((got.log_evidence - truth).abs() < 5 * got.standard_error + 1e-3).all()
    assert (got.log_evidence > elbo).all()


def test_exact_at_the_exact_posterior():
    exact, _, x = gaussian()
    got = log_evidence(exact.model(), x, num_samples=30)
    assert torch.allclose(got.log_evidence, exact.log_evidence(x))
    assert torch.allclose(got.elbo, exact.log_evidence(x))
    assert got.standard_error.max() < 1e-9
    assert torch.allclose(got.effective_sample_size, torch.tensor(30.0, dtype=torch.float64))


def test_more_samples_tighten_the_bound():
    exact, model, x = gaussian(widen=1.0)
    few, more = (log_evidence(model, x, num_samples=s).mean for s in (2, 50))
    assert few < more <= exact.log_evidence(x).mean() + 0.05


class Counting(LatentVariableModel):
    """Counts what it encodes and decodes."""

    def infer(self, x, context=None):
        self.encoded = getattr(self, "encoded", 0) + x.shape[0]
        return super().infer(x, context)

    def joint(self, x, context=None):
        inner = super().joint(x, context)

        def counted(z):
            self.decoded = getattr(self, "decoded", 0) + z.shape[0] * z.shape[1]
            self.largest = max(getattr(self, "largest", 0), z.shape[0] * z.shape[1])
            return inner(z)

        return counted


@pytest.mark.parametrize("num_samples", [1, 7, 300, 1001])
def test_exactly_as_many_samples_as_asked_for_in_bounded_slices(num_samples):
    _, plain, x = gaussian()
    model = Counting(prior=plain.prior, likelihood=plain.likelihood, posterior=plain.posterior)
    seen = []
    got = log_evidence(model, x, num_samples=num_samples, max_elements=4 * 40, progress=lambda *step: seen.append(step))
    assert model.encoded == 100  # once for each datum
    assert model.decoded == 100 * num_samples
    assert model.largest <= 40
    assert got.num_samples == num_samples
    assert got.log_evidence.shape == got.pareto_k.shape == (100,)
    assert seen[-1] == (100, 100)
    assert not got.log_evidence.requires_grad


def test_slices_change_nothing_but_rounding_and_seeds_do():
    _, model, x = gaussian()
    x = x[:5]
    runs = [log_evidence(model, x, num_samples=300, max_elements=e).log_evidence for e in (1, 1000, 2**20)]
    assert torch.allclose(runs[0], runs[1], rtol=1e-12)
    assert torch.allclose(runs[0], runs[2], rtol=1e-12)
    assert torch.equal(runs[2], log_evidence(model, x, num_samples=300, max_elements=2**20).log_evidence)
    assert not torch.equal(runs[2], log_evidence(model, x, num_samples=300, seed=1).log_evidence)


def test_the_random_state_of_the_caller_is_untouched():
    _, model, x = gaussian()
    before = torch.get_rng_state()
    log_evidence(model, x, num_samples=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_units():
    _, model, x = gaussian()
    got = log_evidence(model, x, num_samples=10)
    assert math.isclose(got.bits_per_dim, -got.mean / (4 * math.log(2)))
    assert math.isclose(got.mean, got.log_evidence.mean().item())
    assert math.isclose(got.standard_error_of_mean, got.log_evidence.std().item() / 10)


def test_context_rows_travel_with_their_data():
    """The likelihood is told its label: rows must not be mixed up between blocks or slices."""
    net = MLP([2, 3], [], 5)
    model = LatentVariableModel(
        prior=priors.StandardNormal(2),
        likelihood=likelihoods.Normal(net, scale=1.0),
        posterior=posteriors.DiagonalNormal(MLP([5, 3], [], (2, 2))),
    ).double()
    x, label = torch.randn(9, 5, dtype=torch.float64), torch.eye(3, dtype=torch.float64).repeat(3, 1)
    together = log_evidence(model, x, num_samples=2000, context=label, max_elements=5 * 7)
    layer = net.layers[0]
    for row in range(9):
        offset = layer.bias + layer.weight[:, 2:] @ label[row]
        exact = LinearGaussian(layer.weight[:, :2], offset, torch.tensor(1.0, dtype=torch.float64))
        error = together.log_evidence[row] - exact.log_evidence(x[row : row + 1])[0].detach()
        assert abs(error) < 5 * together.standard_error[row] + 1e-9


def test_refusals():
    _, model, x = gaussian()
    with pytest.raises(ValueError, match="num_samples=0"):
        log_evidence(model, x, num_samples=0)
    with pytest.raises(ValueError, match="N ≥ 1"):
        log_evidence(model, x[:0])
    with pytest.raises(ValueError, match="one row of context for each"):
        log_evidence(model, x, context=x[:3])
