"""Posteriors q(z | x): one idea per file, each a `protocols.Conditional`. Any conditional zuko flow is one too."""

from lowerbound.posteriors.autoregressive_flows import IAF, MAF, NSF
from lowerbound.posteriors.auxiliary import AuxiliaryNormal
from lowerbound.posteriors.bernoulli import Bernoulli
from lowerbound.posteriors.bidirectional import Bidirectional
from lowerbound.posteriors.bottom_up import BottomUp
from lowerbound.posteriors.categorical import Categorical
from lowerbound.posteriors.diagonal_normal import DiagonalNormal
from lowerbound.posteriors.finite_scalar import FiniteScalar
from lowerbound.posteriors.full_normal import FullNormal
from lowerbound.posteriors.implicit import Implicit
from lowerbound.posteriors.lookup_free import LookupFree
from lowerbound.posteriors.low_rank_normal import LowRankNormal
from lowerbound.posteriors.mixture_normal import MixtureNormal
from lowerbound.posteriors.normal_divergence import kl_of_full, kl_of_low_rank
from lowerbound.posteriors.planar import Planar
from lowerbound.posteriors.radial import Radial
from lowerbound.posteriors.relaxed_bernoulli import RelaxedBernoulli
from lowerbound.posteriors.relaxed_categorical import RelaxedCategorical
from lowerbound.posteriors.residual_quantized import ResidualQuantized
from lowerbound.posteriors.sequence_normal import SequenceNormal
from lowerbound.posteriors.smoothed_bernoulli import SmoothedBernoulli
from lowerbound.posteriors.sylvester import Sylvester
from lowerbound.posteriors.top_down import TopDown
from lowerbound.posteriors.top_down_path import TopDownPath
from lowerbound.posteriors.uniform_noise import UniformNoise, UniformNoiseBeside, UniformNoiseLayers
from lowerbound.posteriors.vector_quantized import VectorQuantized

__all__ = [
    "IAF",
    "MAF",
    "NSF",
    "AuxiliaryNormal",
    "Bernoulli",
    "Bidirectional",
    "BottomUp",
    "Categorical",
    "DiagonalNormal",
    "FiniteScalar",
    "FullNormal",
    "Implicit",
    "LookupFree",
    "LowRankNormal",
    "MixtureNormal",
    "Planar",
    "Radial",
    "RelaxedBernoulli",
    "RelaxedCategorical",
    "ResidualQuantized",
    "SequenceNormal",
    "SmoothedBernoulli",
    "Sylvester",
    "TopDown",
    "TopDownPath",
    "UniformNoise",
    "UniformNoiseBeside",
    "UniformNoiseLayers",
    "VectorQuantized",
    "kl_of_full",
    "kl_of_low_rank",
]
