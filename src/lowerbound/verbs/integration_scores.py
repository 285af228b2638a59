"""Scores of the integration of batches by a model of cells: are batches mixed in its latents, and types apart?

The same cells are also seen in as many principal components of log(1 + 10,000 x / l), which is what one would look at
without a model. Types are the labels of the data, which the recipe `cells` does not see; cells without a label are left
out of their scores. Clusters are those of k-means, as many as there are types.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.data.classes import UNLABELLED, number_of_unknown
from lowerbound.evaluate import (
    adjusted_rand_index,
    mean_silhouette,
    neighbour_mixing,
    normalized_mutual_information,
)
from lowerbound.fitted import Fitted
from lowerbound.k_means import k_means
from lowerbound.models.cell_autoencoder import CellModel
from lowerbound.models.cell_likelihood import library_of
from lowerbound.randomness import derive_seed, forked

__all__ = ["integration_scores"]

_MOST_CELLS, _FEWEST_CELLS, _NEIGHBOURS, _PER_GROUP, _LIBRARY = 3_000, 20, 30, 2, 10_000
_INTEGRATION = 16  # a stream of random numbers beside those of other modules


@torch.no_grad()
def integration_scores(
    fitted: Fitted,
    x: Float[Tensor, "row *event"],
    context: Tensor | None,
    y: np.ndarray | None,
    covariates: np.ndarray | None,
    seed: int,
) -> dict[str, Any]:
    """Mixing and silhouette of the batch and the types of cells, in the latents and in principal components.

    Arguments:
        fitted: the model.
        x: counts, as the likelihood scores them.
        context: of the model.
        y: the numbers of the types of the cells, or None.
        covariates: as `Rows` hold them, or None.
        seed: of the start of k-means.

    Returns:
        {"integration": …} with the scores by space and by what groups cells; empty for another model, below 20 cells,
        or without two groups of two cells.
    """
    if not isinstance(fitted.model, CellModel) or len(x) < _FEWEST_CELLS:
        return {}
    groups = _groups(fitted, y, covariates)
    if not groups:
        return {}
    every = slice(None, None, -(-len(x) // _MOST_CELLS))
    x, context = x[every], None if context is None else context[every]
    z = fitted.model.infer(x, context).mean[:, : fitted.model.likelihood.decoder.in_shapes[0][0]]
    spaces = {"latents": z, "principal components": _components(x, min(z.shape[1], *x.shape))}
    count = min(_NEIGHBOURS, len(x) // 5)
    found: dict[str, Any] = {"num_cells": len(x), "num_neighbours": count}
    with forked(torch.device("cpu"), derive_seed(seed, _INTEGRATION)):
        for name, points in spaces.items():
            found[name] = {
                role: {"column": column, **_of_groups(points.cpu(), own[every], count, role)}
                for role, (column, own) in groups.items()
            }
    return {"integration": found}


def _groups(fitted: Fitted, y: np.ndarray | None, covariates: np.ndarray | None) -> dict[str, tuple[str, np.ndarray]]:
    """The column that says the batch and the column of types, with the number of each cell; those with two groups."""
    every: dict[str, tuple[str, np.ndarray]] = {}
    for i, covariate in enumerate(fitted.schema.covariates):
        if covariate.categories is not None and covariates is not None:
            every["batch"] = covariate.name, covariates[:, i].astype(np.int64)
            break
    if y is not None and fitted.schema.classes is not None:
        unknown = number_of_unknown(fitted.schema.classes)
        every["type"] = fitted.schema.label or "label", np.where(y == unknown, UNLABELLED, y)
    sizes = {role: np.unique(own[own != UNLABELLED], return_counts=True)[1] for role, (_, own) in every.items()}
    return {role: of for role, of in every.items() if (sizes[role] >= _PER_GROUP).sum() > 1}


def _of_groups(points: Tensor, own: np.ndarray, count: int, role: str) -> dict[str, float]:
    known = own != UNLABELLED
    points, own = points[torch.from_numpy(known)].double(), own[known]
    scores = {
        "mixing": neighbour_mixing(points, own, num_neighbours=min(count, len(own) - 1)),
        "silhouette": mean_silhouette(points, own),
    }
    if role == "type":
        _, clusters = k_means(points, len(np.unique(own)))
        scores["normalized_mutual_information"] = normalized_mutual_information(clusters, own)
        scores["adjusted_rand_index"] = adjusted_rand_index(clusters, own)
    errors = {f"{name}_error": score.standard_error for name, score in scores.items()}
    return {name: score.value for name, score in scores.items()} | errors


def _components(x: Float[Tensor, "cell gene"], count: int) -> Float[Tensor, "cell component"]:
    """Principal components of log(1 + 10,000 x / l)."""
    from sklearn.decomposition import PCA

    y = torch.log1p(_LIBRARY * x / library_of(x)[:, None])
    return torch.from_numpy(PCA(count, random_state=0).fit_transform(y.numpy()))
