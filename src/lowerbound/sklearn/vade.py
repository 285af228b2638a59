"""Clustering by VaDE with scikit-learn's interface: `fit_predict`, `predict_proba`, samples by cluster.

    fit              X ↦ p(c), p(z | c), p(x | z) and q(z | x), by `plan` and `fitting`, as `--recipe vade` does
    predict_proba    X ↦ E_q[p(c | z)]
    sample           c ↦ X, for all clusters or one
    score_samples    X ↦ L_K ≤ log p(X), nats

Labels are not used: y is ignored everywhere. The estimator holds a `Fitted`, which does the work, and writes no
files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from lowerbound.data import Dataset
from lowerbound.data.split import num_for_selection
from lowerbound.fitted import Fitted
from lowerbound.fitting.planning import Plan
from lowerbound.losses import Loss
from lowerbound.model import LatentVariableModel
from lowerbound.models.deep_embedding import RECIPE, fit_mixture, number_by_size, pretrain, sample_cluster, start
from lowerbound.models.recipe import BeforeTraining
from lowerbound.models.variational_autoencoder import Activation
from lowerbound.randomness import derive_seed, forked
from lowerbound.sklearn.bridge import as_given, dtype_of, fit_dataset, seed_of, to_dataset, validated, whole
from lowerbound.training.engine import Device, Engine
from lowerbound.training.record import Record

__all__ = ["VaDE"]

_CPU = torch.device("cpu")
_HOLD_OUT, _SAMPLE = "hold out", "sample"  # streams of random numbers


class VaDE(ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin, BaseEstimator):
    """Clusters of rows: each is a Gaussian in the latents of a variational autoencoder (Jiang et al. 2017).

    X is an array or a DataFrame, which may hold text, categories, dates and gaps (NaN). Arguments left None are decided
    from the data, as by the command line; `plan_` holds the decisions and their reasons.

    Arguments:
        n_clusters: how many; or several numbers, of which the one with the best held-out bound is chosen.
        latent_dim: length of z.
        hidden: widths of the hidden layers from the data to z, mirrored back; None: 64 for rows of fewer than 100
            numbers, else 500, 500 and 2000, which are the paper's.
        likelihood: name of a class of `likelihoods`, with options (see `spelling`).
        activation: nonlinearity.
        event_shape: (height, width) or (channels, height, width) if rows are images; None for rows of a table.
        kind: of data, where the inferred one is wrong ("counts", "table", …).
        columns: the kind of columns, by name, where the inferred one is wrong.
        series: of a table of steps, the column that names the series of each row. Then a series is a datum: results are
            those of the series, in the order in which they come first.
        time: of a table of steps, the column of times; None takes the rows of a series in their order.
        pretrain_epochs: passes over the rows as an autoencoder, before the mixture is fitted to the latents.
        n_init: starts of k-means and EM for the mixture, of which the most likely is kept.
        epochs: passes with the ELBO; 0 leaves the autoencoder and its mixture.
        batch_size: rows per step, of both.
        lr: the learning rate at the start of both; it falls to a hundredth along a cosine.
        num_evidence_samples: K, latents per row in `score_samples` and in the search.
        random_state: an int is the seed of `fit`, and of every later draw.
        device: where to fit.
        verbose: whether to print each record.

    Attributes:
        labels_: the cluster of each row of X, from 0, the largest.
        n_clusters_: how many clusters there are.
        cluster_bounds_: for each number tried, the mean L_K in nats of a tenth of the rows (at most 5,000) that was
            held out; empty if there was one number. The chosen number is then fitted to all rows.
        fitted_: the `Fitted` model, which has more methods: `report`, `diagnose`, `save`, …
        plan_: everything that was given and decided.
        model_: its `LatentVariableModel`, on the CPU; x is X after standardisation.
        history_: the records of training with the ELBO, in nats of x; a tenth of the rows (at most 5,000) was held out
            to choose the weights.
        n_iter_: steps with the ELBO.
        n_features_in_, feature_names_in_: as in scikit-learn.

    Notes:
        Clusters can become empty in training, so that `labels_` may contain fewer than n_clusters_. Fits with different
        seeds differ considerably: fit several and compare them by `score`, or report them all. Grey values under the
        Bernoulli likelihood are scored by its formula, which is no log-probability. Scores are Monte Carlo estimates: a
        row that is scored among other rows gets other random numbers (`check_methods_subset_invariance`,
        `check_methods_sample_order_invariance`); clusters and responsibilities do not depend on the other rows.

    References:
        Jiang et al. (2017), arXiv:1611.05148; L_K: Burda et al. (2016), arXiv:1509.00519, equation 8.

    >>> X = np.random.default_rng(0).normal(size=(60, 4)) + 5 * np.repeat([[0], [1], [2]], 20, axis=0)
    >>> vade = VaDE(3, latent_dim=2, hidden=(8,), pretrain_epochs=20, epochs=5, random_state=0)
    >>> vade.fit_predict(X).shape, vade.predict_proba(X).shape, vade.sample(4, cluster=2)[0].shape
    ((60,), (60, 3), (4, 4))
    """

    _SETTINGS = ("latent_dim", "hidden", "likelihood", "activation", "batch_size", "lr")

    def __init__(
        self,
        n_clusters: int | Sequence[int] = 10,
        *,
        latent_dim: int | None = None,
        hidden: Sequence[int] | None = None,
        likelihood: str | None = None,
        activation: Activation | None = None,
        event_shape: Sequence[int] | None = None,
        kind: str | None = None,
        columns: Mapping[Any, str] | None = None,
        series: str | None = None,
        time: str | None = None,
        pretrain_epochs: int | float = 20,
        n_init: int = 10,
        epochs: int | float | None = None,
        batch_size: int | None = None,
        lr: int | float | None = None,
        num_evidence_samples: int = 100,
        random_state: int | np.random.RandomState | None = None,
        device: Device = "auto",
        verbose: bool = False,
    ):
        self.n_clusters = n_clusters
        self.latent_dim = latent_dim
        self.hidden = hidden
        self.likelihood = likelihood
        self.activation = activation
        self.event_shape = event_shape
        self.kind = kind
        self.columns = columns
        self.series = series
        self.time = time
        self.pretrain_epochs = pretrain_epochs
        self.n_init = n_init
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.num_evidence_samples = num_evidence_samples
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    activation: Activation | None
    device: Device
    n_features_in_: int
    feature_names_in_: np.ndarray
    labels_: np.ndarray
    fitted_: Fitted
    plan_: Plan
    history_: list[Record]
    cluster_bounds_: dict[int, float]

    def fit(self, X: ArrayLike, y: object = None) -> VaDE:
        """Fit clusters to rows X (N, D), N > n_clusters; y is ignored.

        Raises:
            ValueError: more clusters than rows that are trained on, X holds infinity, a column to standardise is
                constant, values are outside the support of the likelihood, or an argument makes no sense.
            NonFiniteError: the loss became NaN or infinite.
        """
        numbers = _numbers(self.n_clusters)
        dataset, self._dtype = to_dataset(
            self,
            X,
            event_shape=self.event_shape,
            kind=self.kind,
            columns=self.columns,
            series=self.series,
            time=self.time,
        )
        seed, options = seed_of(self.random_state), self._options_of_the_start()
        self.cluster_bounds_ = {} if isinstance(numbers, int) else self._search(dataset, numbers, seed, options)
        bounds = self.cluster_bounds_
        self.n_clusters_ = numbers if isinstance(numbers, int) else max(bounds, key=lambda number: bounds[number])
        self.fitted_, self.history_ = self._fitted(dataset, self.n_clusters_, seed, partial(start, **options))
        self.plan_, self.n_iter_ = cast(Plan, self.fitted_.plan), self.history_[-1].step
        self._n_features_out = self.fitted_.model.prior(None).event_shape.numel()
        rows = self.fitted_.test_rows()  # all of X, for nothing was held out for testing
        number_by_size(self.model_, torch.from_numpy(self.fitted_.assign(rows)))
        self.labels_ = self.fitted_.assign(rows)
        return self

    @property
    def model_(self) -> LatentVariableModel:
        """p(x, z) and q(z | x), on the CPU."""
        return self.fitted_.model

    def predict(self, X: ArrayLike) -> np.ndarray:
        """The cluster with the largest responsibility for each row: (N,) integers from 0."""
        rows = self._rows(X)
        return self.fitted_.assign(rows)

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """The responsibilities E_q[p(c | z)] of each row, over 100 draws of z: (N, n_clusters_); rows sum to one."""
        rows = self._rows(X)
        return self.fitted_.probabilities(rows).astype(dtype_of(X))

    def transform(self, X: ArrayLike) -> np.ndarray:
        """The mean of q(z | x) for each row: (N, latent_dim)."""
        rows = self._rows(X)
        return self.fitted_.encode(rows).mean.astype(dtype_of(X))

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """L_K(X), a lower bound of log p(X) in expectation, in nats per row and the units of X: (N,)."""
        rows = self._rows(X)
        return self.fitted_.score(rows, num_samples=whole("num_evidence_samples", self.num_evidence_samples))

    def score(self, X: ArrayLike, y: object = None) -> float:
        """The mean of `score_samples`, nats per row: larger is better. y is ignored."""
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, cluster: int | None = None) -> tuple[Any, np.ndarray]:
        """Draw rows and their clusters, as `GaussianMixture.sample` does.

        An integer `random_state` gives the same rows at every call.

        Arguments:
            n_samples: how many rows.
            cluster: the one to draw from; None draws the cluster of each row from π.

        Returns:
            Rows (n_samples, n_features_in_) in the units of X, a DataFrame if X had text; and their clusters
            (n_samples,).

        Raises:
            ValueError: n_samples is less than 1, or there is no such cluster.
        """
        check_is_fitted(self)
        if n_samples < 1:
            raise ValueError(f"sample got n_samples={n_samples} and needs at least 1.")
        prior: Any = self.model_.prior
        with forked(_CPU, seed_of(self.random_state), _SAMPLE):
            if cluster is None:
                with torch.no_grad():
                    clusters = torch.multinomial(prior().log_weights.exp(), n_samples, replacement=True)
            else:
                clusters = torch.full((n_samples,), whole("cluster", cluster))
            x = torch.empty(n_samples, *self.fitted_.schema.event_shape)
            for c, count in zip(*(each.tolist() for each in clusters.unique(return_counts=True)), strict=True):
                x[clusters == c] = sample_cluster(self.model_, c, count)
        return as_given(self.fitted_, x, self._dtype), clusters.numpy()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        assert tags.transformer_tags is not None
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.allow_nan = True
        return tags

    def _rows(self, X: ArrayLike) -> Any:
        return validated(self, X, self.event_shape)

    def _options_of_the_start(self) -> dict[str, Any]:
        """How `models.deep_embedding.start` begins."""
        given = {
            "epochs": float(self.pretrain_epochs),
            "num_starts": whole("n_init", self.n_init),
            "engine": Engine(device=self.device),
        }
        if self.batch_size is not None:
            given["batch_size"] = whole("batch_size", self.batch_size)
        return given if self.lr is None else {**given, "lr": float(self.lr)}

    def _fitted(self, dataset: Dataset, number: int, seed: int, begin: BeforeTraining) -> tuple[Fitted, list[Record]]:
        """The model with a number of clusters, after a start."""
        trained_on = dataset.num_train - num_for_selection(dataset.num_train)
        if trained_on < number:
            raise ValueError(
                f"VaDE got {trained_on} rows to fit {number} clusters, besides {dataset.num_train - trained_on} that "
                "choose the weights, and needs at least one row for each; ask for fewer clusters or give more rows."
            )
        given = {name: getattr(self, name) for name in self._SETTINGS} | {"clusters": number}
        given |= {"steps": 0} if self.epochs == 0 else {"epochs": self.epochs}
        recipe = dataclasses.replace(RECIPE, start=begin)
        return fit_dataset(dataset, given, recipe=recipe, seed=seed, device=self.device, verbose=self.verbose)

    def _search(self, dataset: Dataset, numbers: list[int], seed: int, options: dict[str, Any]) -> dict[int, float]:
        """The held-out bound of each number of clusters, in the units of X, all after one pretraining."""
        order = np.random.default_rng(derive_seed(seed, _HOLD_OUT)).permutation(dataset.num_train)
        count = num_for_selection(dataset.num_train)
        held_out, rest = (dataset.x_train[np.sort(rows)] for rows in (order[:count], order[count:]))
        part, begin, bounds = dataclasses.replace(dataset, x_train=rest, x_test=held_out), _PretrainedOnce(options), {}
        for number in sorted(numbers, reverse=True):  # the largest first, which is refused where rows are too few
            fitted, _ = self._fitted(part, number, seed, begin)
            num_samples = whole("num_evidence_samples", self.num_evidence_samples)
            bounds[number] = float(fitted.score(fitted.test_rows(), num_samples=num_samples).mean())
            if self.verbose:
                print(f"{number} clusters: held out {bounds[number]:.2f} nats")
        return {number: bounds[number] for number in numbers}


class _PretrainedOnce:
    """The `start` of several models that differ in their number of clusters: the nets are pretrained once, for the
    first.
    """

    def __init__(self, options: dict[str, Any]):
        self.num_starts = options["num_starts"]
        self.options = {name: value for name, value in options.items() if name != "num_starts"}
        self.nets: dict[str, Tensor] = {}

    def __call__(self, loss: Loss, x: Tensor, *, seed: int) -> object:
        model: nn.Module = loss.model
        if not self.nets:
            pretrain(loss.model, x, seed=seed, **self.options)
            state = loss.model.cpu().state_dict()
            self.nets = {name: value.clone() for name, value in state.items() if not name.startswith("prior.")}
        model.load_state_dict({**model.state_dict(), **self.nets})
        return fit_mixture(loss.model, x, seed=seed, num_starts=self.num_starts)


def _numbers(n_clusters: Any) -> int | list[int]:
    """One number of clusters, or those to try.

    Raises:
        ValueError: none, or one that is no whole number from 1.
    """
    several = isinstance(n_clusters, Iterable) and not isinstance(n_clusters, str)
    numbers = [whole("n_clusters", n) for n in n_clusters] if several else [whole("n_clusters", n_clusters)]
    if not numbers or min(numbers) < 1:
        raise ValueError(f"n_clusters is {n_clusters!r}; give a number of clusters from 1, or several.")
    return numbers if several else numbers[0]
