"""Named models: what `lowerbound fit --recipe NAME` fits, and what of its training goes with the name.

A recipe is a function of `models` from an event shape and plain keyword values to a model. Beside it stand the settings
that suit it (which the user's own replace), what training is told of the labels, and what is done before the first step
(pretraining, or a solution in closed form).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from torch import Tensor

from lowerbound.losses import Loss
from lowerbound.model import LatentVariableModel
from lowerbound.models import deep_embedding, linear
from lowerbound.models.conditional_autoencoder import cvae
from lowerbound.models.ladder_autoencoder import ladder
from lowerbound.models.layered import deep_latent_gaussian
from lowerbound.models.sequence import autoregressive_rows, state_space
from lowerbound.models.variational_autoencoder import vae
from lowerbound.models.with_few_labels import semi_supervised
from lowerbound.nets.shapes import Shape

__all__ = ["RECIPES", "BeforeTraining", "Labels", "Recipe", "make_model", "recipe_named"]

Labels: TypeAlias = Literal["unused", "context", "partial"]
"""What training is given of the labels: nothing; each as a one-hot context; class numbers, −1 where there is none."""


@runtime_checkable
class BeforeTraining(Protocol):
    """What is done before the first step, to the loss and its model, in place."""

    def __call__(self, loss: Loss, x: Tensor, *, seed: int) -> object:
        """Work on training rows x (N, *event), as the likelihood sees them, on the CPU."""
        ...


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A named model.

    Attributes:
        make: from an event shape and plain keyword values to a model; given `num_classes` if it asks for it.
        labels: what training is given of the labels.
        defaults: of `fitting.Settings`, where they differ from those of a plain autoencoder.
        start: what is done before the first step, or None.
        likelihood: the name of its likelihood, unless the user may choose another.
        assigns: whether its model assigns each row to a class or a cluster, to be compared with labels.
    """

    make: Callable[..., LatentVariableModel]
    labels: Labels = "unused"
    defaults: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    start: BeforeTraining | None = None
    likelihood: str = "bernoulli"
    assigns: bool = False

    @property
    def options(self) -> tuple[str, ...]:
        """The keyword values that it takes from the user."""
        names = list(inspect.signature(self.make).parameters)[1:]
        return tuple(name for name in names if name != "num_classes")

    @property
    def needs_classes(self) -> bool:
        """Whether it must know how many classes there are."""
        return "num_classes" in inspect.signature(self.make).parameters


_ELBO = {"objective": "elbo"}
_SEQUENCE = {**_ELBO, "compile": False}  # torch does not compile recurrent nets
_EXACT = {**_ELBO, "steps": 0}

RECIPES: dict[str, Recipe] = {
    "vae": Recipe(make=vae),
    "factor-analysis": Recipe(
        make=linear.factor_analysis, defaults=_EXACT, start=linear.start_factor_analysis, likelihood="normal"
    ),
    "probabilistic-pca": Recipe(
        make=linear.probabilistic_pca, defaults=_EXACT, start=linear.start_probabilistic_pca, likelihood="normal"
    ),
    "linear-ica": Recipe(make=linear.linear_ica, defaults=_ELBO, start=linear.start_linear_ica, likelihood="normal"),
    "cvae": Recipe(make=cvae, labels="context"),
    "vade": Recipe(
        make=deep_embedding.vade, defaults={**_ELBO, "binarization": "none"}, start=deep_embedding.start, assigns=True
    ),
    "semi-supervised": Recipe(
        make=semi_supervised,
        labels="partial",
        defaults={**_ELBO, "loss": "semi-supervised", "gradient": "enumerate"},
        assigns=True,
    ),
    "deep-latent-gaussian": Recipe(make=deep_latent_gaussian, defaults=_ELBO),
    "ladder": Recipe(make=ladder, defaults={"objective": "beta-elbo:beta=1.0,rate=kl,warmup=1000"}),
    "rows": Recipe(make=autoregressive_rows, defaults=_SEQUENCE),
    "state-space": Recipe(make=state_space, defaults=_SEQUENCE),
}
"""By the names that a run folder holds."""


def recipe_named(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in RECIPES:
        raise ValueError(f"There is no recipe named {name!r}; choose one of {', '.join(RECIPES)}.")
    return RECIPES[name]


def make_model(name: str, event_shape: Shape, values: Mapping[str, Any]) -> LatentVariableModel:
    """The untrained model of a recipe.

    Arguments:
        name: of the recipe.
        event_shape: shape of one datum.
        values: keyword values of its function.

    Raises:
        ValueError: an unknown recipe, or a value that it does not take.
    """
    recipe = recipe_named(name)
    unknown = sorted(set(values) - {*recipe.options, "num_classes"})
    if unknown:
        raise ValueError(f"The {name} recipe has no option {unknown[0]!r}; it has {', '.join(recipe.options)}.")
    return recipe.make(event_shape, **values)
