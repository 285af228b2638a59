"""Named models: short functions that pick a point on the axes."""

from lowerbound.models.choices import build, choices, construct, find, parse
from lowerbound.models.vae import vae

__all__ = ["build", "choices", "construct", "find", "parse", "vae"]
