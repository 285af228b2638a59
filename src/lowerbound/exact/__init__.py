"""Models of which every quantity is known exactly: oracles for tests, also for third parties.

=====================  ==========================================================================
LinearGaussian         x = W z + b + σ ε: everything in closed form
EnumerableBernoulli    any model with a few binary latents: everything by summing over states
EnumerableCategorical  the same for a few one-hot latents
HiddenChain            a Markov chain of states that is summed out: log p(x), p(c | x), paths
HiddenMarkov           the chain with Gaussian or categorical emissions, fitted by `baum_welch`
normal_bound           any model with a few Gaussian latents: any objective's expectation, by
                       quadrature
=====================  ==========================================================================

All of it is differentiable, so that exact gradients come from autograd.
"""

from lowerbound.exact.affine import AffineNormal
from lowerbound.exact.enumerable_bernoulli import EnumerableBernoulli, FactorisedBernoulli
from lowerbound.exact.enumerable_categorical import EnumerableCategorical
from lowerbound.exact.hidden_chain import ChainPosterior, HiddenChain
from lowerbound.exact.hidden_markov import (
    CategoricalStates,
    Emissions,
    HiddenMarkov,
    HiddenMarkovIteration,
    NormalStates,
    baum_welch,
)
from lowerbound.exact.linear_gaussian import LinearGaussian
from lowerbound.exact.quadrature import normal_bound

__all__ = [
    "AffineNormal",
    "CategoricalStates",
    "ChainPosterior",
    "Emissions",
    "EnumerableBernoulli",
    "EnumerableCategorical",
    "FactorisedBernoulli",
    "HiddenChain",
    "HiddenMarkov",
    "HiddenMarkovIteration",
    "LinearGaussian",
    "NormalStates",
    "baum_welch",
    "normal_bound",
]
