"""What the latents of a model are, and whether a point of their space can be decoded.

A point is decoded where the latents of a row are one tensor of real numbers: then any numbers are latents. Codes, bits
and classes have nothing between them, and in a hierarchy each layer is drawn given another, so that a point of a map
does not say what all of them are. Of such models the rows are shown and nothing between them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from lowerbound.diagnosis.case import over_reals
from lowerbound.fitted import Fitted
from lowerbound.hooks import AssignsClusters, Embeds, Layered
from lowerbound.weights import latents_of

__all__ = ["LatentSpace", "space_of"]

_ROWS_ONLY = "The map shows rows and their reconstructions; there is"


@dataclass(frozen=True, kw_only=True)
class LatentSpace:
    """The latents of a row.

    Attributes:
        size: how many numbers describe a row (the mean of q(z | x)).
        shape: of z, where any numbers of that shape can be decoded; None otherwise.
        limits: a sentence on what cannot be shown, where there is no such shape.
        prior: p(z), if it is one distribution for all rows and can be decoded; None otherwise.
        is_product: whether q(z | x) is a product over the numbers of z, so that their deviations say its shape.
    """

    size: int
    shape: tuple[int, ...] | None
    limits: str | None
    prior: Distribution | None
    is_product: bool

    @property
    def exact_moments(self) -> tuple[Tensor, Tensor] | None:
        """Mean and variance (size,) of the prior, where it is a product of normal distributions."""
        p = self.prior
        if isinstance(p, Independent) and isinstance(p.base_dist, Normal):
            return p.mean.flatten().double(), p.variance.flatten().double()
        return None


@torch.no_grad()
def space_of(fitted: Fitted, x: Tensor, context: Tensor | None, size: int) -> LatentSpace:
    """The latents of a model, as a row of its data shows them.

    Arguments:
        fitted: the model.
        x: one row (1, *event), as the likelihood scores it.
        context: of that row (1, C), or None.
        size: of the mean of q(z | x).

    Raises:
        ValueError: a model without latents.
    """
    if size == 0:
        raise ValueError(f"{fitted.called} has no latents, so that there is no space to explore; use its report.")
    q, p = fitted.model.infer(x, context), fitted.model.prior(context)
    z = latents_of(q, q.sample())
    limits = _limits(fitted, p, z, size)
    return LatentSpace(
        size=size,
        shape=None if limits is not None or isinstance(z, tuple) else tuple(z.shape[1:]),
        limits=limits,
        prior=None if limits is not None or p.batch_shape else p,
        is_product=isinstance(q, Independent),
    )


def _limits(fitted: Fitted, p: Distribution, z: Tensor | tuple[Tensor, ...], size: int) -> str | None:
    """The sentence on what cannot be shown; None where points can be decoded."""
    q = fitted.model.posterior
    if isinstance(q, Embeds):
        return f"The latents of this model are codes. {_ROWS_ONLY} nothing to decode between codes."
    if isinstance(z, tuple) or isinstance(p, Layered):
        return (
            "The latents of this model are in several parts, drawn one given another, and a point of the map does not "
            f"say what all of them are. {_ROWS_ONLY} nothing to decode between rows."
        )
    if not z.is_floating_point() or not over_reals(p) or math.prod(z.shape[1:]) != size:
        what = "classes and what goes with them" if isinstance(q, AssignsClusters) else "no free real numbers"
        return f"The latents of this model are {what}. {_ROWS_ONLY} nothing to decode between rows."
    return None
