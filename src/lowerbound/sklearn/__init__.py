"""scikit-learn estimators: interfaces to `fitting`, `linear` and `models`, without mathematics of their own."""

from lowerbound.sklearn.factor_analysis import FactorAnalysis
from lowerbound.sklearn.ica import ICA
from lowerbound.sklearn.mixture_of_factor_analysers import MixtureOfFactorAnalysers
from lowerbound.sklearn.ppca import ProbabilisticPCA
from lowerbound.sklearn.semi_supervised import SemiSupervisedVAE
from lowerbound.sklearn.vade import VaDE
from lowerbound.sklearn.vae import VAE

__all__ = [
    "ICA",
    "VAE",
    "FactorAnalysis",
    "MixtureOfFactorAnalysers",
    "ProbabilisticPCA",
    "SemiSupervisedVAE",
    "VaDE",
]
