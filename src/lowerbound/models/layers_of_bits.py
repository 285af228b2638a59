"""Several layers of bits, and their Concrete relaxation (Maddison, Mnih & Teh 2017, arXiv:1611.00712, §5.2).

    p(b_L)        p(b_l | b_{l+1}) = Bernoulli(a(b_{l+1}))        p(x | b_1)
    q(b_1 | x)    q(b_l | b_{l−1}) = Bernoulli(a(b_{l−1}))

The defaults are the two-layer network of the paper with linear maps between layers, 200H–200H. `binary-layers` trains
the discrete model, level by level (`gradients.layerwise`). `concrete-layers` trains a relaxed one by pathwise
gradients: its bound is of the relaxed model, and `discretised` evaluates the same weights as the discrete model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn

from lowerbound import likelihoods, posteriors, priors
from lowerbound.model import LatentVariableModel
from lowerbound.models.layered import LowestLayer, check_layers
from lowerbound.models.parts import Activation, nonlinearity, outputs_of, seen_by, view_of
from lowerbound.models.recipe import Recipe
from lowerbound.nets import MLP
from lowerbound.spelling import construct

__all__ = ["RECIPES", "binary_layers", "concrete_layers"]


def binary_layers(
    event_shape: Sequence[int],
    *,
    latent_dims: Sequence[int] = (200, 200),
    hidden: Sequence[Sequence[int]] = ((), ()),
    likelihood: str = "bernoulli",
    activation: Activation = "tanh",
) -> LatentVariableModel:
    """A hierarchy of layers of bits, with a posterior from the data up.

    Arguments:
        event_shape: shape of one datum.
        latent_dims: how many bits b_1, …, b_L have, from the data to the top.
        hidden: widths of the nets between x and b_1, b_1 and b_2, …; empty lists for linear maps.
        likelihood: of `likelihoods`, by name.
        activation: nonlinearity.

    Raises:
        ValueError: not one list of widths for each layer, a size below one, or an unknown name or option.

    >>> [b.shape[-1] for b in binary_layers((8, 8), latent_dims=[4, 3]).prior().sample()]
    [4, 3]
    """
    return _layers(
        "binary_layers", tuple(event_shape), latent_dims, hidden, likelihood, activation,
        conditional=posteriors.Bernoulli, of_p=posteriors.Bernoulli, top=priors.Bernoulli,
    )  # fmt: skip


def concrete_layers(
    event_shape: Sequence[int],
    *,
    latent_dims: Sequence[int] = (200, 200),
    hidden: Sequence[Sequence[int]] = ((), ()),
    temperature: float = 2 / 3,
    prior_temperature: float = 0.5,
    likelihood: str = "bernoulli",
    activation: Activation = "tanh",
) -> LatentVariableModel:
    """The same hierarchy of relaxed bits in (0, 1), whose draws are differentiable.

    Arguments:
        event_shape: shape of one datum.
        latent_dims: how many relaxed bits each layer has, from the data to the top.
        hidden: widths of the nets between layers; empty lists for linear maps.
        temperature: of q.
        prior_temperature: of p.
        likelihood: of `likelihoods`, by name.
        activation: nonlinearity.

    Raises:
        ValueError: as `binary_layers`; a temperature that is not positive.

    >>> [b.shape[-1] for b in concrete_layers((8, 8), latent_dims=[4, 3]).prior().sample()]
    [4, 3]
    """
    return _layers(
        "concrete_layers", tuple(event_shape), latent_dims, hidden, likelihood, activation,
        conditional=lambda net: posteriors.RelaxedBernoulli(net, temperature),
        of_p=lambda net: posteriors.RelaxedBernoulli(net, prior_temperature),
        top=lambda size: priors.RelaxedBernoulli(size, prior_temperature),
    )  # fmt: skip


def _layers(
    owner: str,
    shape: tuple[int, ...],
    latent_dims: Sequence[int],
    hidden: Sequence[Sequence[int]],
    likelihood: str,
    activation: Activation,
    *,
    conditional: Callable[[nn.Module], nn.Module],
    of_p: Callable[[nn.Module], nn.Module],
    top: Callable[[int], nn.Module],
) -> LatentVariableModel:
    """The chains of q and p, of layers that these functions make."""
    dims, a = tuple(latent_dims), nonlinearity(activation)
    widths = check_layers(owner, dims, hidden)

    def encoder(seen: tuple[int, ...]) -> nn.Module:
        return MLP(seen, widths[0], dims[0], a)

    up: list[nn.Module] = [seen_by(view_of(likelihood, shape), encoder, shape)]
    up += [MLP(below, w, above, a) for (below, above), w in zip(pairwise(dims), widths[1:], strict=True)]
    down = [MLP(above, w[::-1], below, a) for (below, above), w in zip(pairwise(dims), widths[1:], strict=True)]
    decoder = MLP(dims[0], widths[0][::-1], outputs_of(likelihoods, likelihood, shape), a)
    return LatentVariableModel(
        prior=priors.Hierarchical([*map(of_p, down), top(dims[-1])]),  # type: ignore[list-item]
        likelihood=construct(likelihoods, likelihood, net=LowestLayer(decoder, len(dims)), event_shape=shape),
        posterior=posteriors.BottomUp(list(map(conditional, up))),  # type: ignore[arg-type]
    )


RECIPES = (
    Recipe(
        name="binary-layers",
        cites=("maddison2017concrete",),
        make=binary_layers,
        defaults={"objective": "elbo:rate=sampled", "gradient": "disarm", "num_samples": 2},
    ),
    Recipe(
        name="concrete-layers",
        cites=("maddison2017concrete",),
        make=concrete_layers,
        defaults={"objective": "elbo:rate=sampled", "gradient": "pathwise", "num_samples": 1},
    ),
)
