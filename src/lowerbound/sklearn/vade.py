"""Clustering by VaDE with the manners of scikit-learn: `fit_predict`, `predict_proba`, samples by cluster.

    fit              X ↦ p(c), p(z | c), p(x | z) and q(z | x): `models.vade.start`, then the ELBO
    predict_proba    X ↦ E_q[p(c | z)]
    sample           c ↦ X, for all clusters or one
    score_samples    X ↦ L_K ≤ log p(X), nats

No label is asked for, and y is ignored everywhere. The model is on the CPU once it is fitted; no file is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from lowerbound.data import InMemory, check_unit_interval
from lowerbound.engine import Device, Engine
from lowerbound.evaluate import log_evidence
from lowerbound.gradients import Pathwise
from lowerbound.loop import Record, steps_for, train
from lowerbound.losses import VariationalLoss
from lowerbound.model import LatentVariableModel
from lowerbound.models.deep_embedding import (
    fit_mixture,
    number_by_size,
    pretrain,
    responsibilities,
    sample_cluster,
    vade,
)
from lowerbound.models.variational_autoencoder import Activation
from lowerbound.objectives import ELBO
from lowerbound.randomness import derive_seed, forked
from lowerbound.schedules import Cosine
from lowerbound.sklearn.decide import decide_columns, decide_likelihood, whole
from lowerbound.sklearn.rows import latent_means

__all__ = ["VaDE"]

_CPU = torch.device("cpu")
_DTYPES: Any = [np.float64, np.float32]
_BUILD, _HOLD_OUT, _ASSIGN, _SCORE, _SAMPLE = 1, 2, 3, 4, 5  # streams of random numbers
_MOST_HELD_OUT, _DRAWS = 5000, 100


class VaDE(ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin, BaseEstimator):
    """Clusters of rows: each is a Gaussian in the code of a variational autoencoder (Jiang et al. 2017).

    Arguments:
        n_clusters: how many; or several numbers to try, of which the one with the best held-out bound is taken.
        latent_dim: length of z.
        hidden: widths of the hidden layers from the data to z, mirrored back.
        likelihood: of `likelihoods`; "auto" is "bernoulli" if every value of X is in [0, 1], else "normal", for which
            the columns are standardised.
        activation: nonlinearity.
        pretrain_epochs: passes over the rows as an autoencoder, before the mixture is fitted to the codes.
        epochs: passes with the ELBO; 0 leaves the autoencoder and its mixture.
        batch_size: rows per step, at most all.
        lr: the learning rate at the start of both; it falls to a hundredth along a cosine.
        n_init: starts of k-means and EM for the mixture, of which the likeliest is kept.
        num_evidence_samples: K, latents per row in `score_samples` and in the search.
        random_state: an int makes `fit`, and every later draw, repeatable.
        device: where to fit.
        verbose: whether to print each record.

    Attributes:
        labels_: the cluster of each row of X, from 0, the largest.
        n_clusters_: how many clusters there are.
        cluster_bounds_: for each number tried, the mean L_K in nats of a tenth of the rows (at most 5,000) that was
            held out; empty if there was one number. The chosen number is then fitted to all rows.
        model_: the fitted `LatentVariableModel` of x, on the CPU; x is X after standardisation.
        history_: the records of training with the ELBO, in nats of x.
        n_iter_: steps with the ELBO.
        likelihood_: what "auto" stood for.
        columns_: the standardisation.
        n_features_in_, feature_names_in_: as in scikit-learn.

    Notes:
        Clusters can die while training, so that fewer than n_clusters_ may be found in `labels_`. Fits differ with the
        seed, and not by a little: fit several and compare them by `score`, or report them all. Grey values under the
        Bernoulli likelihood are scored by its formula, which is no log-probability. Scores are Monte Carlo estimates:
        a row scored in other company gets other random numbers (`check_methods_subset_invariance`,
        `check_methods_sample_order_invariance`); clusters and responsibilities do not depend on the company.

    References:
        Jiang et al. (2017), arXiv:1611.05148; L_K: Burda et al. (2016), arXiv:1509.00519, equation 8.

    >>> X = np.random.default_rng(0).normal(size=(60, 4)) + 5 * np.repeat([[0], [1], [2]], 20, axis=0)
    >>> vade = VaDE(3, latent_dim=2, hidden=(8,), pretrain_epochs=20, epochs=5, random_state=0)
    >>> vade.fit_predict(X).shape, vade.predict_proba(X).shape, vade.sample(4, cluster=2)[0].shape
    ((60,), (60, 3), (4, 4))
    """

    def __init__(
        self,
        n_clusters: int | Sequence[int] = 10,
        *,
        latent_dim: int = 10,
        hidden: Sequence[int] = (500, 500, 2000),
        likelihood: str = "auto",
        activation: Activation = "relu",
        pretrain_epochs: int | float = 20,
        epochs: int | float = 50,
        batch_size: int = 256,
        lr: int | float = 2e-3,
        n_init: int = 10,
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
        self.pretrain_epochs = pretrain_epochs
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.n_init = n_init
        self.num_evidence_samples = num_evidence_samples
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    activation: Activation
    device: Device
    n_features_in_: int
    feature_names_in_: np.ndarray
    labels_: np.ndarray
    model_: LatentVariableModel
    history_: list[Record]
    cluster_bounds_: dict[int, float]

    def fit(self, X: ArrayLike, y: object = None) -> VaDE:
        """Fit clusters to rows X (N, D), N ≥ n_clusters; y is ignored.

        Raises:
            ValueError: more clusters than rows, X is not finite, a column to standardise is constant, values are
                outside the support of the likelihood, or an argument makes no sense.
            NonFiniteError: the loss became NaN or infinite.
        """
        X = self._validated(X, reset=True)
        numbers = _numbers(self.n_clusters)
        self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        names = list(self.feature_names_in_) if hasattr(self, "feature_names_in_") else None
        self.likelihood_ = decide_likelihood(self.likelihood, X)
        self.columns_ = decide_columns("auto", self.likelihood_, X, names)
        x = self._rows(X)
        self.cluster_bounds_ = {} if isinstance(numbers, int) else self._search(x, numbers)
        bounds = self.cluster_bounds_
        self.n_clusters_ = numbers if isinstance(numbers, int) else max(bounds, key=lambda number: bounds[number])
        _check_enough(self.n_clusters_, len(x))
        model = self._pretrained(x, self.n_clusters_)
        self.history_ = self._fitted(model, x)
        self.n_iter_ = self.history_[-1].step if self.history_ else 0
        self.model_ = model.to(_CPU).eval()
        self._n_features_out, self._dtype = self.latent_dim, X.dtype
        number_by_size(self.model_, self._responsibilities(x).argmax(1))
        self.labels_ = self._responsibilities(x).argmax(1).numpy()
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """The cluster with the largest responsibility for each row: (N,) integers from 0."""
        return self._responsibilities(self._rows(self._checked(X))).argmax(1).numpy()

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """The responsibilities E_q[p(c | z)] of each row, over 100 draws of z: (N, n_clusters_); rows sum to one."""
        X = self._checked(X)
        return self._responsibilities(self._rows(X)).numpy().astype(X.dtype)

    def transform(self, X: ArrayLike) -> np.ndarray:
        """The mean of q(z | x) for each row: (N, latent_dim)."""
        X = self._checked(X)
        return latent_means(self.model_, self._rows(X)).numpy().astype(X.dtype)

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """L_K(X), a lower bound of log p(X) in expectation, in nats per row and the units of X: (N,)."""
        return self._bounds(self.model_, self._rows(self._checked(X)))

    def score(self, X: ArrayLike, y: object = None) -> float:
        """The mean of `score_samples`, nats per row: larger is better. y is ignored."""
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, cluster: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Draw rows and their clusters, as `GaussianMixture.sample` does.

        An integer `random_state` gives the same rows at every call.

        Arguments:
            n_samples: how many rows.
            cluster: the one to draw from; None draws the cluster of each row from π.

        Returns:
            Rows (n_samples, n_features_in_) in the units of X, and their clusters (n_samples,).

        Raises:
            ValueError: n_samples is less than 1, or there is no such cluster.
        """
        check_is_fitted(self)
        if n_samples < 1:
            raise ValueError(f"sample got n_samples={n_samples} and needs at least 1.")
        prior: Any = self.model_.prior
        with forked(_CPU, int(check_random_state(self.random_state).randint(2**31 - 1)), _SAMPLE):
            if cluster is None:
                with torch.no_grad():
                    clusters = torch.multinomial(prior().log_weights.exp(), n_samples, replacement=True)
            else:
                clusters = torch.full((n_samples,), whole("cluster", cluster))
            x = torch.empty(n_samples, self.n_features_in_)
            for c, count in zip(*(each.tolist() for each in clusters.unique(return_counts=True)), strict=True):
                x[clusters == c] = sample_cluster(self.model_, c, count)
        return self.columns_.undo(x.numpy()).astype(self._dtype), clusters.numpy()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        assert tags.transformer_tags is not None
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _search(self, x: Tensor, numbers: list[int]) -> dict[int, float]:
        """The held-out bound of each number of clusters, in nats of X, all from one pretraining."""
        order = torch.from_numpy(np.random.default_rng(derive_seed(self._seed, _HOLD_OUT)).permutation(len(x)))
        count = min(max(1, len(x) // 10), _MOST_HELD_OUT)
        held_out, rest = x[order[:count]], x[order[count:]]
        _check_enough(max(numbers), len(rest))
        nets = self._pretrained(rest, max(numbers))
        bounds = {}
        for number in numbers:
            model = self._built(number)
            trained = {name: value for name, value in nets.state_dict().items() if not name.startswith("prior.")}
            model.load_state_dict({**model.state_dict(), **trained})
            self._fitted(model, rest)
            bounds[number] = float(self._bounds(model.to(_CPU).eval(), held_out).mean())
            if self.verbose:
                print(f"{number} clusters: held out {bounds[number]:.2f} nats")
        return bounds

    def _built(self, number: int) -> LatentVariableModel:
        with forked(_CPU, self._seed, _BUILD):
            return vade(
                (self.n_features_in_,),
                clusters=number,
                latent_dim=whole("latent_dim", self.latent_dim),
                hidden=[whole("hidden", width) for width in self.hidden],
                likelihood=self.likelihood_,
                activation=self.activation,
            )

    def _pretrained(self, x: Tensor, number: int) -> LatentVariableModel:
        """A new model whose nets are an autoencoder of the rows."""
        model = self._built(number)
        pretrain(
            model,
            x,
            seed=self._seed,
            epochs=float(self.pretrain_epochs),
            batch_size=whole("batch_size", self.batch_size),
            lr=float(self.lr),
            engine=Engine(device=self.device),
        )
        return model

    def _fitted(self, model: LatentVariableModel, x: Tensor) -> list[Record]:
        """Fit the mixture to the codes, then raise the ELBO of the rows."""
        fit_mixture(model, x, seed=self._seed, num_starts=whole("n_init", self.n_init))
        engine, batch_size = Engine(device=self.device), min(whole("batch_size", self.batch_size), len(x))
        num_steps = steps_for(float(self.epochs), len(x), batch_size) if self.epochs > 0 else 0
        records: list[Record] = []
        if not num_steps:
            return records
        loss, lr = VariationalLoss(model, ELBO(), Pathwise()), float(self.lr)
        for record in train(
            loss,
            InMemory(x, device=engine.torch_device),
            num_steps=num_steps,
            batch_size=batch_size,
            lr=Cosine(lr, lr / 100, num_steps),
            seed=self._seed,
            log_every=steps_for(1, len(x), batch_size),
            engine=engine,
        ):
            records.append(record)
            if self.verbose:
                print(f"step {record.step}: bound {record.terms['bound']:.2f} nats")
        return records

    def _responsibilities(self, x: Tensor) -> Tensor:
        return responsibilities(self.model_, x, num_samples=_DRAWS, seed=derive_seed(self._seed, _ASSIGN))

    def _bounds(self, model: LatentVariableModel, x: Tensor) -> np.ndarray:
        """L_K of each row, in nats of X."""
        num_samples = whole("num_evidence_samples", self.num_evidence_samples)
        estimate = log_evidence(model, x, num_samples=num_samples, seed=derive_seed(self._seed, _SCORE))
        return estimate.log_evidence.double().numpy() - self.columns_.log_scale

    def _validated(self, X: Any, *, reset: bool) -> np.ndarray:
        validated: Any = validate_data(self, X, dtype=_DTYPES, reset=reset, ensure_min_samples=2 if reset else 1)
        return validated

    def _checked(self, X: ArrayLike) -> np.ndarray:
        """X as `fit` would take it: (N, n_features_in_), float64 or float32."""
        check_is_fitted(self)
        return self._validated(X, reset=False)

    def _rows(self, X: np.ndarray) -> Tensor:
        """x as the likelihood sees it: (N, n_features_in_) float32."""
        if self.likelihood_ == "bernoulli":
            check_unit_interval(X, "X")
        return torch.from_numpy(self.columns_.apply(X))


def _numbers(n_clusters: Any) -> int | list[int]:
    """One number of clusters, or those to try."""
    if not isinstance(n_clusters, Iterable) or isinstance(n_clusters, str):
        numbers: int | list[int] = whole("n_clusters", n_clusters)
        several = [numbers]
    else:
        numbers = several = [whole("n_clusters", number) for number in n_clusters]
    if not several or min(several) < 1:
        raise ValueError(f"n_clusters is {n_clusters}; give a number of clusters from 1, or several of them to try.")
    return numbers


def _check_enough(number: int, num_rows: int) -> None:
    if number > num_rows:
        raise ValueError(
            f"VaDE got {num_rows} rows to fit {number} clusters to and needs at least one row for each; ask for fewer "
            "clusters or give more rows."
        )
