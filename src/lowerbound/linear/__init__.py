"""Linear latent variable models, fitted exactly or by EM: one idea per file, each a generator of ever better fits.

=============================  =================================================================================
factor_analysis                z ~ N(0, I), noise per column: Jöreskog's profile likelihood; EM with missing entries
probabilistic_pca              one noise for all columns: closed form; EM with missing entries
independent_components         sources that are independent and not Gaussian: exact likelihood, quasi-Newton
mixture_of_factor_analysers    several of the first two: EM
scaled mixtures                clusters with heavy tails and shrunken covariances, gaps, classes and counts: EM
stacks                         many of these, weighed by rows that none was fitted to
online_expectation…            the first two from a stream of batches
=============================  =================================================================================

All take rows (N, D), NaN where an entry is missing, and are best given double precision.
"""

from lowerbound.linear.expectation_maximization import Iteration, expectation_maximization
from lowerbound.linear.factor_analysis import factor_analysis
from lowerbound.linear.independent_components import ICAIteration, IndependentComponents, independent_components
from lowerbound.linear.mixture import FactorAnalysers, MixtureIteration, mixture_of_factor_analysers
from lowerbound.linear.observed import Observed, impute, log_evidence, observe
from lowerbound.linear.online import online_expectation_maximization
from lowerbound.linear.other_columns import MixedRows, OtherColumns, OtherParameters
from lowerbound.linear.portfolio import Candidate, Stack, candidates, fit_stack
from lowerbound.linear.principal_components import corrected, probabilistic_pca
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
    "ScaledMixture",
    "Stack",
    "Statistics",
    "candidates",
    "corrected",
    "expectation_maximization",
    "expected_statistics",
    "factor_analysis",
    "fit_scaled_mixture",
    "fit_stack",
    "impute",
    "independent_components",
    "log_evidence",
    "mixture_of_factor_analysers",
    "observe",
    "online_expectation_maximization",
    "probabilistic_pca",
    "stacking_weights",
]
