"""Objectives: functions of log w, one idea per file, each a `protocols.Objective`."""

from lowerbound.objectives.elbo import ELBO
from lowerbound.objectives.iwae import IWAE

__all__ = ["ELBO", "IWAE"]
