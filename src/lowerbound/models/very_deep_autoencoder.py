"""Very deep VAE: many groups of latents along one residual path (Child 2021, arXiv:2011.10650).

    (p_l, Δ_l) = P_l(h)    q_l = Q_l(h, a_l(x))    h ← h + Δ_l + W_l z_l    h ← h + R_l(h)    p(x | z) = p(x | h)

Every group sees all groups before it through the state h, the posterior walks along the states of the prior, and the
path is the decoder (`priors.Path`, `posteriors.TopDownPath`). States are vectors, for vectors and small data, or maps,
from the coarsest to the finest resolution of an image, where a_l(x) are maps of a pyramid. Blocks are bottlenecks
(`nets.Bottleneck`), the last layer of each divided by the root of the number of groups. No scale is below 0.01: p and q
of a group cannot become so narrow that one datum has an unbounded gradient.

Parts of Vahdat & Kautz (2020, arXiv:2007.03898) are choices: a posterior relative to the prior (merge="residual") and
group normalisation (`norm_groups`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from lowerbound import likelihoods
from lowerbound.limits import MOST_GROUPS, require_at_most
from lowerbound.model import LatentVariableModel
from lowerbound.models.parts import outputs_of, seen_by, view_of
from lowerbound.models.path_parts import PathNetwork, check_sizes, path_decoder, path_states, resizes
from lowerbound.models.recipe import Recipe
from lowerbound.nets import Bottleneck, Pyramid, ResidualStack
from lowerbound.posteriors import DiagonalNormal
from lowerbound.posteriors.top_down import MergedNormal
from lowerbound.posteriors.top_down_path import Merge, TopDownPath, residual
from lowerbound.priors.path import Path, residual_group
from lowerbound.spelling import construct

__all__ = ["RECIPE", "very_deep"]

MergeName: TypeAlias = Literal["free", "residual", "merged"]
_MERGES: dict[str, Merge | None] = {"free": None, "residual": residual, "merged": MergedNormal}
_MIN_SCALE, _ENCODER_DEPTH = 1e-2, 2


def very_deep(
    event_shape: Sequence[int],
    *,
    groups: Sequence[int] = (2, 2, 2, 2),
    latent_channels: int = 12,
    width: int = 200,
    hidden: int = 100,
    likelihood: str = "bernoulli",
    network: PathNetwork = "mlp",
    halvings: int = 1,
    merge: MergeName = "free",
    norm_groups: int = 1,
) -> LatentVariableModel:
    """A path of groups of Gaussian latents.

    Arguments:
        event_shape: shape of one datum; (height, width) or (channels, height, width) for a convolutional network.
        groups: the number of groups at each resolution, from the coarsest to the finest; a perceptron has no
            resolutions, and all of its groups follow one another.
        latent_channels: of each group: its length, or the channels of its map.
        width: channels of the state.
        hidden: channels between those of each block.
        likelihood: name of a class of `likelihoods`, with options (see `spelling`).
        network: "mlp" for states that are vectors, "convolution" for maps.
        halvings: of the image before the finest maps, 1 or more; for a convolutional network.
        merge: "free" takes q from its net, "residual" relative to p, "merged" multiplies it by p as in a ladder.
        norm_groups: groups of channels that each block normalises; 1 for all together, 0 for no normalisation.

    Raises:
        ValueError: no group, a size below one, an unknown name or option, data that are no images, or images too small
            for so many resolutions.

    >>> model = very_deep((8, 8), groups=[2, 1], latent_channels=3, width=8, hidden=4)
    >>> [tuple(z.shape) for z in model.prior().sample((5,))]
    [(5, 3), (5, 3), (5, 3)]
    """
    shape, counts = tuple(event_shape), tuple(groups)
    _check(counts, latent_channels=latent_channels, width=width, hidden=hidden)
    states = path_states(network, shape, counts, width, halvings)
    if merge not in _MERGES:
        raise ValueError(f"merge is {merge!r}; choose one of {', '.join(_MERGES)}.")
    outputs = outputs_of(likelihoods, likelihood, shape)
    view = view_of(likelihood, shape)
    if network == "mlp":
        encoder = seen_by(
            view, lambda seen: ResidualStack(seen, width, width, _ENCODER_DEPTH, norm_groups=norm_groups), shape
        )
    else:
        options = {"halvings": halvings, "norm_groups": norm_groups}
        encoder = seen_by(view, lambda seen: Pyramid(seen, counts, width, hidden, **options), shape)
    decoder = path_decoder(network, width, hidden, halvings, outputs)
    prior = _path(states, latent_channels, hidden, norm_groups)
    evidence = [_evidence(state, latent_channels, hidden, norm_groups) for state in states]
    return LatentVariableModel(
        prior=prior,
        likelihood=construct(likelihoods, likelihood, net=decoder, event_shape=shape),
        posterior=TopDownPath(prior, encoder, evidence, _MERGES[merge]),
    )


def _path(states: list[tuple[int, ...]], latent_channels: int, hidden: int, norm_groups: int) -> Path:
    """The groups in the order of drawing; one that is followed by another resolution enlarges the state at its end."""
    depth, made = len(states), []
    for state, resize in zip(states, resizes(states), strict=True):
        made.append(
            residual_group(
                state, latent_channels, hidden, depth, norm_groups=norm_groups, resize=resize, min_scale=_MIN_SCALE
            )
        )
    return Path(made, start=states[0])


def _evidence(state: tuple[int, ...], latent_channels: int, hidden: int, norm_groups: int) -> DiagonalNormal:
    """q̂ of a group, from its state and what the encoder says."""
    net = Bottleneck([state, state], hidden, (2, latent_channels), norm_groups=norm_groups)
    return DiagonalNormal(net, (latent_channels, *state[1:]), min_scale=_MIN_SCALE)


def _check(groups: tuple[int, ...], **sizes: int) -> None:
    if not groups or min(groups) < 1:
        raise ValueError(f"very_deep got groups={list(groups)} and needs one or more at each resolution.")
    require_at_most("very_deep", MOST_GROUPS, groups=sum(groups))
    check_sizes("very_deep", **sizes)


RECIPE = Recipe(
    name="very-deep",
    cites=("child2021very",),
    make=very_deep,
    defaults={
        "objective": "beta-elbo:beta=1.0,rate=kl,warmup=1000",
        "clip_norm": 100.0,
        "skip_above": 30.0,
        "ema": 0.999,
        "compile": False,  # a graph of all groups takes minutes to make
    },
)
