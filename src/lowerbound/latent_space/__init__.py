"""The latent space of a fitted model: what each latent does, which rows are near, and directions that mean something.

All take models whose rows have one vector (or array) of real latents, and refuse others by name.
"""

from lowerbound.latent_space.directions import Attribute, attribute, with_attribute
from lowerbound.latent_space.nearest import Distance, Neighbours, neighbours
from lowerbound.latent_space.traversal import Traversal, traverse
from lowerbound.latent_space.vectors import LatentVectors, decoded, taken, vectors_of

__all__ = [
    "Attribute",
    "Distance",
    "LatentVectors",
    "Neighbours",
    "Traversal",
    "attribute",
    "decoded",
    "neighbours",
    "taken",
    "traverse",
    "vectors_of",
    "with_attribute",
]
