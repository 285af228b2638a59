"""Models of which every quantity is known exactly: oracles for tests, also for third parties.

=====================  ==========================================================================
LinearGaussian         x = W z + b + σ ε: everything in closed form
EnumerableBernoulli    any model with a few binary latents: everything by summing over states
EnumerableCategorical  the same for a few one-hot latents
normal_bound           any model with a few Gaussian latents: any objective's expectation, by
                       quadrature
=====================  ==========================================================================

All of it is differentiable, so that exact gradients come from autograd.
"""

from lowerbound.exact.affine import AffineNormal
from lowerbound.exact.enumerable_bernoulli import EnumerableBernoulli, FactorisedBernoulli
from lowerbound.exact.enumerable_categorical import EnumerableCategorical
from lowerbound.exact.linear_gaussian import LinearGaussian
from lowerbound.exact.quadrature import normal_bound

__all__ = [
    "AffineNormal",
    "EnumerableBernoulli",
    "EnumerableCategorical",
    "FactorisedBernoulli",
    "LinearGaussian",
    "normal_bound",
]
