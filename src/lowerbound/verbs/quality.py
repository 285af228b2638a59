"""The quality of the samples of a fitted model, in features of a classifier that is trained here, or of the user.

Data and samples are compared as the likelihood scores them: under a Bernoulli likelihood both are 0 and 1. Labels make
features that see what classes differ in (`classifier_features`); without labels the numbers of a row are its features.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.data.kinds.strings import texts_in
from lowerbound.evaluate.molecules import TestMolecules, molecule_scores
from lowerbound.evaluate.neighbourhoods import sample_quality
from lowerbound.fitted import Fitted
from lowerbound.likelihoods.tokens import TokenDistribution, Tokens
from lowerbound.nets import MLP, Convolution
from lowerbound.nets.token_net import TokenNet
from lowerbound.randomness import derive_seed, forked
from lowerbound.spelling import parse

__all__ = ["Features", "classifier_features", "quality_of"]

Features = Callable[[Tensor], Tensor]
"""From rows (N, *event), as the likelihood scores them, to features (N, F)."""

_CPU = torch.device("cpu")
_FEATURES, _HIDDEN, _STEPS, _BATCH, _LR = 32, 128, 600, 128, 2e-3
_FEWEST_CLASSES, _MOST_TRAINING_ROWS, _TRAIN = 2, 20_000, 6


def quality_of(
    fitted: Fitted, *, features: Features | None = None, num_rows: int = 2000, seed: int | None = None
) -> dict[str, Any]:
    """Precision, recall, density, coverage and Fréchet distance of samples, against test rows.

    Arguments:
        fitted: the model.
        features: from rows as the likelihood scores them to features (N, F); None takes those of a classifier of the
            labels of the data, or the rows themselves where these have none.
        num_rows: test rows, at most, and as many samples.
        seed: of the samples and of the classifier.

    Returns:
        The attributes of `evaluate.SampleQuality` by name, and `features`, which says what they are.

    Raises:
        ValueError: too few rows, gaps, or a model that cannot be sampled; features together with molecules.

    Of molecules these are the scores of `evaluate.molecules` instead, and those of molecules whose symbols are drawn
    by their frequencies alone, as `random_fragments`.
    """
    seed, held_out = fitted.seed if seed is None else seed, fitted.test_rows()
    if fitted.schema.molecules is not None:
        if features is not None:
            raise ValueError("Sample quality of molecules got features and has its own; leave them out.")
        return _of_molecules(fitted, num_rows, seed)
    x = fitted.events(held_out.x[:num_rows], seed)
    if bool(x.isnan().any()):
        raise ValueError("Sample quality got rows with gaps and compares whole rows; leave it out.")
    samples, _, _ = fitted.draw(len(x), seed=derive_seed(seed, _TRAIN))
    words = "as given"
    if features is None:
        features, words = _own(fitted, seed)
    with torch.no_grad():
        found = sample_quality(features(x).flatten(1), features(samples).flatten(1), seed=seed)
    return {"features": words, **asdict(found)}


def _of_molecules(fitted: Fitted, num_rows: int, seed: int) -> dict[str, Any]:
    """The scores of as many samples as there are test molecules, at most `num_rows`, and those of random ones."""
    dataset, rows = fitted.dataset, fitted.test_rows()
    test, given = rows.x[:num_rows], None if rows.covariates is None else rows.covariates[:num_rows]
    train = set(texts_in(fitted.render(fitted.events(dataset.x_train))))
    real = texts_in(fitted.render(fitted.events(test)))
    context, drawn = fitted.context(None, covariates=given), derive_seed(seed, _TRAIN)
    if context is None:
        samples = texts_in(fitted.sample(len(real), seed=drawn))
    else:  # one for the covariates of each test molecule
        with forked(_CPU, drawn):
            samples = texts_in(fitted.render(fitted.model.draw(len(real), context)[0]))
    with forked(_CPU, derive_seed(seed, _TRAIN, "random fragments")):
        random = texts_in(fitted.render(_random_fragments(fitted).sample(torch.Size((len(real),)))))
    compared = TestMolecules(real)
    return {
        "num_samples": len(samples),
        "num_data": len(real),
        **molecule_scores(samples, train, compared),
        "random_fragments": molecule_scores(random, train, compared),
    }


def _random_fragments(fitted: Fitted) -> TokenDistribution:
    """Molecules whose symbols are drawn by their frequencies in training, among those that may stand."""
    _, options = parse(fitted.dataset.default_likelihood)
    made = Tokens(None, fitted.schema.event_shape, **options, embedding_dim=1, width=1)
    assert isinstance(made.causal, TokenNet)
    with torch.no_grad():
        made.causal.embedding.zero_()
    made.initialize(fitted.events(fitted.dataset.x_train))
    return made.eval()(None)


def _own(fitted: Fitted, seed: int) -> tuple[Features, str]:
    """Features of a classifier, or the rows themselves."""
    data = fitted.dataset
    labels = data.y_train
    whole = labels is not None and np.issubdtype(labels.dtype, np.integer) and labels.min() >= 0
    if labels is None or not whole or labels.max() + 1 < _FEWEST_CLASSES:
        return _flat, "the numbers of a row"
    rows = np.arange(len(data.x_train)) if data.train_rows is None else data.train_rows
    rows = rows[:: math.ceil(len(rows) / _MOST_TRAINING_ROWS)]
    x = fitted.events(data.x_train[rows], seed)
    y = labels if len(labels) == len(rows) else labels[:: math.ceil(len(labels) / _MOST_TRAINING_ROWS)]
    return classifier_features(x, torch.as_tensor(np.asarray(y)), seed=seed), "a classifier of the labels"


def classifier_features(
    x: Float[Tensor, "row *event"], labels: Tensor, *, num_features: int = _FEATURES, seed: int = 0
) -> nn.Module:
    """Train a small classifier and return its last hidden layer.

    Arguments:
        x: rows; images get a convolutional net.
        labels: class numbers (N,), from 0.
        num_features: F.
        seed: of the weights and the order of the rows.

    Returns:
        A module from rows (N, *event) to features (N, F).

    Raises:
        ValueError: another number of labels than rows, or a single class.
    """
    if len(labels) != len(x) or int(labels.max()) < 1:
        raise ValueError(
            f"classifier_features got {len(x)} rows and {len(labels)} labels of {int(labels.max()) + 1} classes; give "
            "one label for each row, of two classes or more."
        )
    shape = tuple(x.shape[1:])
    with forked(_CPU, seed, "classifier_features"), torch.enable_grad():
        body = Convolution(shape, [16, 32], num_features) if len(shape) > 1 else MLP(shape, [_HIDDEN], num_features)
        head = nn.Sequential(nn.ReLU(), nn.Linear(num_features, int(labels.max()) + 1))
        parameters = [*body.parameters(), *head.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=_LR)
        for _ in range(_STEPS):
            rows = torch.randint(len(x), (min(_BATCH, len(x)),))
            loss = nn.functional.cross_entropy(head(body(x[rows])), labels[rows].long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return body.eval().requires_grad_(False)


def _flat(x: Tensor) -> Tensor:
    return x.flatten(1)
