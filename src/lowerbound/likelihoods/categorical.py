"""p(x | z) = Π_d π_d(z)[x_d], π_d = softmax(logits_d): a K-way choice per element, for 256-way pixels and for text.

x holds class indices 0 … K − 1, in any dtype (data layers keep tensors in floating point; float32 is exact up to 2²⁴
classes). Images are stored as intensities k/(K − 1) in [0, 1] instead: `unit_interval=True` reads and writes x in that
form, and `to_classes` and `from_classes` convert between the two. An x that is not near an integer is rounded; one
outside 0 … K − 1 has log p = −∞.

A softmax over the levels of a pixel is that of van den Oord et al. (2016, arXiv:1601.06759, §2.3).

E[x] = Σ_k k π[k] is meaningful where the classes are ordered, like the levels of a pixel; for words use the mode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import Independent
from torch.types import _size

from lowerbound.distributions import distribution_functions
from lowerbound.likelihoods.elementwise import ElementwiseDistribution
from lowerbound.likelihoods.outputs import event_shape_of, output_bias_of
from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.protocols import Context
from lowerbound.support import LikelihoodFacts, Support, classes, levels

__all__ = ["Categorical", "CategoricalDistribution", "from_classes", "to_classes"]


class Categorical(nn.Module):
    """Independent categorical variables whose logits are computed by a net.

    Arguments:
        net: from a context (..., latent_dim) to logits (..., num_classes, *event_shape).
        num_classes: K, at least 2; 256 for the levels of 8-bit pixels.
        event_shape: shape of one datum; read from `net.out_shape` if the net states it.
        unit_interval: x is k/(K − 1) in [0, 1] instead of the class index k.

    Returns (when called):
        A distribution over x; log-probabilities are nats per datum, summed over `event_shape`.

    Raises:
        ValueError: fewer than two classes, or a net of the wrong output shape.
    """

    cites: ClassVar[tuple[str, ...]] = ("vandenoord2016pixel",)

    facts: LikelihoodFacts = LikelihoodFacts(
        domain="classes", discrete=True, encoder_view="one-hot", any_real=True, from_data=("num_classes",)
    )

    def __init__(
        self,
        net: nn.Module,
        num_classes: int = 256,
        event_shape: Shape | None = None,
        unit_interval: bool = False,
    ):
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"Categorical got num_classes={num_classes} and expected at least 2.")
        self.net, self.num_classes, self.unit_interval = net, num_classes, unit_interval
        self.event_shape = event_shape_of(net, event_shape, (num_classes,), owner="Categorical")
        if unit_interval:
            self.facts = replace(self.facts, domain="levels", encoder_view="identity")

    @staticmethod
    def parameter_shape(event_shape: Shape, num_classes: int = 256) -> tuple[int, ...]:
        """What its net must output per datum."""
        return (num_classes, *as_shape(event_shape))

    @property
    def support(self) -> Support:
        """The class indices 0 … K − 1, or the intensities k/(K − 1)."""
        return levels(self.num_classes) if self.unit_interval else classes(self.num_classes)

    def forward(self, context: Context) -> Independent:
        """p(x | context)."""
        logits = parameters_of(self.net, context, (self.num_classes, *self.event_shape)).movedim(
            -1 - len(self.event_shape), -1
        )
        scale = self.num_classes - 1 if self.unit_interval else 1
        distribution = CategoricalDistribution(logits, scale)
        return Independent(distribution, len(self.event_shape), validate_args=False)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Put the output bias at the log-frequencies of the classes per element, with one count spread over all."""
        bias = output_bias_of(self.net)
        if bias is not None:
            k = to_classes(x.to(bias), self.num_classes) if self.unit_interval else x.long()
            counts = torch.full_like(bias, 1 / self.num_classes)
            counts.scatter_add_(0, k, torch.ones_like(k, dtype=bias.dtype))
            bias.copy_(torch.log(counts / (len(k) + 1)))


