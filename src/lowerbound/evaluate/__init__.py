"""Numbers about a fitted model, each with its uncertainty. Nothing here trains or draws a figure."""

from lowerbound.evaluate.aggregate import AggregatePosterior, aggregate_posterior
from lowerbound.evaluate.annealed import AnnealedEvidence, Sandwich, annealed_importance, bidirectional
from lowerbound.evaluate.baselines import (
    BernoulliMixture,
    bernoulli_mixture,
    gaussian,
    gaussian_mixture,
    independent_bernoulli,
    independent_elements,
    shrunk_gaussian,
)
from lowerbound.evaluate.clustering import (
    adjusted_rand_index,
    clustering_accuracy,
    nearest_neighbour_accuracy,
    normalized_mutual_information,
)
from lowerbound.evaluate.coded_pictures import PictureCodes, has_picture_codes, picture_codes
from lowerbound.evaluate.codes import CodeUsage, code_usage, codes_of_rows
from lowerbound.evaluate.conditional_evidence import prior_evidence
from lowerbound.evaluate.coverage import expected_coverage
from lowerbound.evaluate.disentanglement import (
    DCI,
    beta_vae_score,
    dci_scores,
    factor_vae_score,
)
from lowerbound.evaluate.estimates import Estimates, Score
from lowerbound.evaluate.evidence import Evidence, log_evidence
from lowerbound.evaluate.filtering import Filtered, particle_filter
from lowerbound.evaluate.forecasts import Forecasts, next_steps
from lowerbound.evaluate.gaps import InferenceGaps, inference_gaps
from lowerbound.evaluate.gradient_noise import GradientStatistics, Statistic, gradient_statistics
from lowerbound.evaluate.importance import effective_sample_size, log_mean_weight, pareto_k
from lowerbound.evaluate.integration import mean_silhouette, neighbour_mixing
from lowerbound.evaluate.latent_gaps import mutual_information_gap, separated_attribute_predictability
from lowerbound.evaluate.latents import latent_moments
from lowerbound.evaluate.missing import completions, draw_missing, log_conditionals
from lowerbound.evaluate.neighbourhoods import SampleQuality, frechet_distance, sample_quality
from lowerbound.evaluate.out_of_distribution import (
    auroc,
    bits_per_dim,
    likelihood_ratio,
    likelihood_regret,
    mutated,
    negative_log_evidence,
    typicality,
    waic,
)
from lowerbound.evaluate.picture_quality import ms_ssim, psnr
from lowerbound.evaluate.pooling import Pooled, pool
from lowerbound.evaluate.posterior_moments import PosteriorMean, posterior_mean
from lowerbound.evaluate.rank_bands import Band, ecdf_band, uniformity_p_values
from lowerbound.evaluate.ranks import Coverage, uniform_ranks
from lowerbound.evaluate.ranks_given_others import conditional_ranks, has_conditionals
from lowerbound.evaluate.rate_distortion import Summary, summary
from lowerbound.evaluate.reference_points import tarp
from lowerbound.evaluate.replicated_data import Check, PredictiveChecks, predictive_checks
from lowerbound.evaluate.sbc import Calibration, calibration
from lowerbound.evaluate.several_rows import log_evidence_of_sums
from lowerbound.evaluate.token_neighbours import nearest_tokens
from lowerbound.evaluate.topics import Topic, describe_topics
from lowerbound.evaluate.two_sample import PosteriorTwoSample, classifier_two_sample, posterior_two_sample
from lowerbound.evaluate.uniform_columns import ColumnRanks, least_uniform

__all__ = [
    "DCI",
    "AggregatePosterior",
    "AnnealedEvidence",
    "Band",
    "BernoulliMixture",
    "Calibration",
    "Check",
    "CodeUsage",
    "ColumnRanks",
    "Coverage",
    "Estimates",
    "Evidence",
    "Filtered",
    "Forecasts",
    "GradientStatistics",
    "InferenceGaps",
    "PictureCodes",
    "Pooled",
    "PosteriorMean",
    "PosteriorTwoSample",
    "PredictiveChecks",
    "SampleQuality",
    "Sandwich",
    "Score",
    "Statistic",
    "Summary",
    "Topic",
    "adjusted_rand_index",
    "aggregate_posterior",
    "annealed_importance",
    "auroc",
    "bernoulli_mixture",
    "beta_vae_score",
    "bidirectional",
    "bits_per_dim",
    "calibration",
    "classifier_two_sample",
    "clustering_accuracy",
    "code_usage",
    "codes_of_rows",
    "completions",
    "conditional_ranks",
    "dci_scores",
    "describe_topics",
    "draw_missing",
    "ecdf_band",
    "effective_sample_size",
    "expected_coverage",
    "factor_vae_score",
    "frechet_distance",
    "gaussian",
    "gaussian_mixture",
    "gradient_statistics",
    "has_conditionals",
    "has_picture_codes",
    "independent_bernoulli",
    "independent_elements",
    "inference_gaps",
    "latent_moments",
    "least_uniform",
    "likelihood_ratio",
    "likelihood_regret",
    "log_conditionals",
    "log_evidence",
    "log_evidence_of_sums",
    "log_mean_weight",
    "mean_silhouette",
    "ms_ssim",
    "mutated",
    "mutual_information_gap",
    "nearest_neighbour_accuracy",
    "nearest_tokens",
    "negative_log_evidence",
    "neighbour_mixing",
    "next_steps",
    "normalized_mutual_information",
    "pareto_k",
    "particle_filter",
    "picture_codes",
    "pool",
    "posterior_mean",
    "posterior_two_sample",
    "predictive_checks",
    "prior_evidence",
    "psnr",
    "sample_quality",
    "separated_attribute_predictability",
    "shrunk_gaussian",
    "summary",
    "tarp",
    "typicality",
    "uniform_ranks",
    "uniformity_p_values",
    "waic",
]
