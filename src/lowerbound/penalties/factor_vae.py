"""FactorVAE: Kim & Mnih (2018, arXiv:1802.05983, eq. 2 and algorithm 2).

A discriminator D tells latents z ~ q(z) of the aggregate posterior from z' ~ Π_d q(z_d), made from a batch by
permuting each coordinate over the rows. With its logit ℓ = log D/(1 − D),

    KL(q(z) ‖ Π_d q(z_d)) = E_q(z)[log q(z) / Π_d q(z_d)] ≈ E_q(z)[ℓ(z)]

D descends its cross-entropy −½ E[log σ(ℓ(z))] − ½ E[log σ(−ℓ(z'))], whose minimum is ℓ = log q / Π q, in the same step
as p and q. The cross-entropy enters with the value zero and latents held fixed, and ℓ(z) with D held fixed, so that φ
does not learn from the cross-entropy and D not from the total correlation.
"""

from __future__ import annotations

from typing import ClassVar, cast

from jaxtyping import Float
from torch import Tensor, nn, rand_like
from torch.distributions import Distribution

from lowerbound.nets.discriminator import Discriminator
from lowerbound.penalties.latents import check_weight, latents_drawn, require_latents
from lowerbound.weights import latents_of

__all__ = ["FactorVAE", "permute_coordinates"]


class FactorVAE(nn.Module):
    """weight · E_q(z)[ℓ(z)], the total correlation by a discriminator that is trained in the same steps.

    Arguments:
        latent_dim: length of z.
        weight: γ.
        hidden: width of the hidden layers of the discriminator.
        depth: number of them (the paper has six of 1,000).

    Gradient: biased for φ, because the discriminator is not optimal; none for θ. The discriminator has the gradient of
    its cross-entropy.

    Raises:
        ValueError: a negative weight; a discriminator without layers, or with more than 256.
    """

    cites: ClassVar[tuple[str, ...]] = ("kim2018disentangling",)

    def __init__(self, latent_dim: int, weight: float = 10.0, hidden: int = 256, depth: int = 2):
        super().__init__()
        check_weight(weight, "FactorVAE")
        if latent_dim < 1:
            raise ValueError(f"FactorVAE got latent_dim={latent_dim} and needs 1 at least.")
        self.latent_dim, self.weight = latent_dim, weight
        self.discriminator = Discriminator(
            latent_dim, hidden, depth, activation=lambda: nn.LeakyReLU(0.2), owner="FactorVAE"
        )

    def forward(self, posterior: Distribution, prior: Distribution) -> Float[Tensor, ""]:
        """See `protocols.Penalty`."""
        z = latents_drawn(posterior, "FactorVAE")
        total_correlation = self.discriminator.log_ratio(z).mean()
        others = permute_coordinates(latents_drawn(posterior, "FactorVAE").detach())
        mistakes = self.cross_entropy(z, others)
        return self.weight * total_correlation + (mistakes - mistakes.detach())

    def check(self, posterior: Distribution, prior: Distribution) -> None:
        """Refuse a posterior that cannot be reparameterised, or latents of another length."""
        require_latents(posterior, "FactorVAE")
        shape = tuple(cast(Tensor, latents_of(posterior, posterior.sample())).shape[1:])
        if shape != (self.latent_dim,):
            raise ValueError(
                f"FactorVAE has a discriminator of latents ({self.latent_dim},) and got latents {shape}; give it their "
                "latent_dim, or use TotalCorrelation for latents that are not vectors."
            )

    def cross_entropy(self, z: Float[Tensor, "row dim"], others: Float[Tensor, "row dim"]) -> Float[Tensor, ""]:
        """The cross-entropy of D between z and latents with independent coordinates: log 2 nats if it cannot separate
        them.
        """
        return self.discriminator.cross_entropy([z], [others]).mean()


def permute_coordinates(z: Float[Tensor, "row dim"]) -> Float[Tensor, "row dim"]:
    """Permute every coordinate separately over the rows: a draw from the product of the marginals."""
    return z.gather(0, rand_like(z).argsort(0))
