"""Numbers about a fitted model, each with its uncertainty. Nothing here trains or draws a figure."""

from lowerbound.evaluate.baselines import BernoulliMixture, bernoulli_mixture, gaussian_mixture, independent_bernoulli
from lowerbound.evaluate.importance import effective_sample_size, log_mean_weight, pareto_k
from lowerbound.evaluate.log_evidence import Evidence, log_evidence
from lowerbound.evaluate.summary import Summary, summary

__all__ = [
    "BernoulliMixture",
    "Evidence",
    "Summary",
    "bernoulli_mixture",
    "effective_sample_size",
    "gaussian_mixture",
    "independent_bernoulli",
    "log_evidence",
    "log_mean_weight",
    "pareto_k",
    "summary",
]
