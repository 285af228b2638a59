"""β-TCVAE: Chen, Li, Grosse & Duvenaud (2018, arXiv:1802.04942, eqs. 2, 4 and appendix C).

The mean rate over N data has three parts, with q(z) = (1/N) Σ_n q(z | x_n):

    E_n[KL(q(z | x_n) ‖ p(z))] = I(z; n) + KL(q(z) ‖ Π_d q(z_d)) + Σ_d KL(q(z_d) ‖ p(z_d))

β-TCVAE gives the second, the total correlation, the weight β: the ELBO minus (β − 1) times it, hence `weight` = β − 1.
A batch of B rows estimates the aggregate at the latent z_i of row i by q(z_i) ≈ Σ_j W_ij q(z_i | x_j), so too q(z_id):

    "stratified"   W_ii = 1/N,  W_ij = (N − 1) / (N (B − 1)):  unbiased for q(z), because z_i always comes from row i
    "weighted"     W_ij = 1/B:  counts row i as if it were N/B rows

Every row of W sums to one. The paper's stratified weights give one of the other rows (N − M)/(N M) and the rest 1/M,
with M = B − 1. The weights here are the mean of those over the choice of that row: q(z) has the same expectation and
never a larger variance, and is exact if the batch is all the data. The paper's weighted estimator divides by N B, which
shifts the value by (D − 1) log N and leaves the gradient as it is.

The logarithm of an unbiased estimate is biased, so that both estimates of the total correlation and their gradients are
biased. For N = 512 Gaussians of scale 0.3 in D = 4, around means of correlation ½, with a total correlation of 0.82
nats:

    B               16      64      256     512
    stratified      0.53    0.58    0.76    0.82
    weighted        1.81    1.33    0.94    0.82
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.factors import factor_of, log_prob_per_factor
from lowerbound.penalties.latents import check_weight, latents_drawn, require_latents

__all__ = ["Aggregate", "TotalCorrelation", "stratified_weights"]

Aggregate: TypeAlias = Literal["stratified", "weighted"]


@dataclass(frozen=True)
class TotalCorrelation:
    """weight · KL(q(z) ‖ Π_d q(z_d)): how far the latents of all data are from having independent coordinates.

    Arguments:
        num_data: N, the number of training rows.
        weight: β − 1.
        estimator: "stratified" or "weighted".

    Gradient: biased for φ, less so with more rows in the batch; none for θ.

    Raises:
        ValueError: fewer than two data, a negative weight, or an unknown estimator.
    """

    cites: ClassVar[tuple[str, ...]] = ("chen2018isolating",)

    num_data: int
    weight: float = 5.0
    estimator: Aggregate = "stratified"

    def __post_init__(self) -> None:
        check_weight(self.weight, "TotalCorrelation")
        if self.num_data < 2:
            raise ValueError(f"TotalCorrelation got num_data={self.num_data} and needs at least 2 rows.")
        if self.estimator not in ("stratified", "weighted"):
            raise ValueError(f"TotalCorrelation got estimator={self.estimator!r}; choose 'stratified' or 'weighted'.")

    def __call__(self, posterior: Distribution, prior: Distribution) -> Float[Tensor, ""]:
        """See `protocols.Penalty`. For a single row, which may remain in evaluation, it is 0."""
        z = latents_drawn(posterior, "TotalCorrelation")
        log_q = log_prob_per_factor(posterior, z[:, None])  # (i, j, d): log q(z_id | x_j)
        log_w = self._weights(z).log()
        log_joint = torch.logsumexp(log_w + log_q.sum(-1), 1)
        log_marginals = torch.logsumexp(log_w[..., None] + log_q, 1)
        return self.weight * (log_joint - log_marginals.sum(-1)).mean()

    def check(self, posterior: Distribution, prior: Distribution) -> None:
        """Refuse a posterior that cannot be reparameterised, or is not a product."""
        require_latents(posterior, "TotalCorrelation")
        factor_of(posterior)

    def _weights(self, z: Tensor) -> Float[Tensor, "row column"]:
        """W, in the precision and on the device of z."""
        if self.estimator == "weighted" or len(z) == 1:
            return z.new_full((len(z), len(z)), 1 / len(z))
        return stratified_weights(torch.eye(len(z), dtype=z.dtype, device=z.device), self.num_data)


def stratified_weights(own: Float[Tensor, "row column"], num_data: int) -> Float[Tensor, "row column"]:
    """The weights of the rows of a batch in the aggregate at the latent of row i.

    Arguments:
        own: the identity (B, B), B ≥ 2.
        num_data: N.

    >>> stratified_weights(torch.eye(3), 9)[0]
    tensor([0.1111, 0.4444, 0.4444])
    """
    others = (1 - 1 / num_data) / (len(own) - 1)
    return others + (1 / num_data - others) * own
