"""Bits drawn in antithetic pairs: what ARM and DisARM share.

    b = 1[u > σ(−a)],  b̃ = 1[u < σ(a)],  u ~ U(0, 1)^D

Each of the two is distributed as q, and they differ as much as one u allows. An estimate is a mean over pairs of
(f(b) − f(b̃)) c(u, a), and the value of the objective is its mean over both members of all pairs.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.chain import StateChain
from lowerbound.gradients.discrete import along_logits, discrete_of, q_without_score
from lowerbound.gradients.layerwise import LayerJoint, check_layers, layerwise_estimate
from lowerbound.protocols import Estimate, JointDensity, Objective
from lowerbound.weights import weigh

__all__ = ["Coefficient", "antithetic_estimate", "check_antithetic"]


@runtime_checkable
class Coefficient(Protocol):
    """The coefficient of f(b) − f(b̃)."""

    def __call__(self, logits: Tensor, u: Tensor, b: Tensor, opposite: Tensor) -> Tensor:
        """c (pair, batch, *event)."""
        ...


def antithetic_estimate(
    objective: Objective,
    posterior: Distribution,
    joint: JointDensity,
    num_samples: int,
    coefficient: Coefficient,
    *,
    owner: str,
) -> Estimate:
    """The surrogate for num_samples / 2 pairs; of a chain, one pair in each layer of num_samples / 2 draws.

    Raises:
        ValueError: an odd number of samples.
    """
    _require_pairs(num_samples, owner)
    if isinstance(posterior, StateChain):

        def one_layer(q: Distribution, of_layer: LayerJoint) -> Estimate:
            return antithetic_estimate(objective, q, of_layer, 2, coefficient, owner=owner)

        return layerwise_estimate(one_layer, objective, posterior, joint, num_samples // 2, owner=owner)
    family, a = discrete_of(posterior, owner, bits_only=True)
    u = torch.rand(num_samples // 2, *a.shape, dtype=a.dtype, device=a.device)
    b, opposite = (u > (-a).sigmoid()).to(a.dtype), (u < a.sigmoid()).to(a.dtype)
    w = weigh(q_without_score(objective, family, a), joint, torch.cat([b, opposite]), rate=objective.rate)
    signal = objective.signal(w)
    one, other = signal.chunk(2)
    difference = (one - other).reshape(*one.shape, *[1] * (a.ndim - 1))
    g = (difference * coefficient(a, u, b, opposite)).mean(0)
    return Estimate(surrogate=objective.reduce(signal) + along_logits(a, g), weights=w)


def check_antithetic(objective: Objective, posterior: Distribution, num_samples: int, owner: str) -> None:
    """Refuse other posteriors, objectives that need independent samples, and an odd number of samples."""
    if isinstance(posterior, StateChain):
        check_layers(objective, posterior, owner, bits_only=True)
    else:
        discrete_of(posterior, owner, bits_only=True)
    if not objective.linear:
        raise ValueError(
            f"{owner} draws antithetic pairs, and {type(objective).__name__} is a function of independent samples; "
            "use ScoreFunction(), which is VIMCO there, or REBAR()."
        )
    _require_pairs(num_samples, owner)


def _require_pairs(num_samples: int, owner: str) -> None:
    if num_samples % 2:
        raise ValueError(f"{owner} draws pairs and got num_samples={num_samples}; give it an even number.")
