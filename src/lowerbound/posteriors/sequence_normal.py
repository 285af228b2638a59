"""q(z | x) = Π_t q(z_t | z_{t−1}, h_t(x)): a posterior over sequences that is a chain, like the exact posterior.

In p(x, z) = p(z_1) Π p(z_t | z_{t−1}) Π p(x_t | z_t) the posterior factorises in the same order,

    p(z | x) = p(z_1 | x) Π_t p(z_t | z_{t−1}, x_t, …, x_T)

so that a Gaussian q(z_t | z_{t−1}, h_t) with features h_t(x) of the whole sequence has the right shape: the deep Kalman
smoother of Krishnan, Shalit & Sontag (2017, arXiv:1609.09869, §4). Theirs averages a net of z_{t−1} with h_t; here

    (μ_t, s_t) = V tanh(U h_t + W z_{t−1}) + A z_{t−1} + B h_t          σ_t = ε + softplus(s_t + c),      z_0 = 0

with linear paths A and B beside the hidden layer, so that the family contains the smoother of a linear-Gaussian model.
Sampling is sequential, but U h_t and B h_t are computed once for all t; the density of a given z needs no recursion.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import ClassVar, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, constraints

from lowerbound.hooks import Turn
from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape, vector_length
from lowerbound.nets.softplus import positive
from lowerbound.posteriors.parameters import SampleShape, require_at_least
from lowerbound.protocols import Context

__all__ = ["SequenceNormal", "SequenceNormalDistribution", "StatesFeatures"]


@runtime_checkable
class StatesFeatures(Protocol):
    """A net that states how many features it gives for each step."""

    features: int


class SequenceNormal(nn.Module):
    """A Gaussian chain whose steps see features of the whole of x.

    Arguments:
        net: from a context (..., T, *event) to features (..., T, features), such as `nets.BidirectionalGRU`.
        latent_shape: length of z_t.
        features: length of h_t; read from `net.features` if the net states it.
        hidden: width of the hidden layer; 0 leaves the linear paths only.
        min_scale: the floor ε of σ.

    Returns (when called with a context of B rows):
        A reparameterised distribution with batch shape (B,) and event shape (T, latent_dim).

    Raises:
        ValueError: a size that is too small, or features that are not known.
    """

    cites: ClassVar[tuple[str, ...]] = ("krishnan2017structured",)

    by_name: ClassVar[bool] = False  # made of other parts, in Python

    def __init__(
        self,
        net: nn.Module,
        latent_shape: Shape,
        features: int | None = None,
        hidden: int = 64,
        min_scale: float = 1e-4,
    ):
        super().__init__()
        latent_dim = vector_length(latent_shape, owner="SequenceNormal")
        require_at_least(1, owner="SequenceNormal", latent_shape=latent_dim)
        require_at_least(0, owner="SequenceNormal", hidden=hidden)
        if features is None and not isinstance(net, StatesFeatures):
            raise ValueError(f"SequenceNormal cannot tell the features of {type(net).__name__}; pass features=.")
        size = cast(StatesFeatures, net).features if features is None else features
        self.net, self.latent_dim, self.min_scale = net, latent_dim, min_scale
        self.of_features = nn.Linear(size, hidden + 2 * latent_dim)  # U and B
        self.of_latent = nn.Linear(latent_dim, hidden + 2 * latent_dim, bias=False)  # W and A
        self.out = nn.Linear(hidden, 2 * latent_dim, bias=False) if hidden else None  # V

    def forward(self, context: Context) -> SequenceNormalDistribution:
        """q(z | context)."""
        return SequenceNormalDistribution(self, self.of_features(parameters_of(self.net, context)))

    def step(self, of_features: Tensor, before: Tensor) -> Independent:
        """q(z_t | z_{t−1}, h_t) from (U h_t, B h_t) (..., hidden + 2 latent_dim) and z_{t−1} (..., latent_dim)."""
        straight = of_features + self.of_latent(before)
        if self.out is not None:
            inner, straight = straight.split([self.out.in_features, 2 * self.latent_dim], -1)
            straight = straight + self.out(inner.tanh())
        loc, raw = straight.chunk(2, -1)
        return Independent(Normal(loc, positive(raw, self.min_scale), validate_args=False), 1, validate_args=False)


class SequenceNormalDistribution(Distribution):
    """Π_t q(z_t | z_{t−1}, h_t); made by `SequenceNormal`.

    Arguments:
        module: the nets of one step.
        of_features: (U h_t, B h_t) (..., T, hidden + 2 latent_dim).
    """

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType]
    has_rsample = True

    def __init__(self, module: SequenceNormal, of_features: Tensor):
        self._module, self._of_features = module, of_features
        event = torch.Size((of_features.shape[-2], module.latent_dim))
        super().__init__(of_features.shape[:-2], event, validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """The reals."""
        return constraints.independent(constraints.real, 2)  # type: ignore[return-value]

    @property
    def mean(self) -> Tensor:
        """None in closed form."""
        raise NotImplementedError("SequenceNormal is a chain of nets and has no mean in closed form; draw samples.")

    def rsample(self, sample_shape: SampleShape = ()) -> Tensor:
        """Draw z (*sample_shape, ..., T, latent_dim), one state after another."""
        shape = torch.Size(sample_shape) + self.batch_shape
        z = [self._of_features.new_zeros(*shape, self._module.latent_dim)]
        for of_features in self._of_features.unbind(-2):
            z.append(self._module.step(of_features, z[-1]).rsample())
        return torch.stack(z[1:], -2)

    def log_prob(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """log q(z | x) of z (..., T, latent_dim): (...), nats, all times at once."""
        before = nn.functional.pad(value, (0, 0, 1, -1))
        return self._module.step(self._of_features, before).log_prob(value).sum(-1)

    def in_turn(self, rows: int) -> Generator[Turn, Tensor, None]:
        """See `hooks.ComesInTurn`."""
        n = self._module.latent_dim
        z = self._of_features.new_zeros(rows, n)
        for t, of_features in enumerate(self._of_features.unbind(-2)):
            z = yield self._module.step(of_features, z), torch.arange(t * n, (t + 1) * n)
