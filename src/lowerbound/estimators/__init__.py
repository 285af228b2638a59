"""scikit-learn estimators: facades over `fitting`, `linear` and `models`, without mathematics of their own."""

from lowerbound.estimators.factor_analysis import FactorAnalysis
from lowerbound.estimators.ica import ICA
from lowerbound.estimators.mixture_of_factor_analysers import MixtureOfFactorAnalysers
from lowerbound.estimators.ppca import ProbabilisticPCA
from lowerbound.estimators.semi_supervised import SemiSupervisedVAE
from lowerbound.estimators.vade import VaDE
from lowerbound.estimators.vae import VAE

__all__ = [
    "ICA",
    "VAE",
    "FactorAnalysis",
    "MixtureOfFactorAnalysers",
    "ProbabilisticPCA",
    "SemiSupervisedVAE",
    "VaDE",
]
