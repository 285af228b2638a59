"""A classifier that learns from a few labels and many rows: M2, and M2 on the latents of a VAE (M1+M2).

    fit             X, y ↦ p(y) p(z) p(x | z, y), q(y | x) and q(z | x, y), where y = −1 marks an unknown label
    predict_proba   X ↦ q(y | x)
    transfer        X ↦ E[X' | z, y]: the same style under other labels
    sample          y ↦ X, of one class

Source: Kingma, Rezende, Mohamed & Welling (2014, arXiv:1406.5298). M1, a variational autoencoder of all rows whose mean
latents feed a classifier, is `make_pipeline(VAE(), SVC())`, where the VAE may be fitted to more rows than the
classifier. Training is that of `--recipe semi-supervised`: the estimator holds a `Fitted`, which does the work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d
from torch import Tensor

from lowerbound.data.classes import UNLABELLED
from lowerbound.data.labels import array_of_labels, is_missing
from lowerbound.data.transform import Binarization
from lowerbound.fitted import Fitted
from lowerbound.fitting.planning import Plan
from lowerbound.labelled import LabelledModel
from lowerbound.models.variational_autoencoder import Activation
from lowerbound.randomness import derive_seed
from lowerbound.sklearn.bridge import as_given, dtype_of, fit_dataset, means, seed_of, to_dataset, validated
from lowerbound.sklearn.vae import VAE
from lowerbound.spelling import spelled
from lowerbound.training.engine import Device
from lowerbound.training.record import Record

__all__ = ["SemiSupervisedVAE"]

Stack: TypeAlias = Literal["m2", "m1+m2"]
LabelsBy: TypeAlias = Literal["enumerate", "sample"]
_BLOCK = 1024
_M1 = "m1"  # a stream of random numbers, apart from that of M2


class SemiSupervisedVAE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClassifierMixin, BaseEstimator):
    """q(y | x), learned from labelled and unlabelled rows together.

    X is an array or a DataFrame, which may hold text, categories, dates and gaps (NaN). Arguments left None are decided
    from the data, as by the command line; `plan_` holds the decisions and their reasons.

    Arguments:
        latent_dim: length of the style z.
        hidden: widths of the hidden layers of each net.
        likelihood: name of a class of `likelihoods`, with options (see `spelling`).
        activation: nonlinearity.
        event_shape: (height, width) or (channels, height, width) if rows are images; None for rows of a table.
        kind: of data, where the inferred one is wrong ("counts", "table", …).
        columns: the kind of columns, by name, where the inferred one is wrong.
        stack: "m2" models the rows; "m1+m2" models the latents of a `VAE` of all rows, which is fitted first: these are
            fewer numbers, from which labels are easier to learn.
        labels: how an unknown label is summed out: "enumerate" takes all classes, which costs in proportion to their
            number; "sample" draws two, which is cheaper with many classes, and noisy.
        classification_weight: α, the weight of the mean log q(y | x) of labelled rows beside the mean bound.
        labelled_weight: γ, an additional weight of the mean bound of labelled rows: with 1, p(x | z, y) learns from
            known labels as much as from guessed ones. It helps with several hundred labels and hurts with few.
        epochs, batch_size: passes over all rows, and rows per step; labelled rows are added to each batch.
        lr: learning rate at the start; it falls along a cosine to a hundredth.
        standardize, binarization: see `VAE`.
        random_state: an int is the seed of `fit`, and of every later draw.
        device: where to fit.

    Attributes:
        classes_: the labels that `fit` saw, sorted.
        fitted_: the `Fitted` model of the rows, or of their latents under "m1+m2".
        plan_: everything that was given and decided for it.
        model_: its `LabelledModel`, on the CPU, of x: X after standardisation, or latents.
        vae_: the `VAE` whose latents are modelled, or None.
        history_: the records of training; a tenth of the rows (at most 5,000), unlabelled ones if possible, was held
            out to choose the weights.
        n_iter_: optimisation steps taken.
        n_features_in_, feature_names_in_: as in scikit-learn.

    Notes:
        Labels may be of any sortable type; −1 means no label, as in `sklearn.semi_supervised`, and so does what is
        missing (None, NaN, an empty text) among text and objects.

    References:
        Kingma, Rezende, Mohamed & Welling (2014), arXiv:1406.5298.

    >>> X = np.random.default_rng(0).normal(size=(60, 4)) + 4 * (np.arange(60) % 2)[:, None]
    >>> y = np.where(np.arange(60) < 10, np.arange(60) % 2, -1)
    >>> model = SemiSupervisedVAE(latent_dim=2, hidden=(8,), epochs=20, random_state=0).fit(X, y)
    >>> model.predict(X).shape, model.transfer(X[:5], labels=[1]).shape
    ((60,), (5, 1, 4))
    """

    _SETTINGS = (
        "latent_dim",
        "hidden",
        "activation",
        "epochs",
        "batch_size",
        "lr",
    )
    _SETTINGS_OF_ROWS = ("likelihood", "standardize", "binarization")

    stack: Stack
    labels: LabelsBy
    activation: Activation | None
    binarization: Binarization | None
    device: Device
    feature_names_in_: np.ndarray
    n_features_in_: int
    fitted_: Fitted
    plan_: Plan
    history_: list[Record]
    vae_: VAE | None

    def __init__(
        self,
        latent_dim: int | None = None,
        *,
        hidden: Sequence[int] | None = None,
        likelihood: str | None = None,
        activation: Activation | None = None,
        event_shape: Sequence[int] | None = None,
        kind: str | None = None,
        columns: Mapping[Any, str] | None = None,
        stack: Stack = "m2",
        labels: LabelsBy = "enumerate",
        classification_weight: int | float = 1.0,
        labelled_weight: int | float = 0.0,
        epochs: int | float | None = None,
        batch_size: int | None = None,
        lr: int | float | None = None,
        standardize: bool | None = None,
        binarization: Binarization | None = None,
        random_state: int | np.random.RandomState | None = None,
        device: Device = "auto",
    ):
        self.latent_dim = latent_dim
        self.hidden = hidden
        self.likelihood = likelihood
        self.activation = activation
        self.event_shape = event_shape
        self.kind = kind
        self.columns = columns
        self.stack = stack
        self.labels = labels
        self.classification_weight = classification_weight
        self.labelled_weight = labelled_weight
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.standardize = standardize
        self.binarization = binarization
        self.random_state = random_state
        self.device = device

    def fit(self, X: ArrayLike, y: ArrayLike) -> SemiSupervisedVAE:
        """Fit to rows X (N, D) with labels y (N,), −1 or missing where there is none.

        Raises:
            ValueError: no row has a label, fewer than two classes, or what `VAE.fit` refuses.
        """
        _check_choices(self.stack, self.labels)
        dataset, self._dtype = to_dataset(self, X, event_shape=self.event_shape, kind=self.kind, columns=self.columns)
        labels = self._known(y, dataset.num_train)
        seed = seed_of(self.random_state)
        given = {name: getattr(self, name) for name in self._SETTINGS} | self._loss()
        self.vae_ = None
        if self.stack == "m1+m2":
            self.vae_ = self._vae(derive_seed(seed, _M1) % 2**31).fit(X)
            dataset, _ = to_dataset(VAE(), self._latents(X), labels, kind="table", columns={"*": "continuous"})
        else:
            dataset, _ = to_dataset(self, X, labels, event_shape=self.event_shape, kind=self.kind, columns=self.columns)
            given |= {name: getattr(self, name) for name in self._SETTINGS_OF_ROWS}
        self.fitted_, self.history_ = fit_dataset(
            dataset, given, recipe="semi-supervised", seed=seed, device=self.device, verbose=False
        )
        self.plan_, self.n_iter_ = cast(Plan, self.fitted_.plan), self.history_[-1].step
        self._n_features_out = int(self.plan_.model["latent_dim"])
        return self

    @property
    def model_(self) -> LabelledModel:
        """p(x, y, z), q(y | x) and q(z | x, y), on the CPU."""
        return cast(LabelledModel, self.fitted_.model)

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """q(y | x) for each row: (N, number of classes), in the order of `classes_`."""
        rows = self._rows(X)
        p = self.fitted_.probabilities(rows).astype(np.float64)
        return p / p.sum(1, keepdims=True)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """The most probable label of each row: (N,)."""
        p = self.predict_proba(X)
        return self.classes_[p.argmax(1)]

    @torch.no_grad()
    def transform(self, X: ArrayLike) -> np.ndarray:
        """The mean of q(z | x, y) at the most probable label y: (N, latent_dim)."""
        x = self._events(X)
        y = self.model_.one_hot(self._most_probable(X))
        parts = zip(x.split(_BLOCK), y.split(_BLOCK), strict=True)
        return torch.cat([self.model_.infer(*part).mean for part in parts]).numpy().astype(dtype_of(X))

    def transfer(self, X: ArrayLike, labels: ArrayLike | None = None) -> Any:
        """E[X' | z, y]: the style of each row under its own (most probable) label, decoded under other labels.

        Arguments:
            X: rows (N, D).
            labels: under which to decode (L,); all of `classes_` if None.

        Returns:
            (N, L, D) in the units of X; if X had text, a DataFrame of N L rows, those of one row of X together.

        Raises:
            ValueError: a label that `fit` did not see.
        """
        x, own = self._events(X), self._most_probable(X)
        wanted = self._places(self.classes_ if labels is None else labels)
        moved = self.model_.transfer(x, wanted, own)
        rows = self._back(moved.flatten(0, 1), dtype_of(X), drawn=False)
        return rows.reshape(*moved.shape[:2], -1) if isinstance(rows, np.ndarray) else rows

    def sample(self, n_samples: int = 1, label: Any = None) -> Any:
        """Draw rows (n_samples, D) from p(X), or from p(X | y) for one label; a DataFrame if X had text.

        An integer `random_state` repeats them.

        Raises:
            ValueError: n_samples is less than 1, or a label that `fit` did not see.
        """
        check_is_fitted(self)
        classes = self.fitted_.schema.classes
        assert classes is not None
        name = None if label is None else classes[int(self._places([label]))]
        x, _, _ = self.fitted_.draw(n_samples, label=name, seed=seed_of(self.random_state))
        return self._back(x, self._dtype, drawn=True)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        assert tags.transformer_tags is not None
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.allow_nan = True
        return tags

    def _known(self, y: ArrayLike, count: int) -> np.ndarray:
        """Labels as the schema takes them, None where there is none; sets `classes_`."""
        if y is None:
            raise ValueError(
                "SemiSupervisedVAE requires y to be passed, but the target y is None; give -1 for no label."
            )
        labels = column_or_1d(array_of_labels(y), warn=True)
        if len(labels) != count:
            check_consistent_length(np.empty(count), labels)
        known = _are_known(labels)
        if labels.dtype.kind == "f" and not np.isfinite(labels).all():
            raise ValueError("y contains NaN or infinity; give -1 where a label is not known.")
        if not known.any():
            raise ValueError(
                "y has no label (all are -1 or missing); label some rows of each class, or fit a VAE, which takes none."
            )
        self.classes_ = _classes(labels[known])
        if len(self.classes_) < 2:
            raise ValueError(
                f"y has one class, {self.classes_[0]!r}; expected at least 2 classes besides -1 (no label)."
            )
        return np.array([label if told else None for label, told in zip(labels.tolist(), known, strict=True)], object)

    def _places(self, labels: ArrayLike) -> Tensor:
        """The numbers of some classes."""
        given, known = np.asarray(labels).ravel().tolist(), self.classes_.tolist()
        for label in given:
            if label not in known:
                raise ValueError(
                    f"The label {label!r} is none that fit saw; choose from {', '.join(map(repr, known[:20]))}."
                )
        return torch.tensor([known.index(label) for label in given], dtype=torch.long)

    def _loss(self) -> dict[str, Any]:
        """The treatment of labels, in the words of a plan."""
        weights = {
            "classification_weight": float(self.classification_weight),
            "labelled_weight": float(self.labelled_weight),
        }
        gradient = "enumerate" if self.labels == "enumerate" else "score-function"
        return {"loss": spelled("semi-supervised", weights), "gradient": gradient}

    def _vae(self, seed: int) -> VAE:
        """M1."""
        given = {name: getattr(self, name) for name in (*self._SETTINGS, *self._SETTINGS_OF_ROWS)}
        described = {"event_shape": self.event_shape, "kind": self.kind, "columns": self.columns}
        return VAE(**given, **described, random_state=seed, device=self.device)

    def _rows(self, X: ArrayLike) -> Any:
        """X as `Fitted` takes it: rows, or their latents."""
        rows = validated(self, X, self.event_shape)
        return rows if self.vae_ is None else self._latents(X)

    def _latents(self, X: ArrayLike) -> np.ndarray:
        assert self.vae_ is not None
        return self.vae_.transform(X).astype(np.float64)

    def _events(self, X: ArrayLike) -> Tensor:
        """Rows in the form that M2 sees."""
        rows = self._rows(X)
        return self.fitted_.events(self.fitted_.rows(rows).x)

    def _most_probable(self, X: ArrayLike) -> Tensor:
        """The number of the most probable label of each row."""
        return torch.from_numpy(self.predict_proba(X).argmax(1))

    def _back(self, x: Tensor, dtype: Any, *, drawn: bool) -> Any:
        """Turn what M2 scores (N, …) into the form of X."""
        if self.vae_ is not None:
            return self.vae_.inverse_transform(self.fitted_.stored(x).astype(dtype))
        return (as_given if drawn else means)(self.fitted_, x, dtype)


def _check_choices(stack: str, labels: str) -> None:
    if stack not in ("m2", "m1+m2") or labels not in ("enumerate", "sample"):
        raise ValueError(
            f"stack is {stack!r} and labels {labels!r}; expected 'm2' or 'm1+m2', and 'enumerate' or 'sample'."
        )


def _are_known(labels: np.ndarray) -> np.ndarray:
    """Which of the labels (N,) are labels: not −1, nor missing among objects (`array_of_labels`)."""
    if labels.dtype.kind != "O":
        return (
            np.asarray(labels != UNLABELLED, dtype=bool) if labels.dtype.kind in "iuf" else np.ones(len(labels), bool)
        )
    return np.array([not is_missing(label) and label != UNLABELLED for label in labels.tolist()], dtype=bool)


def _classes(labels: np.ndarray) -> np.ndarray:
    """The different labels (K,), sorted.

    Raises:
        ValueError: they are measurements, or of types that have no order among each other.
    """
    check_classification_targets(np.array(labels.tolist()))  # also of an array of objects
    try:
        return np.unique(labels)
    except TypeError as error:
        types = ", ".join(sorted({type(label).__name__ for label in labels.tolist()}))
        raise ValueError(f"y has labels of types that have no order ({types}); make them all text.") from error
