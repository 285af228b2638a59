"""Factor analysis with scikit-learn's interface: x = W z + b + noise, with a noise of its own for each column."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from lowerbound.linear import fit_factor_analysis
from lowerbound.sklearn.bridge import whole
from lowerbound.sklearn.linear_base import LinearGaussianEstimator

__all__ = ["FactorAnalysis"]


class FactorAnalysis(LinearGaussianEstimator):
    """log p(X) of a Gaussian with covariance W Wᵀ + diag σ², at its maximum.

    Arguments:
        latent_dim: length of z, at most the number of columns.
        min_scale: the floor of σ, in the units of X, which constant columns and columns that a factor copies reach; it
            determines their log-likelihood. None: 10⁻⁶ of the spread of the column, and for a constant column of a
            typical spread. In scikit-learn it is 10⁻⁶ in any units.
        max_iter: of the fit.
        tol: the criterion to stop: the largest slope of the log-likelihood (nats per row, for log σ²), or, with missing
            entries, the rise of an iteration of EM.
        random_state: an int makes `sample` repeatable; the fit is deterministic.

    Attributes:
        exact_, components_, mean_, noise_variance_, log_likelihood_, n_iter_: see the base classes; `transform` gives
            E[z | x].

    References:
        Jöreskog (1967); Rubin & Thayer (1982) for EM.

    >>> X = np.random.default_rng(0).normal(size=(50, 4))
    >>> X[0, 1] = np.nan
    >>> fa = FactorAnalysis(latent_dim=1, max_iter=20).fit(X)
    >>> fa.transform(X).shape, fa.score_samples(X).shape, fa.impute(X).shape
    ((50, 1), (50,), (50, 4))
    """

    def __init__(
        self,
        latent_dim: int = 2,
        *,
        min_scale: int | float | None = None,
        max_iter: int = 1000,
        tol: int | float = 1e-6,
        random_state: int | np.random.RandomState | None = None,
    ):
        self.latent_dim = latent_dim
        self.min_scale = min_scale
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def _fit(self, x: Tensor) -> None:
        fits = list(
            fit_factor_analysis(
                x,
                whole("latent_dim", self.latent_dim),
                min_scale=None if self.min_scale is None else float(self.min_scale),
                max_iterations=whole("max_iter", self.max_iter),
                tolerance=float(self.tol),
            )
        )
        self._keep(fits[-1].exact, [fit.log_likelihood for fit in fits])
