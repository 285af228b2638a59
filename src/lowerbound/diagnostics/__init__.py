"""Numbers about how a model trains and infers, each with its uncertainty."""

from lowerbound.diagnostics.gradient_statistics import GradientStatistics, Statistic, gradient_statistics

__all__ = ["GradientStatistics", "Statistic", "gradient_statistics"]
