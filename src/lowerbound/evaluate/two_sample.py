"""Classifier two-sample test, C2ST (Lopez-Paz & Oquab 2017, arXiv:1610.06545).

Two samples are of one distribution where no classifier tells on fresh points which of the two they are from: the
accuracy, by cross-validation, is 1/2 then, with a standard error of √(a (1 − a) / n). 1 is total disagreement. For
q(z | x) the other sample is of the exact posterior, or of `HMC`, for chosen rows x.

The draws of a chain are near each other in pairs, and a classifier that has seen one of a pair knows the other. Hence
only as many draws are taken from chains, evenly spaced, as they are worth (their effective sample size); rows on which
the chains are not to be trusted are not compared.

Two perceptrons vote: one of the points, and one of the whitened points and their squares. The log-ratio of two Gaussian
densities that differ in scale is a sum of squares, which a perceptron of points alone does not learn from a few hundred
of them in ten dimensions; squares take some of its power against means that differ.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int64
from sklearn.decomposition import PCA
from sklearn.ensemble import VotingClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.cited import cited
from lowerbound.evaluate.batches import check_rows
from lowerbound.evaluate.estimates import Estimates, Score
from lowerbound.inference.draws import Draws, InferenceWarning
from lowerbound.inference.hmc import HMC
from lowerbound.inference.scheme import InferenceScheme
from lowerbound.model import LatentVariableModel, flat_latents
from lowerbound.protocols import Context, Latents
from lowerbound.randomness import forked
from lowerbound.weights import latents_of

__all__ = ["PosteriorTwoSample", "classifier_two_sample", "posterior_two_sample"]

_FEWEST, _FOLDS, _HIDDEN = 50, 5, 32
_CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class PosteriorTwoSample:
    """How well draws of q(z | x) are told from those of a reference, for each row.

    Attributes:
        accuracy: by cross-validation, with its standard error; not a number for rows that were not compared.
        num_draws: of each of the two samples, by row; 0 where the reference was not to be trusted.
    """

    accuracy: Estimates
    num_draws: Int64[Tensor, "batch"]


@cited("lopezpaz2017revisiting")
def classifier_two_sample(
    one: Float[Tensor, "draw latent"],
    other: Float[Tensor, "draw_2 latent"],
    *,
    classifier: Any = None,
    num_folds: int = _FOLDS,
    seed: int = 0,
) -> Score:
    """The accuracy with which a classifier tells two samples of independent points apart.

    Arguments:
        one: the first sample.
        other: the second; of the larger one only as many are used as there are of the smaller.
        classifier: any of scikit-learn's, untrained; if None, the mean of the probabilities of two perceptrons with a
            layer of 32 units, on points and on whitened points with their squares.
        num_folds: of the cross-validation.
        seed: of the folds and of the classifier if none is given.

    Raises:
        ValueError: fewer than 50 points in one of them.

    >>> round(classifier_two_sample(torch.randn(200, 2), 9 + torch.randn(200, 2)).value, 2)
    1.0
    """
    size = min(len(one), len(other))
    if size < _FEWEST:
        raise ValueError(f"classifier_two_sample got a sample of {size} points and needs at least {_FEWEST} of each.")
    with forked(_CPU, seed, "classifier_two_sample"):
        order, state = torch.randperm(2 * size), int(torch.randint(2**31, ()))
    points = torch.cat([one[:size], other[:size]]).double().cpu()[order].numpy()
    label = (order >= size).long().numpy()
    made = _perceptrons(state) if classifier is None else classifier
    found = cross_val_predict(made, points, label, cv=StratifiedKFold(num_folds))
    accuracy = float(np.mean(np.asarray(found) == label))
    return Score(value=accuracy, standard_error=math.sqrt(accuracy * (1 - accuracy) / len(label)))


@cited("lopezpaz2017revisiting")
@torch.no_grad()
def posterior_two_sample(
    model: LatentVariableModel,
    x: Float[Tensor, "batch *event"],
    reference: InferenceScheme | Callable[..., Distribution] = HMC(),  # noqa: B008  (frozen, shared safely)
    *,
    context: Context | None = None,
    num_draws: int = 500,
    classifier: Any = None,
    seed: int = 0,
) -> PosteriorTwoSample:
    """Compare q(z | x) of a few rows with draws of the posterior, one classifier for each row.

    Arguments:
        model: p and q; see `inference.with_inference` for another q than the encoder's.
        x: the chosen rows, in the form the model was trained on.
        reference: called as `reference(model, x, context)`, gives the distribution to compare with: `HMC()`, or
            `lambda model, x, context: exact.posterior(x)`.
        context: of the model, one row for each datum.
        num_draws: of q and of the reference for each row, at most.
        classifier: as for `classifier_two_sample`.
        seed: of all draws; the caller's random state is untouched.

    Raises:
        ValueError: no rows, too few draws, or a reference that does not fit the model.

    Warns:
        InferenceWarning: rows that were left out because the chains of the reference are not to be trusted.
    """
    check_rows(model, x, context, num_draws, owner="posterior_two_sample")
    with forked(x.device, seed, "posterior_two_sample"):
        q, p = model.infer(x, context), reference(model, x, context)
        sizes, drawn = _reference_draws(p, num_draws)
        ours = _draws(q, num_draws)
    _warn_of_left_out(sizes)
    scores = [
        classifier_two_sample(ours[:n, i], drawn[i], classifier=classifier, seed=seed) if n else _UNKNOWN
        for i, n in enumerate(sizes.tolist())
    ]
    values, errors = (torch.tensor([getattr(s, name) for s in scores]) for name in ("value", "standard_error"))
    return PosteriorTwoSample(accuracy=Estimates(values=values, standard_error=errors), num_draws=sizes)


_UNKNOWN = Score(value=math.nan, standard_error=math.nan)


def _reference_draws(p: Distribution, num_draws: int) -> tuple[Tensor, list[Tensor]]:
    """How many draws there are of each row, and those draws (n, latent): of chains as many as they are worth."""
    if not isinstance(p, Draws):
        z = _draws(p, num_draws)
        return torch.full((z.shape[1],), num_draws), list(z.unbind(1))
    pool = p.values.transpose(0, 1).flatten(0, 1).flatten(2)  # one chain after another
    worth = p.effective_sample_size.nan_to_num(nan=0.0).flatten(1).amin(1).clamp(max=min(num_draws, len(pool))).long()
    sizes = torch.where(p.trusted & (worth >= _FEWEST), worth, 0).cpu()
    spaced = [torch.linspace(0, len(pool) - 1, int(n)).long() for n in sizes]
    return sizes, [pool[at.to(pool.device), i] for i, at in enumerate(spaced)]


def _draws(q: Distribution, num_draws: int) -> Float[Tensor, "draw batch latent"]:
    return flat_latents(latents_of(q, cast(Latents, q.sample(torch.Size((num_draws,))))))


def _warn_of_left_out(sizes: Tensor) -> None:
    left_out = int((sizes == 0).sum())
    if left_out:
        warnings.warn(
            f"{left_out} of {len(sizes)} rows are not compared, for the chains of the reference disagree, are too "
            "short or diverged there; raise num_warmup and num_samples of HMC.",
            InferenceWarning,
            stacklevel=4,
        )


def _perceptrons(state: int) -> Any:
    def net() -> MLPClassifier:
        return MLPClassifier((_HIDDEN,), early_stopping=True, max_iter=500, learning_rate_init=0.01, random_state=state)

    of_points = make_pipeline(StandardScaler(), net())
    with_squares = make_pipeline(
        StandardScaler(), PCA(whiten=True), FunctionTransformer(_with_squares), StandardScaler(), net()
    )
    return VotingClassifier([("points", of_points), ("squares", with_squares)], voting="soft")


def _with_squares(points: np.ndarray) -> np.ndarray:
    return np.concatenate([points, points**2], axis=1)
