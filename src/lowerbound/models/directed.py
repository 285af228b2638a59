"""A latent variable model written as any directed acyclic graph of observed and latent variables.

    p(x, z) = Π_i p(v_i | parents of v_i)          v = observed x_1, x_2, … and latent z_1, z_2, …

Parents may be of either kind, as in z_2 | z_1, x_1 or x_2 | x_1, z_2. The objectives need two parts: log p(x | z) is
the sum over observed variables, and log p(z) the sum over latent ones:

    log w = Σ_observed log p(x_j | parents) + Σ_latent log p(z_i | parents) − log q(z | x)

which is exact for every direction of the arrows. The data are one tensor x (B, *event), of which the observed variables
are the parts along its last axis. Without latent variables log p(x) is exact: such a model has a latent of length zero,
whose rate is zero, so that it trains with every objective and every loop that takes the other models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from lowerbound.hooks import StatesEventShape
from lowerbound.model import Joint, LatentVariableModel
from lowerbound.models.directed_graph import Directed, DirectedDistribution, Node, draw_from, ordered, require_event
from lowerbound.protocols import Conditional, Context, InitializedFromData, Latents
from lowerbound.shown import shown
from lowerbound.support import LikelihoodFacts, StatesFacts, Support
from lowerbound.weights import latents_of

__all__ = ["DirectedModel"]


class DirectedModel(LatentVariableModel):
    """p(x, z) as a graph, and q(z | x).

    Arguments:
        nodes: the variables, in any order.
        observed: the name of the observed variable, which is all of x; or name: length, for several that are the parts
            of x along its last axis, in that order. All other variables are latent.
        posterior: q(z | x) over the tuple of latents, in the order of `nodes` (over the latent itself if there is one):
            a `DirectedPosterior`, or any conditional that draws such tuples; None if nothing is latent.

    Raises:
        ValueError: a cycle, an unknown parent, a name that is used twice, a variable without a conditional, an observed
            variable that is not there, no observed variable, or a posterior that is missing or has nothing to infer.

    >>> from lowerbound import likelihoods, nets, posteriors, priors
    >>> model = DirectedModel(
    ...     [Node("z", priors.StandardNormal(2)), Node("x", likelihoods.Bernoulli(nets.MLP(2, [8], 5)), "z")],
    ...     observed="x", posterior=posteriors.DiagonalNormal(nets.MLP(5, [8], (2, 2))))
    >>> model.sample(3).shape
    torch.Size([3, 5])
    """

    def __init__(
        self, nodes: Sequence[Node], *, observed: str | Mapping[str, int], posterior: Conditional | None = None
    ):
        names, order = _observed_names(nodes, observed), ordered(nodes, ("context",))
        latent = [node.name for node in nodes if node.name not in names]
        _check_posterior(latent, posterior)
        prior = Directed([node for node in order if node.name in latent], latent, ("context",))
        super().__init__(
            prior=prior if latent else NoLatents(),
            likelihood=DirectedLikelihood(order, latent or [_NOTHING], observed),
            posterior=NoLatents() if posterior is None else posterior,
        )
        self.order, self.latent_names = order, tuple(latent)

    def infer(self, x: Tensor, context: Context | None = None) -> Distribution:
        """q(z | x) for a batch x (B, *event): a distribution with `batch_shape` (B,)."""
        self._likelihood.check(x)
        return super().infer(x, context)

    def joint(self, x: Tensor, context: Context | None = None) -> Joint:
        """z ↦ the sums of the log-densities of the observed and of the latent variables, for a batch x (B, *event)."""
        self._likelihood.check(x)
        if isinstance(self.prior, Directed):
            p = self.prior.given({**self._likelihood.split(x), **self.prior.named(context)})
        else:
            p = self.prior(context)
        return _DirectedJoint(self.likelihood, p, x, context)

    def decode(self, z: Latents, context: Context | None = None) -> Distribution:
        """p(x | z) for latents z (..., *event): the product of the observed variables, of batch shape (...)."""
        if self.latent_names:
            return super().decode(z, context)
        return self._likelihood.given(_of_context(context), cast(Tensor, z).shape[:-1])

    def log_prob(self, x: Float[Tensor, "batch *event"], context: Context | None = None) -> Float[Tensor, "batch"]:
        """log p(x) of each datum, exact, nats.

        Raises:
            ValueError: there are latent variables.
        """
        if self.latent_names:
            raise ValueError(
                f"log p(x) is an integral over {', '.join(self.latent_names)}; estimate it by evaluate.log_evidence."
            )
        log_likelihood, _ = self.joint(x, context)(x.new_zeros(1, x.shape[0], 0))
        return log_likelihood[0]

    @torch.no_grad()
    def draw(self, num_samples: int, context: Context | None = None) -> tuple[Tensor, Tensor]:
        """Draws of x and what is expected of each, (num_samples, *event); one for each row of a context."""
        if self.latent_names:
            return super().draw(num_samples, context)
        values = self._ancestral(num_samples if context is None else 1, context)
        x, mean = self._likelihood.join([values[name] for name in self._likelihood.names]), self._means(values)
        return (x, mean) if context is None else (x[0], mean[0])

    @torch.no_grad()
    def sample(self, num_samples: int, context: Context | None = None) -> Tensor:
        """Draw every variable given its parents: x (num_samples, *event); (num_samples, B, *event) with a context."""
        values = self._ancestral(num_samples, context)
        return self._likelihood.join([values[name] for name in self._likelihood.names])

    @torch.no_grad()
    def sample_mean(self, num_samples: int, context: Context | None = None) -> Tensor:
        """Like `sample`, but what is shown of observed variables (`shown`) given drawn values of their parents."""
        return self._means(self._ancestral(num_samples, context))

    @torch.no_grad()
    def reconstruct(self, x: Tensor, context: Context | None = None) -> Tensor:
        """The means of the observed variables given one draw z ~ q(z | x) and the values in x of observed parents;
        shaped as x.
        """
        q = self.infer(x, context)
        z = latents_of(q, q.sample())
        latents = zip(self._likelihood.arguments, z if isinstance(z, tuple) else (z,), strict=False)
        parts = self._likelihood.split(x)
        return self._means({**parts, **dict(latents), **_of_context(context)})

    @property
    def _likelihood(self) -> DirectedLikelihood:
        return cast(DirectedLikelihood, self.likelihood)

    def _ancestral(self, num_samples: int, context: Context | None) -> dict[str, Tensor]:
        values = _of_context(context)
        shape = (num_samples, *(value.shape[0] for value in values.values()))
        for node in self.order:
            values[node.name] = draw_from(node.given(values), shape)
        return values

    def _means(self, values: Mapping[str, Tensor]) -> Tensor:
        nodes = {node.name: node for node in self.order}
        means = []
        for name in self._likelihood.names:
            p = nodes[name].given(values)
            lead = values[name].shape[: values[name].ndim - len(p.event_shape)]
            means.append(shown(p if p.batch_shape == lead else p.expand(lead)).values)
        return self._likelihood.join(means)


class DirectedLikelihood(Directed):
    """p(x | z): the observed variables of a graph, given the latent ones. Made by `DirectedModel`.

    Arguments:
        order: all variables, every parent before its children.
        latent: the names of the latent variables; it is called with their values.
        observed: as for `DirectedModel`.
    """

    def __init__(self, order: Sequence[Node], latent: Sequence[str], observed: str | Mapping[str, int]):
        names = [observed] if isinstance(observed, str) else list(observed)
        super().__init__([node for node in order if node.name in names], names, (*latent, "context"))
        self.lengths = None if isinstance(observed, str) else list(observed.values())

    @property
    def alone(self) -> Conditional | None:
        """The conditional of x where the graph observes one variable."""
        return self.nodes[0].conditional if self.lengths is None else None

    @property
    def facts(self) -> LikelihoodFacts:
        """The facts of the conditional of x; for several variables together only that they are numbers."""
        return (
            self.alone.facts if isinstance(self.alone, StatesFacts) else LikelihoodFacts(domain="reals", discrete=False)
        )

    @property
    def support(self) -> Support | None:
        """The support of the conditional of x, if it states one."""
        return self.alone.support if isinstance(self.alone, StatesFacts) else None

    def given(self, values: Mapping[str, Tensor], batch_shape: torch.Size | tuple[int, ...] = ()) -> Distribution:
        """The distribution over x given values of the latents."""
        p = super().given(values, batch_shape)
        return p if self.lengths is None else _Joined(p, self)

    def check(self, x: Tensor) -> None:
        """Raise a `ValueError` if x (B, *event) does not fit the variables that state their `event_shape`."""
        parts = self.split(x)
        for node in self.nodes:
            part = parts[node.name]
            if not isinstance(node.conditional, StatesEventShape):
                continue
            shape = node.conditional.event_shape
            if isinstance(shape, tuple) and tuple(part.shape[1:]) != tuple(shape):
                raise ValueError(
                    f"{node.name} has shape {tuple(part.shape)} and {node} is over "
                    f"(batch, {', '.join(map(str, shape))}); give data of that shape."
                )

    def split(self, x: Tensor) -> dict[str, Tensor]:
        """The observed variables in x (..., length).

        Raises:
            ValueError: the last axis of x has another length than all parts together.
        """
        if self.lengths is None:
            return {self.names[0]: x}
        if x.ndim < 2 or x.shape[-1] != sum(self.lengths):
            parts = ", ".join(f"{name}: {length}" for name, length in zip(self.names, self.lengths, strict=True))
            raise ValueError(
                f"x has shape {tuple(x.shape)} and the observed variables ({parts}) need a last axis of "
                f"{sum(self.lengths)} after the batch; give x of that shape."
            )
        return dict(zip(self.names, x.split(self.lengths, -1), strict=True))

    def join(self, values: Sequence[Tensor]) -> Tensor:
        """x from the observed variables, in their order."""
        return values[0] if self.lengths is None else torch.cat(list(values), -1)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Show every observed variable that starts better from data its part."""
        parts = self.split(x)
        for node in self.nodes:
            if isinstance(node.conditional, InitializedFromData):
                node.conditional.initialize(parts[node.name])


