"""Ladder VAE: several stochastic layers, inferred along the generative path (Sønderby et al. 2016, arXiv:1602.02282).

    p(z_L) = N(0, I)        p(z_l | z_{l+1}) = N(μ(z_{l+1}), diag σ(z_{l+1})²)        p(x | z_1)
    q(z_L | x)              q(z_l | z_{l+1}, x) ∝ p(z_l | z_{l+1}) N(z_l; μ̂_l(x), diag σ̂_l(x)²)

(`posteriors.top_down`). The nets and the lengths of the latents are those of §3 of the paper: two hidden layers each,
of 512, 256, 128, 64 and 32 units, with leaky rectifiers. The paper's batch normalisation makes p(x) depend on the rest
of a batch while training and on running averages afterwards; here every hidden layer is normalised over its own units
(layer normalisation, Ba et al. 2016, arXiv:1607.06450), so that each datum has one density, the same in both modes.

Train it with a warm-up (`BetaELBO(1, warmup=…)`, `FreeBits(warmup=…)`): without it, upper layers become inactive early
and stay so (ibid., §2.2). The lowest layer then does too, because its Gaussian N(μ̂, σ̂²) becomes so wide that it has
no gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from lowerbound import likelihoods
from lowerbound.model import LatentVariableModel
from lowerbound.models.layered import LowestLayer, check_layers
from lowerbound.models.parts import outputs_of, view_of
from lowerbound.models.recipe import Recipe
from lowerbound.nets import MLP
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.posteriors import DiagonalNormal
from lowerbound.posteriors.top_down import TopDown
from lowerbound.priors import StandardNormal
from lowerbound.priors.hierarchical import Hierarchical
from lowerbound.spelling import construct

__all__ = ["RECIPE", "NormalisedLeakyReLU", "ladder"]

_SLOPE = 0.1


def ladder(
    event_shape: Sequence[int],
    *,
    latent_dims: Sequence[int] = (64, 32, 16, 8, 4),
    hidden: Sequence[Sequence[int]] = ((512, 512), (256, 256), (128, 128), (64, 64), (32, 32)),
    likelihood: str = "bernoulli",
) -> LatentVariableModel:
    """A hierarchy of Gaussian layers with a top-down posterior that shares the generative path.

    Arguments:
        event_shape: shape of one datum.
        latent_dims: lengths of z_1, …, z_L, from the data to the top.
        hidden: widths of the nets between x and z_1, z_1 and z_2, …, at least one each, from the data to the top;
            mirrored on the way down. The last of each is the length of d_l.
        likelihood: name of a class of `likelihoods`, with options (see `spelling`).

    Raises:
        ValueError: not one list of widths for each layer, an empty one, a size below one, or an unknown name or option.

    >>> import torch
    >>> model = ladder((8, 8), latent_dims=[4, 2], hidden=[[32], [16]])
    >>> [z.shape[-1] for z in model.infer(torch.zeros(3, 8, 8)).sample()]
    [4, 2]
    """
    shape, dims = tuple(event_shape), tuple(latent_dims)
    widths = check_layers("ladder", dims, hidden)
    if not all(widths):
        raise ValueError(f"ladder got hidden={widths} and needs at least one width for each layer.")
    down = [
        DiagonalNormal(_net(above, w[::-1], (2, d))) for (d, above), w in zip(pairwise(dims), widths[1:], strict=True)
    ]
    prior = Hierarchical([*down, StandardNormal(dims[-1])])
    lengths = [w[-1] for w in widths]
    view = view_of(likelihood, shape)
    seen = shape if view is None else as_shape(view.out_shape)  # type: ignore[arg-type]
    steps = [_step(below, w) for below, w in zip((seen, *lengths), widths, strict=False)]
    if view is not None:
        steps[0] = nn.Sequential(view, steps[0])
    evidence = [DiagonalNormal(_net(length, (), (2, d))) for length, d in zip(lengths, dims, strict=True)]
    outputs = outputs_of(likelihoods, likelihood, shape)
    net = LowestLayer(_net(dims[0], widths[0][::-1], outputs), len(dims))
    return LatentVariableModel(
        prior=prior,
        likelihood=construct(likelihoods, likelihood, net=net, event_shape=shape),
        posterior=TopDown(prior, steps, evidence),
    )


class NormalisedLeakyReLU(nn.Module):
    """max(y, 0.1 y) for y = (h − mean h) / sd h over the units of a layer, separately for each datum."""

    def forward(self, h: Tensor) -> Tensor:
        """From (..., units) to the same shape."""
        return functional.leaky_relu(functional.layer_norm(h, h.shape[-1:]), _SLOPE)


def _net(in_shape: Shape, hidden: Sequence[int], out_shape: Shape) -> MLP:
    return MLP(in_shape, hidden, out_shape, NormalisedLeakyReLU)


def _step(in_shape: Shape, hidden: Sequence[int]) -> nn.Sequential:
    """d_{l−1} ↦ d_l, whose last layer is a hidden one."""
    return nn.Sequential(_net(in_shape, hidden[:-1], hidden[-1]), NormalisedLeakyReLU())


RECIPE = Recipe(
    name="ladder",
    cites=("sonderby2016ladder", "ba2016layer"),
    make=ladder,
    defaults={"objective": "beta-elbo:beta=1.0,rate=kl,warmup=1000"},
)
