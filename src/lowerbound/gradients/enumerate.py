"""The ELBO and its gradient without noise, for a z with few values: a sum over all of them.

    E_q[f(z)] = Σ_z q_φ(z | x) f(z)

with f(z) = log p(x | z) + log p(z) − log q(z | x) and z over the product of the values of its factors, 2^D for D binary
latents and K^D for D one-hot vectors of length K. Everything is differentiated, q_φ(z | x) included. So the unknown
labels of Kingma et al. (2014, arXiv:1406.5298, eq. 7) are summed out.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.chain import StateChain
from lowerbound.factors import factor_of
from lowerbound.gradients.weighted import weighted_value
from lowerbound.protocols import Estimate, JointDensity, Kind, Latents, Objective
from lowerbound.weights import weigh

__all__ = ["Enumerate"]


@dataclass(frozen=True)
class Enumerate:
    """Evaluates log p(x, z) at every z; num_samples has no effect.

    Arguments:
        max_states: the largest number of values of z that is accepted.

    Gradient: exact for θ and φ, for every objective that is linear in log w; refused elsewhere and for a posterior that
    is not a product of discrete factors, or a chain of such layers.
    """

    cites: ClassVar[tuple[str, ...]] = ("kingma2014semi",)

    max_states: int = 4096
    kind: Kind = field(default="exact", init=False, repr=False)

    def estimate(
        self, objective: Objective, posterior: Distribution, joint: JointDensity, num_samples: int
    ) -> Estimate:
        """See `protocols.Gradient`."""
        z = _all_states(posterior)
        log_q = posterior.log_prob(cast(Tensor, z))
        w = weigh(posterior, joint, z, rate=objective.rate, log_q=log_q)
        w = dataclasses.replace(w, log_probability=log_q)
        return Estimate(surrogate=weighted_value(objective, w), weights=w)

    def check(self, objective: Objective, posterior: Distribution, num_samples: int) -> None:
        """Refuse objectives and posteriors whose value is not a sum over at most `max_states` states."""
        if not objective.linear:
            raise ValueError(
                f"Enumerate sums over one latent and {type(objective).__name__} is a function of several; "
                "use ScoreFunction()."
            )
        layers = _layers(posterior)
        if not all(_is_discrete_product(layer) for layer in layers):
            raise ValueError(
                f"Enumerate needs a product of Bernoulli or Categorical factors and got {type(posterior).__name__}; "
                "use Pathwise() where q is reparameterised and ScoreFunction() where not."
            )
        sizes = [_sizes(layer) for layer in layers]
        if math.prod(values**count for values, count in sizes) > self.max_states:
            words = " · ".join(f"{values}^{count}" for values, count in sizes)
            raise ValueError(
                f"Enumerate would sum over {words} values of z and may over {self.max_states}; choose a smaller "
                "latent_dim, or use ScoreFunction()."
            )


def _layers(posterior: Distribution) -> tuple[Distribution, ...]:
    """The layers of a chain, at one draw; of another posterior itself."""
    return posterior.layers_at(posterior.sample()) if isinstance(posterior, StateChain) else (posterior,)


def _all_states(posterior: Distribution) -> Latents:
    """Every value of z; of a chain, every combination of the values of its layers."""
    if not isinstance(posterior, StateChain):
        return _states(posterior)
    states = [_states(layer) for layer in _layers(posterior)]
    numbers = torch.cartesian_prod(*(torch.arange(len(part), device=part.device) for part in states))
    numbers = numbers.reshape(-1, len(states))
    return tuple(part[chosen] for part, chosen in zip(states, numbers.unbind(1), strict=True))


def _is_discrete_product(posterior: Distribution) -> bool:
    try:
        return factor_of(posterior).has_enumerate_support
    except ValueError:
        return False


def _sizes(posterior: Distribution) -> tuple[int, int]:
    """How many values a factor takes, and how many factors there are."""
    factor = factor_of(posterior)
    count = factor.batch_shape[len(posterior.batch_shape) :].numel()
    return factor.enumerate_support(expand=False).shape[0], count


def _states(posterior: Distribution) -> Float[Tensor, "state batch *event"]:
    """Every value of z, for every datum."""
    factor = factor_of(posterior)
    size, count = _sizes(posterior)
    values = factor.enumerate_support(expand=False).reshape(size, *factor.event_shape)
    place = size ** torch.arange(count, device=values.device)
    digits = torch.arange(size**count, device=values.device)[:, None] // place % size
    states = values[digits].reshape(-1, *(1 for _ in posterior.batch_shape), *posterior.event_shape)
    return states.expand(-1, *posterior.batch_shape, *posterior.event_shape)