class NoLatents(nn.Module):
    """The prior and the posterior of a model without latents: z of length zero, whose density is 1."""

    def forward(self, context: Context | None = None) -> Independent:
        """Batch shape (B,) with a context of B rows, () without; event shape (0,)."""
        first = context[0] if isinstance(context, tuple) else context
        empty = torch.zeros(0) if first is None else first.new_zeros(first.shape[0], 0, dtype=_real(first))
        return Independent(Normal(empty, torch.ones_like(empty), validate_args=False), 1, validate_args=False)


class _DirectedJoint(Joint):
    """Like `Joint`, but also if no observed variable depends on z."""

    def given(self, z: Latents) -> Distribution:
        p = super().given(z)
        require_event(p, "x", self.x)
        return p

    def log_likelihood(self, z: Latents) -> Tensor:
        return self(z)[0]

    def __call__(self, z: Latents) -> tuple[Tensor, Tensor]:
        log_likelihood, log_prior = self.given(z).log_prob(self.x), self.prior.log_prob(cast(Tensor, z))
        log_likelihood, log_prior = torch.broadcast_tensors(log_likelihood, log_prior)
        return log_likelihood, log_prior


class _Joined(Distribution):
    """The distribution of a tuple of parts, over their concatenation along the last axis."""

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType]

    def __init__(self, base: Distribution, parts: DirectedLikelihood):
        self.base, self.parts = base, parts
        assert parts.lengths is not None
        super().__init__(base.batch_shape, torch.Size((sum(parts.lengths),)), validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.parts.join(_tuple(self.base.mean))

    def conditional_means(self) -> Tensor:
        base = self.base.shown_parts() if isinstance(self.base, DirectedDistribution) else shown(self.base).values
        return self.parts.join(_tuple(base))

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.parts.join(_tuple(self.base.sample(torch.Size(sample_shape))))

    def log_prob(self, value: Tensor) -> Tensor:
        parts = tuple(self.parts.split(value).values())
        if isinstance(self.base, DirectedDistribution):
            return self.base.log_prob(parts)
        return self.base.log_prob(parts[0])


_NOTHING = "(nothing)"


def _tuple(value: Latents) -> tuple[Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)


def _real(x: Tensor) -> torch.dtype:
    return x.dtype if x.is_floating_point() else torch.get_default_dtype()


def _of_context(context: Context | None) -> dict[str, Tensor]:
    if isinstance(context, tuple):
        raise ValueError(f"A graph takes one tensor as context and got {len(context)}; concatenate them.")
    return {} if context is None else {"context": context}


def _observed_names(nodes: Sequence[Node], observed: str | Mapping[str, int]) -> list[str]:
    names = [observed] if isinstance(observed, str) else list(observed)
    if not names:
        raise ValueError("DirectedModel got no observed variable; name at least one in observed=.")
    missing = [name for name in names if name not in {node.name for node in nodes}]
    if missing:
        raise ValueError(f"The observed variable {missing[0]!r} has no conditional; add a Node for it.")
    return names


def _check_posterior(latent: Sequence[str], posterior: Conditional | None) -> None:
    if latent and posterior is None:
        raise ValueError(f"The variables {', '.join(latent)} are latent and nothing infers them; give posterior=.")
    if not latent and posterior is not None:
        raise ValueError("Every variable is observed, so that a posterior has nothing to infer; leave posterior= out.")
    if isinstance(posterior, Directed) and posterior.names != tuple(latent):
        raise ValueError(
            f"The posterior infers {', '.join(posterior.names)} and the latents are {', '.join(latent)}; give it one "
            "Node for each, in that order."
        )
