"""p(z) along a deterministic path: very deep hierarchies (Child 2021, arXiv:2011.10650, §3).

The state h starts as a learned constant. At each of many groups of latents, h gives the distribution of the group and
is then updated with its value:

    (μ_l, s_l, Δ_l) = P_l(h)        z_l ~ N(μ_l, σ_l²),  σ_l = ε + softplus(s_l + c)
    h ← h + Δ_l + W_l(z_l)          h ← h + R_l(h)

so that every group depends on all groups before it, and the likelihood p(x | z) = p(x | h) reads the last state: the
path is the decoder. A state is a vector (width,) or a map (channels, *space), as the nets P, W and R decide; the first
axis of the event is that of the channels. To change the resolution, a group resizes the state at its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from lowerbound.chain import StateChain, layer_shapes
from lowerbound.nets.precision import call_net
from lowerbound.nets.residual import Bottleneck, Pointwise
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.nets.softplus import positive
from lowerbound.protocols import Context, Latents
from lowerbound.walk import ChainStep

__all__ = ["Path", "PathChain", "PathGroup", "residual_group"]


class PathChain(StateChain):
    """p(z) along a path, whose likelihood reads the state at its end."""

    def end_state(self, z: Latents) -> Latents:
        """The state that z leads to (..., *state). It is remembered from the draw of z, or computed by one walk, which
        is kept for `log_prob`.

        Raises:
            ValueError: another number of groups.
        """
        return cast(Latents, self.walk_through(z).end)


class Path(nn.Module):
    """A prior over the groups of a path.

    Arguments:
        groups: one `walk.ChainStep`, such as `PathGroup`, for each group of latents, in the order of drawing; the last
            one is nearest to the data.
        start: the shape of the first state, a learned constant that begins at zero; a list of shapes for a state of
            several tensors; or a net that computes the first state (B, *state) from the context.

    Returns (when called):
        A `PathChain` over (z_1, …, z_L), z_1 nearest to the data, drawn last; its batch shape is (), or (B,) with a
        start that is computed. The likelihood of the model is called with its last state in place of z.

    Raises:
        ValueError: no group; or, when called, no context for a start that is computed from it.

    >>> from lowerbound.priors.path import Path, residual_group
    >>> p = Path([residual_group(8, 2, 4, depth=3) for _ in range(3)], start=8)()
    >>> z = p.sample((5,))
    >>> len(z), z[0].shape, p.end_state(z).shape
    (3, torch.Size([5, 2]), torch.Size([5, 8]))
    """

    cites: ClassVar[tuple[str, ...]] = ("child2021very",)

    by_name: ClassVar[bool] = False  # made of other parts, in Python

    def __init__(self, groups: Sequence[ChainStep], start: Shape | list[Shape] | nn.Module):
        super().__init__()
        if not groups:
            raise ValueError("Path got no group and needs one for each group of latents, the top one first.")
        self.groups = list(groups)
        self.parts = nn.ModuleList(dict.fromkeys(group for group in groups if isinstance(group, nn.Module)))
        shapes = start if isinstance(start, list) else None
        self.constants = None if shapes is None else nn.ParameterList([torch.zeros(as_shape(s)) for s in shapes])
        self.start = start if isinstance(start, nn.Module) else None
        if isinstance(start, int | tuple):
            self.start = nn.Parameter(torch.zeros(as_shape(start)))
        self.layer_shapes = layer_shapes(self.groups[::-1])

    def forward(self, context: Context | None = None) -> PathChain:
        """p(z), given the context if the start is computed from it."""
        c = () if context is None else context if isinstance(context, tuple) else (context,)
        start, batch_shape = self.start if self.constants is None else tuple(self.constants), torch.Size()
        if isinstance(start, nn.Module):
            if not c:
                raise ValueError("This Path computes its first state from a context and got none; pass context=.")
            start, batch_shape = start(*c), c[0].shape[:1]
        return PathChain(
            start,
            self.groups,
            downward=True,
            batch_shape=batch_shape,
            layer_shapes=self.layer_shapes,
            source=(self, *c),
        )

    def end_state(self, z: Latents, context: Context | None = None) -> Latents:
        """The state that z leads to. See `hooks.EndsInState`."""
        return self(context).end_state(z)


class PathGroup(nn.Module):
    """One group of Gaussian latents on a path. See `walk.ChainStep`.

    Arguments:
        latent_shape: event shape of z_l: (D,), or (C, *space) with the space of the state.
        prior_net: P, from the state (..., channels, *space) to (..., 2 C + channels, *space): μ, the scale before
            `positive`, and Δ.
        latent_net: W, from z_l to the shape of the state.
        mixing_net: R, from the state to its shape; None leaves it out.
        resize: from the state to that of the next group, where that has another shape.
        min_scale: the floor ε of σ.

    All nets take any leading axes.

    Raises:
        ValueError: (when drawn or scored) a prior_net that gives another shape.
    """

    by_name: ClassVar[bool] = False  # a part of a prior

    def __init__(
        self,
        latent_shape: Shape,
        prior_net: nn.Module,
        latent_net: nn.Module,
        mixing_net: nn.Module | None = None,
        resize: nn.Module | None = None,
        min_scale: float = 1e-3,
    ):
        super().__init__()
        self.latent_shape = self.event_shape = as_shape(latent_shape)
        self.prior_net, self.latent_net, self.mixing_net, self.resize = prior_net, latent_net, mixing_net, resize
        self.min_scale = min_scale

    def at(self, state: Tensor) -> tuple[Independent, Tensor]:
        """p(z_l | h), and h + Δ."""
        rank, channels = len(self.latent_shape), self.latent_shape[0]
        parameters = call_net(self.prior_net, (state,))
        width, space = state.shape[-rank], self.latent_shape[1:]
        if parameters.shape[-rank:] != (2 * channels + width, *space):
            raise ValueError(
                f"A group of latents of shape {self.latent_shape} and a state of {tuple(state.shape[-rank:])} needs a "
                f"prior_net that gives {(2 * channels + width, *space)}, and it gave {tuple(parameters.shape[-rank:])}."
            )
        loc, raw, change = parameters.split([channels, channels, width], -rank)
        p = Normal(loc, positive(raw, self.min_scale), validate_args=False)
        return Independent(p, rank, validate_args=False), state + change

    def advance(self, state: Tensor, carry: Tensor, z: Tensor) -> Tensor:
        """h + Δ + W(z), mixed and resized."""
        h = carry + call_net(self.latent_net, (z,))
        if self.mixing_net is not None:
            h = h + call_net(self.mixing_net, (h,))
        return h if self.resize is None else self.resize(h)


def residual_group(
    state_shape: Shape, latent_channels: int, hidden: int, depth: int, *, norm_groups: int = 1, **options: Any
) -> PathGroup:
    """Make a group of `nets.Bottleneck`s, which are initialised as in Child (2021).

    P starts at zero, so that p(z_l | h_l) is N(0, I) and Δ is zero. The last layers of W and R are divided by √depth,
    so that the state does not grow with the number of groups.

    Arguments:
        state_shape: (width,), or (width, height, width).
        latent_channels: of z_l, whose space is that of the state.
        hidden: channels between those of P and R.
        depth: the number of groups on the path.
        norm_groups: of P and R; see `nets.Bottleneck`.
        options: `resize` and `min_scale` of the `PathGroup`.
    """
    shape, factor = as_shape(state_shape), depth**-0.5
    width = shape[0]
    return PathGroup(
        (latent_channels, *shape[1:]),
        Bottleneck(shape, hidden, 2 * latent_channels + width, norm_groups=norm_groups, factor=0.0),
        Pointwise(latent_channels, width, len(shape), factor),
        Bottleneck(shape, hidden, width, norm_groups=norm_groups, factor=factor),
        **options,
    )
