"""Deep latent Gaussian model: several stochastic layers, and inference from the data up.

    p(z_L) = N(0, I)        p(z_l | z_{l+1}) = N(μ(z_{l+1}), diag σ(z_{l+1})²)        p(x | z_1)
    q(z_1 | x)              q(z_l | z_{l−1}) = N(μ(z_{l−1}), diag σ(z_{l−1})²)

Rezende, Mohamed & Wierstra (2014, arXiv:1401.4082). The defaults are the two-layer network of Burda, Grosse &
Salakhutdinov (2016, arXiv:1509.00519, §5.1): 784-200-200-100-100-100-50, tanh, both ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

from torch import Tensor, nn

from lowerbound import likelihoods
from lowerbound.hooks import StatesOutShape
from lowerbound.model import LatentVariableModel
from lowerbound.models.parts import Activation, nonlinearity, outputs_of, seen_by, view_of
from lowerbound.models.recipe import Recipe
from lowerbound.nets import MLP
from lowerbound.nets.shapes import as_shape
from lowerbound.posteriors import DiagonalNormal
from lowerbound.posteriors.bottom_up import BottomUp
from lowerbound.priors import StandardNormal
from lowerbound.priors.hierarchical import Hierarchical
from lowerbound.spelling import construct

__all__ = ["RECIPE", "LowestLayer", "check_layers", "deep_latent_gaussian"]


def deep_latent_gaussian(
    event_shape: Sequence[int],
    *,
    latent_dims: Sequence[int] = (100, 50),
    hidden: Sequence[Sequence[int]] = ((200, 200), (100, 100)),
    activation: Activation = "tanh",
    likelihood: str = "bernoulli",
) -> LatentVariableModel:
    """A hierarchy of Gaussian layers with a bottom-up posterior.

    Arguments:
        event_shape: shape of one datum.
        latent_dims: lengths of z_1, …, z_L, from the data to the top.
        hidden: widths of the nets between x and z_1, z_1 and z_2, …, from the data to the top; mirrored on the way
            down.
        activation: nonlinearity.
        likelihood: name of a class of `likelihoods`, with options (see `spelling`).

    Raises:
        ValueError: not one list of widths for each layer, a size below one, or an unknown name or option.

    >>> model = deep_latent_gaussian((8, 8), latent_dims=[4, 2], hidden=[[32], [16]])
    >>> [z.shape[-1] for z in model.prior().sample()]
    [4, 2]
    """
    shape, dims = tuple(event_shape), tuple(latent_dims)
    widths = check_layers("deep_latent_gaussian", dims, hidden)
    a = nonlinearity(activation)
    first = seen_by(view_of(likelihood, shape), lambda seen: MLP(seen, widths[0], (2, dims[0]), a), shape)
    nets = [first, *(MLP(below, w, (2, d), a) for (below, d), w in zip(pairwise(dims), widths[1:], strict=True))]
    down = [
        DiagonalNormal(MLP(above, w[::-1], (2, d), a)) for (d, above), w in zip(pairwise(dims), widths[1:], strict=True)
    ]
    outputs = outputs_of(likelihoods, likelihood, shape)
    net = LowestLayer(MLP(dims[0], widths[0][::-1], outputs, a), len(dims))
    return LatentVariableModel(
        prior=Hierarchical([*down, StandardNormal(dims[-1])]),
        likelihood=construct(likelihoods, likelihood, net=net, event_shape=shape),
        posterior=BottomUp([DiagonalNormal(net) for net in nets]),
    )


class LowestLayer(nn.Module):
    """The net of a likelihood p(x | z_1, …, z_L) = p(x | z_1): it reads z_1 and ignores the others.

    Arguments:
        net: of z_1, or of z_1 and a context.
        num_layers: L.
    """

    takes_leading_axes: bool = True

    def __init__(self, net: nn.Module, num_layers: int):
        super().__init__()
        self.net, self.num_layers = net, num_layers

    @property
    def out_shape(self) -> tuple[int, ...]:
        """The output shape of the net per datum."""
        return as_shape(cast(StatesOutShape, self.net).out_shape)

    @property
    def output_bias(self) -> Tensor:
        """The bias that a likelihood sets to the mean of the data."""
        return cast(Tensor, self.net.output_bias)

    def forward(self, *inputs: Tensor) -> Tensor:
        """The output of the net at (z_1, …, z_L, *context)."""
        return self.net(inputs[0], *inputs[self.num_layers :])


def check_layers(owner: str, latent_dims: Sequence[int], hidden: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """The widths of the nets, as tuples.

    Raises:
        ValueError: no layer, a size below one, or not one list of widths for each layer.
    """
    if not latent_dims or min(latent_dims) < 1:
        raise ValueError(
            f"{owner} got latent_dims={list(latent_dims)} and needs a length of at least 1 for each layer."
        )
    if len(hidden) != len(latent_dims):
        raise ValueError(
            f"{owner} got hidden of {len(hidden)} nets for {len(latent_dims)} layers of latents; give the widths of "
            "one net for each layer, from the data to the top."
        )
    return [tuple(widths) for widths in hidden]


RECIPE = Recipe(
    name="deep-latent-gaussian",
    cites=("rezende2014stochastic", "burda2016importance"),
    make=deep_latent_gaussian,
    defaults={"objective": "elbo"},
)
