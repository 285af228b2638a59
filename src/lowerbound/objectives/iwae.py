"""The importance-weighted bound of Burda, Grosse & Salakhutdinov (2016, arXiv:1509.00519, eq. 8).

L_K(x) = E[log (1/K) Σ_k w_k] ≤ log p(x),      L_1 = ELBO,  L_K ≤ L_{K+1},  L_K → log p(x)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.objectives.require import sampled_log_w
from lowerbound.protocols import Bound
from lowerbound.weights import LogWeights, RateForm

__all__ = ["IWAE"]


@dataclass(frozen=True)
class IWAE:
    """log (1/K) Σ_k w_k over the K samples drawn: a lower bound of log p(x), nats, tighter with every sample.

    The value is the bound itself, never the surrogate Σ w̃ log w, which exceeds log p(x).
    """

    cites: ClassVar[tuple[str, ...]] = ("burda2016importance",)

    rate: RateForm = "sampled"
    bound: Bound = field(default="lower", init=False, repr=False)
    linear: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.rate != "sampled":
            raise ValueError(
                f"IWAE got rate={self.rate!r}: it needs the weights themselves, so only 'sampled' is a bound; "
                "use ELBO for closed forms."
            )

    def signal(self, w: LogWeights) -> Float[Tensor, "sample batch"]:
        """log w.

        Raises:
            ValueError: weights whose rate is in closed form, or estimated: their log-mean-exp bounds nothing.
        """
        return sampled_log_w(w, "IWAE")

    def reduce(self, signal: Float[Tensor, "sample batch"]) -> Float[Tensor, "batch"]:
        """The log of the mean weight."""
        return torch.logsumexp(signal, 0) - math.log(signal.shape[0])
