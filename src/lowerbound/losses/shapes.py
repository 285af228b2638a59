"""Whether q(z | x), p(z) and p(x | z) fit each other and the rows in shape, asked of two rows before the first step.

Parts of one's own may fit where they should not: a posterior whose net forgets the axis of its parameters makes one
distribution of a whole batch, and torch broadcasts a z of one length against a prior of length one. Where torch notices
itself, it speaks of matrices; here the part is named that it came from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.hooks import Augmented, StatesEventShape
from lowerbound.inference import Draws
from lowerbound.model import LatentVariableModel, require_distribution
from lowerbound.protocols import Context, Latents
from lowerbound.weights import latents_of

__all__ = ["check_shapes"]

_T = TypeVar("_T")
_OF_SHAPES = ("shape", "size", "dimension", "channels", "must match")


def check_shapes(model: LatentVariableModel, x: Tensor, context: Context | None) -> Latents | None:
    """Raise a `ValueError` that names the part and the shapes, unless the model takes rows x and gives such.

    Arguments:
        model: p and q.
        x: two rows (2, *event).
        context: of the model, two rows.

    Returns:
        Latents of these rows; None where q gives none.
    """
    q = _tried("posterior", lambda: model.infer(x, context), x)
    require_distribution(q, "posterior")
    if isinstance(q, Draws):
        return None
    z = latents_of(q, (q.rsample if q.has_rsample else q.sample)())  # a scale of NaN is no error to the first
    if not all(bool(part.isfinite().all()) for part in (z if isinstance(z, tuple) else (z,))):
        raise ValueError(
            "q(z | x) gave latents of the first rows that are not finite; take a smaller lr of its inference, or look "
            "at the net of the posterior."
        )
    if isinstance(z, Tensor):
        _check_latents(z, model.prior(context), len(x))
        if not isinstance(q, Augmented):  # which states the shape of both
            _check_stated(model.posterior, z)
    p = _tried("likelihood", lambda: model.decode(z, context), z)
    require_distribution(p, "likelihood")
    if tuple(p.event_shape) != tuple(x.shape[1:]):
        raise ValueError(
            f"p(x | z) is over rows of shape {tuple(p.event_shape)} and the rows have {tuple(x.shape[1:])}; give the "
            "likelihood their event_shape, or reshape them."
        )
    return z


def _check_latents(z: Tensor, p: Distribution, num_rows: int) -> None:
    if len(z) != num_rows:
        raise ValueError(
            f"The posterior gave latents of shape {tuple(z.shape)} for {num_rows} rows and must give one for each; let "
            "its net end in the shape that parameter_shape states, such as (rows, 2, latent_dim)."
        )
    if tuple(z.shape[1:]) != tuple(p.event_shape):
        raise ValueError(
            f"q(z | x) is over latents of shape {tuple(z.shape[1:])} and p(z) over {tuple(p.event_shape)}; choose "
            "both over the same latents, of one latent_shape."
        )


def _check_stated(posterior: object, z: Tensor) -> None:
    """Refuse a net that gives latents of another shape than the posterior states."""
    if isinstance(posterior, StatesEventShape) and tuple(posterior.event_shape) != tuple(z.shape[1:]):
        raise ValueError(
            f"The net of {type(posterior).__name__} gives latents of shape {tuple(z.shape[1:])}, and the latent_shape "
            f"stated is {tuple(posterior.event_shape)}; state the other, or build the net for this one."
        )


def _tried(part: str, call: Callable[[], _T], given: object) -> _T:
    """What a part gives, or a sentence that names it and what it was given."""
    try:
        return call()
    except RuntimeError as error:
        detail = str(error).strip().split("\n")[0][:120].rstrip(".")
        if isinstance(error, torch.OutOfMemoryError) or not any(word in detail.lower() for word in _OF_SHAPES):
            raise
        shape = f" of shape {tuple(given.shape)}" if isinstance(given, Tensor) else ""
        what = "rows" if part == "posterior" else "latents"
        raise ValueError(f"The net of the {part} cannot take {what}{shape} ({detail}); make it for these.") from error
