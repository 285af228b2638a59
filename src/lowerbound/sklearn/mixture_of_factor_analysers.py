"""A mixture of factor analysers with scikit-learn's interface: clusters, and a density."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import ClusterMixin
from torch import Tensor

from lowerbound.linear import FactorAnalysers, fit_mixture_of_factor_analysers
from lowerbound.sklearn.bridge import whole
from lowerbound.sklearn.linear_base import LinearEstimator

__all__ = ["MixtureOfFactorAnalysers"]


class MixtureOfFactorAnalysers(ClusterMixin, LinearEstimator):
    """log p(X) = log Σ_k π_k N(X; b_k, W_k W_kᵀ + diag σ_k²): by EM, NaN where an entry is missing.

    It is one mixture, of the sizes that are given. The recipe of this name of `lb.fit` and of the command weighs about
    twenty of them on standardised columns, the sizes among what is chosen.

    Arguments:
        num_components: K.
        latent_dim: length of z in each component, less than the number of columns.
        noise: "per-dimension", or "shared" for a mixture of probabilistic PCA.
        min_scale: the floor of σ, in the units of X; None: a thousandth of the spread of each column. The likelihood of
            a mixture is unbounded as a component shrinks onto a few rows, and this floor bounds it: choose the size of
            the smallest differences that matter.
        max_iter: of EM.
        tol: the rise of an iteration at which it stops, nats per row.
        random_state: an int makes the fit (the k-means that it starts from) and `sample` repeatable.

    Attributes:
        mixture_: the fitted `linear.FactorAnalysers`, in double precision.
        labels_: the component of each training row.
        weights_: π (K,).
        log_likelihood_, n_iter_: see the base class; `transform` gives the responsibilities p(k | x), and
            `inverse_transform` the mean of x under given ones.

    References:
        Ghahramani & Hinton (1996), CRG-TR-96-1.

    >>> X = np.random.default_rng(0).normal(size=(60, 3)) + [[0], [9]] * 30
    >>> np.bincount(MixtureOfFactorAnalysers(max_iter=9, random_state=0).fit_predict(X)).tolist()
    [30, 30]
    """

    _least_columns: ClassVar[int] = 2
    mixture_: FactorAnalysers
    noise: Literal["per-dimension", "shared"]

    def __init__(
        self,
        num_components: int = 2,
        *,
        latent_dim: int = 1,
        noise: Literal["per-dimension", "shared"] = "per-dimension",
        min_scale: int | float | None = None,
        max_iter: int = 500,
        tol: int | float = 1e-6,
        random_state: int | np.random.RandomState | None = None,
    ):
        self.num_components = num_components
        self.latent_dim = latent_dim
        self.noise = noise
        self.min_scale = min_scale
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def predict(self, X: ArrayLike) -> np.ndarray:
        """The most probable component of each row: (N,)."""
        x, _ = self._rows(X)
        return self.mixture_.log_joint(x).argmax(1).numpy()

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """p(k | x): (N, num_components). The same as `transform`."""
        return self.transform(X)

    def impute(self, X: ArrayLike) -> np.ndarray:
        """X with its missing entries (NaN) at their means given the observed ones: (N, n_features_in_)."""
        x, dtype = self._rows(X)
        return self.mixture_.impute(x).numpy().astype(dtype)

    def _fit(self, x: Tensor) -> None:
        if self.noise not in ("per-dimension", "shared"):
            raise ValueError(f"noise is {self.noise!r}; choose 'per-dimension' or 'shared'.")
        fits: list[Any] = list(
            fit_mixture_of_factor_analysers(
                x,
                whole("num_components", self.num_components),
                whole("latent_dim", self.latent_dim),
                noise=self.noise,
                min_scale=None if self.min_scale is None else float(self.min_scale),
                max_iterations=whole("max_iter", self.max_iter),
                tolerance=float(self.tol),
                seed=self._seed(),
            )
        )
        self.mixture_, self.log_likelihood_ = fits[-1].mixture, np.array([fit.log_likelihood for fit in fits])
        self.weights_, self.n_iter_ = self.mixture_.weights.numpy(), max(1, len(fits) - 1)
        self.labels_ = self.mixture_.log_joint(x).argmax(1).numpy()

    def _encode(self, x: Tensor) -> Tensor:
        return self.mixture_.responsibilities(x)

    def _decode(self, z: Tensor) -> Tensor:
        return z @ torch.stack([component.offset for component in self.mixture_.components])

    def _log_evidence(self, x: Tensor) -> Tensor:
        return self.mixture_.log_evidence(x)

    def _draw(self, num_samples: int) -> Tensor:
        return self.mixture_.sample(num_samples)[0]
