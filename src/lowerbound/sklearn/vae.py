"""A variational autoencoder with scikit-learn's interface: `fit`, `transform`, `score_samples`, `sample`.

    fit                X ↦ p(x, z) and q(z | x), by `plan` and `fitting`, as the command line does
    transform          X ↦ E_q[z | x]
    inverse_transform  Z ↦ E[X | z]
    score_samples      X ↦ L_K ≤ log p(X), nats

The estimator holds a `Fitted`, which does the work, and writes no files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, DensityMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted
from torch import nn

from lowerbound.data.transform import Binarization
from lowerbound.fitted import Fitted
from lowerbound.fitting.defaults import autoencoder_for
from lowerbound.fitting.planning import Plan
from lowerbound.model import LatentVariableModel
from lowerbound.models.variational_autoencoder import Activation, Network
from lowerbound.sklearn.axes import check_two_axes
from lowerbound.sklearn.bridge import (
    DTYPES,
    as_given,
    decode_means,
    dtype_of,
    fit_dataset,
    means,
    seed_of,
    to_dataset,
    validated,
)
from lowerbound.training.engine import Device
from lowerbound.training.record import Record

__all__ = ["VAE"]


class VAE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityMixin, BaseEstimator):
    """log p(X) ≥ L_K(X): a density of the rows of X that also gives each of them a latent.

    X is an array or a DataFrame, which may hold text, categories, dates and gaps (NaN). Arguments left None are decided
    from the data, as by the command line; `plan_` holds the decisions and their reasons.

    Arguments:
        latent_dim: length of z.
        hidden: widths of the hidden layers from the data to z (mirrored back), or channels of a convolutional net.
        prior: name of a class of `priors`, with options (see `spelling`), or a module.
        likelihood: of `likelihoods`, or a module.
        missingness: of `missingness`, where gaps depend on the values that they hide.
        posterior: of `posteriors`, or a module; `fit` copies modules and does not change them.
        network: "mlp" or "convolution", which needs `event_shape`; or nets of one's own, as for `models.vae`.
        activation: nonlinearity.
        event_shape: (height, width) or (channels, height, width) if rows are images; None for rows of a table.
        kind: of data, where the inferred one is wrong ("counts", "table", …).
        columns: the kind of columns, by name, where the inferred one is wrong.
        series: of a table of steps, the column that names the series of each row. Then a series is a datum: results are
            those of the series, in the order in which they come first.
        time: of a table of steps, the column of times; None takes the rows of a series in their order.
        objective, gradient, num_samples: the bound, how it is differentiated, and with how many latents per row.
        num_evidence_samples: K, latents per row in `score_samples`.
        epochs, batch_size, lr, lr_schedule, patience: see `planning.Plan`.
        standardize: whether to fit to columns of mean 0 and standard deviation 1.
        log_columns: columns whose logarithm is modelled, by name (of an array "0", "1", …), or "auto" for those above 0
            with a long tail.
        binarization: of grey values under Bernoulli: "dynamic" re-samples them as probabilities at each visit,
            "threshold" cuts at ½, "none" leaves them.
        random_state: an int is the seed of `fit`, and of every later draw.
        device: where to fit.
        verbose: whether to print each record.

    Attributes:
        fitted_: the `Fitted` model, which has more methods: `report`, `diagnose`, `save`, …
        plan_: everything that was given and decided.
        model_: its `LatentVariableModel`, on the CPU; x is X after standardisation.
        history_: the records of training, in nats of x; a tenth of the rows (at most 5,000) was held out to choose
            the weights.
        n_iter_: optimisation steps taken.
        n_features_in_, feature_names_in_: as in scikit-learn.

    Notes:
        Scores are Monte Carlo estimates, repeatable for the same X; a row that is scored among other rows gets other
        random numbers. The checks of scikit-learn that a row scored alone has the same score therefore fail
        (`check_methods_subset_invariance`, `check_methods_sample_order_invariance`), as with its `BernoulliRBM`.

    References:
        Kingma & Welling (2013), arXiv:1312.6114; L_K: Burda et al. (2016), arXiv:1509.00519, equation 8.

    >>> X = np.random.default_rng(0).normal(size=(50, 4))
    >>> vae = VAE(latent_dim=2, hidden=(8,), epochs=2, random_state=0).fit(X)
    >>> vae.transform(X).shape, vae.score_samples(X).shape, vae.sample(3).shape
    ((50, 2), (50,), (3, 4))
    """

    _SETTINGS = (
        "latent_dim",
        "hidden",
        "prior",
        "likelihood",
        "missingness",
        "posterior",
        "network",
        "activation",
        "objective",
        "gradient",
        "num_samples",
        "epochs",
        "batch_size",
        "lr",
        "lr_schedule",
        "patience",
        "standardize",
        "log_columns",
        "binarization",
    )

    def __init__(
        self,
        latent_dim: int | None = None,
        *,
        hidden: Sequence[int] | None = None,
        prior: str | nn.Module | None = None,
        likelihood: str | nn.Module | None = None,
        missingness: str | None = None,
        posterior: str | nn.Module | None = None,
        network: Network | nn.ModuleDict | None = None,
        activation: Activation | None = None,
        event_shape: Sequence[int] | None = None,
        kind: str | None = None,
        columns: Mapping[Any, str] | None = None,
        series: str | None = None,
        time: str | None = None,
        objective: str | None = None,
        gradient: str | None = None,
        num_samples: int | None = None,
        num_evidence_samples: int = 100,
        epochs: int | float | None = None,
        batch_size: int | None = None,
        lr: int | float | None = None,
        lr_schedule: Literal["constant", "cosine", "exponential"] | None = None,
        patience: int | None = None,
        standardize: bool | None = None,
        log_columns: Sequence[str] | str | None = None,
        binarization: Binarization | None = None,
        random_state: int | np.random.RandomState | None = None,
        device: Device = "auto",
        verbose: bool = False,
    ):
        self.latent_dim = latent_dim
        self.hidden = hidden
        self.prior = prior
        self.likelihood = likelihood
        self.missingness = missingness
        self.posterior = posterior
        self.network = network
        self.activation = activation
        self.event_shape = event_shape
        self.kind = kind
        self.columns = columns
        self.series = series
        self.time = time
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
        self.log_columns = log_columns
        self.binarization = binarization
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    lr_schedule: Literal["constant", "cosine", "exponential"] | None
    binarization: Binarization | None
    device: Device
    feature_names_in_: np.ndarray
    n_features_in_: int
    fitted_: Fitted
    plan_: Plan
    history_: list[Record]

    def fit(self, X: ArrayLike, y: object = None) -> VAE:
        """Fit the model to rows X (N, D), N ≥ 2, or to a list of str, texts or, with kind='molecules', SMILES;
        y is ignored.

        Raises:
            ValueError: X holds infinity, a column to standardise is constant, values are outside the support of the
                likelihood, or choices do not go together.
            NonFiniteError: the loss became NaN or infinite.
        """
        dataset, self._dtype = to_dataset(
            self,
            X,
            event_shape=self.event_shape,
            kind=self.kind,
            columns=self.columns,
            series=self.series,
            time=self.time,
        )
        given = {name: getattr(self, name) for name in self._SETTINGS}
        self.fitted_, self.history_ = fit_dataset(
            dataset,
            given,
            recipe=autoencoder_for(dataset, {name for name, value in given.items() if value is not None}),
            seed=seed_of(self.random_state),
            device=self.device,
            verbose=self.verbose,
        )
        self.plan_ = cast(Plan, self.fitted_.plan)
        self.n_iter_ = self.history_[-1].step
        self._n_features_out = self.fitted_.model.prior(None).event_shape.numel()
        return self

    @property
    def model_(self) -> LatentVariableModel:
        """p(x, z) and q(z | x), on the CPU."""
        return self.fitted_.model

    def transform(self, X: ArrayLike, refine: int = 0) -> np.ndarray:
        """The mean of q(z | x) for each row: (N, latent_dim); a categorical latent takes a column for each category.

        Where q has no mean in closed form it is an average of draws. With refine > 0 the q of each row is first
        improved by that many steps of local optimisation, from the encoder's q (`inference.Local`).
        """
        rows = self._rows(X)
        return self.fitted_.encode(rows, refine=refine).mean.astype(dtype_of(X))

    def inverse_transform(self, X: ArrayLike) -> Any:
        """E[X | z] at latents z (N, latent_dim), in the units of X: (N, n_features_in_).

        Raises:
            ValueError: latents of another length.
        """
        check_is_fitted(self)
        check_two_axes(X, "The array of latents", "latent_dim")
        Z: Any = check_array(X, dtype=DTYPES)
        if Z.shape[1] != self._n_features_out:
            raise ValueError(
                f"inverse_transform got latents of length {Z.shape[1]} and this VAE makes latents of length "
                f"{self._n_features_out}; give what transform returns."
            )
        return means(self.fitted_, decode_means(self.fitted_, Z.astype(np.float32)), Z.dtype)

    def reconstruct(self, X: ArrayLike) -> Any:
        """E[X | z] at the mean of q(z | x), in the units of X: (N, n_features_in_)."""
        rows = self._rows(X)
        latents = self.fitted_.encode(rows).mean
        return means(self.fitted_, decode_means(self.fitted_, latents), dtype_of(X), like=rows)

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """L_K(X), a lower bound of log p(X) in expectation, in nats per row and the units of X: (N,).

        K is `num_evidence_samples`. Values between 0 and 1 are no data of a Bernoulli likelihood. Under a "dynamic"
        binarization the score is that of one random binarization, the same at every call, as in papers. (Under "none"
        they enter the formula of the likelihood, which is then no log-probability.)
        """
        rows = self._rows(X)
        return self.fitted_.score(rows, num_samples=self.num_evidence_samples)

    def score(self, X: ArrayLike, y: object = None) -> float:
        """The mean of `score_samples`, nats per row: larger is better. y is ignored."""
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1) -> Any:
        """Draw rows from p(X): (n_samples, n_features_in_), in the units of X; a DataFrame if X had text.

        An integer `random_state` gives the same rows at every call. Unlike `GaussianMixture.sample` it returns the rows
        alone, because there are no components.

        Raises:
            ValueError: n_samples is less than 1.
        """
        check_is_fitted(self)
        x, _, _ = self.fitted_.draw(n_samples, seed=seed_of(self.random_state))
        return as_given(self.fitted_, x, self._dtype)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        assert tags.transformer_tags is not None
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.allow_nan = True
        return tags

    def _rows(self, X: ArrayLike) -> Any:
        """X in the form that `Fitted` takes."""
        return validated(self, X, self.event_shape)
