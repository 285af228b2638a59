"""Scores against closed forms of the linear-Gaussian model, and AUROC against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from lowerbound.evaluate import (
    auroc,
    bits_per_dim,
    likelihood_ratio,
    likelihood_regret,
    log_evidence,
    mutated,
    negative_log_evidence,
    typicality,
    waic,
)
from lowerbound.evaluate.estimates import Estimates
from lowerbound.exact import LinearGaussian


class Known:
    """log p(x), known to a stated error."""

    def __init__(self, values, error=0.0):
        self.log_evidence = torch.as_tensor(values, dtype=torch.float64)
        self.standard_error = torch.full_like(self.log_evidence, error)


def gaussian():
    exact = LinearGaussian.random(4, 2)
    torch.manual_seed(0)
    return exact, exact.model(), exact.sample(50)


def test_likelihood_scores_are_exact_at_the_exact_posterior():
    exact, model, x = gaussian()
    score, bits = negative_log_evidence(model, x, num_samples=5), bits_per_dim(model, x, num_samples=5)
    assert torch.allclose(score.values, -exact.log_evidence(x))
    assert torch.allclose(bits.values, -exact.log_evidence(x) / (4 * math.log(2)))
    assert score.standard_error.max() < 1e-9
    background = LinearGaussian.random(4, 1, seed=1)
    ratio = likelihood_ratio(model, background.model(), x, num_samples=5)
    assert torch.allclose(ratio.values, background.log_evidence(x) - exact.log_evidence(x))


def test_a_ratio_of_a_model_with_itself_has_the_error_of_two_runs():
    exact, _, x = gaussian()
    model = exact.model(exact.posterior_module(diagonal=True))
    with torch.no_grad():
        model.posterior.log_scale += 0.4
    got = likelihood_ratio(model, model, x, num_samples=500)
    assert got.values.abs().min() > 0  # not the same samples
    assert 0.6 < (got.values / got.standard_error).std() < 1.4


def test_regret_is_the_amortisation_gap():
    """An encoder that is right but for an offset: its regret is known, and larger the further the offset."""
    exact, _, x = gaussian()
    model = exact.model(exact.posterior_module(diagonal=True))
    with torch.no_grad():
        model.posterior.offset += 0.5
        q = model.infer(x)
        regret = exact.optimal_elbo(x) - exact.elbo(x, q.mean, scale=q.stddev)
    got = likelihood_regret(model, x, num_samples=1000)
    assert ((got.values - regret).abs() < 5 * got.standard_error + 0.03).all()
    assert regret.min() > 0.5


def test_typicality_finds_what_likelihood_misses():
    """Data nearer to the mean than the training data are likelier, and likelier than is typical."""
    exact, _, x = gaussian()
    model = exact.model(exact.posterior_module(diagonal=True))
    simple = exact.offset + 0.1 * (x - exact.offset)
    likelihood = auroc(negative_log_evidence(model, x).values, negative_log_evidence(model, simple).values)
    typical = log_evidence(model, x)
    found = auroc(typicality(typical, typical).values, typicality(log_evidence(model, simple), typical).values)
    assert likelihood.value < 0.3
    assert found.value > 0.5


def test_typicality_by_hand():
    got = typicality(Known([1.0, 4.0], 0.3), Known([2.0, 6.0]))
    assert got.values.tolist() == [3.0, 0.0]
    spread = 8**0.5 / 2**0.5  # of the mean of 2 and 6
    torch.testing.assert_close(got.standard_error, torch.full((2,), math.hypot(0.3, spread), dtype=torch.float64))


def test_waic_by_hand():
    fits = [Known([1.0, -3.0]), Known([3.0, -3.0]), Known([2.0, -3.0])]
    got = waic(fits)
    assert got.values.tolist() == [1.0 - 2.0, 3.0]
    # without the first, the second and the third: 0.5 − 2.5, 0.5 − 1.5, 2 − 2
    left_out = np.array([-2.0, -1.0, 0.0])
    assert math.isclose(got.standard_error[0], math.sqrt(2 / 3 * ((left_out - left_out.mean()) ** 2).sum()))
    assert got.standard_error[1] == 0
    assert waic(fits[:2]).standard_error.isnan().all()


def test_mutation():
    x = torch.zeros(2000, 5)
    got = mutated(x, 0.2, num_levels=5)
    assert set(got.unique().tolist()) == {0, 0.25, 0.5, 0.75, 1}
    assert abs((got > 0).float().mean() - 0.2 * 4 / 5) < 0.02
    assert torch.equal(mutated(x, 0.2, num_levels=5), got)
    assert torch.equal(mutated(x, 0.0), x)
    before = torch.get_rng_state()
    assert not torch.equal(mutated(x, 0.2, seed=1), mutated(x, 0.2))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("levels", [5, 10**6])
def test_auroc_against_scikit_learn_and_delong_written_out(levels):
    generator = torch.Generator().manual_seed(0)
    inside = torch.randint(levels, (70,), generator=generator) / levels
    outside = torch.randint(levels, (50,), generator=generator) / levels + 0.2
    got = auroc(inside, outside)
    labels = np.r_[np.zeros(70), np.ones(50)]
    assert math.isclose(got.value, roc_auc_score(labels, torch.cat([inside, outside]).numpy()))
    inside, outside = inside.double(), outside.double()  # as they are, in pairs
    pairs = (outside > inside[:, None]).double() + 0.5 * (outside == inside[:, None]).double()
    variance = pairs.mean(1).var() / 70 + pairs.mean(0).var() / 50
    assert math.isclose(got.standard_error, variance.sqrt().item(), rel_tol=1e-9)


def test_auroc_of_two_gaussians():
    """Φ(δ/√2) for N(0, 1) against N(δ, 1), and the stated error is the spread over data sets."""
    generator = torch.Generator().manual_seed(0)
    got = [auroc(torch.randn(60, generator=generator), torch.randn(40, generator=generator) + 1) for _ in range(400)]
    values = torch.tensor([one.value for one in got])
    exactly = 0.5 * (1 + math.erf(0.5))
    assert abs(values.mean() - exactly) < 5 * values.std() / 20
    assert 0.9 < torch.tensor([one.standard_error for one in got]).mean() / values.std() < 1.1


def test_auroc_limits():
    inside, outside = torch.arange(5.0), torch.arange(6.0) + 10
    assert (auroc(inside, outside).value, auroc(outside, inside).value) == (1, 0)
    assert auroc(inside, inside).value == 0.5
    assert auroc(inside.exp(), inside.exp() + 1).value == auroc(inside.exp() ** 3, (inside.exp() + 1) ** 3).value
    assert auroc(torch.zeros(3), torch.tensor([math.inf, 1.0])).value == 1


def test_refusals():
    _, model, x = gaussian()
    with pytest.raises(ValueError, match="1 scores inside and 3 outside"):
        auroc(torch.zeros(1), torch.zeros(3))
    with pytest.raises(ValueError, match="not a number"):
        auroc(torch.zeros(3), torch.tensor([1.0, math.nan]))
    with pytest.raises(ValueError, match="waic got 1 fits and needs two or more"):
        waic([Known([1.0])])
    with pytest.raises(ValueError, match=r"evaluated on \[1, 2\] data"):
        waic([Known([1.0]), Known([1.0, 2.0])])
    for options, named in (({"rate": 1.2}, "rate=1.2"), ({"rate": 0.1, "num_levels": 1}, "num_levels=1")):
        with pytest.raises(ValueError, match=named):
            mutated(x, **options)
    with pytest.raises(ValueError, match="num_samples=0"):
        likelihood_regret(model, x, num_samples=0)
    assert isinstance(likelihood_regret(model, x[:2], num_samples=3), Estimates)
