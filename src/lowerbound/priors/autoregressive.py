"""p(z) = Π_d p(z_d | z_1, …, z_{d−1}): the chain rule, with every conditional computed at once by a
masked net.

The net of Germain et al. (2015, arXiv:1502.03509) maps all of z to the parameters of all D
conditionals; its weights are masked so that those of z_d are a function of z_1 … z_{d−1} alone. The density costs one
pass of the net, and a sample costs D passes.

=========================  ================  ===============================
prior                      z                 p(z_d | z_<d)
=========================  ================  ===============================
AutoregressiveNormal       real, (D,)        N(μ_d(z_<d), σ_d(z_<d)²)
AutoregressiveBernoulli    binary, (D,)      Bernoulli with logit l_d(z_<d)
AutoregressiveCategorical  one-hot, (D, K)   categorical with logits l_d(z_<d)
=========================  ================  ===============================

The order is that of the axis. It matters little for learned latents; for latents with two axes of space a masked
convolution is better.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Bernoulli as BernoulliDistribution
from torch.distributions import Distribution, constraints
from torch.distributions import Normal as NormalDistribution
from zuko.nn import MaskedMLP

from lowerbound.distributions.one_hot import LinearOneHotCategorical
from lowerbound.hooks import Turn
from lowerbound.nets.shapes import Shape, vector_length
from lowerbound.nets.softplus import positive
from lowerbound.protocols import Context

__all__ = [
    "Autoregressive",
    "AutoregressiveBernoulli",
    "AutoregressiveCategorical",
    "AutoregressiveNormal",
]


_ALL = slice(None)


class Autoregressive(Distribution):
    """The joint distribution of sites whose conditionals are known.

    Arguments:
        conditionals: z (..., site, *value) ↦ the distributions p(z_d | z_<d), of batch shape
            (..., site) and event shape (*value); that of site d depends on earlier sites only. A slice after z takes
            some of the sites.
        start: zeros (site, *value), of the dtype and device that samples shall have.
        reparameterised: whether `rsample` of the conditionals may be differentiated.

    Batch shape (), event shape (site, *value).
    """

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        """None: the parameters are checked where they are made."""
        return {}

    @property
    def support(self) -> constraints.Constraint:
        """The support of every site."""
        return constraints.independent(self.conditionals(self.start).support, 1)

    def __init__(self, conditionals: Callable[..., Distribution], start: Tensor, reparameterised: bool):
        self.conditionals, self.start = conditionals, start
        self.has_rsample = reparameterised
        super().__init__(torch.Size(), start.shape, validate_args=False)

    def log_prob(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Σ_d log p(z_d | z_<d), nats, for any leading axes."""
        return self.conditionals(value).log_prob(value).sum(-1)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """(*sample_shape, site, *value), in one pass of the net per site."""
        with torch.no_grad():
            return self._draw(sample_shape, lambda p: p.sample())

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """As `sample`, differentiable through every earlier site."""
        if not self.has_rsample:
            raise NotImplementedError("Autoregressive over discrete sites has no rsample; use sample.")
        return self._draw(sample_shape, lambda p: p.rsample())

    def in_turn(self, rows: int) -> Generator[Turn, Tensor, None]:
        """See `hooks.ComesInTurn`."""
        z = self.start.expand(rows, *self.start.shape).clone()
        for d in range(len(self.start)):
            z[:, d] = (yield self.conditionals(z, slice(d, d + 1)), torch.tensor([d]))[:, 0]

    def _draw(self, sample_shape: torch.Size, draw: Callable[[Distribution], Tensor]) -> Tensor:
        z = self.start.expand(*sample_shape, *self.start.shape)
        site = torch.arange(len(self.start), device=z.device)
        site = site.reshape(-1, *(1,) * (self.start.ndim - 1))
        for d in range(len(self.start)):
            z = torch.where(site == d, draw(self.conditionals(z)), z)
        return z


class AutoregressiveNormal(nn.Module):
    """Real latents, each Gaussian given those before it.

    Arguments:
        latent_shape: D ≥ 2.
        hidden: width of each hidden layer, at least D − 1.
        layers: how many hidden layers.
        min_scale: the floor of every σ, in the units of z.

    Returns (when called):
        A reparameterised distribution with batch shape () and event shape (latent_shape,). A context
        is ignored.
    """

    cites: ClassVar[tuple[str, ...]] = ("germain2015made",)

    start: Tensor

    def __init__(self, latent_shape: Shape, hidden: int = 256, layers: int = 2, min_scale: float = 1e-2):
        super().__init__()
        latent_dim = vector_length(latent_shape, owner="AutoregressiveNormal")
        self.event_shape = (latent_dim,)
        self.net = _masked_net(latent_dim, 1, 2, hidden, layers, "AutoregressiveNormal")
        self.min_scale = min_scale
        self.register_buffer("start", torch.zeros(latent_dim), persistent=False)

    def forward(self, context: Context | None = None) -> Autoregressive:
        """p(z); the context is ignored."""
        return Autoregressive(self._conditionals, self.start, reparameterised=True)

    def _conditionals(self, z: Tensor, sites: slice = _ALL) -> NormalDistribution:
        loc, raw = self.net(z).unflatten(-1, (len(self.start), 2))[..., sites, :].unbind(-1)
        return NormalDistribution(loc, positive(raw, self.min_scale), validate_args=False)


