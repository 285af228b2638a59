"""Priors p(z): one idea per file, each a `protocols.Conditional`. Any zuko flow is one too."""

from lowerbound.priors.standard_normal import StandardNormal

__all__ = ["StandardNormal"]
