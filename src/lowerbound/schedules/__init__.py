"""Schedules: numbers that change with the step, never with the epoch, each a `protocols.Schedule`."""

from lowerbound.schedules.annealing import Cyclical, Linear, Sigmoid
from lowerbound.schedules.learning_rate import Constant, Cosine, Exponential, Milestones, Warmup

__all__ = ["Constant", "Cosine", "Cyclical", "Exponential", "Linear", "Milestones", "Sigmoid", "Warmup"]