class AutoregressiveBernoulli(nn.Module):
    """Binary latents z in {0, 1}^D, each with a logit that depends on those before it.

    Arguments:
        latent_shape: D ≥ 2.
        hidden: width of each hidden layer, at least D − 1.
        layers: how many hidden layers.

    Returns (when called):
        A distribution with batch shape () and event shape (latent_shape,). A context is ignored.
    """

    cites: ClassVar[tuple[str, ...]] = ("germain2015made",)
    goes_with: ClassVar[dict[str, Any]] = {"posterior": "bernoulli"}

    start: Tensor

    def __init__(self, latent_shape: Shape, hidden: int = 256, layers: int = 2):
        super().__init__()
        latent_dim = vector_length(latent_shape, owner="AutoregressiveBernoulli")
        self.event_shape = (latent_dim,)
        self.net = _masked_net(latent_dim, 1, 1, hidden, layers, "AutoregressiveBernoulli")
        self.register_buffer("start", torch.zeros(latent_dim), persistent=False)

    def forward(self, context: Context | None = None) -> Autoregressive:
        """p(z); the context is ignored."""
        return Autoregressive(self._conditionals, self.start, reparameterised=False)

    def _conditionals(self, z: Tensor, sites: slice = _ALL) -> BernoulliDistribution:
        return BernoulliDistribution(logits=self.net(z)[..., sites], validate_args=False)


class AutoregressiveCategorical(nn.Module):
    """Categorical latents as one-hot rows (D, K), each given those before it.

    Arguments:
        latent_shape: D ≥ 2, the number of latents, or of quantised codes.
        categories: K, how many values each takes.
        hidden: width of each hidden layer, at least D − 1.
        layers: how many hidden layers.

    Returns (when called):
        A distribution with batch shape () and event shape (latent_shape, categories). A context is
        ignored.

    >>> prior = AutoregressiveCategorical(latent_shape=5, categories=4)
    >>> prior().sample(torch.Size((2, 3))).shape
    torch.Size([2, 3, 5, 4])
    """

    cites: ClassVar[tuple[str, ...]] = ("germain2015made",)
    goes_with: ClassVar[dict[str, Any]] = {"posterior": "categorical"}

    start: Tensor

    def __init__(self, latent_shape: Shape, categories: int = 10, hidden: int = 256, layers: int = 2):
        super().__init__()
        k, latent_dim = categories, vector_length(latent_shape, owner="AutoregressiveCategorical")
        self.event_shape = (latent_dim, k)
        self.net = _masked_net(latent_dim, k, k, hidden, layers, "AutoregressiveCategorical")
        self.register_buffer("start", torch.zeros(latent_dim, k), persistent=False)

    def forward(self, context: Context | None = None) -> Autoregressive:
        """p(z); the context is ignored."""
        return Autoregressive(self._conditionals, self.start, reparameterised=False)

    def _conditionals(self, z: Tensor, sites: slice = _ALL) -> LinearOneHotCategorical:
        logits = self.net(z.flatten(-2)).unflatten(-1, tuple(self.start.shape))[..., sites, :]
        return LinearOneHotCategorical(logits=logits, validate_args=False)


def _masked_net(sites: int, inputs: int, outputs: int, hidden: int, layers: int, owner: str) -> MaskedMLP:
    """A net from (..., sites · inputs) to (..., sites · outputs), in which the outputs of a site depend on earlier
    sites only.
    """
    if inputs < 1:
        raise ValueError(f"{owner} got categories={inputs} and needs at least 1.")
    if sites < 2:
        raise ValueError(
            f"{owner} got latent_shape={sites} and needs at least 2: one site alone has nothing before it."
        )
    if hidden < sites - 1 or layers < 1:
        raise ValueError(
            f"{owner} got hidden={hidden}, layers={layers} for latent_shape={sites} and needs "
            "hidden ≥ latent_shape − 1 and layers ≥ 1, or some sites would be cut off from earlier ones."
        )
    earlier = torch.ones(sites, sites, dtype=torch.bool).tril(-1)
    adjacency = earlier.repeat_interleave(outputs, 0).repeat_interleave(inputs, 1)
    return MaskedMLP(cast(torch.BoolTensor, adjacency), (hidden,) * layers)
