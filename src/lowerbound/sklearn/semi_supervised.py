"""A classifier that also learns from rows without a label, with the manners of scikit-learn.

    fit              X, y ↦ p(y) p(z) p(x | z, y) and q(y | x) q(z | x, y); −1 in y stands for no label
    predict_proba    X ↦ q(y | x)
    transform        X ↦ E[z] under q(z | x, y) at the most probable y: the style
    transfer         X ↦ E[X' | z, y]: the style of each row under other labels

Source: Kingma, Rezende, Mohamed & Welling (2014, arXiv:1406.5298): M2, or M2 of the codes of a VAE (M1+M2). M1 is a VAE
and a classifier, `make_pipeline(VAE(), SVC())`, where the VAE may be fitted to more rows than the classifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from lowerbound.data import Pixels, check_unit_interval
from lowerbound.data.classes import UNLABELLED
from lowerbound.data.labelled import LabelledRows
from lowerbound.data.transform import Binarization
from lowerbound.engine import Device, Engine
from lowerbound.gradients import Enumerate, ScoreFunction
from lowerbound.labelled import LabelledModel
from lowerbound.loop import Record, steps_for, train
from lowerbound.losses.semi_supervised import SemiSupervised
from lowerbound.models.variational_autoencoder import Activation
from lowerbound.models.with_few_labels import semi_supervised
from lowerbound.randomness import derive_seed, forked
from lowerbound.schedules import Cosine
from lowerbound.sklearn.columns import Columns
from lowerbound.sklearn.decide import decide_binarization, decide_columns, decide_likelihood, whole
from lowerbound.sklearn.vae import VAE

__all__ = ["SemiSupervisedVAE"]

Stack: TypeAlias = Literal["m2", "m1+m2"]
LabelsBy: TypeAlias = Literal["enumerate", "sample"]
_CPU = torch.device("cpu")
_DTYPES: Any = [np.float64, np.float32]
_M1, _SAMPLE = 1, 2  # streams of random numbers, apart from those of `fit`


class SemiSupervisedVAE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClassifierMixin, BaseEstimator):
    """q(y | x), learned from labelled and unlabelled rows together.

    Arguments:
        latent_dim: length of the style z.
        hidden: widths of the hidden layers of each net.
        likelihood: of `likelihoods`; "auto" is "bernoulli" if every value of X is in [0, 1], else "normal".
        activation: nonlinearity.
        stack: "m2" models the rows; "m1+m2" models the codes of a `VAE` of all rows, which is fitted first: fewer
            numbers, from which a label is easier to learn.
        labels: how a label that is not known is summed out: "enumerate" all classes, at their number times the cost of
            one, or "sample" two: cheaper with many classes, and noisy.
        classification_weight: α, the weight of the mean log q(y | x) of labelled rows beside the mean bound.
        labelled_weight: γ, the weight of the mean bound of labelled rows, beyond their own as data: 1 lets p(x | z, y)
            learn from known labels as much as from guessed ones. It helps with some hundred labels, and hurts with few.
        epochs, batch_size: passes over all rows, and rows per step; labelled rows are added to each batch.
        lr: learning rate at the start; it falls along a cosine to a hundredth.
        standardize, binarization: see `VAE`.
        random_state: an int makes `fit`, and every later draw, repeatable.
        device: where to fit.

    Attributes:
        classes_: the labels that `fit` saw, sorted.
        model_: the fitted `LabelledModel`, on the CPU, of x: X after standardisation, or codes.
        codes_: the `VAE` whose codes are modelled, or None.
        history_: the records of training.
        n_iter_: optimisation steps taken.
        likelihood_, binarization_, columns_, n_features_in_, feature_names_in_: as for `VAE`.

    Notes:
        Labels may be of any type that sorts; −1 is none of them, as in `sklearn.semi_supervised` (for labels that are
        strings, an array of objects holds both).

    References:
        Kingma, Rezende, Mohamed & Welling (2014), arXiv:1406.5298.

    >>> X = np.random.default_rng(0).normal(size=(60, 4)) + 4 * (np.arange(60) % 2)[:, None]
    >>> y = np.where(np.arange(60) < 10, np.arange(60) % 2, -1)
    >>> model = SemiSupervisedVAE(latent_dim=2, hidden=(8,), epochs=20, random_state=0).fit(X, y)
    >>> model.predict(X).shape, model.transfer(X[:5], labels=[1]).shape
    ((60,), (5, 1, 4))
    """

    stack: Stack
    labels: LabelsBy
    activation: Activation
    standardize: bool | Literal["auto"]
    binarization: Binarization | Literal["auto"]
    device: Device
    feature_names_in_: np.ndarray
    likelihood_: str
    binarization_: Binarization
    codes_: VAE | None

    def __init__(
        self,
        latent_dim: int = 16,
        *,
        hidden: Sequence[int] = (256,),
        likelihood: str = "auto",
        activation: Activation = "relu",
        stack: Stack = "m2",
        labels: LabelsBy = "enumerate",
        classification_weight: int | float = 1.0,
        labelled_weight: int | float = 0.0,
        epochs: int | float = 100,
        batch_size: int = 128,
        lr: int | float = 1e-3,
        standardize: bool | Literal["auto"] = "auto",
        binarization: Binarization | Literal["auto"] = "auto",
        random_state: int | np.random.RandomState | None = None,
        device: Device = "auto",
    ):
        self.latent_dim = latent_dim
        self.hidden = hidden
        self.likelihood = likelihood
        self.activation = activation
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
        """Fit to rows X (N, D) with labels y (N,), −1 where there is none.

        Raises:
            ValueError: no row has a label, fewer than two classes, or what `VAE.fit` refuses.
        """
        given: Any = (X, y)
        checked: Any = validate_data(self, *given, dtype=_DTYPES, ensure_min_samples=2)
        X, number = checked[0], self._number(checked[1])
        self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        x = self._prepare(checked[0])
        self._train(x, torch.from_numpy(number))
        self._dtype, self._n_features_out = checked[0].dtype, whole("latent_dim", self.latent_dim)
        return self

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """q(y | x) for each row: (N, number of classes), in the order of `classes_`."""
        x = self._features(self._checked(X))
        with torch.no_grad():
            logits = torch.cat([self.model_.posterior.classifier(part) for part in x.split(1024)])
        return logits.double().softmax(-1).numpy()

    def predict(self, X: ArrayLike) -> np.ndarray:
        """The most probable label of each row: (N,)."""
        p = self.predict_proba(X)
        return self.classes_[p.argmax(1)]

    def transform(self, X: ArrayLike) -> np.ndarray:
        """The mean of q(z | x, y) at the most probable label y: (N, latent_dim)."""
        X = self._checked(X)
        x = self._features(X)
        with torch.no_grad():
            y = self.model_.one_hot(self.model_.classify(x).argmax(-1))
            return self.model_.infer(x, y).mean.numpy().astype(X.dtype)

    def transfer(self, X: ArrayLike, labels: ArrayLike | None = None) -> np.ndarray:
        """E[X' | z, y]: the style of each row under its own (most probable) label, decoded under other labels.

        Arguments:
            X: rows (N, D).
            labels: under which to decode (L,); all of `classes_` if None.

        Returns:
            (N, L, D) in the units of X.

        Raises:
            ValueError: a label that `fit` did not see.
        """
        X = self._checked(X)
        wanted = self._places(self.classes_ if labels is None else labels)
        return self._back(self.model_.transfer(self._features(X), wanted)).astype(X.dtype)

    def sample(self, n_samples: int = 1, label: Any = None) -> np.ndarray:
        """Draw rows (n_samples, D) from p(X), or from p(X | y) for one label. An integer `random_state` repeats them.

        Raises:
            ValueError: n_samples is less than 1, or a label that `fit` did not see.
        """
        check_is_fitted(self)
        if n_samples < 1:
            raise ValueError(f"sample got n_samples={n_samples} and needs at least 1.")
        y = None if label is None else self.model_.one_hot(self._places([label]).expand(n_samples))
        with forked(_CPU, int(check_random_state(self.random_state).randint(2**31 - 1)), _SAMPLE):
            x, _ = self.model_.draw(n_samples, y)
        return self._back(x).astype(self._dtype)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        assert tags.transformer_tags is not None
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _number(self, y: np.ndarray) -> np.ndarray:
        """Labels as numbers of classes, −1 where there is none; sets `classes_`."""
        known = np.ones(len(y), dtype=bool) if y.dtype.kind in "US" else np.asarray(y != UNLABELLED, dtype=bool)
        if not known.any():
            raise ValueError(
                "y has no label (all are -1); label some rows of each class, or fit a VAE, which takes none."
            )
        check_classification_targets(
            np.array(y[known].tolist())
        )  # of numbers or strings, also from an array of objects
        self.classes_, numbers = np.unique(y[known], return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y has one class, {self.classes_[0]!r}; expected at least 2 classes besides -1 (no label)."
            )
        number = np.full(len(y), UNLABELLED)
        number[known] = numbers
        return number

    def _places(self, labels: ArrayLike) -> Tensor:
        """The numbers of some classes."""
        given, known = np.asarray(labels).ravel().tolist(), self.classes_.tolist()
        for label in given:
            if label not in known:
                raise ValueError(
                    f"The label {label!r} is none that fit saw; choose from {', '.join(map(repr, known[:20]))}."
                )
        return torch.tensor([known.index(label) for label in given], dtype=torch.long)

    def _prepare(self, X: np.ndarray) -> Tensor:
        """Decide what each "auto" stands for and return the rows to model; under "m1+m2" these are codes."""
        if self.stack not in ("m2", "m1+m2") or self.labels not in ("enumerate", "sample"):
            raise ValueError(
                f"stack is {self.stack!r} and labels {self.labels!r}; expected 'm2' or 'm1+m2', and 'enumerate' or "
                "'sample'."
            )
        names = list(self.feature_names_in_) if hasattr(self, "feature_names_in_") else None
        self.likelihood_ = decide_likelihood(self.likelihood, X)
        self.binarization_ = decide_binarization(self.binarization, self.likelihood_, X)
        self.columns_ = decide_columns(self.standardize, self.likelihood_, X, names)
        self.codes_ = self._vae().fit(X) if self.stack == "m1+m2" else None
        if self.codes_ is not None:
            codes = self.codes_.transform(X)
            self._code_columns = Columns(mean=codes.mean(0), scale=codes.std(0) + 1e-6)
        return self._features(X)

    def _vae(self) -> VAE:
        """M1."""
        return VAE(
            latent_dim=whole("latent_dim", self.latent_dim),
            hidden=self.hidden,
            likelihood=self.likelihood_,
            activation=self.activation,
            epochs=self.epochs,
            batch_size=self.batch_size,
            lr=self.lr,
            standardize=self.standardize,
            binarization=self.binarization_,
            random_state=derive_seed(self._seed, _M1) % 2**31,
            device=self.device,
        )

    def _train(self, x: Tensor, y: Tensor) -> None:
        """Fit M2 to x and class numbers y."""
        engine, batch_size = Engine(device=self.device), min(whole("batch_size", self.batch_size), len(x))
        binarized = self.codes_ is None and self.binarization_ != "none"
        transform = Pixels(scale=None, binarization=self.binarization_) if binarized else None
        source = LabelledRows(x, y, transform, device=engine.torch_device)
        with forked(_CPU, self._seed):
            model = semi_supervised(
                x.shape[1:],
                num_classes=len(self.classes_),
                latent_dim=whole("latent_dim", self.latent_dim),
                likelihood=self.likelihood_ if self.codes_ is None else "normal",
                hidden=[whole("hidden", width) for width in self.hidden],
                activation=self.activation,
            )
            model.initialize(x)
        gradient = Enumerate() if self.labels == "enumerate" else ScoreFunction()
        alpha, gamma = float(self.classification_weight), float(self.labelled_weight)
        loss = SemiSupervised(model, alpha, gradient, labelled_weight=gamma)
        loss.check(x[:2], y[:2])
        num_steps = steps_for(float(self.epochs), len(x), batch_size)
        lr, every = Cosine(float(self.lr), float(self.lr) / 100, num_steps), max(1, num_steps // 20)
        self.history_: list[Record] = list(
            train(
                loss,
                source,
                num_steps=num_steps,
                batch_size=batch_size,
                lr=lr,
                seed=self._seed,
                log_every=every,
                engine=engine,
            )
        )
        self.n_iter_ = self.history_[-1].step
        self.model_: LabelledModel = loss.model.to(_CPU).eval()

    def _checked(self, X: ArrayLike) -> np.ndarray:
        """X as `fit` would take it: (N, n_features_in_)."""
        check_is_fitted(self)
        given: Any = X
        checked: Any = validate_data(self, given, dtype=_DTYPES, reset=False)
        if self.likelihood_ == "bernoulli":
            check_unit_interval(checked, "X")
        return checked

    def _features(self, X: np.ndarray) -> Tensor:
        """x as M2 sees it: standardised columns, or standardised codes."""
        if self.codes_ is not None:
            return torch.from_numpy(self._code_columns.apply(self.codes_.transform(X)))
        x = torch.from_numpy(self.columns_.apply(X))
        return (x > 0.5).float() if self.binarization_ == "threshold" else x

    def _back(self, x: Tensor) -> np.ndarray:
        """From x (..., features of M2) to X (..., D)."""
        rows = x.flatten(0, -2).numpy()
        if self.codes_ is None:
            X = self.columns_.undo(rows)
        else:
            X = self.codes_.inverse_transform(self._code_columns.undo(rows))
        return X.reshape(*x.shape[:-1], X.shape[1])
