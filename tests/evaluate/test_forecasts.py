"""Forecasts of series: against sums over paths, conditional Gaussians and known functions; coverage of intervals."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import scipy.stats
import torch
from scipy.optimize import brentq

from lowerbound.evaluate.forecasts import next_steps
from lowerbound.evaluate.mixture_quantiles import quantiles_of
from lowerbound.exact import LinearGaussian
from lowerbound.linear import FactorAnalysers, fit_mixture_of_factor_analysers
from lowerbound.models.hidden_markov import hidden_markov
from lowerbound.models.mixture_of_factor_analysers import (
    factor_analysers_of,
    mixture_of_factor_analysers,
    set_factor_analysers,
    start_mixture_of_factor_analysers,
)
from lowerbound.models.sequence import autoregressive_rows, state_space
from lowerbound.models.variational_autoencoder import vae

LEVELS = (0.05, 0.5, 0.95)
NAN = torch.nan


def varied(model, seed=0):
    """The model in double precision, with parameters that differ."""
    torch.manual_seed(seed)
    model = model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.7 * torch.randn_like(parameter))
    return model


def test_quantiles_are_those_of_scipy():
    rate = np.array([0.01, 0.5, 3.0, 80.0])
    for level in LEVELS:
        np.testing.assert_array_equal(
            quantiles_of(scipy.stats.poisson(rate).cdf, level, rate), scipy.stats.poisson.ppf(level, rate)
        )
        loc, scale = np.array([-1e6, 0.0, 3e-9, 5.0]), np.array([1.0, 1e-12, 1e-9, 1e4])
        found = quantiles_of(scipy.stats.norm(loc, scale).cdf, level, loc)
        np.testing.assert_allclose(found, scipy.stats.norm.ppf(level, loc, scale), rtol=1e-12, atol=1e-20)


@pytest.mark.parametrize("likelihood", ["mixed", "poisson", "normal:scale=shared"])
def test_a_hidden_markov_model_is_summed_over_all_paths(likelihood):
    model, states, given, ahead = varied(hidden_markov((4, 2), states=2, likelihood=likelihood)), 2, 3, 3
    x = torch.tensor([[[1.0, 3], [2, NAN], [0, 1]], [[4.0, 0], [NAN, NAN], [NAN, NAN]]], dtype=torch.float64)
    x[:, 1, 1] = NAN if likelihood == "mixed" else 1.0
    x[1, 1:] = NAN
    found = next_steps(model, torch.nn.functional.pad(x, (0, 0, 0, 1), value=NAN), ahead, LEVELS)
    assert found.exact
    prior = model.prior
    start, move = (t.detach().softmax(-1) for t in (prior.initial.logits, prior.transition.logits))
    step = model.likelihood.step(torch.eye(states, dtype=torch.float64))
    for n, length in enumerate((given, 1)):
        share = torch.zeros(ahead, states, dtype=torch.float64)
        for path in itertools.product(range(states), repeat=length + ahead):
            p = start[path[0]] * torch.stack([move[a, b] for a, b in itertools.pairwise(path)]).prod()
            for t in range(length):
                p = p * step.log_prob(x[n, t]).exp()[path[t]]
            for h in range(ahead):
                share[h, path[length + h]] += p.item()
        share /= share.sum(1, keepdim=True)
        torch.testing.assert_close(found.mean[n], share @ step.mean.detach())
        draws = step.sample(torch.Size((200_000,)))
        for level, value in zip(LEVELS, found.quantiles[:, n], strict=True):
            below = torch.einsum("hk,hkd->hd", share, (draws <= value[:, None, None]).double().mean(1))
            assert (below >= level - 0.005).all()
            if likelihood == "poisson":
                less = torch.einsum("hk,hkd->hd", share, (draws < value[:, None, None]).double().mean(1))
                assert (less <= level + 0.005).all()
                assert bool((value == value.round()).all())
            else:
                torch.testing.assert_close(below, torch.full_like(below, level), atol=0.005, rtol=0)


def mixture() -> FactorAnalysers:
    torch.manual_seed(1)
    components = tuple(
        LinearGaussian(torch.randn(8, 3).double(), 4 * torch.randn(8).double(), torch.rand(8).double() + 0.2)
        for _ in range(2)
    )
    return FactorAnalysers(torch.tensor([0.3, 0.7]).double(), components)


def test_a_mixture_of_rows_is_that_of_conditional_gaussians():
    model = mixture_of_factor_analysers((4, 2), components=2, latent_dim=3).double()
    set_factor_analysers(model, mixture())
    x = torch.randn(3, 4, 2, dtype=torch.float64)
    x[:, 2:], x[1, 0, 1], x[2, 1] = NAN, NAN, NAN
    found = next_steps(model, x, 2, LEVELS)
    assert found.exact
    for n, begins in enumerate((2, 2, 1)):
        seen = ~x[n].isnan().flatten().numpy()
        after = np.arange(2 * begins, 2 * begins + 4)
        weights, locs, scales = [], [], []
        for share, component in zip(mixture().weights.tolist(), mixture().components, strict=True):
            w, b = component.weight.numpy(), component.offset.numpy()
            cov, value = w @ w.T + np.diag(component.scale.numpy() ** 2), x[n].flatten().numpy()[seen]
            weights.append(share * scipy.stats.multivariate_normal.pdf(value, b[seen], cov[np.ix_(seen, seen)]))
            gain = cov[np.ix_(after, seen)] @ np.linalg.inv(cov[np.ix_(seen, seen)])
            locs.append(b[after] + gain @ (value - b[seen]))
            scales.append(np.sqrt(np.diag(cov[np.ix_(after, after)] - gain @ cov[np.ix_(seen, after)])))
        weight, loc, scale = np.array(weights) / sum(weights), np.array(locs), np.array(scales)
        np.testing.assert_allclose(found.mean[n].flatten(), weight @ loc, rtol=1e-9)
        for level, values in zip(LEVELS, found.quantiles[:, n].flatten(1), strict=True):
            exact = [quantile(level, weight, loc[:, d], scale[:, d]) for d in range(4)]
            np.testing.assert_allclose(values, exact, atol=1e-8)


def quantile(level, weight, loc, scale):
    return brentq(lambda v: weight @ scipy.stats.norm.cdf(v, loc, scale) - level, -100, 100, xtol=1e-12)


def test_intervals_of_a_planted_autoregression_hold_what_they_say():
    rng, x = np.random.default_rng(0), np.zeros((1500, 10))
    x[:, 0] = rng.normal(size=1500) / 0.6
    for t in range(1, 10):
        x[:, t] = 0.8 * x[:, t - 1] + rng.normal(size=1500)
    rows = torch.from_numpy(x)
    *_, last = fit_mixture_of_factor_analysers(rows[:500], 1, 8)
    model = mixture_of_factor_analysers((10, 1), components=1, latent_dim=8).double()
    set_factor_analysers(model, last.mixture)
    given = rows[500:, :, None].clone()
    given[:, 6:] = NAN
    found, truth = next_steps(model, given, 4, LEVELS), rows[500:, 6:, None]
    covered = ((found.quantiles[0] <= truth) & (truth <= found.quantiles[2])).double().mean()
    assert covered.item() == pytest.approx(0.9, abs=0.03)
    known = rows[500:, 5:6] * 0.8 ** torch.arange(1.0, 5)
    assert (found.mean[..., 0] - known).square().mean().sqrt() < 0.2


def test_a_linear_state_space_is_a_gaussian():
    model = varied(state_space((4, 1), latent_dim=1, hidden=[], recurrent_dim=2))
    draws = model.sample(200_000)[..., 0].double()
    mean, cov = draws.mean(0), draws.T.cov()
    given = torch.tensor([[[0.4], [0.9], [NAN], [NAN]]], dtype=torch.float64)
    found = next_steps(model, given, 2, LEVELS, num_samples=20_000)
    assert not found.exact
    gain = cov[2:, :2] @ cov[:2, :2].inverse()
    loc = mean[2:] + gain @ (given[0, :2, 0] - mean[:2])
    scale = (cov[2:, 2:] - gain @ cov[:2, 2:]).diagonal().sqrt()
    assert ((found.mean[0, :, 0] - loc).abs() < 0.05 * scale).all()
    for level, value in zip(LEVELS, found.quantiles[:, 0, :, 0], strict=True):
        exact = loc + scale * scipy.stats.norm.ppf(level)
        assert ((value - exact).abs() < 0.06 * scale).all()


def test_the_chain_rule_goes_on_from_each_end():
    model = varied(autoregressive_rows((5, 2), likelihood="normal:scale=per-dimension", hidden=[4], recurrent_dim=3))
    x = torch.randn(2, 5, 2, dtype=torch.float64)
    x[0, 3:], x[1, 2:] = NAN, NAN
    found = next_steps(model, x, 2, LEVELS, num_samples=20_000)
    rule = model.order[0].conditional
    p = rule.step(rule.history(x.nan_to_num()))
    for n, begins in enumerate((3, 2)):
        loc, scale = p.mean[n, begins], p.stddev[n, begins]
        assert ((found.mean[n, 0] - loc).abs() < 0.04 * scale).all()
        assert ((found.quantiles[2, n, 0] - (loc + 1.645 * scale)).abs() < 0.06 * scale).all()
    again = next_steps(model, x, 2, LEVELS, num_samples=20_000)
    torch.testing.assert_close(found.quantiles, again.quantiles, rtol=0, atol=0)
    x[0, 1] = NAN
    with pytest.raises(ValueError, match="series have gaps before their end"):
        next_steps(model, x, 2, LEVELS)


def test_the_chain_rule_goes_beyond_the_series_of_its_fit_unless_its_net_does_not():
    x = torch.randn(2, 5, 2, dtype=torch.float64)
    options = {"likelihood": "normal:scale=per-dimension", "hidden": [4], "recurrent_dim": 4}
    for network in ("gru", "lstm", "convolution"):
        model = varied(autoregressive_rows((5, 2), network=network, **options))
        rule, found = model.order[0].conditional, next_steps(model, x, 3, LEVELS, num_samples=20_000)
        p = rule.step(rule.history(torch.nn.functional.pad(x, (0, 0, 0, 1))))  # of six steps
        assert ((found.mean[:, 0] - p.mean[:, 5]).abs() < 0.04 * p.stddev[:, 5]).all()
        assert ((found.quantiles[0, :, 0] - (p.mean - 1.645 * p.stddev)[:, 5]).abs() < 0.06 * p.stddev[:, 5]).all()
    model = varied(autoregressive_rows((5, 2), network="transformer", **options))
    with pytest.raises(ValueError, match="transformer over 5 steps was asked for step 6"):
        next_steps(model, x, 1, LEVELS)


def test_what_cannot_be_asked_is_refused():
    x = torch.randn(2, 4, 2)
    model = hidden_markov((4, 2))
    for model, words in (
        (vae((4, 2), hidden=[4]), "fit the recipe hidden-markov"),
        (
            autoregressive_rows((4, 2), latent_dim=2, hidden=[4], recurrent_dim=3),
            "without a latent",
        ),
        (mixture_of_factor_analysers((4, 2)), "steps=1 goes beyond the 4 steps of this model of whole series"),
    ):
        with pytest.raises(ValueError, match=words):
            next_steps(model, x, 1, LEVELS)
    model = hidden_markov((4, 2))
    for asked, words in (
        ((x, 0, LEVELS), "steps=0 and needs at least 1"),
        ((x, 1, (0.0,)), "between 0 and 1"),
        ((torch.full_like(x, NAN), 1, LEVELS), "series 0 has no step"),
    ):
        with pytest.raises(ValueError, match=words):
            next_steps(model, *asked)


def test_whole_series_with_gaps_and_early_ends_start_from_what_is_known():
    torch.manual_seed(0)
    x = 50 + 20 * torch.randn(40, 5, 2, dtype=torch.float64)
    x[::3, 3:] = NAN
    x[1::4, 1, 0] = NAN
    for sizes in ({"components": 1, "latent_dim": 1}, {}):
        model = mixture_of_factor_analysers((5, 2), **sizes).double()
        start_mixture_of_factor_analysers(model, x)
        found = factor_analysers_of(model)
        assert torch.isfinite(found.log_evidence(x.flatten(1))).all()
        mean = sum(w * c.offset for w, c in zip(found.weights, found.components, strict=True))
        torch.testing.assert_close(mean, x.flatten(1).nanmean(0), rtol=0.1, atol=0)


def test_more_steps_than_memory_holds_are_refused():
    x, states = torch.zeros(2, 4, 1), hidden_markov((4, 1), states=2)
    for model, steps, samples in ((states, 10**9, 1), (state_space((4, 1)), 996, 10**5 + 1)):
        with pytest.raises(ValueError, match=re.escape(f"steps={steps:,} of 2 series would take ")):
            next_steps(model, x, steps, LEVELS, num_samples=samples)
    with pytest.raises(ValueError, match=re.escape("would take 300,000,000 numbers at once")):
        next_steps(states, torch.zeros(300, 4, 1), 10**6, LEVELS)


def test_draws_are_made_for_as_many_series_at_once_as_memory_holds(monkeypatch):
    sizes = []

    def drawn(_, x, lengths, num_steps, num_samples, called):
        sizes.append(len(x))
        return torch.zeros(num_samples, len(x), num_steps, x.shape[2])

    monkeypatch.setattr("lowerbound.evaluate.forecasts.continued", drawn)
    monkeypatch.setattr("lowerbound.evaluate.forecasts._DRAWN_PER_BLOCK", 3 * 10 * (2 + 4) + 5)
    next_steps(state_space((4, 1)), torch.zeros(7, 4, 1), 2, LEVELS, num_samples=10)
    assert sizes == [3, 3, 1]
