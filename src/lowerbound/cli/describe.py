"""What is fitted, to what: two sentences for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from lowerbound.data import Dataset
    from lowerbound.fitting import Settings

__all__ = ["data_sentence", "model_sentence", "transform_words"]

_BINARIZED = {
    "dynamic": "made 0 or 1 at random with that probability, anew at every visit",
    "threshold": "made 0 or 1 at the threshold 1/2",
    "none": "not binarized",
}


def data_sentence(dataset: Dataset, transform: nn.Module) -> str:
    """How much data of which shape, and how it was scaled or binarized."""
    shape = " x ".join(str(n) for n in dataset.event_shape)
    things = f"images of {shape}" if dataset.kind == "image" else f"rows of {shape} columns"
    return (
        f"Data: {dataset.name}, {dataset.num_train:,} {things} to train on and {dataset.num_test:,} to test on; "
        f"{transform_words(transform)}."
    )


def transform_words(transform: nn.Module) -> str:
    """What happens to a stored row before the likelihood scores it."""
    from lowerbound.data import Pixels, Standardize

    if isinstance(transform, Pixels):
        scaled = "as stored, in [0, 1]" if transform.scale is None else f"divided by {transform.scale:g}"
        return f"pixels {scaled}, {_BINARIZED[transform.binarization]}"
    if isinstance(transform, Standardize):
        return "columns standardised over the training rows, so that densities are of standardised columns"
    return "values as stored"


def model_sentence(settings: Settings, model: nn.Module) -> str:
    """The choice on each axis, and the number of parameters."""
    from lowerbound.fitting import takes_gradient

    chosen = settings.model
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if settings.recipe != "vae":
        words = ", ".join(f"{name.replace('_', '-')} {value}" for name, value in chosen.items())
        return f"Model: {settings.recipe} ({count:,} parameters){', ' if words else ''}{words}; {settings.loss} loss."
    samples = "1 sample" if settings.num_samples == 1 else f"{settings.num_samples} samples"
    hidden = "-".join(str(width) for width in chosen["hidden"])
    by = f"{settings.gradient} gradients" if takes_gradient(settings.loss) else settings.loss
    return (
        f"Model: {chosen['prior']} prior of {chosen['latent_dim']} dimensions, {chosen['likelihood']} likelihood, "
        f"{chosen['posterior']} posterior, {chosen['network']} {hidden} ({count:,} parameters); "
        f"{settings.objective} with {samples}, {by}."
    )
