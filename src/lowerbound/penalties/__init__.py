"""Penalties on the latents of a whole batch: one idea per file, each a `protocols.Penalty`.

All three look at the aggregate posterior q(z) = (1/N) Σ_n q(z | x_n): its distance from the prior (`MMD`), or how far
its coordinates are from independent (`TotalCorrelation` by densities, `FactorVAE` by a discriminator).
"""

from lowerbound.penalties.factor_vae import FactorVAE
from lowerbound.penalties.mmd import MMD
from lowerbound.penalties.total_correlation import TotalCorrelation

__all__ = ["MMD", "FactorVAE", "TotalCorrelation"]
