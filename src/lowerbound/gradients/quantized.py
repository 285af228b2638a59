"""The gradient of quantised latents: van den Oord et al. (2017, arXiv:1711.00937, eq. 3), Mentzer et al. (2023, §3.1).

    ∇_θ            log p(x | e_k*) + log p(k*)
    encoder        ∂ log p(x | e) / ∂e at e_k*, as if it were ∂ / ∂f(x);  minus  β ∇ ‖f(x) − sg e_k*‖²
    codes          minus ∇ ‖sg f(x) − e_k*‖², where they learn by a gradient

The value is the bound log p(x, k*); the other two terms have the value 0 here, so that runs compare by the bound. The
prior is scored at the hard codes: the path of the copied gradient leaves the simplex of one-hot vectors, and even a
uniform prior would send a gradient along it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch.distributions import Distribution

from lowerbound.hooks import Quantizes
from lowerbound.protocols import Estimate, JointDensity, Kind, Objective
from lowerbound.weights import LogWeights

__all__ = ["Quantized"]


@dataclass(frozen=True)
class Quantized:
    """Copies the gradient at the codes to the encoded vectors, and draws codes and vectors to each other.

    Arguments:
        commitment: β, by which the encoder is drawn to its codes; of `FiniteScalar`, into the grid.

    Gradient: that of the bound for θ; biased for the encoder, because rounding has no derivative. The value is exact:
        q(k | x) has one value.

    Raises:
        ValueError: a negative commitment.
    """

    cites: ClassVar[tuple[str, ...]] = ("vandenoord2017neural",)

    commitment: float = 0.25
    kind: Kind = field(default="biased", init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.commitment < math.inf:
            raise ValueError(f"Quantized got commitment={self.commitment} and needs a finite number, 0 or more.")

    def estimate(
        self, objective: Objective, posterior: Distribution, joint: JointDensity, num_samples: int
    ) -> Estimate:
        """See `protocols.Gradient`."""
        q = _quantized(posterior)
        log_likelihood, _ = joint(q.straight_through()[None])
        log_prior = joint.prior.log_prob(q.point()[None]).expand_as(log_likelihood)
        w = LogWeights(
            log_likelihood=log_likelihood,
            log_prior=log_prior,
            log_q=torch.zeros_like(log_likelihood),
            z=q.point()[None],
        )
        if torch.is_grad_enabled():
            q.observe()
        pull = q.pull(self.commitment)
        value = objective.reduce(objective.signal(w))
        return Estimate(surrogate=value - (pull - pull.detach()), weights=w)

    def check(self, objective: Objective, posterior: Distribution, num_samples: int) -> None:
        """Refuse other posteriors, several copies of the one draw, and objectives that need another rate."""
        _quantized(posterior)
        if num_samples != 1:
            raise ValueError(
                f"Quantized got num_samples={num_samples} and q(z | x) has one value, which all would be; take 1."
            )
        if not objective.linear or objective.rate != "sampled":
            raise ValueError(
                f"Quantized got {type(objective).__name__} and q(z | x) has one value, so every bound is the ELBO; "
                "use ELBO() or BetaELBO() with rate='sampled'."
            )


def _quantized(posterior: Distribution) -> Quantizes:
    if not isinstance(posterior, Quantizes):
        raise ValueError(
            f"Quantized needs codes such as those of posteriors.FiniteScalar or VectorQuantized and got "
            f"{type(posterior).__name__}; use {'Pathwise' if posterior.has_rsample else 'ScoreFunction'}()."
        )
    return posterior
