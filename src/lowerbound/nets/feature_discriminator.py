"""A discriminator of data one of whose layers is a space of features: h = f(x), ℓ = g(h) (Larsen et al. 2016,
arXiv:1512.09300, §2.3).

The features are those of an early layer, as in the paper. What the last layer before the logit holds is whether x is
real, and little else of x.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from torch import Tensor, nn

from lowerbound.limits import MOST_LAYERS, require_at_most
from lowerbound.nets.convolution import Convolution
from lowerbound.nets.mlp import MLP
from lowerbound.nets.shapes import Shape, as_shape

__all__ = ["FeatureDiscriminator"]


class FeatureDiscriminator(nn.Module):
    """A net from data (..., *event_shape) to features (..., features) and a logit (...).

    Arguments:
        event_shape: shape of one datum.
        hidden: widths of the hidden layers before the features; of an image, channels if `convolution`.
        features: number of features.
        after: widths of the hidden layers between the features and the logit.
        convolution: whether images go through convolutions.
        lr_factor: its learning rate, as a multiple of that of the model.
        optimizer_beta1: its decay of the first moment under Adam and its kin; None for that of the model.
        activation: makes the nonlinearity.

    Raises:
        ValueError: no features, convolutions without channels, too many layers, or a rate or decay out of range.
    """

    cites: ClassVar[tuple[str, ...]] = ("larsen2016autoencoding",)

    def __init__(
        self,
        event_shape: Shape,
        hidden: Sequence[int] = (),
        features: int = 128,
        after: Sequence[int] = (128,),
        convolution: bool = False,
        *,
        lr_factor: float = 1.0,
        optimizer_beta1: float | None = None,
        activation: Callable[[], nn.Module] = nn.SiLU,
    ):
        super().__init__()
        require_at_most("FeatureDiscriminator", MOST_LAYERS, hidden=len(hidden), after=len(after))
        if features < 1 or not 0 < lr_factor < float("inf") or not 0 <= (optimizer_beta1 or 0) < 1:
            raise ValueError(
                f"FeatureDiscriminator got features={features}, lr_factor={lr_factor}, beta1={optimizer_beta1} and "
                "needs a feature, a finite rate above 0 and a decay from 0 to below 1."
            )
        if convolution and not hidden:
            raise ValueError(
                "FeatureDiscriminator got convolution=True and hidden=[] and needs the channels of its convolutions; "
                "name them, such as hidden=[32,64]."
            )
        shape = as_shape(event_shape)
        self.trunk = (
            Convolution(shape, hidden, features, activation=activation)
            if convolution
            else MLP(shape, hidden, features, activation)
        )
        self.head = nn.Sequential(activation(), MLP(features, after, 1, activation))
        self.lr_factor, self.optimizer_beta1 = lr_factor, optimizer_beta1

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (..., features) and logits (...)."""
        h = self.trunk(x)
        return h, self.head(h).squeeze(-1)
