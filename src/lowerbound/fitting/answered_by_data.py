"""Arguments of the function of a recipe that the data answer: how many classes there are, which covariates, and the
atoms of the fragments of molecules.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from lowerbound.data import Dataset
from lowerbound.data.classes import UNLABELLED, num_classes, number_of_unknown
from lowerbound.data.fragment_graphs import spelled_fragments
from lowerbound.data.fragments import first_of_points
from lowerbound.models.molecule_autoencoder import reads_fragments
from lowerbound.models.recipe import Recipe

__all__ = ["answered_by"]


def answered_by(dataset: Dataset, recipe: Recipe, options: Mapping[str, Any]) -> dict[str, Any]:
    """What the function of a recipe must know of the data.

    Arguments:
        dataset: the data, with their schema.
        recipe: of the model.
        options: that the user gives its function.

    Raises:
        ValueError: no classes where it needs them, covariates where it takes none, no counts, or no molecules where a
            net reads atoms.
    """
    return {**_covariates_and_classes(dataset, recipe), **_fragments(dataset, recipe, options)}


def _fragments(dataset: Dataset, recipe: Recipe, options: Mapping[str, Any]) -> dict[str, str]:
    """The atoms of the symbols of molecules, for a net that reads them."""
    if "fragments" not in inspect.signature(recipe.make).parameters or not reads_fragments(options):
        return {}
    molecules = dataset.schema.molecules
    if molecules is None:
        raise ValueError(
            f"A net of atoms is asked for and {dataset.name[:60]} is of kind {dataset.kind}; give molecules "
            "(--kind molecules), or leave encoder=message-passing and graph-latent-dim out."
        )
    symbols = molecules.symbols
    return {"fragments": spelled_fragments(symbols[first_of_points(symbols) :])}


def _covariates_and_classes(dataset: Dataset, recipe: Recipe) -> dict[str, Any]:
    covariates = dataset.schema.covariates
    if recipe.labels == "covariates":
        if dataset.kind != "counts" and covariates:
            raise ValueError(
                f"{dataset.name[:60]} is of kind {dataset.kind} and got covariates ({covariates[0].name[:40]!r}), "
                "which models of cells (counts), texts and molecules are given; leave --covariates out, or say what "
                "the data are (--kind counts, text or molecules)."
            )
        if dataset.kind != "counts":
            raise ValueError(
                f"The {recipe.name} recipe is for counts and {dataset.name[:60]} is of kind {dataset.kind}; fit "
                "another recipe, or say kind='counts' (--kind counts)."
            )
        return {"covariate_sizes": [covariate.size for covariate in covariates], **_types(dataset, recipe)}
    if covariates and recipe.labels == "optional covariates":
        return {"covariate_sizes": [covariate.size for covariate in covariates]}
    if covariates:
        raise ValueError(
            f"The {recipe.name} recipe is given no covariates and got {covariates[0].name[:40]!r}; leave them out, or "
            "fit the recipe cells to counts, or that of text or molecules."
        )
    if not recipe.needs_classes:
        return {}
    return {"num_classes": num_classes(dataset, some_unlabelled=recipe.labels == "partial")}


def _types(dataset: Dataset, recipe: Recipe) -> dict[str, Any]:
    """How many classes the labels of cells have, and the one that stands for no label."""
    if not recipe.needs_classes:
        return {}
    classes, y = dataset.schema.classes, dataset.y_train
    if classes is not None and (y is None or bool((y == UNLABELLED).all())):  # cells to be mapped onto a fitted model
        found = {"num_classes": len(classes)}
    else:
        found = {"num_classes": num_classes(dataset, some_unlabelled=True)}
    unknown = number_of_unknown(classes)
    return found if unknown is None else {**found, "unknown_class": unknown}
