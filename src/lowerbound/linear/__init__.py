"""Linear latent variable models, fitted exactly or by EM: one idea per file. Most fits are generators of their
iterations.

All take rows (N, D), preferably in double precision, with NaN for missing entries.
"""

from lowerbound.linear.em import Iteration, expectation_maximization
from lowerbound.linear.factor_analysis import fit_factor_analysis
from lowerbound.linear.ica import ICAIteration, IndependentComponents, fit_independent_components
from lowerbound.linear.mixture import FactorAnalysers, MixtureIteration, fit_mixture_of_factor_analysers
from lowerbound.linear.observed import Observed, impute, observe, observed_log_evidence
from lowerbound.linear.online import online_expectation_maximization
from lowerbound.linear.other_columns import MixedRows, OtherColumns, OtherParameters
from lowerbound.linear.portfolio import Candidate, Stack, candidates, fit_stack
from lowerbound.linear.principal_components import corrected, fit_probabilistic_pca
from lowerbound.linear.resolution import Resolution
from lowerbound.linear.scaled_mixture import ScaledMixture, fit_scaled_mixture
from lowerbound.linear.stacking import stacking_weights
from lowerbound.linear.statistics import Noise, Statistics, expected_statistics

__all__ = [
    "Candidate",
    "FactorAnalysers",
    "ICAIteration",
    "IndependentComponents",
    "Iteration",
    "MixedRows",
    "MixtureIteration",
    "Noise",
    "Observed",
    "OtherColumns",
    "OtherParameters",
    "Resolution",
    "ScaledMixture",
    "Stack",
    "Statistics",
    "candidates",
    "corrected",
    "expectation_maximization",
    "expected_statistics",
    "fit_factor_analysis",
    "fit_independent_components",
    "fit_mixture_of_factor_analysers",
    "fit_probabilistic_pca",
    "fit_scaled_mixture",
    "fit_stack",
    "impute",
    "observe",
    "observed_log_evidence",
    "online_expectation_maximization",
    "stacking_weights",
]
