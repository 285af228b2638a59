"""The expectation of an objective over Gaussian latents, by Gauss–Hermite quadrature.

    E_{z_1, …, z_K ~ N(μ, diag σ²)}[R(f(z_1), …, f(z_K))],      z = μ + σ ε,      ε on the nodes of
    the rule for N(0, 1)

The rule of n nodes is exact for polynomials of degree 2n − 1, so the ELBO of a linear-Gaussian
model takes two nodes; for smooth integrands such as IWAE the error falls geometrically. The cost
is n^(latent · K): which is feasible for one or two of each.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Independent, Normal

from lowerbound.exact.expectation import expectation
from lowerbound.model import LatentVariableModel
from lowerbound.protocols import Context, Objective
from lowerbound.weights import weigh

__all__ = ["normal_bound"]


def normal_bound(
    model: LatentVariableModel,
    objective: Objective,
    x: Float[Tensor, "batch *event"],
    num_samples: int,
    *,
    num_nodes: int = 48,
    context: Context | None = None,
) -> Float[Tensor, "batch"]:
    """The expectation of an objective for a model with a factorised Gaussian posterior, nats.

    Differentiable with respect to every parameter; the samples move with μ and σ, and the rule's
    weights are constant.

    Arguments:
        model: one whose q(z | x) is `Independent(Normal)`.
        objective: what is averaged.
        x: a batch.
        num_samples: K.
        num_nodes: n, nodes in each dimension of each sample.
        context: of the model.

    Raises:
        ValueError: another posterior, or n^(latent · K) above 2^18.
    """
    q = model.infer(x, context)
    if not (isinstance(q, Independent) and isinstance(q.base_dist, Normal)):
        raise ValueError(
            f"normal_bound got a posterior of type {type(q).__name__} and needs Independent(Normal(…), 1)."
        )
    loc, scale = q.base_dist.loc, q.base_dist.scale
    nodes, log_probability = _rule(num_nodes, loc)
    z = loc + scale * nodes[:, None]
    w = weigh(q, model.joint(x, context), z, rate=objective.rate)
    return expectation(objective, w, log_probability[:, None].expand(-1, x.shape[0]), num_samples)


def _rule(num_nodes: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes (n^L, L) and log weights (n^L,) of the product rule for N(0, I_L)."""
    points, weights = np.polynomial.hermite_e.hermegauss(num_nodes)
    latent_dim = like.shape[-1]
    node = torch.from_numpy(points).to(like)
    log_weight = torch.from_numpy(np.log(weights / weights.sum())).to(like)
    grid = torch.cartesian_prod(*[torch.arange(num_nodes)] * latent_dim).reshape(-1, latent_dim)
    return node[grid.to(like.device)], log_weight[grid.to(like.device)].sum(-1)
