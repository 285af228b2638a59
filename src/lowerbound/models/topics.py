"""Topic models of counts of words: latent Dirichlet allocation, and a neural one with a logistic-normal posterior.

    lda        θ ~ Dir(α, …, α)             π = Σ_k θ_k β_k                      q(θ | x) = Dir(γ(x)), a fixed point
    prodlda    z ~ N(0, I), θ = softmax(σ z)  π = softmax(b + Σ_k θ_k B_k)       q(z | x) = N(μ(x), diag s(x)²), a net

x has the words of a text with probabilities π (`likelihoods.BagOfWords`). Topics of `lda` (Blei, Ng & Jordan 2003) are
fitted by its start, stochastic variational inference with natural gradients (Hoffman et al. 2013, arXiv:1206.7051;
`topic_inference`), and then held at their means β_k = E[β_k]:
log p(x) is of new texts under these topics. Those of `prodlda` (Srivastava & Sutton 2017, arXiv:1703.01488) are
products of experts, trained by the ELBO. σ² = (1 − 1/K) / α is the variance of the Laplace approximation of Dir(α, …,
α) in the basis of the softmax (their eq. 4). b starts at the log-frequencies of all words and is in each topic (Card,
Tan & Smith 2018, arXiv:1705.09296).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Dirichlet

from lowerbound.likelihoods.bag_of_words import BagOfWords
from lowerbound.losses import Loss
from lowerbound.model import LatentVariableModel
from lowerbound.models.recipe import Recipe
from lowerbound.models.topic_inference import fit_topics, shares_of
from lowerbound.nets import MLP
from lowerbound.nets.views import Log1p, Seen
from lowerbound.posteriors import DiagonalNormal
from lowerbound.priors import StandardNormal
from lowerbound.protocols import Context

__all__ = ["RECIPES", "TopicMixture", "TopicProduct", "lda", "prodlda", "start_lda", "start_prodlda"]

_FEW_TEXTS, _FEW_PASSES, _LEAST_CONCENTRATION = 5000, 5, 1e-6


def lda(
    event_shape: Sequence[int],
    *,
    topics: int = 20,
    concentration: float | None = None,
    smoothing: float | None = None,
    passes: int = 20,
) -> LatentVariableModel:
    """Latent Dirichlet allocation, filled by its start.

    Arguments:
        event_shape: (words,).
        topics: K.
        concentration: α, of the shares of topics in a text; None for 1/K.
        smoothing: η, of the words of a topic; None for 1/K.
        passes: of the start over the texts.

    Raises:
        ValueError: rows that are no vectors, fewer than two topics, or a number that is not positive.

    >>> model = lda((12,), topics=3)
    >>> model.infer(model.sample(5)).sample((7,)).shape
    torch.Size([7, 5, 3])
    """
    shape = _words(event_shape, topics, "lda")
    alpha, eta = (1 / topics if value is None else value for value in (concentration, smoothing))
    if not (0 < alpha < math.inf and 0 < eta < math.inf and passes > 0):
        raise ValueError(
            f"lda got concentration={alpha:g}, smoothing={eta:g} and passes={passes}; give finite numbers above 0."
        )
    likelihood = BagOfWords(TopicMixture(topics, shape[0], eta, passes))
    prior = TopicShares(topics, alpha)
    return LatentVariableModel(prior=prior, likelihood=likelihood, posterior=SharesGivenWords(prior, likelihood))


def prodlda(
    event_shape: Sequence[int],
    *,
    topics: int = 20,
    concentration: float = 0.1,
    hidden: Sequence[int] = (100,),
    dropout: float = 0.2,
) -> LatentVariableModel:
    """A neural topic model whose topics are multiplied.

    Arguments:
        event_shape: (words,).
        topics: K.
        concentration: α of the Dirichlet distribution of θ that is approximated.
        hidden: widths of the layers from the words to q(z | x).
        dropout: the fraction of the features of the encoder that are dropped in training.

    Raises:
        ValueError: rows that are no vectors, fewer than two topics, a concentration below 1e-6, or a dropout that is no
            fraction.

    >>> prodlda((12,), topics=3, hidden=[8]).sample(5).shape
    torch.Size([5, 12])
    """
    shape = _words(event_shape, topics, "prodlda")
    if not _LEAST_CONCENTRATION <= concentration < math.inf:
        raise ValueError(
            f"prodlda got concentration={concentration:g} and needs a finite number, {_LEAST_CONCENTRATION:g} or more."
        )
    if not 0 <= dropout < 1:
        raise ValueError(f"prodlda got dropout={dropout:g}, a fraction from 0 to below 1; leave it out.")
    encoder = MLP(shape, tuple(hidden), (2, topics), nn.Softplus)
    if dropout:
        encoder.layers.insert(len(encoder.layers) - 1, nn.Dropout(dropout))
    return LatentVariableModel(
        prior=StandardNormal(topics),
        likelihood=BagOfWords(TopicProduct(topics, shape[0], concentration)),
        posterior=DiagonalNormal(Seen(Log1p(shape), encoder), topics),
    )


class TopicMixture(nn.Module):
    """From shares θ (..., K) to log Σ_k θ_k β_k (..., words), with β_k the mean of Dir(λ_k).

    Arguments:
        topics: K.
        words: of the vocabulary.
        smoothing: η of the start.
        passes: of the start.
    """

    takes_leading_axes: bool = True

    def __init__(self, topics: int, words: int, smoothing: float, passes: int):
        super().__init__()
        self.out_shape, self.smoothing, self.passes = (words,), smoothing, passes
        self.log_weight = nn.Parameter(torch.zeros(topics, words))  # log λ

    def topics(self) -> Float[Tensor, "topic word"]:
        """β."""
        return self.log_weight.softmax(1)

    def forward(self, shares: Float[Tensor, "*lead topic"]) -> Tensor:
        """Log-probabilities of the words."""
        return (shares @ self.topics()).log()


class TopicProduct(nn.Module):
    """From z (..., K) to b + Σ_k softmax(σ z)_k B_k (..., words).

    Arguments:
        topics: K.
        words: of the vocabulary.
        concentration: α, which decides σ.
    """

    takes_leading_axes: bool = True

    def __init__(self, topics: int, words: int, concentration: float):
        super().__init__()
        self.out_shape, self.scale = (words,), math.sqrt((1 - 1 / topics) / concentration)
        self.weight = nn.Parameter(0.1 * torch.randn(topics, words))
        self.output_bias = nn.Parameter(torch.zeros(words))

    def topics(self) -> Float[Tensor, "topic word"]:
        """The words of texts with one topic alone."""
        return (self.output_bias + self.weight).softmax(1)

    def forward(self, z: Float[Tensor, "*lead topic"]) -> Tensor:
        """Logits of the words."""
        return self.output_bias + (self.scale * z).softmax(-1) @ self.weight


class TopicShares(nn.Module):
    """p(θ) = Dir(α, …, α).

    Arguments:
        topics: K.
        concentration: α.
    """

    def __init__(self, topics: int, concentration: float):
        super().__init__()
        self.event_shape, self.concentration = (topics,), concentration
        self.register_buffer("ones", torch.ones(topics), persistent=False)

    ones: Tensor

    def forward(self, context: Context | None = None) -> Dirichlet:
        """p(θ); the context is ignored."""
        return Dirichlet(self.concentration * self.ones, validate_args=False)


class SharesGivenWords(nn.Module):
    """q(θ | x) = Dir(γ(x)), the best of mean-field variational inference given the topics.

    Arguments:
        prior: of the model.
        likelihood: of the model, whose net is a `TopicMixture`.
    """

    def __init__(self, prior: TopicShares, likelihood: BagOfWords):
        super().__init__()
        self._of = (prior, likelihood)  # in a tuple, because the model has their parameters already

    @torch.no_grad()
    def forward(self, context: Context | None = None) -> Dirichlet:
        """q(θ | context)."""
        assert isinstance(context, Tensor)
        prior, likelihood = self._of
        assert isinstance(likelihood.net, TopicMixture)
        return Dirichlet(shares_of(context, likelihood.net.topics(), prior.concentration), validate_args=False)


@torch.no_grad()
def start_lda(loss: Loss | LatentVariableModel, x: Float[Tensor, "text word"], *, seed: int = 0) -> str:
    """Fit the topics of the model of a loss to counts, and say what bound they reach."""
    model = loss.model if isinstance(loss, Loss) else loss
    prior, likelihood = model.prior, model.likelihood
    assert isinstance(prior, TopicShares)
    assert isinstance(likelihood, BagOfWords)
    net = likelihood.net
    assert isinstance(net, TopicMixture)
    found = fit_topics(
        x, len(net.log_weight), concentration=prior.concentration, smoothing=net.smoothing, passes=net.passes
    )
    net.log_weight.copy_(found.weight.log())
    bound = found.bound(x) / max(1.0, float(x.sum()))
    return (
        f"{net.passes} passes of stochastic variational inference: the bound of the training texts, topics and all, is "
        f"{bound:.3f} nats a word (perplexity {torch.tensor(-bound).exp():.0f})."
    )


@torch.no_grad()
def start_prodlda(loss: Loss | LatentVariableModel, x: Float[Tensor, "text word"], *, seed: int = 0) -> None:
    """Start the topics at those of a short `lda`, because from topics that are alike z tends to be left unused."""
    model = loss.model if isinstance(loss, Loss) else loss
    assert isinstance(model.likelihood, BagOfWords)
    net = model.likelihood.net
    assert isinstance(net, TopicProduct)
    size = len(net.weight)
    some = x[:_FEW_TEXTS]
    passes = max(_FEW_PASSES, _FEW_TEXTS // len(some))
    found = fit_topics(some, size, concentration=1 / size, smoothing=1 / size, passes=passes)
    topics = (found.weight + 1) / (found.weight + 1).sum(1, keepdim=True)
    net.weight.copy_(topics.log() - net.output_bias.log_softmax(0))


def _words(event_shape: Sequence[int], topics: int, owner: str) -> tuple[int]:
    shape = tuple(event_shape)
    if len(shape) != 1:
        raise ValueError(f"{owner} got rows of shape {shape} and expected one count for each word; flatten the rows.")
    if topics < 2:
        raise ValueError(f"{owner} got topics={topics} and needs at least 2.")
    return (shape[0],)


RECIPES = (
    Recipe(
        name="lda",
        cites=("blei2003latent", "hoffman2013stochastic"),
        make=lda,
        defaults={"objective": "iwae", "gradient": "score-function", "num_samples": 2, "steps": 0, "compile": False},
        start=start_lda,
        likelihood="bag-of-words",
    ),
    Recipe(
        name="prodlda",
        cites=("srivastava2017autoencoding", "card2018neural"),
        make=prodlda,
        defaults={"objective": "elbo:rate=kl", "lr": 5e-3, "batch_size": 200, "steps": 2000},
        start=start_prodlda,
        likelihood="bag-of-words",
    ),
)
