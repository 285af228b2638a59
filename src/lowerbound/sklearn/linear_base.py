"""What the estimators of linear models share: validation of rows, and the methods of scikit-learn.

A subclass fits in `_fit` and computes in double precision. The base validates rows, allows NaN if the model can
integrate out missing entries, and returns results in the precision of X.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, DensityMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from lowerbound.data.plain import plain
from lowerbound.exact import LinearGaussian
from lowerbound.linear import impute, observe, observed_log_evidence
from lowerbound.randomness import forked
from lowerbound.sklearn.axes import check_two_axes

__all__ = ["LinearEstimator", "LinearGaussianEstimator"]

_DTYPES: Any = [np.float64, np.float32]
_CPU = torch.device("cpu")


class LinearEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityMixin, BaseEstimator):
    """The base: a density of rows that also gives each of them a latent.

    Attributes:
        log_likelihood_: of the training rows after each iteration, nats per row; it never falls.
        n_iter_: iterations taken.
        n_features_in_, feature_names_in_: as in scikit-learn.
    """

    random_state: int | np.random.RandomState | None
    log_likelihood_: np.ndarray
    n_iter_: int
    _takes_missing: ClassVar[bool] = True
    _least_columns: ClassVar[int] = 1

    @abstractmethod
    def _fit(self, x: Tensor) -> None:
        """Fit to rows in double precision."""

    @abstractmethod
    def _encode(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def _decode(self, z: Tensor) -> Tensor: ...

    @abstractmethod
    def _log_evidence(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def _draw(self, num_samples: int) -> Tensor: ...

    def fit(self, X: ArrayLike, y: object = None) -> Any:
        """Fit the model to rows X (N, D), N ≥ 2; y is ignored.

        Raises:
            ValueError: X has infinite values, a column without observed entries, missing entries that this model does
                not support, or too few columns for latent_dim.
        """
        X = self._validated(X, reset=True)
        self._fit(torch.from_numpy(X.astype(np.float64)))
        self._dtype = X.dtype
        self._n_features_out = self._encode(torch.zeros(1, X.shape[1], dtype=torch.float64)).shape[1]
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """The latent of each row: (N, latent_dim)."""
        x, dtype = self._rows(X)
        return self._encode(x).numpy().astype(dtype)

    def inverse_transform(self, X: ArrayLike) -> np.ndarray:
        """E[X | z] at latents z (N, latent_dim): (N, n_features_in_).

        Raises:
            ValueError: latents of another length.
        """
        check_is_fitted(self)
        check_two_axes(X, "The array of latents", "latent_dim")
        Z: Any = check_array(X, dtype=_DTYPES)
        if Z.shape[1] != self._n_features_out:
            raise ValueError(
                f"inverse_transform got latents of length {Z.shape[1]} and this {type(self).__name__} makes latents of "
                f"length {self._n_features_out}; give what transform returns."
            )
        return self._decode(torch.from_numpy(Z.astype(np.float64))).numpy().astype(Z.dtype)

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """log p(X) of each row, nats; of its observed entries if some are missing: (N,)."""
        x, _ = self._rows(X)
        return self._log_evidence(x).numpy()

    def score(self, X: ArrayLike, y: object = None) -> float:
        """The mean of `score_samples`, nats per row: larger is better. y is ignored."""
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1) -> np.ndarray:
        """Draw rows from p(X): (n_samples, n_features_in_). An int as `random_state` gives the same rows at every call.

        Raises:
            ValueError: n_samples is less than 1.
        """
        check_is_fitted(self)
        if n_samples < 1:
            raise ValueError(f"sample got n_samples={n_samples} and needs at least 1.")
        with forked(_CPU, self._seed()):
            return self._draw(n_samples).numpy().astype(self._dtype)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        assert tags.transformer_tags is not None
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.allow_nan = self._takes_missing
        return tags

    def _seed(self) -> int:
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _validated(self, X: Any, *, reset: bool) -> np.ndarray:
        check_two_axes(X := plain(X))
        validated: Any = validate_data(
            self,
            X,
            dtype=_DTYPES,
            reset=reset,
            ensure_min_samples=2 if reset else 1,
            ensure_min_features=self._least_columns if reset else 1,
            ensure_all_finite="allow-nan" if self._takes_missing else True,
        )
        return validated

    def _rows(self, X: ArrayLike) -> tuple[Tensor, np.dtype]:
        """X, validated like in `fit`, in double precision; and its own precision."""
        check_is_fitted(self)
        validated = self._validated(X, reset=False)
        return torch.from_numpy(validated.astype(np.float64)), validated.dtype


class LinearGaussianEstimator(LinearEstimator):
    """The base of factor analysis and probabilistic PCA: x = W z + b + σ ε, everything in closed form.

    Attributes:
        exact_: the fitted `exact.LinearGaussian`, in double precision.
        components_: Wᵀ (latent_dim, D).
        mean_: b (D,).
        noise_variance_: σ², (D,) or one number.
    """

    exact_: LinearGaussian

    def impute(self, X: ArrayLike) -> np.ndarray:
        """X with its missing entries (NaN) at their means given the observed ones: (N, n_features_in_)."""
        x, dtype = self._rows(X)
        return impute(self.exact_, x).numpy().astype(dtype)

    def _keep(self, exact: LinearGaussian, values: list[float]) -> None:
        self.exact_, self.log_likelihood_, self.n_iter_ = exact, np.array(values), max(1, len(values) - 1)
        self.components_, self.mean_ = exact.weight.mT.numpy(), exact.offset.numpy()
        self.noise_variance_ = (exact.scale**2).numpy() if exact.scale.ndim else float(exact.scale**2)

    def _encode(self, x: Tensor) -> Tensor:
        return observe(self.exact_, x).mean

    def _decode(self, z: Tensor) -> Tensor:
        return z @ self.exact_.weight.mT + self.exact_.offset

    def _log_evidence(self, x: Tensor) -> Tensor:
        return observed_log_evidence(self.exact_, x)

    def _draw(self, num_samples: int) -> Tensor:
        return self.exact_.sample(num_samples)
