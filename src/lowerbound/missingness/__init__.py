"""Models p(s | x) of which entries of a table are missing, for gaps that depend on the values that they hide."""

from lowerbound.missingness.self_masking import SelfMasking

__all__ = ["SelfMasking"]
