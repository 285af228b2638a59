"""Where a true value lies among draws: the ranks of simulation-based calibration (Talts et al. 2018, arXiv:1804.06788).

    u = (#{s: f_s < f*} + v (1 + #{s: f_s = f*})) / (S + 1),      v ~ U(0, 1)

If f* and f_1, …, f_S are exchangeable, as a latent and draws of its exact posterior are, u is uniform on [0, 1] exactly
and for every S: the rank among them is uniform on 0, …, S, ties are broken at random, and so is the place within a
rank. The values may be discrete; where all of them are alike, u is pure noise.

How far N of them are from uniform is said by D = sup_t |F(t) − t| of their empirical distribution function F.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lowerbound.cited import cited
from lowerbound.randomness import forked

__all__ = ["Coverage", "coverage_of", "largest_difference", "rank_among", "uniform_ranks"]


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How often regions of some probability hold the truth.

    Attributes:
        levels: the probability that each region has.
        values: the share of cases in which it held the truth.
        standard_error: of each share, √(c (1 − c) / N) for c the share.
    """

    levels: Float64[Tensor, "level"]
    values: Float64[Tensor, "level"]
    standard_error: Float64[Tensor, "level"]


@cited("talts2018validating")
def uniform_ranks(
    true: Float[Tensor, "*shape"], draws: Float[Tensor, "sample *shape"], *, seed: int = 0
) -> Float64[Tensor, "*shape"]:
    """u of each true value among its draws, in [0, 1].

    Arguments:
        true: f*, in any units.
        draws: f_1, …, f_S, in the same units.
        seed: of the ties and of the place within a rank; the caller's random state is untouched.

    Raises:
        ValueError: no draws, or values that are not numbers.

    >>> u = uniform_ranks(torch.tensor([0.5]), torch.arange(9.0)[:, None])  # one draw of nine is below
    >>> 0.1 <= u.item() <= 0.2
    True
    """
    with forked(true.device, seed, "uniform_ranks"):
        return rank_among(true, draws)


def rank_among(true: Float[Tensor, "*shape"], draws: Float[Tensor, "sample *shape"]) -> Float64[Tensor, "*shape"]:
    """The same with torch's global generator."""
    if not len(draws):
        raise ValueError("Ranks need at least one draw and got none.")
    if bool(true.isnan().any()) or bool(draws.isnan().any()):
        raise ValueError("Ranks need numbers and got NaN; look for the density or the draws that are not finite.")
    less, equal = (draws < true).sum(0).double(), (draws == true).sum(0).double()
    return (less + torch.rand_like(less) * (1 + equal)) / (1 + len(draws))


def largest_difference(
    ranks: Float64[Tensor, "row *quantity"],
) -> tuple[Float64[Tensor, "*quantity"], Float64[Tensor, "*quantity"]]:
    """D of each quantity over its N ranks, and the standard error √(F (1 − F) / N) of F where they differ most.

    >>> largest_difference(torch.tensor([0.1, 0.2, 0.3, 0.4]).double())[0]
    tensor(0.6000, dtype=torch.float64)
    """
    size = ranks.shape[0]
    ordered = ranks.sort(0).values
    steps = torch.arange(1, size + 1, dtype=ranks.dtype, device=ranks.device)
    above = steps.reshape(-1, *(1,) * (ranks.ndim - 1)) / size
    both = torch.cat([above - ordered, ordered - (above - 1 / size)])
    found = both.max(0)
    share = torch.cat([above, above - 1 / size]).expand_as(both).gather(0, found.indices[None])[0]
    return found.values, (share * (1 - share) / size).sqrt()


def coverage_of(inside: Float64[Tensor, "row"], levels: Float64[Tensor, "level"]) -> Coverage:
    """How often regions hold the truth, from the smallest level of those that do.

    Arguments:
        inside: for each case the level from which on regions hold the truth: a rank, or one minus a rank.
        levels: probabilities of regions, between 0 and 1.
    """
    values = (inside[:, None] <= levels).double().mean(0)
    error = (values * (1 - values)).sqrt() / math.sqrt(len(inside))
    return Coverage(levels=levels, values=values, standard_error=error)
