"""The named models of `lowerbound fit --recipe NAME`. Each is in the file of its model."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from lowerbound.data.errors import nearest
from lowerbound.models import (
    bidirectional_autoencoder,
    cell_autoencoder,
    conditional_autoencoder,
    count_autoencoder,
    deep_embedding,
    discrete_autoencoder,
    draw_autoencoder,
    feature_autoencoder,
    hidden_markov,
    implicit_autoencoder,
    labelled_cells,
    ladder_autoencoder,
    latent_classes,
    layered,
    layers_of_bits,
    linear,
    linear_path_autoencoder,
    mixture_of_factor_analysers,
    molecule_autoencoder,
    multimodal,
    pixel_autoencoder,
    quantized_autoencoder,
    rate_distortion,
    rate_distortion_video,
    sentence_autoencoder,
    sequence,
    skip_autoencoder,
    topics,
    two_stage_autoencoder,
    variational_autoencoder,
    very_deep_autoencoder,
    with_few_labels,
)
from lowerbound.models.recipe import Recipe

__all__ = ["recipe_named", "recipes"]

_OWN: tuple[Recipe, ...] = (
    variational_autoencoder.RECIPE,
    *linear.RECIPES,
    mixture_of_factor_analysers.RECIPE,
    latent_classes.RECIPE,
    linear_path_autoencoder.RECIPE,
    count_autoencoder.RECIPE,
    cell_autoencoder.RECIPE,
    labelled_cells.RECIPE,
    multimodal.RECIPE,
    conditional_autoencoder.RECIPE,
    deep_embedding.RECIPE,
    with_few_labels.RECIPE,
    layered.RECIPE,
    *layers_of_bits.RECIPES,
    ladder_autoencoder.RECIPE,
    very_deep_autoencoder.RECIPE,
    bidirectional_autoencoder.RECIPE,
    draw_autoencoder.RECIPE,
    pixel_autoencoder.RECIPE,
    *quantized_autoencoder.RECIPES,
    rate_distortion.RECIPE,
    rate_distortion_video.RECIPE,
    discrete_autoencoder.RECIPE,
    *implicit_autoencoder.RECIPES,
    feature_autoencoder.RECIPE,
    skip_autoencoder.RECIPE,
    two_stage_autoencoder.RECIPE,
    *sequence.RECIPES,
    hidden_markov.RECIPE,
    *topics.RECIPES,
    *sentence_autoencoder.RECIPES,
    molecule_autoencoder.RECIPE,
)
_FORMER_NAMES = {"rows": "autoregressive-rows"}  # that run folders may hold


@cache
def recipes() -> dict[str, Recipe]:
    """Every recipe by its name: those of the library, and those of installed packages."""
    others = [found.load() for found in entry_points(group="lowerbound.recipes")]
    return {recipe.name: recipe for recipe in (*_OWN, *others)}


def recipe_named(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ValueError: there is none.
    """
    known, name = recipes(), _FORMER_NAMES.get(name, name)
    if name not in known:
        near = ", ".join(nearest(name, known))
        raise ValueError(
            f"There is no recipe named {name[:60]!r}; the nearest of the {len(known)} that `lowerbound choices "
            f"recipes` lists are {near}."
        )
    return known[name]
