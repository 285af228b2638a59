"""p(x | z) = Π_w π_w(z)^x_w: the words of a text in any order, given how many they are, π = softmax(l).

x_w counts word w. It is the probability of the words one after another, as in perplexities of topic models (Blei, Ng &
Jordan 2003, §7.1): the number of orders, N! / Π_w x_w!, is left out, and the length N has no probability. A text
without words has log p = 0.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.types import _size

from lowerbound.likelihoods.outputs import event_shape_of, output_bias_of
from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.protocols import Context
from lowerbound.support import LikelihoodFacts, Support, counts

__all__ = ["BagOfWords", "BagOfWordsDistribution"]


class BagOfWords(nn.Module):
    """Words that are drawn independently given a context, with logits that are computed by a net.

    Arguments:
        net: from a context (..., latent_dim) to logits (..., words).
        event_shape: (words,); read from `net.out_shape` if the net states it.

    Returns (when called):
        A distribution over counts x (words,); log-probabilities are nats per text. Its draws and its mean have the mean
        length of the data that `initialize` was shown, a buffer.
    """

    cites: ClassVar[tuple[str, ...]] = ("blei2003latent",)

    facts: ClassVar[LikelihoodFacts] = LikelihoodFacts(domain="bag", discrete=True, encoder_view="log1p", any_real=True)
    length: Tensor

    def __init__(self, net: nn.Module, event_shape: Shape | None = None):
        super().__init__()
        self.net = net
        self.event_shape = event_shape_of(net, event_shape, (), owner="BagOfWords")
        if len(self.event_shape) != 1:
            raise ValueError(f"BagOfWords got rows of shape {self.event_shape} and expected one count for each word.")
        self.register_buffer("length", torch.tensor(1.0))

    @staticmethod
    def parameter_shape(event_shape: Shape) -> tuple[int, ...]:
        """What its net must output per datum."""
        return as_shape(event_shape)

    @property
    def support(self) -> Support:
        """0, 1, 2, …."""
        return counts

    def forward(self, context: Context) -> BagOfWordsDistribution:
        """p(x | context)."""
        logits = parameters_of(self.net, context, self.event_shape)
        return BagOfWordsDistribution(logits.log_softmax(-1), self.length)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Take the mean length, and put the output bias at the log-frequencies, with one count spread over all."""
        self.length.copy_(x.to(self.length).sum(-1).mean())
        bias = output_bias_of(self.net)
        if bias is not None:
            bias.copy_(((x.to(bias).sum(0) + 1 / x.shape[-1]) / (x.sum() + 1)).log())


class BagOfWordsDistribution(Distribution):
    """Words drawn with probabilities π.

    Arguments:
        log_probs: log π (..., words).
        length: of draws and of the mean, words.
    """

    arg_constraints: ClassVar[dict[str, object]] = {}  # pyright: ignore[reportIncompatibleVariableOverride]
    has_rsample = False

    def __init__(self, log_probs: Tensor, length: Tensor):
        self.log_probs, self.length = log_probs, length
        super().__init__(log_probs.shape[:-1], log_probs.shape[-1:], validate_args=False)

    def expand(self, batch_shape: _size, _instance: object = None) -> BagOfWordsDistribution:
        """The same distribution with a larger batch shape."""
        return BagOfWordsDistribution(self.log_probs.expand(*batch_shape, -1), self.length)

    @property
    def mean(self) -> Tensor:
        """Expected counts of a text of the mean length."""
        return self.length * self.log_probs.exp()

    @property
    def variance(self) -> Tensor:
        """Their variances."""
        return self.mean * (1 - self.log_probs.exp())

    def log_prob(self, value: Float[Tensor, "*lead word"]) -> Float[Tensor, "..."]:
        """Σ_w x_w log π_w, nats."""
        return torch.where(value == 0, 0.0, value * self.log_probs).sum(-1)

    @torch.no_grad()
    def sample(self, sample_shape: _size = ()) -> Tensor:
        """Draw counts of texts of the mean length, rounded: (*sample_shape, *batch_shape, words)."""
        p = self.log_probs.exp().expand(self._extended_shape(sample_shape))
        drawn = torch.multinomial(p.reshape(-1, p.shape[-1]), max(1, round(self.length.item())), replacement=True)
        found = torch.zeros_like(p).reshape(-1, p.shape[-1])
        return found.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=p.dtype)).reshape(p.shape)
