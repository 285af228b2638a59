"""scikit-learn estimators: a facade over `fitting`, without mathematics of its own."""

from lowerbound.estimators.vae import VAE

__all__ = ["VAE"]
