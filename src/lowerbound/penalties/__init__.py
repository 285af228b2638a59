"""Penalties: one idea per file, each a `protocols.Penalty`.

Three look at the aggregate posterior q(z) = (1/N) Σ_n q(z | x_n) of a batch: its distance from the prior (`MMD`), or
how far its coordinates are from independent (`TotalCorrelation` by densities, `FactorVAE` by a discriminator). One
looks at the weights (`Spectral`).
"""

from lowerbound.penalties.factor_vae import FactorVAE
from lowerbound.penalties.mmd import MMD
from lowerbound.penalties.spectral import Spectral
from lowerbound.penalties.total_correlation import TotalCorrelation

__all__ = ["MMD", "FactorVAE", "Spectral", "TotalCorrelation"]
