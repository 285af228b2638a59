"""Latents of rows as vectors, and what the model shows at vectors: E[x | z], or what `shown` puts in its place."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.data import Rows
from lowerbound.fitted import Fitted
from lowerbound.hooks import Embeds, FindsStates
from lowerbound.randomness import derive_seed, forked
from lowerbound.shown import shown
from lowerbound.weights import latents_of

__all__ = ["LatentVectors", "decoded", "taken", "vectors_of"]

_DECODE = 12  # a stream of random numbers beside those of other modules
_BLOCK = 512
_CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class LatentVectors:
    """q(z | x) of rows.

    Attributes:
        mean: E_q[z | x] (row, latent).
        scale: the standard deviation of q(z | x) (row, latent).
        shape: of the latents of one row, as the likelihood reads them.
        context: what the model is given of each row, or None.
    """

    mean: Float[Tensor, "row latent"]
    scale: Float[Tensor, "row latent"]
    shape: tuple[int, ...]
    context: Tensor | None


@torch.no_grad()
def vectors_of(fitted: Fitted, rows: Rows, seed: int | None = None) -> LatentVectors:
    """Mean and standard deviation of the latents of rows.

    Arguments:
        fitted: the model.
        rows: as `Fitted.rows` gives them.
        seed: of draws where q has no moments in closed form, and of the binarization of pixels.

    Raises:
        ValueError: no rows, or a model whose rows have no single vector of real latents.
    """
    if not len(rows.x):
        raise ValueError(f"{rows.name} has no rows and at least 1 is needed.")
    shape = _shape(fitted, rows, seed)
    encoded = fitted.encode(rows, seed=seed)
    context = fitted.context(rows.y, rows.name, rows.covariates)
    mean, scale = torch.from_numpy(encoded.mean), torch.from_numpy(encoded.scale)
    return LatentVectors(mean=mean, scale=scale, shape=shape, context=context)


def _shape(fitted: Fitted, rows: Rows, seed: int | None) -> tuple[int, ...]:
    """Of the latents of a row.

    Raises:
        ValueError: they are layers, codes, states or numbers of classes.
    """
    if isinstance(fitted.model.posterior, Embeds | FindsStates):
        raise _no_vector(fitted, "codes" if isinstance(fitted.model.posterior, Embeds) else "states of a chain")
    x, context, first = next(fitted.blocks(taken(rows, np.arange(1)), seed))
    with forked(_CPU, first):
        q = fitted.model.infer(x, context)
        z = latents_of(q, q.sample())
    if isinstance(z, tuple):
        raise _no_vector(fitted, "several layers or parts")
    if _is_discrete(q):
        raise _no_vector(fitted, "discrete latents")
    if not z.numel():
        raise _no_vector(fitted, "no latents")
    return tuple(z.shape[1:])


def _is_discrete(q: Distribution) -> bool:
    try:
        return bool(q.support is not None and q.support.is_discrete)
    except (NotImplementedError, AttributeError):
        return False


def _no_vector(fitted: Fitted, what: str) -> ValueError:
    return ValueError(
        f"{fitted.called} has {what} and no single vector of latents to move along; fit a recipe with one, as vae."
    )


@torch.no_grad()
def decoded(
    fitted: Fitted,
    z: Float[Tensor, "point latent"],
    shape: tuple[int, ...],
    context: Tensor | None = None,
    seed: int | None = None,
) -> Float[Tensor, "point *event"]:
    """What the model shows at vectors, as the likelihood scores it; `Fitted.render` puts it into the user's form.

    Arguments:
        fitted: the model.
        z: the vectors.
        shape: of the latents of one row.
        context: one row for each vector, or None.
        seed: of the draws where E[x | z] has no closed form.

    Raises:
        ValueError: a result that is not finite.
    """
    first, parts = fitted.seed if seed is None else seed, []
    for start in range(0, len(z), _BLOCK):
        part = slice(start, start + _BLOCK)
        with forked(_CPU, derive_seed(first, _DECODE + start)):
            given = None if context is None else context[part]
            parts.append(shown(fitted.model.decode(z[part].reshape(-1, *shape), given)).values)
    return fitted.finite(torch.cat(parts))


def taken(rows: Rows, which: np.ndarray) -> Rows:
    """Some of the rows, by their places (n,), with their labels, covariates, numbers and names.

    Raises:
        ValueError: a place where there is no row.
    """
    if len(which) and not (which.min() >= 0 and which.max() < len(rows.x)):
        wrong = int(which.max() if which.max() >= len(rows.x) else which.min())
        raise ValueError(f"row {wrong} is none of {rows.name}, of which there are {len(rows.x):,}; count from 0.")
    numbers = np.arange(len(rows.x)) if rows.numbers is None else rows.numbers
    return replace(
        rows,
        x=rows.x[which],
        y=None if rows.y is None else rows.y[which],
        num_test=0,
        numbers=numbers[which],
        covariates=None if rows.covariates is None else rows.covariates[which],
        row_names=None if rows.row_names is None else tuple(rows.row_names[i] for i in which),
    )
