"""BIVA: a deep hierarchy inferred upwards and downwards (Maaløe, Fraccaro, Liévin & Winther 2019, arXiv:1902.02102).

    p(z_L) Π_l p(z_l^BU | z_{>l}) p(z_l^TD | z_{>l}) p(x | z)        `priors.Path` of `priors.PairedGroup`s
    q: z_1^BU, …, z_{L−1}^BU from the data up, z_L, then z_{L−1}^TD, …, z_1^TD        `posteriors.Bidirectional`

The path of the prior is the decoder, and its residual state is the skip connection from every latent to the data.
States are vectors, or maps from the coarsest to the finest resolution of an image; blocks are those of `very-deep`. The
authors' dropout is left out, as p(x) would be another model in each mode; their weight normalisation with a start from
the data is replaced by a normalisation of each datum (`nets.Bottleneck`).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from lowerbound import likelihoods
from lowerbound.limits import MOST_GROUPS, require_at_most
from lowerbound.model import LatentVariableModel
from lowerbound.models.parts import outputs_of, seen_by, view_of
from lowerbound.models.path_parts import PathNetwork, check_sizes, path_decoder, path_states, resizes
from lowerbound.models.recipe import Recipe
from lowerbound.nets import ResidualStack, ToMap
from lowerbound.posteriors.bidirectional import Bidirectional
from lowerbound.priors.paired_group import PairedGroup
from lowerbound.priors.path import Path, residual_group
from lowerbound.spelling import construct
from lowerbound.walk import ChainStep

__all__ = ["RECIPE", "biva"]

_MIN_SCALE, _ENCODER_DEPTH = 1e-2, 1


def biva(
    event_shape: Sequence[int],
    *,
    levels: Sequence[int] = (2, 2, 2),
    latent_channels: int = 12,
    width: int = 200,
    hidden: int = 100,
    likelihood: str = "bernoulli",
    network: PathNetwork = "mlp",
    halvings: int = 1,
    norm_groups: int = 1,
) -> LatentVariableModel:
    """A hierarchy of L levels with two Gaussian latents at each but the top.

    Arguments:
        event_shape: shape of one datum; (height, width) or (channels, height, width) for a convolutional network.
        levels: the number of levels at each resolution, from the coarsest to the finest, two or more in all; a
            perceptron has no resolutions, and all of its levels follow one another.
        latent_channels: of each latent: its length, or the channels of its map.
        width: channels of the state and of the features of the datum.
        hidden: channels between those of each block.
        likelihood: name of a class of `likelihoods`, with options (see `spelling`).
        network: "mlp" for states that are vectors, "convolution" for maps.
        halvings: of the image before the finest maps, 1 or more; for a convolutional network.
        norm_groups: groups of channels that each block normalises; 1 for all together, 0 for no normalisation.

    Raises:
        ValueError: fewer than two levels, a size below one, an unknown name or option, data that are no images, or
            images too small for so many resolutions.

    >>> model = biva((8, 8), levels=[3], latent_channels=2, width=8, hidden=4)
    >>> [tuple(z.shape) for z in model.prior().sample((5,))]
    [(5, 2), (5, 2), (5, 2), (5, 2), (5, 2)]
    """
    shape, counts = tuple(event_shape), tuple(levels)
    _check(counts, latent_channels=latent_channels, width=width, hidden=hidden)
    outputs, view = outputs_of(likelihoods, likelihood, shape), view_of(likelihood, shape)
    states = path_states(network, shape, counts, width, halvings)
    if network == "mlp":
        encoder = seen_by(
            view, lambda seen: ResidualStack(seen, width, width, _ENCODER_DEPTH, norm_groups=norm_groups), shape
        )
    else:
        encoder = seen_by(view, lambda seen: ToMap(seen, [width] * halvings, (width,), nn.GELU), shape)
    decoder = path_decoder(network, width, hidden, halvings, outputs)
    prior = _path(states, latent_channels, hidden, norm_groups)
    return LatentVariableModel(
        prior=prior,
        likelihood=construct(likelihoods, likelihood, net=decoder, event_shape=shape),
        posterior=Bidirectional(
            prior, encoder, states[::-1], latent_channels, hidden, norm_groups=norm_groups, min_scale=_MIN_SCALE
        ),
    )


def _path(states: list[tuple[int, ...]], latent_channels: int, hidden: int, norm_groups: int) -> Path:
    """The top and the pairs below it; one that is followed by another resolution enlarges the state at its end."""
    steps: list[ChainStep] = []
    for state, resize in zip(states, resizes(states), strict=True):
        sizes = (state, latent_channels, hidden, len(states))
        if not steps:
            steps.append(residual_group(*sizes, norm_groups=norm_groups, resize=resize, min_scale=_MIN_SCALE))
            continue
        pair = PairedGroup(*sizes, norm_groups=norm_groups, resize=resize, min_scale=_MIN_SCALE)
        steps.extend([pair, pair.second])
    return Path(steps, start=states[0])


def _check(levels: tuple[int, ...], **sizes: int) -> None:
    if sum(levels) < 2 or min(levels) < 1:
        raise ValueError(f"biva got levels={list(levels)} and needs one or more at each resolution, two in all.")
    require_at_most("biva", MOST_GROUPS, levels=sum(levels))
    check_sizes("biva", **sizes)


RECIPE = Recipe(
    name="biva",
    cites=("maaloe2019biva",),
    make=biva,
    defaults={
        "objective": "beta-elbo:beta=1.0,rate=sampled,warmup=1000",
        "clip_norm": 100.0,
        "skip_above": 30.0,
        "ema": 0.999,
        "compile": False,  # a graph of all levels takes minutes to make
    },
)
