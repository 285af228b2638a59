"""Posteriors q(z | x): one idea per file, each a `protocols.Conditional`."""

from lowerbound.posteriors.diagonal_normal import DiagonalNormal

__all__ = ["DiagonalNormal"]
