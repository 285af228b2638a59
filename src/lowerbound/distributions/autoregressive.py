"""p(x | c) = Π_d p(x_d | x_<d, c): a product over sites d, in a fixed order, given a context c.

x is an image (C, H, W) or (H, W), a map of codes, or a vector; a site is one number of it, or one code. A causal net
gives the parameters of all conditionals at once, because those of site d are a function of x_<d alone. A density
therefore costs one pass of the net. A draw visits the sites in order; the net keeps what it has computed (`begin`,
`step`), so that each activation is computed once. Without that a draw of D sites would cost D passes.

One draw can also be found by passes over all sites at once. It is a function of its noise, x_d = s(θ_d(x_<d), ε_d), and
with ε held fixed it is the one fixed point of x ← s(θ(x), ε). After k passes the first k sites are those of the draw;
most sites depend little on the few before them, so that far fewer than D passes settle all (Wiggers and Hoogeboom 2020,
arXiv:2002.09928, §2.2; Song et al. 2021, arXiv:2002.03629).

Sites are numbered by position first and then by channel: for an image, row by row, and the channels of a pixel one
after another (van den Oord et al. 2016, arXiv:1601.06759, eq. 1 and 2).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from typing import Any, ClassVar, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent, constraints
from torch.types import _size

from lowerbound.hooks import ComesInTurn, Turn
from lowerbound.nets.precision import call_net

__all__ = ["AutoregressiveDistribution", "CausalNet"]

_AT_ONCE = 1024  # draws, whose activations are kept


@runtime_checkable
class CausalNet(Protocol):
    """A net of the parameters of every site, those of site d being a function of x_<d and the context.

    N is the number of x, sites is `site_shape`, value the shape of one value, P the number of parameters of a site.
    """

    @property
    def site_shape(self) -> tuple[int, ...]:
        """The axes over which sites lie: (channels, height, width), (height, width) or (length,)."""
        ...

    @property
    def value_shape(self) -> tuple[int, ...]:
        """The shape of the value of one site."""
        ...

    @property
    def context_shape(self) -> tuple[int, ...] | None:
        """The shape of the context of one x; None if it takes none."""
        ...

    def __call__(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """From x (N, *sites, *value) and a context (N, *context) to the parameters (N, *sites, P), in one pass."""
        ...

    def begin(self, num: int, context: Tensor | None) -> Any:
        """A cache for drawing `num` x, before the first site."""
        ...

    def step(self, cache: Any, site: int, before: Tensor | None) -> Tensor:
        """The parameters (N, P) of a site, from the value (N, *value) of the site before it (None for the first).

        Sites are visited in order; the cache is changed in place.
        """
        ...


class AutoregressiveDistribution(Distribution):
    """p(x | context) = Π_d p(x_d | x_<d, context), with draws that compute every activation once.

    Arguments:
        net: the parameters of every site.
        family: from parameters (..., P) to the conditional of a site, of batch shape (...) and event shape
            `net.value_shape`.
        event_shape: shape of x, which has the elements of (*site_shape, *value_shape) in this order.
        context: (*batch, *net.context_shape), or None if the net takes none.
        batch_shape: of a distribution without context.

    Raises:
        ValueError: a context where the net takes none, none where it takes one, or one of another shape.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False

    def __init__(
        self,
        net: CausalNet,
        family: Callable[[Tensor], Distribution],
        event_shape: tuple[int, ...],
        context: Tensor | None = None,
        batch_shape: _size = (),
    ):
        self.net, self.family, self.context = net, family, context
        batch = torch.Size(batch_shape) if context is None else _batch_of(context, net)
        if context is None and net.context_shape is not None:
            raise ValueError(
                f"An autoregressive distribution got no context and its net was made for one of shape "
                f"{net.context_shape}; give it, or make the net without."
            )
        super().__init__(batch, torch.Size(event_shape), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """The support of every site."""
        context = self._contexts(self.batch_shape)
        p = self.family(self.net.step(self.net.begin(self.batch_shape.numel(), context), 0, None))
        return constraints.independent(p.support, len(self.event_shape) - len(p.event_shape))

    def expand(self, batch_shape: _size, _instance: Distribution | None = None) -> AutoregressiveDistribution:
        """The same distribution with a larger batch shape."""
        context = self.context
        if context is not None:
            context = context.expand(*batch_shape, *context.shape[len(self.batch_shape) :])
        return AutoregressiveDistribution(self.net, self.family, tuple(self.event_shape), context, batch_shape)

    def log_prob(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """log p(x) of x (..., *event), whose leading axes broadcast against the batch: (...), nats. One pass.

        Raises:
            ValueError: x of another shape.
        """
        lead = torch.broadcast_shapes(self._lead_of(value), self.batch_shape)
        x = value.expand(*lead, *self.event_shape).reshape(-1, *self.net.site_shape, *self.net.value_shape)
        context = self._contexts(lead)
        parameters = call_net(cast(nn.Module, self.net), (x,) if context is None else (x, context))
        terms = self.family(parameters).log_prob(x)
        return terms.flatten(1).sum(1).reshape(lead)

    def sample(self, sample_shape: _size = ()) -> Tensor:
        """Draw x (*sample_shape, *batch, *event), one site after another."""
        return self._drawn(sample_shape, means=False)

    def conditional_means(self) -> Tensor:
        """E[x_d | x_<d] of every site along one draw of x (*batch, *event)."""
        return self._drawn((), means=True)

    @torch.no_grad()
    def means_in_passes(self, seconds: float) -> tuple[Tensor, bool]:
        """E[x_d | x_<d] of every site along an x (*batch, *event) that passes over all sites lead to, in little time.

        Of Bernoulli sites, which take one random number each whatever their parameters, an x that a pass leaves as it
        is is a draw: for one row that of `conditional_means` from the same state of torch's generator, up to the
        rounding of the net. Of other sites it is only near to one. The generator is left as it was.

        Arguments:
            seconds: after which no further pass begins; the first is always made.

        Returns:
            The means, and whether x is a draw.
        """
        end, sites, contexts = time.perf_counter() + seconds, self.net.site_shape, self._contexts(self.batch_shape)
        rows, before = self.batch_shape.numel(), None
        like = self.net.step(self.net.begin(rows, contexts), 0, None)
        x, given = like.new_zeros(rows, *sites, *self.net.value_shape), () if contexts is None else (contexts,)
        while True:
            p = self.family(_by_position(call_net(cast(nn.Module, self.net), (x, *given)), sites))
            with torch.random.fork_rng(devices=[like.device] if like.is_cuda else []):
                drawn = p.sample()
            settled = before is not None and torch.equal(drawn, before)
            if settled or time.perf_counter() > end:
                return self._as_events(p.mean, self.batch_shape), settled and _takes_one_number(p)
            before, x = drawn, self._as_events(drawn, torch.Size((rows,))).reshape(x.shape)

    def in_turn(self, rows: int) -> Generator[Turn, Tensor, None]:
        """See `hooks.ComesInTurn`."""
        channels = _channels(self.net.site_shape)
        positions = math.prod(self.net.site_shape) // channels
        cache, before = self.net.begin(rows, self._contexts(torch.Size((rows,)))), None
        for site in range(positions * channels):
            position, channel = divmod(site, channels)
            p = self.family(self.net.step(cache, site, before))
            if isinstance(p, ComesInTurn):  # of one number, so that there is one turn
                p, *_ = next(p.in_turn(rows))
            value = yield p, torch.tensor([channel * positions + position])
            before = value.reshape(rows, *self.net.value_shape)

    @torch.no_grad()
    def _drawn(self, sample_shape: _size, *, means: bool) -> Tensor:
        """Draws (*sample_shape, *batch, *event), or the means along them, some at a time for the sake of memory."""
        lead = torch.Size(sample_shape) + self.batch_shape
        contexts, first = self._contexts(lead), range(0, max(1, lead.numel()), _AT_ONCE)
        parts = [
            self._visit(
                min(_AT_ONCE, lead.numel() - i), None if contexts is None else contexts[i : i + _AT_ONCE], means
            )
            for i in first
        ]
        return self._as_events(torch.cat(parts), lead)

    def _as_events(self, values: Tensor, lead: torch.Size) -> Tensor:
        """Values (N, site, *value), the sites in their order, as x (*lead, *event)."""
        by_position = values.unflatten(1, (-1, _channels(self.net.site_shape)))  # (N, position, channel, *value)
        return by_position.transpose(1, 2).reshape(*lead, *self.event_shape).contiguous()

    def _visit(self, num: int, context: Tensor | None, means: bool) -> Tensor:
        """The values of all sites of `num` draws in their order (num, site, *value), or the means of the sites."""
        cache, before = self.net.begin(num, context), None
        kept: list[Tensor] = []
        for site in range(math.prod(self.net.site_shape)):
            p = self.family(self.net.step(cache, site, before))
            before = p.sample()
            kept.append(p.mean if means else before)
        return torch.stack(kept, 1)

    def _contexts(self, lead: torch.Size) -> Tensor | None:
        """The context of each of the x, in one axis."""
        if self.context is None:
            return None
        shape = self.context.shape[len(self.batch_shape) :]
        return self.context.expand(*lead, *shape).reshape(-1, *shape)

    def _lead_of(self, value: Tensor) -> torch.Size:
        """The axes of x before the event."""
        rank = len(self.event_shape)
        if value.ndim < rank or value.shape[value.ndim - rank :] != self.event_shape:
            raise ValueError(
                f"p(x) over x of shape {tuple(self.event_shape)} got x of shape {tuple(value.shape)}; give data of "
                "that shape, or make the model for the shape of the data."
            )
        return value.shape[: value.ndim - rank]


def _channels(sites: tuple[int, ...]) -> int:
    return sites[0] if len(sites) == 3 else 1


def _by_position(parameters: Tensor, sites: tuple[int, ...]) -> Tensor:
    """Parameters (N, *sites, P) as (N, site, P), the sites in their order: the channels of a position together."""
    by_channel = parameters.reshape(len(parameters), _channels(sites), -1, parameters.shape[-1])
    return by_channel.transpose(1, 2).flatten(1, 2)


def _takes_one_number(p: Distribution) -> bool:
    """Whether a draw takes one random number for each site, whatever the parameters."""
    while isinstance(p, Independent):
        p = p.base_dist
    return isinstance(p, Bernoulli)


def _batch_of(context: Tensor, net: CausalNet) -> torch.Size:
    """The axes of a context before that of one x."""
    shape = net.context_shape
    if shape is None:
        raise ValueError(
            f"An autoregressive distribution got a context of shape {tuple(context.shape)} and its net was made for "
            "none; leave it out, or make the net with its context_shape."
        )
    if context.ndim < len(shape) or tuple(context.shape[context.ndim - len(shape) :]) != shape:
        raise ValueError(
            f"An autoregressive distribution got a context of shape {tuple(context.shape)} and its net was made for "
            f"(..., {', '.join(map(str, shape))}); give a context of that shape."
        )
    return context.shape[: context.ndim - len(shape)]
