"""A named model: a function that makes a model, and the settings of its training.

A recipe stands in the file of its model. Another installed package adds one by an entry point in the group
"lowerbound.recipes".
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from torch import Tensor

from lowerbound.losses import Loss
from lowerbound.model import LatentVariableModel
from lowerbound.nets.shapes import Shape
from lowerbound.priors.closing import Course
from lowerbound.spelling import check_options

__all__ = [
    "COVARIATES",
    "OF_THE_DATA",
    "BeforeTraining",
    "Finish",
    "Labels",
    "Recipe",
    "SecondStage",
    "Stage",
    "check_passes",
]

Labels: TypeAlias = Literal["unused", "context", "partial", "covariates", "optional covariates"]
"""How training sees labels: not at all; as a one-hot context; as class numbers, with −1 for no label; or not at all,
and covariates as its context: those of counts, with one-hot labels after them, 0 where there is none, if it needs
classes; or those of data of any kind where they have some."""

COVARIATES = ("covariates", "optional covariates")
"""The labels of recipes whose model may be given covariates."""

OF_THE_DATA = (
    "num_classes",
    "covariate_sizes",
    "num_added",
    "unknown_class",
    "fragments",
)  # arguments that the data answer


@runtime_checkable
class BeforeTraining(Protocol):
    """A change of the loss and its model before the first step, in place."""

    def __call__(self, loss: Loss, x: Tensor, *, seed: int) -> object:
        """Work on training rows x (N, *event), as the likelihood sees them, on the CPU.

        A start that has an argument `transform` is given what made x of the stored rows as well.

        Returns:
            A sentence for the user if something was chosen; anything else is not looked at.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A second training, after the first has come to its end.

    Attributes:
        loss: what it minimises, on the rows of the first.
        patience: evaluations of the held-out bound, one an epoch, without improvement before it stops.
        conclude: what is done at its end.
        course: from its number of steps to its own learning rates; None, or a function that returns None, takes those
            of the plan.
    """

    loss: Loss
    patience: int
    conclude: Callable[[], object]
    course: Callable[[int], Course | None] | None = None


@runtime_checkable
class SecondStage(Protocol):
    """From a trained loss to a second training of parts of its model."""

    def __call__(self, loss: Loss, x: Tensor, options: Mapping[str, Any]) -> Stage:
        """The second training, of a loss whose model was trained, some rows x (N, *event) on its device, and the
        options of the recipe.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Finish:
    """The second stage of a recipe.

    Attributes:
        make: makes it from what the first stage has trained.
        epochs: the option of the recipe that says how many passes it makes, at most; 0 leaves it out.
        part: the part of the model that it trains; where that is frozen, it is left out.
    """

    make: SecondStage
    epochs: str
    part: str


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A named model.

    Attributes:
        name: as the command line spells it.
        make: from an event shape and plain keyword values to a model; given `num_classes` if it asks for it.
        labels: how training sees labels.
        defaults: settings of a `planning.Plan`, or options of `make`, that suit it; the user's own replace them.
        start: what is done before the first step, or None.
        finish: a second training after the last step, or None.
        likelihood: the name of its likelihood, unless the user may choose another.
        assigns: whether its model assigns each row to a class or a cluster, to be compared with labels.
        widths: from an event shape to its option `hidden` where none is said, and the reason, which is empty for its
            usual widths; None for those of all autoencoders (`parts.widths_of`).
        tables_counts: whether its option `columns` is said with tables for counts of few values.
        cites: the works that the model is of, as keys of `references.bib`, or BibTeX entries (`cited`).
    """

    name: str
    make: Callable[..., LatentVariableModel]
    labels: Labels = "unused"
    defaults: Mapping[str, Any] = field(default_factory=dict)
    start: BeforeTraining | None = None
    finish: Finish | None = None
    likelihood: str = "bernoulli"
    assigns: bool = False
    widths: Callable[[Sequence[int]], tuple[Sequence[int], str]] | None = None
    tables_counts: bool = False
    cites: tuple[str, ...] = ()

    @property
    def options(self) -> tuple[str, ...]:
        """The keyword values that it takes from the user."""
        names = list(inspect.signature(self.make).parameters)[1:]
        return tuple(name for name in names if name not in OF_THE_DATA)

    @property
    def option_defaults(self) -> dict[str, Any]:
        """The default values of its options."""
        parameters = inspect.signature(self.make).parameters
        return {name: parameters[name].default for name in self.options}

    @property
    def takes_some_labels(self) -> bool:
        """Whether it learns from rows with a label and from rows without."""
        return self.labels == "partial" or (self.labels == "covariates" and self.needs_classes)

    @property
    def needs_classes(self) -> bool:
        """Whether it must know how many classes there are."""
        return "num_classes" in inspect.signature(self.make).parameters

    def model(self, event_shape: Shape, values: Mapping[str, Any]) -> LatentVariableModel:
        """The untrained model.

        Arguments:
            event_shape: shape of one datum.
            values: keyword values of its function.

        Raises:
            ValueError: a value that it does not take, or none for one that it needs.
        """
        checked = check_options(f"The {self.name} recipe", self.make, values)
        parameters = list(inspect.signature(self.make).parameters.values())[1:]
        missing = [
            p.name for p in parameters if p.default is p.empty and p.kind is p.KEYWORD_ONLY and p.name not in checked
        ]
        if missing:
            raise ValueError(f"The {self.name} recipe got no {missing[0]}, which the data decide; fit it to data.")
        return self.make(event_shape, **checked)


def check_passes(prior_epochs: int, prior_patience: int) -> None:
    """Refuse numbers of passes of a `Finish` that are none.

    Raises:
        ValueError: naming the one.
    """
    for name, value, least in (("prior_epochs", prior_epochs, 0), ("prior_patience", prior_patience, 1)):
        if value < least:
            raise ValueError(f"{name} is {value} and must be at least {least}.")
