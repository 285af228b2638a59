"""Independent component analysis with scikit-learn's interface: x = A s + b, with sources that are not Gaussian."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from torch import Tensor

from lowerbound.linear import IndependentComponents, fit_independent_components
from lowerbound.sklearn.bridge import whole
from lowerbound.sklearn.linear_base import LinearEstimator

__all__ = ["ICA"]


class ICA(LinearEstimator):
    """log p(X) = Σ_i log p_i(s_i) + log|det W| and, with fewer sources than columns, Gaussian noise in the rest.

    It is another fit than the recipe `linear-ica` of `lb.fit` and of the command, which standardises columns, takes a
    Laplace density of the sources and a noise beside them, and is fitted by a bound.

    Arguments:
        latent_dim: number of sources, at most the rank of the centred rows; None: all columns.
        max_iter: of the fit.
        tol: the largest entry of the relative gradient at which it stops.
        random_state: an int makes the fit (the rotation from which it starts) and `sample` repeatable.

    Attributes:
        fitted_: the `linear.IndependentComponents`, in double precision.
        components_: W (latent_dim, D).
        mixing_, mean_: A (D, latent_dim) and b (D,).
        log_likelihood_, n_iter_: see the base class; `transform` gives s = W (x − b).

    Notes:
        Missing entries are not supported: impute them first, for example by `FactorAnalysis`. The order and the signs
        of the sources are arbitrary. Nearly Gaussian sources are not separated.

    References:
        Lee, Girolami & Sejnowski (1999); Ablin, Cardoso & Gramfort (2018), arXiv:1706.08171.

    >>> S = np.random.default_rng(0).laplace(size=(200, 3))
    >>> ICA(random_state=0).fit(S @ [[1, 2, 0], [0, 1, 1], [1, 0, 1]]).transform(S).shape
    (200, 3)
    """

    _takes_missing: ClassVar[bool] = False
    fitted_: IndependentComponents

    def __init__(
        self,
        latent_dim: int | None = None,
        *,
        max_iter: int = 500,
        tol: int | float = 1e-5,
        random_state: int | np.random.RandomState | None = None,
    ):
        self.latent_dim = latent_dim
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def _fit(self, x: Tensor) -> None:
        fits = list(
            fit_independent_components(
                x,
                x.shape[1] if self.latent_dim is None else whole("latent_dim", self.latent_dim),
                max_iterations=whole("max_iter", self.max_iter),
                tolerance=float(self.tol),
                seed=self._seed(),
            )
        )
        self.fitted_, self.log_likelihood_ = fits[-1].components, np.array([fit.log_likelihood for fit in fits])
        self.components_, self.mixing_ = self.fitted_.unmixing.numpy(), self.fitted_.mixing.numpy()
        self.mean_, self.n_iter_ = self.fitted_.offset.numpy(), max(1, len(fits) - 1)

    def _encode(self, x: Tensor) -> Tensor:
        return self.fitted_.sources(x)

    def _decode(self, z: Tensor) -> Tensor:
        return self.fitted_.mix(z)

    def _log_evidence(self, x: Tensor) -> Tensor:
        return self.fitted_.log_evidence(x)

    def _draw(self, num_samples: int) -> Tensor:
        return self.fitted_.sample(num_samples)
