"""E_q[z | x], the latent representation of a row: in closed form where q(z | x) has one, else an average of draws.

    (1/S) Σ_s z_s,   z_s ~ q(z | x)              standard error sd(z_s) / √S of each number

Latents of any shape, and the layers of a hierarchy, are returned as one vector for each row (`model.flat_latents`); in
place of one-hot codes the vectors that they stand for. For
a chain of `HMC` it is the mean of all draws, with the effective sample size in place of S, and a warning if the chain
is unreliable.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.evaluate.batches import check_rows, context_rows, row_blocks
from lowerbound.hooks import Embeds, PointMass
from lowerbound.inference.draws import Draws, warn_of_problems
from lowerbound.model import LatentVariableModel, flat_latents
from lowerbound.protocols import Context, Latents
from lowerbound.randomness import forked
from lowerbound.row_numbers import rows_from
from lowerbound.weights import latents_of

__all__ = ["NUM_DRAWS", "PosteriorMean", "mean_of", "posterior_mean"]

NUM_DRAWS = 1000
"""The default of S: an error of 3 % of the standard deviation of q."""

_FEWEST_DRAWS = 2
_ROWS_PER_BLOCK, _NUMBERS_AT_ONCE = 1024, 2**22


@dataclass(frozen=True, kw_only=True)
class PosteriorMean:
    """E_q[z | x] of rows.

    Attributes:
        values: one vector for each row, the layers of a hierarchy one after another, z_1 first.
        standard_deviation: of each coordinate of z under q(z | x).
        standard_error: of each number of `values`; zero where the mean is known in closed form.
        latent_shapes: the shape of the latents of a row, one for each layer.
        num_draws: S; 0 where the mean is known in closed form.
    """

    values: Float[Tensor, "batch latent"]
    standard_deviation: Float[Tensor, "batch latent"]
    standard_error: Float[Tensor, "batch latent"]
    latent_shapes: tuple[tuple[int, ...], ...]
    num_draws: int

    @property
    def layers(self) -> tuple[Float[Tensor, "batch *event"], ...]:
        """The values in the shapes of the latents, one tensor for each layer."""
        parts = self.values.split([math.prod(shape) for shape in self.latent_shapes], 1)
        return tuple(part.unflatten(1, shape or (1,)) for part, shape in zip(parts, self.latent_shapes, strict=True))


@torch.no_grad()
def posterior_mean(
    model: LatentVariableModel,
    x: Float[Tensor, "batch *event"],
    context: Context | None = None,
    *,
    num_draws: int = NUM_DRAWS,
    seed: int = 0,
) -> PosteriorMean:
    """E_q[z | x] of every row.

    Arguments:
        model: of which q is used, in the mode (best eval) and on the device that it is in.
        x: rows in the form the model was trained on.
        context: of the model, one row for each datum.
        num_draws: S, where q has no mean in closed form.
        seed: of the draws; the caller's random state is untouched.

    Raises:
        ValueError: no rows, fewer than two draws, or a context of another length.

    Warns:
        InferenceWarning: for each problem of a chain, where `infer` is `HMC`.

    >>> from lowerbound.exact import LinearGaussian
    >>> exact = LinearGaussian(torch.ones(2, 1), torch.zeros(2), torch.tensor(1.0))
    >>> posterior_mean(exact.model(), torch.ones(1, 2)).values
    tensor([[0.6667]])
    """
    check_rows(model, x, context, num_draws, owner="posterior_mean")
    if num_draws < 2:
        raise ValueError(f"posterior_mean got num_draws={num_draws} and needs at least 2 to know its error.")
    with forked(x.device, seed, "posterior_mean"):
        parts = [_mean_of_rows(model, x, context, rows, num_draws) for rows in row_blocks(len(x), _ROWS_PER_BLOCK)]
    return PosteriorMean(
        values=torch.cat([part.values for part in parts]),
        standard_deviation=torch.cat([part.standard_deviation for part in parts]),
        standard_error=torch.cat([part.standard_error for part in parts]),
        latent_shapes=parts[0].latent_shapes,
        num_draws=parts[0].num_draws,
    )


def _mean_of_rows(
    model: LatentVariableModel, x: Tensor, context: Context | None, rows: slice, num_draws: int
) -> PosteriorMean:
    with rows_from(rows.start):
        found = mean_of(model.infer(x[rows], context_rows(context, rows)), num_draws)
    return _embedded(model.posterior, found) if isinstance(model.posterior, Embeds) else found


def _embedded(posterior: Embeds, found: PosteriorMean) -> PosteriorMean:
    """The mean of the embedded codes, which is the embedded mean of the codes. It is a constant given x."""
    vectors = posterior.embed(found.layers[0])
    return _exact(vectors, torch.zeros_like(_flat(vectors)), torch.zeros_like(_flat(vectors)), 0)


def mean_of(q: Distribution, num_draws: int = NUM_DRAWS) -> PosteriorMean:
    """E_q[z] of a batch of posteriors; draws come from torch's global generator."""
    if isinstance(q, Draws):
        warn_of_problems(q)
        error = _flat(q.stddev / q.effective_sample_size.sqrt())
        return _exact(q.mean, _flat(q.stddev), error.to(q.mean), q.values.shape[0] * q.values.shape[1])
    try:
        mean = q.mean
    except (NotImplementedError, AttributeError):
        return _by_draws(q, _FEWEST_DRAWS if isinstance(q, PointMass) else num_draws)
    try:
        deviation = _flat(q.stddev)
    except (NotImplementedError, AttributeError):
        deviation = _by_draws(q, num_draws).standard_deviation
    return _exact(mean, deviation, torch.zeros_like(deviation), 0)


def _exact(mean: Tensor, deviation: Tensor, error: Tensor, num_draws: int) -> PosteriorMean:
    return PosteriorMean(
        values=_flat(mean),
        standard_deviation=deviation,
        standard_error=error,
        latent_shapes=(tuple(mean.shape[1:]),),
        num_draws=num_draws,
    )


def _flat(values: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch latent"]:
    return flat_latents(values[None])[0]


def _by_draws(q: Distribution, num_draws: int) -> PosteriorMean:
    """Draw for all rows, in parts that fit in memory. Sums of squares about the first draw are accurate."""
    z = _draw(q, 1)
    shapes = tuple(tuple(layer.shape[2:]) for layer in (z if isinstance(z, tuple) else (z,)))
    first = flat_latents(z)[0].double()
    total, squares, size = torch.zeros_like(first), torch.zeros_like(first), max(1, _NUMBERS_AT_ONCE // first.numel())
    for block in row_blocks(num_draws - 1, size):
        away = flat_latents(_draw(q, block.stop - block.start)).double() - first
        total, squares = total + away.sum(0), squares + away.square().sum(0)
    mean = total / num_draws
    variance = (squares - num_draws * mean.square()).clamp_min(0) / (num_draws - 1)
    dtype = (z[0] if isinstance(z, tuple) else z).dtype
    return PosteriorMean(
        values=(first + mean).to(dtype),
        standard_deviation=variance.sqrt().to(dtype),
        standard_error=(variance / num_draws).sqrt().to(dtype),
        latent_shapes=shapes,
        num_draws=num_draws,
    )


def _draw(q: Distribution, num_draws: int) -> Latents:
    return latents_of(q, cast(Latents, q.sample(torch.Size((num_draws,)))))
