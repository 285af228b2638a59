"""Hidden Markov models: p(c_1) Π_t p(c_t | c_{t−1}) Π_t p(x_t | c_t), with the chain c summed out exactly.

    α_t(k) = p(x_1 … x_t, c_t = k)          α_t(k) = p(x_t | k) Σ_j α_{t−1}(j) A_jk
    β_t(k) = p(x_{t+1} … x_T | c_t = k)     β_t(j) = Σ_k A_jk p(x_{t+1} | k) β_{t+1}(k)
    γ_t(k) = α_t(k) β_t(k) / p(x)           ξ_t(j, k) = α_t(j) A_jk p(x_{t+1} | k) β_{t+1}(k) / p(x)

Rabiner (1989, Proceedings of the IEEE 77, eqs. 19–37), in logarithms. The loop is over time only. log p(x) is
differentiable. A step that was not observed has log-emissions of 0.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.distributions import Distribution, OneHotCategorical, constraints
from torch.nn.functional import one_hot
from torch.types import _size

from lowerbound.hooks import Turn

__all__ = ["ChainPosterior", "HiddenChain"]


@dataclass(frozen=True)
class HiddenChain:
    """The chains of states behind a batch of series.

    Arguments:
        log_initial: log p(c_1).
        log_transition: log A_jk, log p(c_t = k | c_{t−1} = j).
        log_emission: log p(x_t | c_t = k) of each step, nats; 0 where the step was not observed.

    >>> flat = torch.full((2,), 0.5).log()
    >>> HiddenChain(flat, flat.expand(2, 2), torch.zeros(1, 4, 2)).log_evidence
    tensor([0.])
    """

    log_initial: Float[Tensor, "state"]
    log_transition: Float[Tensor, "state state"]
    log_emission: Float[Tensor, "batch time state"]

    @cached_property
    def forward(self) -> Float[Tensor, "batch time state"]:
        """log α."""
        alpha = [self.log_initial + self.log_emission[:, 0]]
        for e in self.log_emission[:, 1:].unbind(1):
            alpha.append((alpha[-1][:, :, None] + self.log_transition).logsumexp(1) + e)
        return torch.stack(alpha, 1)

    @cached_property
    def backward(self) -> Float[Tensor, "batch time state"]:
        """log β."""
        beta = [torch.zeros_like(self.log_emission[:, 0])]
        for e in self.log_emission[:, 1:].flip(1).unbind(1):
            beta.append((self.log_transition + (e + beta[-1])[:, None]).logsumexp(2))
        return torch.stack(beta[::-1], 1)

    @cached_property
    def log_evidence(self) -> Float[Tensor, "batch"]:
        """log p(x), nats, differentiable."""
        return self.forward[:, -1].logsumexp(1)

    @cached_property
    def smoothed(self) -> Float[Tensor, "batch time state"]:
        """γ: p(c_t = k | x)."""
        return (self.forward + self.backward).softmax(-1)

    def pairs(self) -> Iterator[Float[Tensor, "batch state state"]]:
        """ξ_1, …, ξ_{T−1}: p(c_t = j, c_{t+1} = k | x), a step at a time."""
        after = self.log_emission + self.backward - self.log_evidence[:, None, None]
        for alpha, right in zip(self.forward[:, :-1].unbind(1), after[:, 1:].unbind(1), strict=True):
            yield (alpha[:, :, None] + self.log_transition + right[:, None]).exp()

    def most_probable(self) -> tuple[Int[Tensor, "batch time"], Float[Tensor, "batch"]]:
        """The path c of largest p(c | x), by Viterbi's algorithm, and log p(x, c) of it, nats."""
        best, came_from = self.log_initial + self.log_emission[:, 0], []
        for e in self.log_emission[:, 1:].unbind(1):
            value, j = (best[:, :, None] + self.log_transition).max(1)
            best = value + e
            came_from.append(j)
        log_p, state = best.max(1)
        path = [state]
        for j in reversed(came_from):
            path.append(j.gather(1, path[-1][:, None])[:, 0])
        return torch.stack(path[::-1], 1), log_p

    def log_joint(self, path: Int[Tensor, "*sample batch time"]) -> Float[Tensor, "*sample batch"]:
        """log p(x, c) of paths, nats."""
        emitted = self.log_emission.expand(*path.shape, -1).gather(-1, path[..., None])[..., 0].sum(-1)
        moved = self.log_transition[path[..., :-1], path[..., 1:]].sum(-1)
        return self.log_initial[path[..., 0]] + moved + emitted


class ChainPosterior(Distribution):
    """p(c | x) over one-hot paths (T, K), batch shape (B,).

    log p(x, c) − log p(c | x) is log p(x) for every c, so that every bound on log p(x) with it is exact.

    Arguments:
        chain: the chains behind the series.
    """

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType]
    has_rsample = False

    def __init__(self, chain: HiddenChain):
        self.chain = chain
        batch, *event = chain.log_emission.shape
        super().__init__(torch.Size((batch,)), torch.Size(event), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """A one-hot state at each step."""
        return constraints.independent(constraints.one_hot, 1)  # type: ignore[arg-type]

    @property
    def mean(self) -> Tensor:
        """γ (B, T, K)."""
        return self.chain.smoothed

    @property
    def variance(self) -> Tensor:
        """γ (1 − γ)."""
        return self.mean * (1 - self.mean)

    def log_prob(self, value: Float[Tensor, "*sample batch time state"]) -> Float[Tensor, "*sample batch"]:
        """log p(c | x), nats."""
        return self.chain.log_joint(value.argmax(-1)) - self.chain.log_evidence

    def sample(self, sample_shape: _size = ()) -> Tensor:
        """Draw c (*sample_shape, B, T, K) from the last state to the first: c_t ~ ∝ α_t(c_t) A(c_t, c_{t+1})."""
        alpha = self.chain.forward  # kept, and differentiated by whoever asks for log p(c | x)
        with torch.no_grad():
            backwards, lead = self.chain.log_transition.mT, torch.Size(sample_shape) + self.batch_shape
            path = [_draw(alpha[:, -1].expand(*lead, -1))]
            for a in alpha[:, :-1].flip(1).unbind(1):
                path.append(_draw(a + backwards[path[-1]]))
            return one_hot(torch.stack(path[::-1], -1), alpha.shape[-1]).to(alpha)

    def in_turn(self, rows: int) -> Generator[Turn, Tensor, None]:
        """See `hooks.ComesInTurn`; from the last state to the first, as `sample`."""
        alpha, backwards = self.chain.forward, self.chain.log_transition.mT
        logits = alpha[:, -1]
        for t in reversed(range(alpha.shape[1])):
            c = yield OneHotCategorical(logits=logits[:, None], validate_args=False), torch.tensor([t])
            if t:
                logits = alpha[:, t - 1] + backwards[c[:, 0].argmax(-1)]


def _draw(logits: Float[Tensor, "*lead state"]) -> Int[Tensor, "*lead"]:
    return torch.distributions.Categorical(logits=logits, validate_args=False).sample()
