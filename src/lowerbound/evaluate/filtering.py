"""What a state-space model says about the next step: the bootstrap particle filter (Gordon, Salmond & Smith 1993).

    z_1^s ~ p(z_1)          w_t^s ∝ p(x_t | z_t^s)          z_{t+1}^s ~ p(z_{t+1} | z_t^{a_s}),   a_s drawn with w_t

    p(x_t | x_<t) ≈ (1/S) Σ_s p(x_t | z_t^s)         E[x_t | x_<t] ≈ (1/S) Σ_s E[x_t | z_t^s]

The posterior of the model is trained on whole series, and does not give the state in the middle of a series that is
still going on. The filter needs p alone: it reads x from left to right and is exact as S → ∞. The product of the
estimates of p(x_t | x_<t) is an unbiased estimate of p(x) (Del Moral 2004, Proposition 7.4.1), so that the mean of
`log_evidence` is a lower bound of log p(x). The particles are resampled at every step, systematically (Kitagawa 1996).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.cited import cited
from lowerbound.evaluate.importance import effective_sample_size, log_mean_weight
from lowerbound.evaluate.resampling import systematic_resampling
from lowerbound.models.directed import DirectedModel
from lowerbound.models.sequence_steps import EachStep
from lowerbound.observed_steps import observed_steps
from lowerbound.priors.markov_chain import MarkovChain
from lowerbound.randomness import forked

__all__ = ["Filtered", "particle_filter", "particles_of"]


@dataclass(frozen=True)
class Filtered:
    """Forecasts before every step and states after it.

    Attributes:
        log_evidence: log of an unbiased estimate of p(x) (B,), nats.
        forecasts: E[x_t | x_1, …, x_{t−1}] (B, T, D), in the units of x.
        states: E[z_t | x_1, …, x_t] (B, T, latent_dim).
        effective_sample_size: of the weights of each step (B, T), between 1 and S; small ones make all later figures
            unreliable.
    """

    log_evidence: Float[Tensor, "batch"]
    forecasts: Float[Tensor, "batch time data"]
    states: Float[Tensor, "batch time latent"]
    effective_sample_size: Float[Tensor, "batch time"]


@cited("gordon1993novel", "kitagawa1996monte")
@torch.no_grad()
def particle_filter(model: DirectedModel, x: Tensor, *, num_particles: int = 1000, seed: int = 0) -> Filtered:
    """Filter series from left to right.

    Arguments:
        model: a chain of states of which each emits one step, as `models.sequence.state_space` makes.
        x: series (B, T, D) of any length, on the device of the model. Steps that are all NaN were not observed; those
            at the end are forecast further and further ahead.
        num_particles: S.
        seed: of the particles; the caller's random state is untouched.

    Raises:
        ValueError: another model, no series, another shape, infinite numbers, no particles, or a step of which some
            numbers are NaN and some not.

    >>> from lowerbound.models.sequence import state_space
    >>> model = state_space((20, 3), latent_dim=2, recurrent_dim=8)
    >>> particle_filter(model, model.sample(5), num_particles=10).forecasts.shape
    torch.Size([5, 20, 3])
    """
    log_evidence = x.new_zeros(len(x))
    forecasts, states, sizes = [], [], []
    with forked(x.device, seed, "particle_filter"):
        for p, z, log_w in particles_of(model, x, num_particles):
            log_evidence = log_evidence + log_mean_weight(log_w)[0]
            forecasts.append(p.mean.mean(0))
            states.append((log_w.softmax(0)[..., None] * z).sum(0))
            sizes.append(effective_sample_size(log_w))
    return Filtered(log_evidence, *(torch.stack(parts, 1) for parts in (forecasts, states, sizes)))


@torch.no_grad()
def particles_of(model: DirectedModel, x: Tensor, num_particles: int) -> Iterator[tuple[Distribution, Tensor, Tensor]]:
    """The particles of each step in turn, with random numbers of the caller's state.

    Yields:
        p(x_t | z_t^s), z_t^s given x_<t (S, B, latent), all of one weight, and log p(x_t | z_t^s) (S, B), 0 where the
        step was not observed.

    Raises:
        ValueError: as `particle_filter`.
    """
    chain, emission = _parts(model)
    unseen = _unseen(x, emission.event_shape[1], num_particles)
    z = chain.initial(None).sample(torch.Size((num_particles, len(x))))
    for t, x_t in enumerate(x.nan_to_num().unbind(1)):
        p = emission.step(z)
        log_w = p.log_prob(x_t).masked_fill(unseen[:, t], 0)
        yield p, z, log_w
        kept = systematic_resampling(log_w.softmax(0), len(log_w))
        z = chain.transition(z.gather(0, kept[..., None].expand_as(z))).sample()


def _parts(model: DirectedModel) -> tuple[MarkovChain, EachStep]:
    parts = tuple(node.conditional for node in model.order)
    if len(parts) == 2 and isinstance(parts[0], MarkovChain) and isinstance(parts[1], EachStep):
        return parts[0], parts[1]
    names = ", ".join(type(part).__name__ for part in parts)
    raise ValueError(
        f"particle_filter got a graph of {names} and needs a MarkovChain of states and EachStep of them, as "
        "models.sequence.state_space makes."
    )


def _unseen(x: Tensor, data_dim: int, num_particles: int) -> Tensor:
    """Which steps were not observed (B, T)."""
    if num_particles < 1:
        raise ValueError(f"particle_filter got num_particles={num_particles} and needs at least 1.")
    if x.ndim != 3 or x.shape[2] != data_dim or x.numel() == 0:
        raise ValueError(
            f"particle_filter got x of shape {tuple(x.shape)} and expected (series, steps, {data_dim}), one of each at "
            "least."
        )
    if bool(x.isinf().any()):
        raise ValueError("x has infinite numbers; give finite ones, or NaN for a whole step that was not observed.")
    return ~observed_steps(x)[0]
