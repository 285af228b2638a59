"""What is fitted to images in colour if nothing else is said: pixels given those before them, and a latent.

The levels of neighbouring pixels tell nearly all of a pixel, so that elements independent given z lose to one Gaussian
with a shrunk covariance. A causal net that sees a few pixels around does not; what lies farther apart is left to z. It
would stay unused, for it is worth few of the nats of an image, so that the loss asks of z as well that it tells the
picture by itself (`losses.Auxiliary`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lowerbound.data import Dataset
from lowerbound.models.parts import widths_of
from lowerbound.spelling import parse, spelled

__all__ = ["RECIPE", "fits_colour", "settings_of_colour"]

RECIPE = "pixel-vae"
_SMALLEST = 8  # pixels of a side, below which a net of neighbours has nothing to see
_PIXELS_OF_A_STEP, _BATCHES, _STEPS = 32_768, (4, 128), 2000


def fits_colour(dataset: Dataset) -> bool:
    """Whether the data are images of several channels whose pixels are levels, and are large enough."""
    shape = dataset.schema.event_shape
    is_colour = dataset.schema.kind == "image" and len(shape) == 3 and shape[0] > 1
    return is_colour and min(shape[1:]) >= _SMALLEST and parse(dataset.default_likelihood)[0] == "discretized-logistic"


def settings_of_colour(dataset: Dataset, rows: int, given: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    """Settings and options of the recipe by name, each with its reason.

    Arguments:
        dataset: for which `fits_colour` is true.
        rows: of training, without those held out to choose the weights.
        given: what the user gave, by name.
    """
    _, levels = parse(dataset.default_likelihood)
    shape, (fewest, most) = dataset.schema.event_shape, _BATCHES
    network = given.get("network", "convolution")
    batch = min(rows, max(fewest, min(most, _PIXELS_OF_A_STEP // math.prod(shape[1:]))))
    one_pass = -(-rows // given.get("batch_size", batch))
    near = "the levels of a pixel given its neighbours"
    local = "the causal net sees a few pixels around; what is farther is left to z"
    of_latents = {"prior", "posterior"} & given.keys()  # whose KL may have no closed form
    return {
        "likelihood": (spelled("discretized-logistic-mixture", {"num_components": 3, **levels}), near),
        "network": ("convolution", "the data are images in colour"),
        "hidden": (widths_of(network, shape), "channels of the stages of a convolution" * (network == "convolution")),
        "channels": (16, ""),
        "layers": (2, local * (given.get("causal", "convolution") == "convolution")),
        "context_channels": (16, ""),
        "latent_dim": (32, ""),
        "objective": ("elbo", "") if of_latents else ("elbo:rate=kl", "KL(q ‖ p) has a closed form"),
        "loss": ("auxiliary:weight=0.3", "z must tell the picture by itself, or it stays unused"),
        "lr": (5e-3, "the steps are few, and of many pixels"),
        "batch_size": (batch, f"{batch * math.prod(shape[1:]):,} pixels a step"),
        "steps": (max(_STEPS, one_pass), f"{_STEPS:,}, or one pass over the {rows:,} rows where that is more"),
    }
