"""A variational autoencoder with the manners of scikit-learn: `fit`, `transform`, `score_samples`, `sample`.

    fit                X ↦ p(x, z) and q(z | x), by `fitting`, as the command line does
    transform          X ↦ E_q[z | x]
    inverse_transform  Z ↦ E[X | z]
    score_samples      X ↦ L_K ≤ log p(X), nats

The estimator keeps the model on the CPU once it is fitted, and writes no files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, DensityMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from lowerbound.data import Dataset, Schema, check_unit_interval
from lowerbound.data.transform import Binarization
from lowerbound.engine import Device
from lowerbound.evaluate import log_evidence
from lowerbound.fitting import Settings, fit, prepare
from lowerbound.inference import Local, with_inference
from lowerbound.loop import Record
from lowerbound.model import LatentVariableModel
from lowerbound.models.variational_autoencoder import Activation, Network
from lowerbound.randomness import derive_seed, forked
from lowerbound.sklearn.decide import decide_binarization, decide_columns, decide_likelihood, whole
from lowerbound.sklearn.rows import data_means, latent_means

__all__ = ["VAE"]

_CPU = torch.device("cpu")
_DTYPES: Any = [np.float64, np.float32]
_ENCODE, _SCORE, _SAMPLE = 1, 2, 3  # streams of random numbers, apart from those of `fit`


class VAE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityMixin, BaseEstimator):
    """log p(X) ≥ L_K(X): a density of the rows of X that also gives each of them a code.

    Arguments:
        latent_dim: length of z.
        hidden: widths of the hidden layers from the data to z (mirrored back), or channels of a convolutional net.
        prior: name of a class of `priors`, with options (see `spelling`).
        likelihood: of `likelihoods`; "auto" is "bernoulli" if every value of X is in [0, 1], else "normal".
        posterior: of `posteriors`.
        network: "mlp" or "convolution"; the second needs `event_shape`.
        activation: nonlinearity.
        event_shape: (height, width) or (channels, height, width) if rows are images; None for plain rows.
        objective, gradient, num_samples: the bound, how it is differentiated, and with how many latents per row.
        num_evidence_samples: K, latents per row in `score_samples`.
        epochs, batch_size, lr, lr_schedule, patience: see `fitting.Settings`; a batch has at most all training rows.
        standardize: whether to fit to columns of mean 0 and standard deviation 1; "auto": if the likelihood is on the
            whole real line (normal, Laplace, Student t).
        binarization: of values in [0, 1] under Bernoulli: "dynamic" re-samples them as probabilities at each visit,
            "threshold" cuts at ½, "none" leaves them; "auto" is "dynamic" if there are values between 0 and 1.
        random_state: an int makes `fit`, and every later draw, repeatable.
        device: where to fit.
        verbose: whether to print each record.

    Attributes:
        model_: the fitted `LatentVariableModel` of x, on the CPU; x is X after standardisation.
        history_: the records of training, in nats of x; a tenth of the rows (at most 5,000) was held out to choose
            the weights.
        n_iter_: optimisation steps taken.
        likelihood_, binarization_: what "auto" stood for.
        columns_: the standardisation.
        n_features_in_, feature_names_in_: as in scikit-learn.

    Notes:
        Scores are Monte Carlo estimates, repeatable for the same X; a row scored in other company gets other random
        numbers. Hence the checks of scikit-learn that ask for the bits of a row scored alone are not met
        (`check_methods_subset_invariance`, `check_methods_sample_order_invariance`), as with its `BernoulliRBM`.

    References:
        Kingma & Welling (2013), arXiv:1312.6114; L_K: Burda et al. (2016), arXiv:1509.00519, equation 8.

    >>> X = np.random.default_rng(0).normal(size=(50, 4))
    >>> vae = VAE(latent_dim=2, hidden=(8,), epochs=2, random_state=0).fit(X)
    >>> vae.transform(X).shape, vae.score_samples(X).shape, vae.sample(3).shape
    ((50, 2), (50,), (3, 4))
    """

    def __init__(
        self,
        latent_dim: int = 16,
        *,
        hidden: Sequence[int] = (256, 256),
        prior: str = "standard-normal",
        likelihood: str = "auto",
        posterior: str = "diagonal-normal",
        network: Network = "mlp",
        activation: Activation = "relu",
        event_shape: Sequence[int] | None = None,
        objective: str = "elbo",
        gradient: str = "pathwise",
        num_samples: int = 1,
        num_evidence_samples: int = 100,
        epochs: int | float = 100,
        batch_size: int = 128,
        lr: int | float = 1e-3,
        lr_schedule: Literal["constant", "cosine", "exponential"] = "cosine",
        patience: int | None = None,
        standardize: bool | Literal["auto"] = "auto",
        binarization: Binarization | Literal["auto"] = "auto",
        random_state: int | np.random.RandomState | None = None,
        device: Device = "auto",
        verbose: bool = False,
    ):
        self.latent_dim = latent_dim
        self.hidden = hidden
        self.prior = prior
        self.likelihood = likelihood
        self.posterior = posterior
        self.network = network
        self.activation = activation
        self.event_shape = event_shape
        self.objective = objective
        self.gradient = gradient
        self.num_samples = num_samples
        self.num_evidence_samples = num_evidence_samples
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.lr_schedule = lr_schedule
        self.patience = patience
        self.standardize = standardize
        self.binarization = binarization
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    lr_schedule: Literal["constant", "cosine", "exponential"]
    standardize: bool | Literal["auto"]
    binarization: Binarization | Literal["auto"]
    device: Device
    feature_names_in_: np.ndarray
    binarization_: Binarization
    model_: LatentVariableModel
    history_: list[Record]

    def fit(self, X: ArrayLike, y: object = None) -> VAE:
        """Fit the model to rows X (N, D), N ≥ 2; y is ignored.

        Raises:
            ValueError: X is not finite, a column is constant, values are outside the support of the likelihood, or
                choices do not go together.
            NonFiniteError: the loss became NaN or infinite.
        """
        X = self._validated(X, reset=True)
        self._seed = _draw_seed(self.random_state)
        self._decide(X)
        x = self._events(X)
        settings = self._settings(num_rows=len(x))
        problem = prepare(_as_dataset(x, self.event_shape), settings, settings.engine())
        self.history_ = []
        for record in fit(problem, settings, settings.engine()):
            self.history_.append(record)
            if self.verbose:
                print(_line(record))
        self.n_iter_ = self.history_[-1].step
        self.model_ = problem.loss.model.to(_CPU).eval()
        self._dtype = X.dtype
        code = self._codes(self._intensities(X[:1]))[0]
        self._latent_shape, self._n_features_out = tuple(code.shape), code.numel()
        return self

    def transform(self, X: ArrayLike, refine: int = 0) -> np.ndarray:
        """The mean of q(z | x) for each row: (N, latent_dim); a categorical latent takes a column for each category.

        Where q has no mean in closed form it is the average of 1,000 draws. With refine > 0 the q of each row is first
        improved by so many steps of local optimisation from the encoder's (`inference.Local`).
        """
        X = self._checked(X)
        return self._codes(self._intensities(X), refine).flatten(1).numpy().astype(X.dtype)

    def inverse_transform(self, X: ArrayLike) -> np.ndarray:
        """E[X | z] at codes z (N, latent_dim), in the units of X: (N, n_features_in_).

        Raises:
            ValueError: codes of another length.
        """
        check_is_fitted(self)
        Z = check_array(X, dtype=_DTYPES)
        if Z.shape[1] != self._n_features_out:
            raise ValueError(
                f"inverse_transform got codes of length {Z.shape[1]} and this VAE makes codes of length "
                f"{self._n_features_out}; give what transform returns."
            )
        z = torch.from_numpy(Z.astype(np.float32)).unflatten(1, self._latent_shape)
        return self._back(data_means(self.model_, z)).astype(Z.dtype)

    def reconstruct(self, X: ArrayLike) -> np.ndarray:
        """E[X | z] at the mean of q(z | x), in the units of X: (N, n_features_in_)."""
        X = self._checked(X)
        codes = self._codes(self._intensities(X))
        return self._back(data_means(self.model_, codes)).astype(X.dtype)

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """L_K(X), a lower bound of log p(X) in expectation, in nats per row and the units of X: (N,).

        K is `num_evidence_samples`. Values between 0 and 1 under a "dynamic" binarization are no data of a Bernoulli
        likelihood: there the score is that of one random binarization, the same at every call, as papers report it.
        (With "none" it puts them into the formula of the likelihood, which is no log-probability.)
        """
        X = self._checked(X)
        x, seed = self._intensities(X), derive_seed(self._seed, _SCORE)
        if self.binarization_ == "dynamic":
            with forked(_CPU, seed):
                x = torch.bernoulli(x)
        num_samples = whole("num_evidence_samples", self.num_evidence_samples)
        estimate = log_evidence(self.model_, x, num_samples=num_samples, seed=seed)
        return estimate.log_evidence.double().numpy() - self.columns_.log_scale

    def score(self, X: ArrayLike, y: object = None) -> float:
        """The mean of `score_samples`, nats per row: larger is better. y is ignored."""
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1) -> np.ndarray:
        """Draw rows from p(X): (n_samples, n_features_in_), in the units of X.

        An integer `random_state` gives the same rows at every call. `GaussianMixture.sample` returns a tuple of rows
        and components; there are no components here, and the rows come alone.

        Raises:
            ValueError: n_samples is less than 1.
        """
        check_is_fitted(self)
        if n_samples < 1:
            raise ValueError(f"sample got n_samples={n_samples} and needs at least 1.")
        with forked(_CPU, _draw_seed(self.random_state), _SAMPLE):
            x = self.model_.sample(n_samples)
        return self._back(x).astype(self._dtype)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        assert tags.transformer_tags is not None
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _settings(self, num_rows: int) -> Settings:
        """The settings of `fitting`, with rows that are standardised already."""
        model = {
            "latent_dim": whole("latent_dim", self.latent_dim),
            "prior": self.prior,
            "likelihood": self.likelihood_,
            "posterior": self.posterior,
            "network": self.network,
            "hidden": [whole("hidden", width) for width in self.hidden],
            "activation": self.activation,
        }
        return Settings(
            model=model,
            objective=self.objective,
            gradient=self.gradient,
            num_samples=whole("num_samples", self.num_samples),
            binarization=self.binarization_,
            standardize=False,
            batch_size=min(whole("batch_size", self.batch_size), num_rows - max(1, num_rows // 10)),
            epochs=float(self.epochs),
            lr=float(self.lr),
            lr_schedule=self.lr_schedule,
            patience=self.patience,
            seed=self._seed,
            device=self.device,
        )

    def _decide(self, X: np.ndarray) -> None:
        """What each "auto" stands for, given the rows."""
        names = list(self.feature_names_in_) if hasattr(self, "feature_names_in_") else None
        self.likelihood_ = decide_likelihood(self.likelihood, X)
        self.binarization_ = decide_binarization(self.binarization, self.likelihood_, X)
        self.columns_ = decide_columns(self.standardize, self.likelihood_, X, names)

    def _validated(self, X: Any, *, reset: bool) -> np.ndarray:
        validated: Any = validate_data(self, X, dtype=_DTYPES, reset=reset, ensure_min_samples=2 if reset else 1)
        return validated

    def _checked(self, X: ArrayLike) -> np.ndarray:
        """X as `fit` would take it: (N, n_features_in_), float64 or float32."""
        check_is_fitted(self)
        X = self._validated(X, reset=False)
        if self.likelihood_ == "bernoulli":
            check_unit_interval(X, "X")
        return X

    def _events(self, X: np.ndarray) -> np.ndarray:
        """The rows that the transform of the model sees: (N, *event_shape) float32, in the units of x."""
        x = self.columns_.apply(X)
        shape = (x.shape[1],) if self.event_shape is None else tuple(self.event_shape)
        if math.prod(shape) != x.shape[1]:
            raise ValueError(
                f"event_shape is {shape}, which has {math.prod(shape)} values, and X has {x.shape[1]} columns; give "
                "one whose product is the number of columns."
            )
        return x.reshape(len(x), *shape)

    def _intensities(self, X: np.ndarray) -> Tensor:
        """x as it is encoded: (N, *event_shape). Values that are re-sampled in training are encoded as they are."""
        x = torch.from_numpy(self._events(X))
        return (x > 0.5).float() if self.binarization_ == "threshold" else x

    def _codes(self, x: Tensor, refine: int = 0) -> Tensor:
        model = with_inference(self.model_, Local(num_steps=refine)) if refine else self.model_
        with forked(_CPU, self._seed, _ENCODE):
            return latent_means(model, x)

    def _back(self, x: Tensor) -> np.ndarray:
        """From x (N, *event_shape) to X (N, n_features_in_)."""
        return self.columns_.undo(x.flatten(1).numpy())


def _draw_seed(random_state: int | np.random.RandomState | None) -> int:
    return int(check_random_state(random_state).randint(2**31 - 1))


def _as_dataset(x: np.ndarray, event_shape: Sequence[int] | None) -> Dataset:
    """Rows in memory, all of them to be fitted: there is no test part, and no file to tell by a checksum."""
    schema = Schema(kind="table" if event_shape is None else "image", event_shape=x.shape[1:])
    return Dataset(name="X", schema=schema, x_train=x, x_test=x[:0], source="memory", checksum="")


def _line(record: Record) -> str:
    held_out = f", held out {record.held_out['bound']:.2f}" if record.held_out else ""
    return f"step {record.step}: bound {record.terms['bound']:.2f} nats{held_out}"
