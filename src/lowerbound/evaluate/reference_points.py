"""Tests of accuracy with random points, TARP (Lemos, Coogan, Hezaveh & Perreault-Levasseur 2023, arXiv:2302.03026).

Around a reference point r take the ball that reaches to the true latent: draws of q fall into it with probability

    u = P_q(‖z − r‖ < ‖z* − r‖)

which is uniform if q(z | x) = p(z | x), whatever the rule by which r is chosen from x. coverage(c) = P(u ≤ c) is then
c. No density of q is needed. The converse, that a uniform u for all rules proves q, needs references that depend on
x: with others a q(z | x) = p(z) passes.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.cited import cited
from lowerbound.evaluate.coverage import LEVELS
from lowerbound.evaluate.ranks import Coverage, coverage_of, uniform_ranks

__all__ = ["distances_to", "tarp"]


@cited("lemos2023sampling")
def tarp(
    true: Float[Tensor, "batch latent"],
    draws: Float[Tensor, "sample batch latent"],
    references: Float[Tensor, "batch latent"],
    *,
    levels: tuple[float, ...] = LEVELS,
    seed: int = 0,
) -> Coverage:
    """The coverage of balls around reference points, over cases (z*, x) drawn from the model.

    Arguments:
        true: z* of each case.
        draws: z_s ~ q(z | x).
        references: r, chosen without a look at z*; coordinates should have like scales, for the distance is Euclidean.
        levels: probabilities of the balls.
        seed: of what breaks ties.

    Raises:
        ValueError: as `uniform_ranks`.
    """
    u = uniform_ranks(distances_to(references, true), distances_to(references, draws), seed=seed)
    return coverage_of(u, torch.tensor(levels, dtype=torch.float64, device=u.device))


def distances_to(
    references: Float[Tensor, "batch latent"], points: Float[Tensor, "*sample batch latent"]
) -> Float[Tensor, "*sample batch"]:
    """Euclidean distances."""
    return torch.linalg.vector_norm(points - references, dim=-1)
