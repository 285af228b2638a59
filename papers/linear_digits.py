"""Linear latent variable models on the 8 x 8 digits, exactly, beside scikit-learn on the same rows.

Rows are 64 pixels with grey levels 0 … 16. Their density is made meaningful by uniform noise on [0, 1) ("dequantised"),
without which three pixels that never change have an infinite one. 80 % of the rows are for training.

    agreement     log-likelihoods of factor analysis and PPCA on all raw rows, and those of scikit-learn: to 1e-6
    models        nats per row, training and test, of each model and of scikit-learn's nearest relative
    imputation    root mean squared error, in grey levels, of 20 % of the test pixels, removed at random
    curves        log-likelihood against iterations: the profile likelihood, EM, EM with missing entries, online EM

python papers/linear_digits.py
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from sklearn.mixture import GaussianMixture
from torch import Tensor

from lowerbound.exact import LinearGaussian
from lowerbound.linear import (
    IndependentComponents,
    corrected,
    expectation_maximization,
    fit_factor_analysis,
    fit_independent_components,
    fit_mixture_of_factor_analysers,
    fit_probabilistic_pca,
    impute,
    observed_log_evidence,
    online_expectation_maximization,
    sources,
)
from lowerbound.plots.style import DATA, INK, MODEL, MUTED, new_figure, style_axes
from sklearn import decomposition

RESULTS = Path(__file__).parent / "results"
REMOVED = 0.2
MIN_SCALE = 1e-6  # of the noise, in the units of pixels 0 to 16, as in scikit-learn: a constant pixel rests there


def main() -> None:
    """Read the options, compute one part after the other, save after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latent-dim", type=int, default=16)
    parser.add_argument("--components", type=int, default=10, help="of the mixture")
    parser.add_argument("--iterations", type=int, default=150, help="of each fit, at most")
    parser.add_argument("--num-rows", type=int, default=1797)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "linear_digits.json")
    given = parser.parse_args()
    raw, train, test = data(given.num_rows, given.seed)
    results: dict[str, Any] = {"options": {k: v for k, v in vars(given).items() if k != "out"}}
    parts: dict[str, Callable[[], Any]] = {
        "agreement": lambda: agreement(raw, [2, given.latent_dim]),
        "models": lambda: models(train, test, given.latent_dim, given.components, given.iterations, given.seed),
        "imputation": lambda: imputation(train, test, given.latent_dim, given.components, given.iterations, given.seed),
        "curves": lambda: curves(train, given.latent_dim, given.iterations, given.seed),
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        begun = time.process_time()
        results[name] = part()
        results.setdefault("cpu_seconds", {})[name] = round(time.process_time() - begun, 1)
        given.out.write_text(json.dumps(results, indent=2) + "\n")
        if name != "curves":
            print(json.dumps({name: results[name]}, indent=2), flush=True)
    picture(results["curves"], given.out.with_suffix(".png"))


def data(num_rows: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """All rows as they are, and dequantised ones for training and for the test."""
    raw = torch.as_tensor(load_digits().data)[:num_rows]
    g = torch.Generator().manual_seed(seed)
    x = (raw + torch.rand(raw.shape, generator=g, dtype=raw.dtype))[torch.randperm(len(raw), generator=g)]
    cut = round(0.8 * len(x))
    return raw, x[:cut], x[cut:]


def agreement(x: Tensor, latent_dims: list[int]) -> list[dict[str, float]]:
    """The criterion of the exact models: the average log-likelihood of scikit-learn, on all raw rows."""
    rows = []
    for latent_dim in latent_dims:
        theirs = decomposition.FactorAnalysis(latent_dim, tol=1e-8, max_iter=5000, svd_method="lapack").fit(x.numpy())
        pca = decomposition.PCA(latent_dim, svd_solver="full").fit(x.numpy())
        fa, ppca = (
            last(fit_factor_analysis(x, latent_dim, min_scale=MIN_SCALE)).exact,
            last(fit_probabilistic_pca(x, latent_dim, min_scale=MIN_SCALE)).exact,
        )
        row = {
            "latent_dim": latent_dim,
            "factor_analysis": score(fa, x),
            "factor_analysis_scikit_learn": float(theirs.score(x.numpy())),
            "probabilistic_pca": score(corrected(ppca, len(x), 1), x),
            "probabilistic_pca_scikit_learn": float(pca.score(x.numpy())),
            "probabilistic_pca_maximum_likelihood": score(ppca, x),
        }
        rows.append(row)
    return rows


def models(
    train: Tensor, test: Tensor, latent_dim: int, components: int, iterations: int, seed: int
) -> dict[str, dict[str, float]]:
    """Nats per row of every model, on rows it was fitted to and on others."""
    numpy = train.numpy()
    fa = last(fit_factor_analysis(train, latent_dim, min_scale=MIN_SCALE)).exact
    ppca = last(fit_probabilistic_pca(train, latent_dim, min_scale=MIN_SCALE)).exact
    half = max(1, latent_dim // 2)
    mixture = last(
        fit_mixture_of_factor_analysers(train, components, half, min_scale=0.2, max_iterations=iterations, seed=seed)
    ).mixture
    few = last(fit_independent_components(train, latent_dim, max_iterations=iterations, tolerance=1e-4, seed=seed))
    square = last(
        fit_independent_components(train, train.shape[1], max_iterations=iterations, tolerance=1e-4, seed=seed)
    )
    fast = fast_ica(few.components, train, seed)
    gaussians = GaussianMixture(components, reg_covar=0.04, random_state=seed).fit(numpy)
    theirs = decomposition.FactorAnalysis(latent_dim, tol=1e-8, max_iter=5000, svd_method="lapack").fit(numpy)
    pca = decomposition.PCA(latent_dim, svd_solver="full").fit(numpy)

    def both(density: Callable[[Tensor], Any]) -> dict[str, float]:
        return {name: float(density(x).mean()) for name, x in (("train", train), ("test", test))}

    return {
        "factor analysis": both(lambda x: observed_log_evidence(fa, x)),
        "scikit-learn FactorAnalysis": both(lambda x: theirs.score_samples(x.numpy())),
        "probabilistic PCA": both(lambda x: observed_log_evidence(ppca, x)),
        "scikit-learn PCA": both(lambda x: pca.score_samples(x.numpy())),
        f"ICA, {latent_dim} sources and noise": both(few.components.log_evidence),
        f"scikit-learn FastICA, {latent_dim} directions in the same density": both(fast.log_evidence),
        f"ICA, {train.shape[1]} sources": both(square.components.log_evidence),
        f"mixture of {components} factor analysers, {half} factors": both(mixture.log_evidence),
        f"scikit-learn GaussianMixture, {components} full covariances": both(
            lambda x: gaussians.score_samples(x.numpy())
        ),
    }


def fast_ica(like: IndependentComponents, x: Tensor, seed: int) -> IndependentComponents:
    """The directions of FastICA with the densities and scales that suit them best, and the noise of the other fit."""
    options = {"whiten": "unit-variance", "whiten_solver": "eigh", "max_iter": 2000, "tol": 1e-3, "random_state": seed}
    fitted = decomposition.FastICA(len(like.unmixing), **options).fit(x.numpy())
    y = torch.as_tensor(fitted.transform(x.numpy()))
    kinds = [torch.full((y.shape[1],), kind) for kind in (True, False)]
    scales = [sources.best_scale(y, kind) for kind in kinds]
    values = [sources.log_density(a * y, kind).mean(0) + a.log() for a, kind in zip(scales, kinds, strict=True)]
    chosen = values[0] >= values[1]
    unmixing = torch.where(chosen, *scales)[:, None] * torch.as_tensor(fitted.components_)
    return IndependentComponents(unmixing, torch.as_tensor(fitted.mean_), chosen, like.noise_scale)


def imputation(
    train: Tensor, test: Tensor, latent_dim: int, components: int, iterations: int, seed: int
) -> dict[str, float]:
    """Errors at removed test pixels, of fits to whole rows and of a fit to rows with as many pixels removed."""
    g = torch.Generator().manual_seed(seed + 1)
    holed, holed_train = remove(test, g), remove(train, g)
    gone = holed.isnan()
    half = max(1, latent_dim // 2)
    mixture = last(
        fit_mixture_of_factor_analysers(train, components, half, min_scale=0.2, max_iterations=iterations, seed=seed)
    ).mixture
    filled = {
        "column mean": train.mean(0).expand_as(test),
        "probabilistic PCA": impute(last(fit_probabilistic_pca(train, latent_dim, min_scale=MIN_SCALE)).exact, holed),
        "factor analysis": impute(last(fit_factor_analysis(train, latent_dim, min_scale=MIN_SCALE)).exact, holed),
        "factor analysis, fitted with 20 % missing": impute(
            last(
                fit_factor_analysis(
                    holed_train, latent_dim, min_scale=MIN_SCALE, max_iterations=iterations, tolerance=1e-4
                )
            ).exact,
            holed,
        ),
        f"mixture of {components} factor analysers": mixture.impute(holed),
    }
    return {name: float((x - test)[gone].square().mean().sqrt()) for name, x in filled.items()}


def curves(train: Tensor, latent_dim: int, iterations: int, seed: int) -> dict[str, list[float]]:
    """Log-likelihoods after each iteration; of online EM after each pass over the rows."""
    g = torch.Generator().manual_seed(seed + 2)
    start = LinearGaussian(
        torch.linalg.svd(train - train.mean(0), full_matrices=False)[2][:latent_dim].mT,
        train.mean(0),
        train.std(0),
    )
    plain = expectation_maximization(start, train, max_iterations=iterations, tolerance=-1.0)
    holed = fit_factor_analysis(
        remove(train, g), latent_dim, min_scale=MIN_SCALE, max_iterations=iterations, tolerance=-1.0
    )
    size, passes = 100, max(2, iterations // 10)
    batches = (train[rows] for _ in range(passes) for rows in torch.randperm(len(train), generator=g).split(size))
    online = list(online_expectation_maximization(start, (b for b in batches if len(b) == size), decay=0.7))
    each = len(train) // size
    return {
        "profile likelihood": [
            fit.log_likelihood for fit in fit_factor_analysis(train, latent_dim, min_scale=MIN_SCALE)
        ],
        "EM": [fit.log_likelihood for fit in plain],
        "EM, 20 % missing": [fit.log_likelihood for fit in holed],
        "online EM, passes": [score(start, train), *(score(fit.exact, train) for fit in online[each - 1 :: each])],
    }


def picture(values: dict[str, list[float]], path: Path) -> None:
    """How far each fit is below the best that it can reach, in nats per row."""
    figure = new_figure(7, 4)
    axes = figure.subplots()
    best = max(values["profile likelihood"])
    colours = dict(zip(values, (INK, MODEL, DATA, MUTED), strict=True))
    for name, path_of_fit in values.items():
        own = "missing" in name  # another likelihood: its best is the end of the fit, of which the first half is shown
        top, shown = (path_of_fit[-1], len(path_of_fit) // 2) if own else (best, len(path_of_fit))
        axes.plot([top + 1e-6 - value for value in path_of_fit[:shown]], color=colours[name], label=name)
    axes.set_yscale("log")
    axes.set_xscale("symlog", linthresh=10)
    style_axes(axes, title="Factor analysis of digits", x="iteration, or pass", y="nats per row below the best")
    axes.legend(frameon=False, fontsize=8.5)
    figure.savefig(path)


def remove(x: Tensor, generator: torch.Generator) -> Tensor:
    """The rows with a part of their pixels missing, at random."""
    return torch.where(torch.rand(x.shape, generator=generator) < REMOVED, torch.nan, x)


def score(exact: LinearGaussian, x: Tensor) -> float:
    """Nats per row."""
    return float(observed_log_evidence(exact, x).mean())


def last(fits: Iterator[Any]) -> Any:
    """The fit that a climb ends with."""
    *_, fit = fits
    return fit


if __name__ == "__main__":
    main()
