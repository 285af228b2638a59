"""Gaps and columns of other kinds: the density is that of scipy, row by row; EM climbs; what was planted is found."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import gammaln

from lowerbound.exact import LinearGaussian
from lowerbound.linear import OtherColumns, ScaledMixture, fit_scaled_mixture
from lowerbound.linear.gaps import blocks_of, fill
from lowerbound.linear.scaled_mixture import _covariance

NAN = float("nan")


def table(count: int = 150, gaps: float = 0.3) -> tuple[torch.Tensor, OtherColumns]:
    """Two clusters: three reals, classes of 3 and 2, one count; entries missing at random in every kind."""
    g = np.random.default_rng(0)
    k = g.integers(2, size=count)
    real = LinearGaussian.random(3, 1).sample(count) + 4.0 * torch.as_tensor(k)[:, None]
    classes = np.stack([g.choice(3, count, p=[0.2, 0.3, 0.5]) * (1 - k), g.integers(2, size=count)], 1).astype(float)
    counts = g.negative_binomial(3, np.where(k, 0.2, 0.6))[:, None].astype(float)
    x = np.concatenate([real, classes, counts], 1)
    x[g.random(x.shape) < gaps] = NAN
    x[5] = NAN
    rows = torch.as_tensor(x)
    return rows[:, :3], OtherColumns(rows[:, 3:5], (3, 2), rows[:, 5:])


def by_scipy(fit: ScaledMixture, x: torch.Tensor, others: OtherColumns) -> np.ndarray:
    """log p of each row by enumeration of clusters and levels, each row over its observed columns."""
    p = fit.others
    assert p is not None
    log_p = []
    for n in range(len(x)):
        seen, total = ~x[n].isnan().numpy(), 0.0
        for k in range(len(fit.loc)):
            other, at = 1.0, 0
            for value, size in zip(others.classes[n].tolist(), others.sizes, strict=True):
                other *= 1.0 if np.isnan(value) else float(p.log_p[k, at + int(value)].exp())
                at += size
            if not others.counts[n, 0].isnan():
                m, r = float(p.mean[k, 0]), float(p.inverse_dispersion[k, 0])
                other *= float(np.exp(log_nb(others.counts[n, 0].numpy(), m, r)))
            for s, tau in enumerate(fit.levels.tolist()):
                sigma = tau * fit.covariance[k].numpy()[np.ix_(seen, seen)]
                gaussian = stats.multivariate_normal(fit.loc[k].numpy()[seen], sigma) if any(seen) else None
                real = 1.0 if gaussian is None else gaussian.pdf(x[n].numpy()[seen])
                total += float(fit.log_weights[k, s].exp()) * other * real
        log_p.append(np.log(total))
    return np.array(log_p)


@pytest.mark.parametrize("rank", [0, 1, None])
def test_density_is_that_of_observed_columns(rank: int | None) -> None:
    x, others = table(60)
    fit = fit_scaled_mixture(x, 2, rank, others=others, levels=(1.0, 4.0), shrinkage=1.0, max_iterations=10)
    np.testing.assert_allclose(fit.log_evidence(x, others), by_scipy(fit, x, others), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("small", [0, 2**18])
def test_missing_entries_are_filled_with_their_conditional_moments(monkeypatch: pytest.MonkeyPatch, small: int) -> None:
    """In one block, and in blocks of gaps of like size."""
    monkeypatch.setattr("lowerbound.linear.gaps._SMALL", small)
    x, _ = table(40)
    exact = LinearGaussian.random(3, 1, seed=2)
    sigma = exact.weight @ exact.weight.mT + torch.diag(exact.scale**2)
    for block in blocks_of(x, 1, 2**20):
        if block.gaps is None:
            continue
        filled = fill(block, exact.offset[None], torch.linalg.inv(sigma)[None])
        assert isinstance(block.index, torch.Tensor)
        for i, row in enumerate(block.index.tolist()):
            o = ~x[row].isnan()
            gain = sigma[~o][:, o] @ torch.linalg.inv(sigma[o][:, o])
            expected = gain @ (x[row, o] - exact.offset[o])
            torch.testing.assert_close(filled.deviation[0, i, ~o], expected)
            covariance = sigma[~o][:, ~o] - gain @ sigma[o][:, ~o]
            lacking = len(covariance)
            torch.testing.assert_close(filled.covariance[0, block.gaps.of_row[i]][:lacking, :lacking], covariance)


@pytest.mark.parametrize("rank", [0, 1, None])
def test_the_posterior_density_never_falls(rank: int | None) -> None:
    """Likelihood of rows and pseudo-rows, plus the log of the inverse Wishart prior, up to a constant."""
    x, others = table()
    kappa, values = 2.0, []
    for iterations in range(1, 15):
        fit = fit_scaled_mixture(
            x, 2, rank, others=others, levels=(1.0, 5.0), shrinkage=kappa, tolerance=-9.0, max_iterations=iterations
        )
        p, sigma = fit.others, fit.covariance
        assert p is not None
        ratio = torch.linalg.solve(sigma, prior_of(x, 2)).diagonal(dim1=1, dim2=2).sum(-1)
        r = p.inverse_dispersion.numpy()
        count = log_nb(others.mean.numpy(), p.mean.numpy(), r)
        prior = -0.5 * kappa * (torch.logdet(sigma) + ratio).sum() + (others.frequencies * p.log_p).sum() + count.sum()
        values.append(float(fit.log_evidence(x, others).sum() + prior))
    assert all(later >= earlier - 1e-3 for earlier, later in pairwise(values))
    assert values[-1] > values[0] + 1


def prior_of(x: torch.Tensor, num_clusters: int) -> torch.Tensor:
    return _covariance(x) * num_clusters ** (-2 / x.shape[1])


def log_nb(x: Any, m: Any, r: Any) -> Any:
    """The negative binomial, also at values that are not whole."""
    return gammaln(x + r) - gammaln(r) - gammaln(x + 1) + r * np.log(r / (r + m)) + x * np.log(m / (r + m))


def test_a_planted_mixture_with_gaps_is_found_better_than_with_gaps_at_the_means() -> None:
    g = torch.Generator().manual_seed(0)
    k = torch.randint(3, (900,), generator=g)
    centres = torch.tensor([[3.0, 0, 0, 0], [0, 3, 0, 3], [-3, -3, 3, 0]]).double()
    root = torch.tensor([[1.0, 0, 0, 0], [0.9, 0.4, 0, 0], [0.9, 0, 0.4, 0], [0, 0, 0, 1]]).double()
    x = centres[k] + torch.randn(900, 4, generator=g, dtype=torch.float64) @ root.T
    train, test = x[:600].clone(), x[600:]
    train[torch.rand(600, 4, generator=g) < 0.3] = NAN
    imputed = torch.where(train.isnan(), train.nanmean(0), train)
    scores = [float(fit_scaled_mixture(t, 3, None, shrinkage=2.0).log_evidence(test).mean()) for t in (train, imputed)]
    whole = float(fit_scaled_mixture(x[:600], 3, None, shrinkage=2.0).log_evidence(test).mean())
    assert scores[0] > scores[1] + 0.5
    assert abs(scores[0] - whole) < 0.1


def test_classes_alone_are_latent_class_analysis() -> None:
    """Three planted classes of eight answers: the log-likelihood on new rows is close to that of the truth."""
    g = np.random.default_rng(1)
    truth = g.dirichlet(np.full(3, 0.4), size=(3, 8))  # (cluster, column, class)
    k = g.integers(3, size=3000)
    x = torch.as_tensor((g.random((3000, 8))[:, :, None] > truth[k].cumsum(-1)[:, :, :-1]).sum(-1).astype(float))
    none = torch.zeros(3000, 0).double()
    others = [OtherColumns(part, (3,) * 8, none[: len(part)]) for part in x.split(2000)]
    fit = fit_scaled_mixture(none[:2000], 3, 0, others=others[0], starts=4)
    new = x[2000:].long()
    of_cluster = np.stack([np.log(truth[c, np.arange(8), new.numpy()]).sum(1) for c in range(3)], 1)
    exact = np.log(np.exp(of_cluster).mean(1)).mean()
    assert float(fit.log_evidence(none[2000:], others[1]).mean()) == pytest.approx(exact, abs=0.03)


def test_the_dispersion_of_counts_is_found() -> None:
    g = np.random.default_rng(2)
    x = torch.as_tensor(np.stack([g.negative_binomial(2.0, 0.1, 4000), g.poisson(5.0, 4000)], 1).astype(float))
    others = OtherColumns(x[:, :0], (), x)
    p = fit_scaled_mixture(x[:, :0], 1, 0, others=others).others
    assert p is not None
    torch.testing.assert_close(p.mean[0], x.mean(0), atol=1e-9, rtol=1e-9)
    assert 1.4 < float(p.inverse_dispersion[0, 0]) < 2.9  # neighbours on the grid
    assert float(p.inverse_dispersion[0, 1]) > 50


def test_columns_of_other_kinds_are_asked_for_where_they_were_fitted() -> None:
    x, others = table(40)
    fit = fit_scaled_mixture(x, 2, 0, others=others, max_iterations=2)
    with pytest.raises(ValueError, match="other kinds"):
        fit.log_evidence(x)


def test_a_column_of_one_class_says_nothing_and_leaves_the_others_as_they_are():
    classes = torch.tensor([[0.0, 1.0], [0.0, 0.0], [0.0, 1.0]]).double()
    both, second = OtherColumns(classes, (1, 2), classes[:, :0]), OtherColumns(classes[:, 1:], (2,), classes[:, :0])
    features = both.features()
    assert float(features[:, 0].abs().max()) == 0.0
    torch.testing.assert_close(features[:, 1:], second.features())
