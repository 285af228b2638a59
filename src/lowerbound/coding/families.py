"""What the coder needs of an elementwise distribution: its function F, its parameters, and the kind of its values.

Distributions of the library state F themselves (`hooks.HasCumulative`). Those of torch cannot, and stand here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent, Laplace, Normal, OneHotCategorical

from lowerbound.distributions import distribution_functions
from lowerbound.hooks import HasCumulative

__all__ = ["Family", "family_of", "stated_cumulative"]

Values: TypeAlias = Literal["numbers", "bits", "one-hot"]


@dataclass(frozen=True, eq=False)
class Family:
    """n elements of each of some rows.

    Attributes:
        function: F(value, *parameters), of `distribution_functions`.
        parameters: each (n, rows, …).
        values: what an element is.
        num_classes: of one-hot vectors.
    """

    function: Callable[..., np.ndarray]
    parameters: tuple[np.ndarray, ...]
    values: Values = "numbers"
    num_classes: int = 0

    def part(self, elements: slice, rows: np.ndarray | slice) -> Family:
        """Some of the elements in some rows."""
        parameters = tuple(parameter[elements, rows] for parameter in self.parameters)
        return Family(self.function, parameters, self.values, self.num_classes)


def family_of(distribution: Distribution, rows: int, batch: int, part: str) -> Family:
    """The family of an elementwise distribution of batch shape (batch, …) or, the same in each row, of elements alone.

    Arguments:
        distribution: elementwise, perhaps in `Independent`.
        rows: how many of the batch.
        batch: the length of the batch axis.
        part: what it is in the model, for messages.

    Raises:
        ValueError: it cannot be coded, with what can.
    """
    base = distribution
    while isinstance(base, Independent):
        base = base.base_dist
    function, given, values = stated_cumulative(base, part)
    shape = (batch, *base.batch_shape[1 if distribution.batch_shape else 0 :])
    parameters = tuple(_by_element(p, base.batch_shape, shape)[:, :rows] for p in given)
    num_classes = base.event_shape[0] if values == "one-hot" else 0
    return Family(function, parameters, values, num_classes)


def stated_cumulative(base: Distribution, part: str) -> tuple[Callable[..., Any], tuple[Tensor, ...], Values]:
    """F, its parameters and the kind of its values."""
    if isinstance(base, HasCumulative):
        return *base.cumulative(), "numbers"
    if isinstance(base, Normal):
        return distribution_functions.normal, (base.loc, base.scale), "numbers"
    if isinstance(base, Laplace):
        return distribution_functions.laplace, (base.loc, base.scale), "numbers"
    if isinstance(base, Bernoulli):
        return distribution_functions.bernoulli, (base.logits,), "bits"
    if isinstance(base, OneHotCategorical):
        cumulated = torch.from_numpy(np.add.accumulate(base.probs.numpy(), -1))
        return distribution_functions.table, (cumulated, torch.ones_like(base.probs[..., 0])), "one-hot"
    name = type(base).__name__.removesuffix("Distribution")
    remedy = {
        "posterior": "fit with --recipe vae and --posterior diagonal-normal, full-normal or mixture-normal",
        "prior": "fit with --recipe vae and --prior standard-normal, mixture-normal or autoregressive-normal",
    }.get(part, "fit with a likelihood of discrete values, or normal, laplace or student-t")
    raise ValueError(f"{name} as {part} states no distribution function of one element, which coding needs; {remedy}.")


def _by_element(parameter: Tensor, batch_shape: torch.Size, shape: tuple[int, ...]) -> np.ndarray:
    """A parameter (*batch_shape, …) as (n, batch, …) in one block of memory."""
    rest = parameter.shape[len(batch_shape) :]
    full = parameter.detach().double().expand(*shape, *rest).numpy()
    return np.ascontiguousarray(np.swapaxes(full.reshape(shape[0], -1, *rest), 0, 1))
