"""Likelihoods p(x | z): one idea per file, each a `protocols.Conditional`."""

from lowerbound.likelihoods.autoregressive import Autoregressive
from lowerbound.likelihoods.bag_of_words import BagOfWords
from lowerbound.likelihoods.bernoulli import Bernoulli
from lowerbound.likelihoods.beta import Beta
from lowerbound.likelihoods.categorical import Categorical
from lowerbound.likelihoods.continuous_bernoulli import ContinuousBernoulli
from lowerbound.likelihoods.discretized_logistic import DiscretizedLogistic
from lowerbound.likelihoods.discretized_logistic_mixture import DiscretizedLogisticMixture
from lowerbound.likelihoods.laplace import Laplace
from lowerbound.likelihoods.mixed import Mixed
from lowerbound.likelihoods.negative_binomial import NegativeBinomial
from lowerbound.likelihoods.normal import Normal
from lowerbound.likelihoods.poisson import Poisson
from lowerbound.likelihoods.student_t import StudentT
from lowerbound.likelihoods.tokens import Tokens
from lowerbound.likelihoods.zero_inflated import ZeroInflatedNegativeBinomial, ZeroInflatedPoisson

__all__ = [
    "Autoregressive",
    "BagOfWords",
    "Bernoulli",
    "Beta",
    "Categorical",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "DiscretizedLogisticMixture",
    "Laplace",
    "Mixed",
    "NegativeBinomial",
    "Normal",
    "Poisson",
    "StudentT",
    "Tokens",
    "ZeroInflatedNegativeBinomial",
    "ZeroInflatedPoisson",
]
