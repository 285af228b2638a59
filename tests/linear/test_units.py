"""All linear models: other units of x shift log p(x) by their logarithm and change nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

import lowerbound.sklearn as lb
from lowerbound.exact import LinearGaussian
from lowerbound.linear import (
    fit_factor_analysis,
    fit_independent_components,
    fit_mixture_of_factor_analysers,
    fit_probabilistic_pca,
    observe,
    observed_log_evidence,
    online_expectation_maximization,
)
from lowerbound.linear.units import Units

Answer = tuple[Tensor, Tensor]
"""log p(x) of each row and its latent."""


def gaussian(fits, x: Tensor) -> Answer:
    *_, fit = fits
    assert fit.log_likelihood == pytest.approx(float(observed_log_evidence(fit.exact, x).mean()), abs=1e-5)
    return observed_log_evidence(fit.exact, x), observe(fit.exact, x).mean


def online(x: Tensor) -> Answer:
    units = Units.of(x[:30], "per-dimension")  # a start in the units of the rows, as a user would choose it
    start = units.leave(LinearGaussian.random(5, 1, seed=2))
    *_, fit = online_expectation_maximization(start, x.split(30))
    return observed_log_evidence(fit.exact, x), observe(fit.exact, x).mean


def components(x: Tensor, latent_dim: int) -> Answer:
    *_, fit = fit_independent_components(x, latent_dim, tolerance=1e-6, max_iterations=30)
    assert fit.components.mix(fit.components.sources(x)).isfinite().all()
    return fit.components.log_evidence(x), fit.components.sources(x)


def mixture(x: Tensor, noise) -> Answer:
    *_, fit = fit_mixture_of_factor_analysers(x, 2, 1, noise=noise, max_iterations=20)
    return fit.mixture.log_evidence(x), fit.mixture.responsibilities(x)


def facade(make: Callable) -> Callable[[Tensor], Answer]:
    def answer(x: Tensor) -> Answer:
        model = make().fit(x.numpy())
        return torch.as_tensor(model.score_samples(x.numpy())), torch.as_tensor(model.transform(x.numpy()))

    return answer


BY_COLUMN: dict[str, Callable[[Tensor], Answer]] = {
    "factor analysis": lambda x: gaussian(fit_factor_analysis(x, 2, tolerance=1e-8), x),
    "factor analysis, missing": lambda x: gaussian(fit_factor_analysis(missing(x), 2, max_iterations=40), missing(x)),
    "online": online,
    "independent components": lambda x: components(x, 5),
    "mixture": lambda x: mixture(x, "per-dimension"),
    "FactorAnalysis": facade(lambda: lb.FactorAnalysis(2, tol=1e-8)),
    "ICA": facade(lambda: lb.ICA(max_iter=40, random_state=0)),
    "MixtureOfFactorAnalysers": facade(lambda: lb.MixtureOfFactorAnalysers(max_iter=15, random_state=0)),
}
AS_A_WHOLE: dict[str, Callable[[Tensor], Answer]] = {
    "probabilistic PCA": lambda x: gaussian(fit_probabilistic_pca(x, 2), x),
    "probabilistic PCA, missing": lambda x: gaussian(
        fit_probabilistic_pca(missing(x), 2, max_iterations=40), missing(x)
    ),
    "independent components and noise": lambda x: components(x, 2),
    "mixture, shared noise": lambda x: mixture(x, "shared"),
    "ProbabilisticPCA": facade(lambda: lb.ProbabilisticPCA(2)),
}


def rows() -> Tensor:
    """Sources with heavy tails, of which two have most of the variance, and two clusters."""
    g = np.random.default_rng(0)
    s, mixing = torch.as_tensor(g.laplace(size=(90, 5))), torch.as_tensor(g.normal(size=(5, 5)))
    size = torch.tensor([2.0, 1.5, 0.3, 0.3, 0.3]).double()
    noise = torch.as_tensor(g.laplace(size=(90, 5)))
    return (s * size) @ mixing + 0.7 * noise + 15 * (torch.arange(90) % 2)[:, None] * torch.tensor([1.0, 0, 1, 0, 0])


def missing(x: Tensor) -> Tensor:
    away = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.1
    return x.masked_fill(away, torch.nan)


@cache
def before(answer: Callable[[Tensor], Answer]) -> Answer:
    return answer(rows())


def same(answer: Callable[[Tensor], Answer], unit: Tensor, shift: float) -> None:
    x = rows()
    present = (~missing(x).isnan()).double()
    score, latent = before(answer)
    got, other = answer(unit * x + shift)
    log_unit = unit.log().expand(5)
    candidates = [log_unit.sum().expand(len(x)), present @ log_unit]
    error = min(float((got + volume - score).abs().max()) for volume in candidates)
    assert error < 2e-3
    assert other.isfinite().all()
    sign = (latent * other).sum(0).sign()
    torch.testing.assert_close(sign * other, latent, atol=2e-3, rtol=0)


def one(column_unit: float) -> Tensor:
    return torch.tensor([1.0, 1.0, column_unit, 1.0, 1.0], dtype=torch.float64)


@pytest.mark.parametrize("name", [*BY_COLUMN, *AS_A_WHOLE])
@pytest.mark.parametrize("unit, shift", [(1e-9, 0.0), (1e9, 0.0), (1.0, 1e9), (1e-150, 0.0)])
def test_units_of_the_whole_table_do_not_matter(name, unit, shift):
    same({**BY_COLUMN, **AS_A_WHOLE}[name], torch.tensor(unit, dtype=torch.float64), shift)


@pytest.mark.parametrize("name", BY_COLUMN)
@pytest.mark.parametrize("column_unit", [1e-7, 1e9, 1e-20])
def test_units_of_one_column_do_not_matter(name, column_unit):
    same(BY_COLUMN[name], one(column_unit), 0.0)


@pytest.mark.parametrize("column_unit", [1e-7, 1e9])
def test_probabilistic_pca_keeps_the_digits_of_small_columns(column_unit):
    """Its one noise makes another model of other units; the closed form is then still the closed form."""
    x = rows() * one(column_unit)
    values = torch.as_tensor(np.linalg.svd((x - x.mean(0)).numpy())[1]) ** 2 / len(x)
    noise = values[2:].mean()
    expected = -0.5 * (5 * math.log(2 * math.pi) + values[:2].log().sum() + 3 * noise.log() + 5)
    score, latent = AS_A_WHOLE["probabilistic PCA"](x)
    assert float(score.mean()) == pytest.approx(float(expected), abs=1e-6)
    assert latent.std(0, correction=0).max() == pytest.approx(1, abs=0.5)


@pytest.mark.parametrize("fit", [fit_factor_analysis, fit_probabilistic_pca])
def test_a_constant_column_has_the_units_of_the_others(fit):
    x = rows().index_fill(1, torch.tensor([1]), 0.1 + 0.2)
    x[::2, 1] = 0.3  # constant up to rounding
    *_, before = fit(x, 1)
    *_, after = fit(1e-9 * x, 1)
    assert after.log_likelihood - before.log_likelihood == pytest.approx(5 * math.log(1e9), abs=1e-4)


def test_independent_components_refuse_what_is_a_copy_whatever_its_units_and_its_place():
    x = rows()
    copied = torch.cat([x, 1e-7 * (x[:, :1] + x[:, 1:2])], 1)
    for rows_with_copy in (copied, copied + 1e3 * one(1.0)[0]):
        with pytest.raises(ValueError, match="5 directions only"):
            next(fit_independent_components(rows_with_copy, 6))


def test_units_come_from_the_observed_entries_and_keep_the_digits_of_numbers_far_from_zero():
    x = torch.tensor([[1e9 + 1, math.nan], [1e9 + 3, 2.0], [1e9 + 5, 6.0]], dtype=torch.float64)
    units = Units.of(x, "per-dimension")
    torch.testing.assert_close(units.spread, torch.tensor([(8 / 3) ** 0.5, 2.0]).double())
    torch.testing.assert_close(units.standard(x)[:, 0], torch.tensor([-1.0, 0.0, 1.0]).double() * 1.5**0.5)
    assert float(Units.of(x, "shared").spread) == pytest.approx(((8 / 3 + 4) / 2) ** 0.5)
    exact = LinearGaussian.random(2, 1)
    for mine, theirs in zip(vars(units.enter(units.leave(exact))).values(), vars(exact).values(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=0)
