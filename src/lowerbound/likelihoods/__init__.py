"""Likelihoods p(x | z): one idea per file, each a `protocols.Conditional`."""

from lowerbound.likelihoods.bernoulli import Bernoulli
from lowerbound.likelihoods.normal import Normal

__all__ = ["Bernoulli", "Normal"]
