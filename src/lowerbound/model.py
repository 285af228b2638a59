"""p(x, z) and q(z | x) put together: the only code that draws latents and scores them.

    p(x, z | c) = p(z | c) p(x | z, c)          q(z | x, c)

The context c is optional (a label, covariates, the observed part of an image). The prior is called with c, the
likelihood with z or (z, c), the posterior with x or (x, c).

A prior may draw z by walking through states (`priors.Path`). The likelihood then reads the last state h(z) in place of
z, so that p(x | z) = p(x | h(z)); `read_of` computes h(z).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution

from lowerbound.has_hook import has
from lowerbound.hooks import EndsInState, Lends
from lowerbound.protocols import Conditional, Context, InitializedFromData, Latents
from lowerbound.shown import shown
from lowerbound.weights import LogWeights, latents_of, weigh

__all__ = ["Joint", "LatentVariableModel", "flat_latents", "read_of", "require_distribution", "with_context"]


@dataclass(frozen=True)
class Joint:
    """z ↦ (log p(x | z), log p(z)) for one batch x. See `protocols.JointDensity`."""

    likelihood: Conditional
    prior: Distribution
    x: Tensor
    context: Context | None = None

    def __call__(self, z: Latents) -> tuple[Tensor, Tensor]:
        """Return log p(x | z) and log p(z), each (S, B) in nats."""
        return self.log_likelihood(z), self.prior.log_prob(cast(Tensor, z))

    def log_likelihood(self, z: Latents) -> Tensor:
        """log p(x | z) (S, B) in nats."""
        return self.given(z).log_prob(self.x)

    def given(self, z: Latents) -> Distribution:
        """p(x | z), of which `x` is one value."""
        return self.likelihood(with_context(read_of(self.prior, z), self.context))


class LatentVariableModel(nn.Module):
    """A latent variable model p(z) p(x | z) with an inference model q(z | x).

    Arguments:
        prior: p(z), or p(z | c).
        likelihood: p(x | z), or p(x | z, c).
        posterior: q(z | x), or q(z | x, c).

    Each is any module that returns a distribution (`protocols.Conditional`).

    >>> import lowerbound as lb, torch
    >>> model = lb.LatentVariableModel(
    ...     prior=lb.priors.StandardNormal(2),
    ...     likelihood=lb.likelihoods.Bernoulli(lb.nets.MLP(2, [16], 5)),
    ...     posterior=lb.posteriors.DiagonalNormal(lb.nets.MLP(5, [16], (2, 2))))
    >>> model.log_weights(torch.ones(3, 5), num_samples=7).log_w.shape
    torch.Size([7, 3])
    """

    def __init__(self, *, prior: Conditional, likelihood: Conditional, posterior: Conditional):
        super().__init__()
        self.prior = prior
        self.likelihood = likelihood
        self.posterior = posterior

    def infer(self, x: Tensor, context: Context | None = None) -> Distribution:
        """q(z | x) for a batch x (B, *event): a distribution with `batch_shape` (B,)."""
        return self.posterior(with_context(x, context))

    def joint(self, x: Tensor, context: Context | None = None) -> Joint:
        """z ↦ (log p(x | z), log p(z)) for a batch x (B, *event)."""
        return Joint(self.likelihood, self.prior(context), x, context)

    def decode(self, z: Latents, context: Context | None = None) -> Distribution:
        """p(x | z) for latents z (..., *event)."""
        return self._decode(z, context, None)

    def log_weights(self, x: Tensor, num_samples: int, context: Context | None = None) -> LogWeights:
        """Draw num_samples latents per datum from q(z | x) and weigh them; terms (num_samples, B), nats."""
        q = self.infer(x, context)
        draw = q.rsample if q.has_rsample else q.sample
        return weigh(q, self.joint(x, context), draw(torch.Size((num_samples,))))

    @torch.no_grad()
    def draw(self, num_samples: int, context: Context | None = None) -> tuple[Tensor, Tensor]:
        """x ~ p(x | z) and E[x | z] at z ~ p(z), each (num_samples, *event); one for each row of a context.

        Where E[x | z] has no closed form, means along one draw replace it (`shown`).

        Raises:
            ValueError: a context of another length.
        """
        if context is None:
            p = self._generated(num_samples, None)
            return p.sample(), shown(p).values
        rows = _as_tuple(context)[0].shape[0]
        if rows != num_samples:
            raise ValueError(f"draw got num_samples={num_samples} and {rows} rows of context; give one for each.")
        p = self._generated(1, context)
        return p.sample()[0], shown(p).values[0]

    @torch.no_grad()
    def sample(self, num_samples: int, context: Context | None = None) -> Tensor:
        """Draw x ~ p(x | z), z ~ p(z): (num_samples, *event); with a context of B rows (num_samples, B, *event)."""
        return self._generated(num_samples, context).sample()

    @torch.no_grad()
    def sample_mean(self, num_samples: int, context: Context | None = None) -> Tensor:
        """E[x | z] at z ~ p(z), or what is shown in its place (`shown`): galleries of images. Shapes as `sample`."""
        return shown(self._generated(num_samples, context)).values

    @torch.no_grad()
    def reconstruct(self, x: Tensor, context: Context | None = None) -> Tensor:
        """E[x' | z] at one draw z ~ q(z | x), or what is shown in its place (`shown`): (B, *event)."""
        q = self.infer(x, context)
        return shown(self._decode(latents_of(q, q.sample()), context, q)).values

    def initialize(self, x: Float[Tensor, "batch *event"], context: Context | None = None) -> None:
        """Show some data to every part that starts better from data (thousands of rows are enough); a model that needs
        their context too overrides this.

        Raises:
            ValueError: a part that is made for data of another shape.
        """
        del context
        for conditional in (self.likelihood, self.posterior, self.prior):
            for part in _outermost(conditional):
                _start(part, x)

    def _decode(self, z: Latents, context: Context | None, q: Distribution | None) -> Distribution:
        """p(x | z). If q has computed the state h(z) already, the prior takes it from q."""
        if isinstance(self.prior, EndsInState):
            p = self.prior(context)
            if isinstance(q, Lends):
                q.lend(p)
            z = read_of(p, z)
        return self.likelihood(with_context(z, context))

    def _generated(self, num_samples: int, context: Context | None) -> Distribution:
        """p(x | z) at num_samples draws z ~ p(z), for each row of a context if there is one."""
        p = self.prior(context)
        rows = () if context is None or p.batch_shape else (_as_tuple(context)[0].shape[0],)
        z = p.sample(torch.Size((num_samples, *rows)))
        return self.likelihood(with_context(read_of(p, z), context))


def read_of(prior: Distribution, z: Latents) -> Latents:
    """What the likelihood reads for latents z: z itself, or the state to which z leads the prior."""
    return prior.end_state(z) if has(prior, EndsInState) else z


def require_distribution(given: object, part: str) -> None:
    """Raise a `ValueError` unless a prior, likelihood or posterior gave a distribution, as a bare net does not."""
    if not isinstance(given, Distribution):
        raise ValueError(
            f"The {part} gave a {type(given).__name__} and must give a distribution; put the net into one of "
            f"{'likelihoods' if part == 'likelihood' else part + 's'}, such as "
            f"{'Normal' if part == 'likelihood' else 'DiagonalNormal'}(net)."
        )


def with_context(value: Latents, context: Context | None) -> Context:
    """The arguments of a conditional: the value alone, or the value followed by the context."""
    if context is None:
        return value
    return (*_as_tuple(value), *_as_tuple(context))


def flat_latents(z: Latents) -> Float[Tensor, "sample batch latent"]:
    """Latents (sample, batch, *event) as vectors, the layers of a hierarchy one after another."""
    return torch.cat([part.flatten(2) if part.ndim > 2 else part[..., None] for part in _as_tuple(z)], -1)


def _outermost(part: object) -> Iterator[InitializedFromData]:
    """The part itself if it can start from data; otherwise its outermost submodules that can."""
    if isinstance(part, InitializedFromData):
        yield part
    elif isinstance(part, nn.Module):
        for child in part.children():
            yield from _outermost(child)


def _start(part: InitializedFromData, x: Tensor) -> None:
    """Show data to a part, or say that it is made for others."""
    try:
        part.initialize(x)
    except RuntimeError as error:
        if not any(word in str(error) for word in ("shape", "size")):
            raise
        raise ValueError(
            f"{type(part).__name__} cannot start from rows of shape {tuple(x.shape[1:])}: its net is made for another "
            "shape; give it theirs, the number of channels included."
        ) from error


def _as_tuple(value: Context) -> tuple[Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)
