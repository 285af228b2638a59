"""Probabilistic PCA with scikit-learn's interface: x = W z + b + noise, the same noise in each column."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from torch import Tensor

from lowerbound.linear import corrected, fit_probabilistic_pca
from lowerbound.sklearn.bridge import whole
from lowerbound.sklearn.linear_base import LinearGaussianEstimator

__all__ = ["ProbabilisticPCA"]


class ProbabilisticPCA(LinearGaussianEstimator):
    """log p(X) of a Gaussian with covariance W Wᵀ + σ² I, in closed form; by EM where entries are missing.

    X is taken as it is, as scikit-learn's PCA does. The recipe `probabilistic-pca` of `lb.fit` and of the command
    standardises columns first: `make_pipeline(StandardScaler(), ProbabilisticPCA(correction=0))` is the same model.

    Arguments:
        latent_dim: length of z, less than the number of columns.
        correction: the divisor of the covariance is N − correction: 1 gives the `score` of scikit-learn's PCA, 0 the
            maximum of the likelihood of the training rows, which is about D / 4N² nats larger.
        min_scale: the floor of σ, in the units of X; None: 10⁻¹⁰ of the spread of the columns (10⁻⁶ where entries are
            missing).
        max_iter: of EM.
        tol: the rise of an iteration of EM at which it stops, nats per row.
        random_state: an int makes `sample` repeatable; the fit is deterministic.

    Attributes:
        exact_, components_, mean_, noise_variance_, log_likelihood_, n_iter_: see the base classes (the likelihood is
            that before the correction). `transform` gives E[z | x], which is the projection of PCA shrunk towards 0;
            the columns of W are orthogonal.

    References:
        Tipping & Bishop (1999), equations 14 and 15.

    >>> X = np.random.default_rng(0).normal(size=(50, 4))
    >>> ProbabilisticPCA(latent_dim=1).fit(X).transform(X).shape
    (50, 1)
    """

    _least_columns: ClassVar[int] = 2

    def __init__(
        self,
        latent_dim: int = 2,
        *,
        correction: int = 1,
        min_scale: int | float | None = None,
        max_iter: int = 1000,
        tol: int | float = 1e-6,
        random_state: int | np.random.RandomState | None = None,
    ):
        self.latent_dim = latent_dim
        self.correction = correction
        self.min_scale = min_scale
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def _fit(self, x: Tensor) -> None:
        if self.correction not in (0, 1):
            raise ValueError(
                f"correction is {self.correction!r}; expected 0 (maximum likelihood) or 1 (divisor N − 1)."
            )
        fits = list(
            fit_probabilistic_pca(
                x,
                whole("latent_dim", self.latent_dim),
                min_scale=None if self.min_scale is None else float(self.min_scale),
                max_iterations=whole("max_iter", self.max_iter),
                tolerance=float(self.tol),
            )
        )
        self._keep(corrected(fits[-1].exact, len(x), self.correction), [fit.log_likelihood for fit in fits])
