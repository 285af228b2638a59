"""DRAW: an image written step by step on a canvas, with or without attention (Gregor et al. 2015, arXiv:1502.04623).

    z_t ~ N(0, I)        h_t = LSTM(h_{t−1}, z_t)        c_t = c_{t−1} + write(h_t)        p(x | z) = p(x | c_T)
    x̂_t = x − E[x | c_{t−1}]        e_t = LSTM(e_{t−1}, [read(x, x̂_t, h_{t−1}), h_{t−1}])        z_t ~ q(z_t | e_t)

The prior is a path (`priors.Path`) with state (h, cell, canvas), whose steps share their nets. The posterior walks
along it and carries the state of its own LSTM. x̂_t is what the canvas of this very draw has not explained yet, so that
q(z_t) depends on z_{<t}. Without attention `read` takes both images and `write` a linear map of h; with attention both
look through windows (`nets.attention_window`), and h decides where. They start in the middle half of the image: from
windows over all of it, as zeros would give, learning takes more than twice as many steps.

For T = 1 without attention this is a plain autoencoder. KL_t = ½ Σ_d (μ² + σ² − log σ² − 1), with a −1 for each of the
latents (the paper's eq. 11 has −T/2 for all, as do ports of it).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from lowerbound import likelihoods
from lowerbound.chain import StateChain
from lowerbound.limits import MOST_GROUPS, require_at_most
from lowerbound.model import LatentVariableModel
from lowerbound.models.parts import outputs_of, view_of
from lowerbound.models.recipe import Recipe
from lowerbound.nets import MLP
from lowerbound.nets.attention_window import NUM_PARAMETERS, Window, first_window
from lowerbound.nets.lstm_cell import LSTMCell
from lowerbound.nets.precision import call_net
from lowerbound.nets.shapes import numel
from lowerbound.posteriors import DiagonalNormal
from lowerbound.posteriors.top_down import TopDownChain, without_data
from lowerbound.priors.path import Path
from lowerbound.protocols import Conditional, Context
from lowerbound.shown import shown
from lowerbound.spelling import construct

__all__ = ["RECIPE", "draw"]

_State = tuple[Tensor, Tensor, Tensor]
"""h, its cell, and the canvas (..., *outputs): the parameters of p(x | c)."""


def draw(
    event_shape: Sequence[int],
    *,
    glimpses: int = 10,
    latent_dim: int = 10,
    width: int = 256,
    read: int = 5,
    write: int = 5,
    likelihood: str = "bernoulli",
) -> LatentVariableModel:
    """A model of images that are written in several steps.

    Arguments:
        event_shape: (height, width) or (channels, height, width).
        glimpses: T, the steps and the groups of latents.
        latent_dim: length of each z_t.
        width: of both LSTMs.
        read: places on a side of the window through which q looks; 0 for the whole image.
        write: places on a side of the window through which p writes; 0 for the whole image.
        likelihood: of x given the canvas; name of a class of `likelihoods` with a mean, with options (see `spelling`).

    Raises:
        ValueError: data that are no images, a size out of range, a likelihood without a mean that x can be compared
            with, or an unknown name or option.

    >>> model = draw((8, 8), glimpses=3, latent_dim=2, width=8, read=3, write=3)
    >>> [tuple(z.shape) for z in model.prior().sample((5,))]
    [(5, 2), (5, 2), (5, 2)]
    """
    shape = tuple(event_shape)
    _check(shape, glimpses, latent_dim, width, read, write)
    if view_of(likelihood, shape) is not None:
        raise ValueError(
            f"draw subtracts the mean of p(x | canvas) from x and {likelihood!r} has classes or counts; use "
            "bernoulli, or a likelihood of numbers such as discretized-logistic."
        )
    outputs = outputs_of(likelihoods, likelihood, shape)
    prior = Path([_Writes(outputs, latent_dim, width, write)] * glimpses, start=[width, width, outputs])
    assert prior.constants is not None
    x_given_z = construct(likelihoods, likelihood, net=_Canvas(outputs, prior.constants[2]), event_shape=shape)
    return LatentVariableModel(
        prior=prior,
        likelihood=x_given_z,
        posterior=_Looks(prior, x_given_z, shape, glimpses, latent_dim, width, read),
    )


class _Canvas(nn.Module):
    """The net of the likelihood: the canvas at the end of the path."""

    takes_leading_axes: bool = True

    def __init__(self, outputs: tuple[int, ...], first: nn.Parameter):
        super().__init__()
        self.out_shape = outputs
        self.__dict__["output_bias"] = first  # the blank canvas, a parameter of the prior

    def forward(self, h: Tensor, cell: Tensor, canvas: Tensor) -> Tensor:
        return canvas


class _Writes(nn.Module):
    """A step of p. See `walk.ChainStep`."""

    by_name: ClassVar[bool] = False  # a part of a prior

    def __init__(self, outputs: tuple[int, ...], latent_dim: int, width: int, places: int):
        super().__init__()
        self.outputs, self.latent_dim, self.places = outputs, latent_dim, places
        self.event_shape = (latent_dim,)
        self.cell = LSTMCell(latent_dim, width)
        self.patch_shape = (numel(outputs[:-2]), *((places, places) if places else outputs[-2:]))
        self.patch = MLP(width, (), self.patch_shape)
        self.window = _window(width, places, outputs[-2:], writes=True) if places else None

    def at(self, state: _State) -> tuple[Distribution, None]:
        """N(0, I)."""
        zeros = state[0].new_zeros(*state[0].shape[:-1], self.latent_dim)
        return Independent(Normal(zeros, torch.ones_like(zeros), validate_args=False), 1, validate_args=False), None

    def advance(self, state: _State, carry: None, z: Tensor) -> _State:
        """h and cell after z, and the canvas with what h writes."""
        h, cell, canvas = state
        h, cell = self.cell(z, h, cell)
        written = call_net(self.patch, (h,))
        if self.window is not None:
            image = (self.outputs[-2], self.outputs[-1])
            written = Window(call_net(self.window, (h,)), self.places, image).write(written)
        return h, cell, canvas + written.reshape(*h.shape[:-1], *self.outputs)


class _Looks(nn.Module):
    """q(z | x), which looks at x and at what the canvas of its own draw has not explained.

    It refers to the prior and to the likelihood, and does not own them.
    """

    by_name: ClassVar[bool] = False  # a part of `draw`

    def __init__(
        self,
        prior: Conditional,
        likelihood: Conditional,
        event_shape: tuple[int, ...],
        glimpses: int,
        latent_dim: int,
        width: int,
        places: int,
    ):
        super().__init__()
        self.__dict__.update(_prior=prior, _likelihood=likelihood)
        self.event_shape, self.glimpses, self.places = event_shape, glimpses, places
        channels = 2 * numel(event_shape[:-2])
        seen = channels * (places**2 if places else numel(event_shape[-2:]))
        self.cell = LSTMCell(seen + width, width)
        self.latents = DiagonalNormal(MLP(width, (), (2, latent_dim)))
        self.window = _window(width, places, event_shape[-2:], writes=False) if places else None
        self.start = nn.ParameterList([torch.zeros(width), torch.zeros(width)])

    def forward(self, context: Context) -> TopDownChain:
        """q(z_1, …, z_T | x), z_T nearest to the canvas."""
        x = context[0] if isinstance(context, tuple) else context
        prior = cast(StateChain, self.__dict__["_prior"](without_data(context)))
        return TopDownChain(prior, [_Look(self, x)] * self.glimpses, batch_shape=x.shape[:1], start=tuple(self.start))

    def read(self, x: Tensor, state: _State) -> Tensor:
        """What is seen of x and of x − E[x | canvas] (..., seen)."""
        error = x - shown(self.__dict__["_likelihood"](state)).values
        rank = len(self.event_shape)
        both = torch.stack([x.expand_as(error), error], -1 - rank)
        images = both.flatten(-1 - rank, -3)
        if self.window is not None:
            image = (self.event_shape[-2], self.event_shape[-1])
            images = Window(call_net(self.window, (state[0],)), self.places, image).read(images)
        return images.flatten(-3)


class _Look:
    """A step of q for a batch x. See `top_down.PosteriorStep`."""

    def __init__(self, q: _Looks, x: Tensor):
        self.q, self.x = q, x

    def at(
        self, p: Distribution, state: _State, own: tuple[Tensor, Tensor]
    ) -> tuple[Distribution, tuple[Tensor, Tensor]]:
        seen, h = self.q.read(self.x, state), state[0]
        own = self.q.cell(torch.cat([seen, h.expand(*seen.shape[:-1], h.shape[-1])], -1), *own)
        return self.q.latents(own[0]), own

    def advance(self, own: tuple[Tensor, Tensor], carry: tuple[Tensor, Tensor], z: Tensor) -> tuple[Tensor, Tensor]:
        return carry


def _window(width: int, places: int, image: tuple[int, ...], *, writes: bool) -> MLP:
    """From h to the five numbers of a window, which at first lies in the middle of the image."""
    net = MLP(width, (), NUM_PARAMETERS)
    with torch.no_grad():
        net.output_bias.copy_(first_window(places, (image[0], image[1]), writes=writes))
    return net


def _check(shape: tuple[int, ...], glimpses: int, latent_dim: int, width: int, read: int, write: int) -> None:
    if len(shape) not in (2, 3):
        raise ValueError(
            f"draw got data of shape {shape} and writes images: (height, width) or (channels, height, width)."
        )
    for name, size in {"glimpses": glimpses, "latent_dim": latent_dim, "width": width}.items():
        if size < 1:
            raise ValueError(f"draw got {name}={size} and needs at least 1.")
    require_at_most("draw", MOST_GROUPS, glimpses=glimpses)
    for name, places in {"read": read, "write": write}.items():
        if places < 0 or places == 1 or places > min(shape[-2:]):
            raise ValueError(
                f"draw got {name}={places} for images of {shape[-2]}×{shape[-1]} and needs 2 to {min(shape[-2:])} "
                "places on a side, or 0 for no attention."
            )


RECIPE = Recipe(
    name="draw",
    cites=("gregor2015draw",),
    make=draw,
    defaults={"objective": "elbo:rate=kl", "clip_norm": 100.0, "compile": False},  # the steps would be unrolled
)
