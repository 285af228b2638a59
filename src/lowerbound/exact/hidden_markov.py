"""Hidden Markov models with Gaussian or categorical emissions by EM (Baum et al. 1970, Ann. Math. Stat. 41).

    E step    γ and ξ of each series under the present parameters (`hidden_chain`)
    M step    π = ⟨γ_1⟩,      A_jk ∝ Σ_t ξ_t(j, k),      emissions from the observed steps, with weights γ_t(k)

Steps of NaN were not observed and are summed out. A state that no step belongs to keeps its parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, Self, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.distributions import Normal
from torch.nn.functional import one_hot

from lowerbound.exact.hidden_chain import HiddenChain
from lowerbound.observed_steps import observed_steps

__all__ = ["CategoricalStates", "Emissions", "HiddenMarkov", "HiddenMarkovIteration", "NormalStates", "baum_welch"]

_EMPTY = 1e-6  # steps


@runtime_checkable
class Emissions(Protocol):
    """p(x_t | c_t) of each state."""

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x_t | c_t = k) (N, T, K) of series (N, T, D), nats."""
        ...

    def maximised(self, x: Tensor, weight: Tensor) -> Self:
        """The emissions of largest Σ_nt weight_ntk log p(x_nt | k)."""
        ...


@dataclass(frozen=True)
class NormalStates:
    """N(loc_k, diag scale_k²), with a floor of the scale, without which the likelihood is unbounded."""

    loc: Float[Tensor, "state data"]
    scale: Float[Tensor, "state data"]
    min_scale: float = 1e-3

    def log_prob(self, x: Float[Tensor, "batch time data"]) -> Float[Tensor, "batch time state"]:
        """See `Emissions`."""
        return Normal(self.loc, self.scale, validate_args=False).log_prob(x[:, :, None]).sum(-1)

    def maximised(self, x: Float[Tensor, "batch time data"], weight: Float[Tensor, "batch time state"]) -> NormalStates:
        """See `Emissions`."""
        total = weight.sum((0, 1))[:, None]
        loc = torch.einsum("ntk,ntd->kd", weight, x) / total
        square = torch.einsum("ntk,ntkd->kd", weight, (x[:, :, None] - loc).square()) / total
        scale, kept = square.sqrt().clamp(min=self.min_scale), total < _EMPTY
        return NormalStates(torch.where(kept, self.loc, loc), torch.where(kept, self.scale, scale), self.min_scale)


@dataclass(frozen=True)
class CategoricalStates:
    """Independent classes 0 … M − 1 in each of D places, of probabilities exp(log_p)."""

    log_p: Float[Tensor, "state data category"]

    def log_prob(self, x: Float[Tensor, "batch time data"]) -> Float[Tensor, "batch time state"]:
        """See `Emissions`.

        Raises:
            ValueError: a number that is none of the classes.
        """
        classes, known = x.long(), self.log_p.shape[-1]
        if bool(((classes != x) | (classes < 0) | (classes >= known)).any()):
            raise ValueError(f"x holds a number that is none of the classes 0, …, {known - 1}; give class numbers.")
        table, place = self.log_p.permute(1, 2, 0), torch.arange(x.shape[-1], device=x.device)
        return table[place, classes].sum(2)

    def maximised(
        self, x: Float[Tensor, "batch time data"], weight: Float[Tensor, "batch time state"]
    ) -> CategoricalStates:
        """See `Emissions`."""
        counts = torch.einsum("ntk,ntdm->kdm", weight, one_hot(x.long(), self.log_p.shape[-1]).to(weight))
        total = counts.sum(-1, keepdim=True)
        return CategoricalStates(torch.where(total < _EMPTY, self.log_p, (counts / total).log()))


@dataclass(frozen=True)
class HiddenMarkov:
    """A hidden Markov model.

    Arguments:
        initial: p(c_1).
        transition: A_jk, rows sum to one.
        emissions: p(x_t | c_t).
    """

    initial: Float[Tensor, "state"]
    transition: Float[Tensor, "state state"]
    emissions: Emissions

    def chain(self, x: Float[Tensor, "batch time data"]) -> HiddenChain:
        """The chains of states behind series, in which steps of NaN were not observed.

        Raises:
            ValueError: a step of which some numbers are NaN and some are not.
        """
        seen, filled = self.observed(x)
        log_emission = self.emissions.log_prob(filled).masked_fill(~seen[..., None], 0)
        return HiddenChain(self.initial.log(), self.transition.log(), log_emission)

    def observed(
        self, x: Float[Tensor, "batch time data"]
    ) -> tuple[Bool[Tensor, "batch time"], Float[Tensor, "batch time data"]]:
        """Which steps were observed, and the series as the emissions take them."""
        return observed_steps(x)

    def maximised(self, chain: HiddenChain, x: Float[Tensor, "batch time data"]) -> HiddenMarkov:
        """The model of largest E[log p(x, c)] under p(c | x) of the present one.

        Arguments:
            chain: that of x under the present model.
            x: series.
        """
        seen, filled = self.observed(x)
        moved = torch.stack([pair.sum(0) for pair in chain.pairs()]).sum(0)
        return replace(
            self,
            initial=self.frequencies(chain.smoothed[:, 0].sum(0), self.initial),
            transition=self.frequencies(moved, self.transition),
            emissions=self.emissions.maximised(filled, chain.smoothed * seen[..., None]),
        )

    def frequencies(self, counts: Float[Tensor, "*lead state"], present: Float[Tensor, "*lead state"]) -> Tensor:
        """Expected counts as probabilities; the present ones where nothing was counted."""
        total = counts.sum(-1, keepdim=True)
        return torch.where(total < _EMPTY, present, counts / total)


class HiddenMarkovIteration(NamedTuple):
    """A model on the way to a maximum of the likelihood; log_likelihood is in nats a series."""

    iteration: int
    log_likelihood: float
    model: HiddenMarkov


@torch.no_grad()
def baum_welch(
    start: HiddenMarkov, x: Float[Tensor, "batch time data"], *, max_iterations: int = 500, tolerance: float = 1e-6
) -> Iterator[HiddenMarkovIteration]:
    """Fits of rising likelihood, the start first; the last is the result.

    Arguments:
        start: parameters to begin from, in double precision as x.
        x: series of one length; NaN in the whole of a step that was not observed.
        max_iterations: after which to stop.
        tolerance: stop when log p(x) rises by no more, nats a series.

    Raises:
        ValueError: series of one step, or a step of which some numbers are NaN and some are not.
    """
    if x.shape[1] < 2:
        raise ValueError(f"baum_welch got series of {x.shape[1]} step, which show no transition; give two or more.")
    model, previous = start, -float("inf")
    for iteration in range(max_iterations + 1):
        chain = model.chain(x)
        value = float(chain.log_evidence.mean())
        yield HiddenMarkovIteration(iteration, value, model)
        if value - previous <= tolerance:
            return
        previous, model = value, model.maximised(chain, x)
