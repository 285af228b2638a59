"""Priors p(z): one idea per file, each a `protocols.Conditional`. Any zuko flow is one too."""

from lowerbound.priors.after_training import AfterTraining
from lowerbound.priors.autoregressive import AutoregressiveBernoulli, AutoregressiveCategorical, AutoregressiveNormal
from lowerbound.priors.autoregressive_map import AutoregressiveMap
from lowerbound.priors.bernoulli import Bernoulli
from lowerbound.priors.boltzmann import RBM
from lowerbound.priors.categorical import Categorical
from lowerbound.priors.component_usage import ComponentUsage, is_mixture, unused_components
from lowerbound.priors.factorized_cumulative import FactorizedCumulative
from lowerbound.priors.flow_matching import FlowMatching
from lowerbound.priors.flow_prior import FlowPrior
from lowerbound.priors.frames_in_turn import ClipAndFrames, FramesInTurn
from lowerbound.priors.hierarchical import Hierarchical
from lowerbound.priors.laplace import Laplace
from lowerbound.priors.markov_chain import MarkovChain
from lowerbound.priors.mixture_normal import MixtureNormal
from lowerbound.priors.motion import Motion
from lowerbound.priors.noisy_normal import NoisyNormal
from lowerbound.priors.paired_group import PairedGroup
from lowerbound.priors.path import Path, PathGroup, residual_group
from lowerbound.priors.relaxed_bernoulli import RelaxedBernoulli
from lowerbound.priors.relaxed_categorical import RelaxedCategorical
from lowerbound.priors.smoothed import Smoothed
from lowerbound.priors.standard_normal import StandardNormal
from lowerbound.priors.two_stage import LatentFit, fit_prior_to_latents
from lowerbound.priors.vamp_prior import VampPrior

__all__ = [
    "RBM",
    "AfterTraining",
    "AutoregressiveBernoulli",
    "AutoregressiveCategorical",
    "AutoregressiveMap",
    "AutoregressiveNormal",
    "Bernoulli",
    "Categorical",
    "ClipAndFrames",
    "ComponentUsage",
    "FactorizedCumulative",
    "FlowMatching",
    "FlowPrior",
    "FramesInTurn",
    "Hierarchical",
    "Laplace",
    "LatentFit",
    "MarkovChain",
    "MixtureNormal",
    "Motion",
    "NoisyNormal",
    "PairedGroup",
    "Path",
    "PathGroup",
    "RelaxedBernoulli",
    "RelaxedCategorical",
    "Smoothed",
    "StandardNormal",
    "VampPrior",
    "fit_prior_to_latents",
    "is_mixture",
    "residual_group",
    "unused_components",
]