class CategoricalDistribution(ElementwiseDistribution):
    """A K-way distribution per element over the values k / scale, k = 0 … K − 1.

    Arguments:
        logits: (..., K), unnormalised log-probabilities.
        scale: classes per unit of x.

    Samples and means have the dtype of the logits, but at least float32, in which indices are exact.
    """

    has_rsample = False

    def __init__(self, logits: Tensor, scale: int = 1):
        self.log_probs = logits.log_softmax(-1)
        self.scale = scale
        super().__init__(logits[..., 0])

    def expand(self, batch_shape: _size, _instance: object = None) -> CategoricalDistribution:
        """The same distribution with its logits expanded to a larger batch shape."""
        return CategoricalDistribution(self.log_probs.expand(*batch_shape, -1), self.scale)

    @property
    def mean(self) -> Tensor:
        """Σ_k (k / scale) π[k]."""
        return (self.log_probs.exp() * self._values()).sum(-1)

    @property
    def variance(self) -> Tensor:
        """Σ_k (k / scale − mean)² π[k]."""
        return (self.log_probs.exp() * (self._values() - self.mean.unsqueeze(-1)) ** 2).sum(-1)

    @property
    def mode(self) -> Tensor:
        """The value of the most probable class."""
        return self._value(self.log_probs.argmax(-1))

    def log_prob(self, value: Tensor) -> Tensor:
        """log π[k] per element, nats, at k = value · scale rounded; −∞ where there is no such class, NaN at NaN."""
        k, top = (value * self.scale).round(), self.log_probs.shape[-1] - 1
        known = (k >= 0) & (k <= top)
        shape = torch.broadcast_shapes(k.shape, self.batch_shape)
        index = torch.where(known, k, 0).long().expand(shape)
        log_prob = self.log_probs.expand(*shape, -1).gather(-1, index.unsqueeze(-1)).squeeze(-1)
        return torch.where(known, log_prob, torch.where(k.isnan(), torch.nan, -torch.inf))

    def cumulative(self) -> tuple[Callable[..., Any], tuple[Tensor, ...]]:
        """See `hooks.HasCumulative`."""
        return distribution_functions.table, (self._cumulated(), torch.full_like(self.log_probs[..., 0], self.scale))

    def entropy(self) -> Tensor:
        """−Σ_k π[k] log π[k], nats."""
        log_probs = self.log_probs.clamp(min=torch.finfo(self.log_probs.dtype).min)
        return -(log_probs * log_probs.exp()).sum(-1)

    def sample(self, sample_shape: _size = ()) -> Tensor:
        """Draw classes, as values: (*sample_shape, *batch_shape)."""
        with torch.no_grad():
            classes = TorchCategorical(logits=self.log_probs, validate_args=False)
            return self._value(classes.sample(torch.Size(sample_shape)))

    def _cumulated(self) -> Tensor:
        return torch.from_numpy(np.add.accumulate(self.log_probs.exp().double().numpy(), -1))

    def _values(self) -> Tensor:
        return self._value(torch.arange(self.log_probs.shape[-1], device=self.log_probs.device))

    def _value(self, k: Tensor) -> Tensor:
        return k.to(torch.promote_types(self.log_probs.dtype, torch.float32)) / self.scale


def to_classes(x: Float[Tensor, "*shape"], num_classes: int = 256) -> Int[Tensor, "*shape"]:
    """From intensities k/(K − 1) in [0, 1] to class indices k, rounded to the nearest.

    >>> to_classes(torch.tensor([0.0, 1 / 255, 1.0]))
    tensor([  0,   1, 255])
    """
    return (x * (num_classes - 1)).round().long()


def from_classes(k: Tensor, num_classes: int = 256) -> Float[Tensor, "..."]:
    """From class indices k to intensities k/(K − 1) in [0, 1], in float32."""
    return k.float() / (num_classes - 1)
