"""Objectives: functions of log w, one idea per file, each a `protocols.Objective`."""

from lowerbound.objectives.balanced_elbo import BalancedELBO
from lowerbound.objectives.beta_elbo import BetaELBO
from lowerbound.objectives.capacity_elbo import CapacityELBO
from lowerbound.objectives.chi_divergence import ChiDivergence
from lowerbound.objectives.cubo import CUBO
from lowerbound.objectives.elbo import ELBO
from lowerbound.objectives.free_bits import FreeBits
from lowerbound.objectives.geco import GECO
from lowerbound.objectives.iwae import IWAE
from lowerbound.objectives.log_variance import LogVariance
from lowerbound.objectives.renyi import Renyi

__all__ = [
    "CUBO",
    "ELBO",
    "GECO",
    "IWAE",
    "BalancedELBO",
    "BetaELBO",
    "CapacityELBO",
    "ChiDivergence",
    "FreeBits",
    "LogVariance",
    "Renyi",
]
