"""How much more of a gene a cell has than its share says: the gamma variable of its negative binomial, given its count.

    x_g ~ Poisson(μ_g w_g),   w_g ~ Gamma(r_g, rate r_g)      E[w_g | x_g] = (r_g + x_g) / (r_g + μ_g)

is NB(μ_g, r_g) with w_g summed out. A share says what cells of these latents have on average; w_g is what this cell has
beside. Where a zero may be an extra one, w_g is 1 in expectation if it is: with probability p of that,

    E[w_g | x_g = 0] = p + (1 − p) r_g / (r_g + μ_g)

A Poisson has no w_g.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, Independent

from lowerbound.likelihoods.negative_binomial import NegativeBinomialDistribution
from lowerbound.likelihoods.zero_inflated import ZeroInflatedDistribution

__all__ = ["own_multipliers"]


def own_multipliers(p: Distribution, x: Float[Tensor, "*#lead gene"]) -> Float[Tensor, "*lead gene"]:
    """E[w | x] of each gene, for p(x | z, l, c) of a model of cells and the counts x.

    Raises:
        ValueError: the counts are Poisson.
    """
    each = p.base_dist if isinstance(p, Independent) else p
    counts = each.counts if isinstance(each, ZeroInflatedDistribution) else each
    if not isinstance(counts, NegativeBinomialDistribution):
        raise ValueError(
            "A Poisson cell has its share of each gene and no rate of its own; fit likelihood='negative-binomial', or "
            "leave own_counts (--own-counts) out."
        )
    r, m = counts.inverse_dispersion, counts.mean
    found = (r + x) / (r + m)
    if not isinstance(each, ZeroInflatedDistribution):
        return found
    log_zero = counts.log_prob(torch.zeros_like(m))
    extra = torch.sigmoid(each.gate_logits - log_zero)
    return torch.where(x > 0, found, extra + (1 - extra) * found)
