"""The distribution of given draws, from several chains for each datum, and how reliable they are.

With T draws from each of C chains (each chain cut in two halves, so that a trend shows too), W the mean of the
variances within and B the variance between the means of the halves of length n,

    R̂ = √((W (n − 1)/n + B) / W)                           near 1 where the chains agree
    ESS = C T / τ,   τ = −1 + 2 Σ_t (ρ_2t + ρ_2t+1)       over pairs while positive, made monotone

with ρ_t = 1 − (W − mean autocovariance at lag t) / (W (n − 1)/n + B) (Gelman et al., *Bayesian Data Analysis*, 3rd ed.,
§11.4–11.5; Geyer 1992). ESS is at most C T log₁₀(C T), as Stan has it: short chains that alternate would seem to be
worth any number of draws. Both are computed for every datum and coordinate at once, the autocovariances by FFT.

Draws are unreliable if R̂ exceeds 1.05 in some coordinate, ESS is below 100, or a trajectory diverged. Vehtari et al.
(2021, arXiv:1903.08008) ask for 1.01 and 400, for a few numbers. Here R̂ is the largest over many coordinates, and for
the default 1,200 draws it scatters by more than 0.01. A small R̂ proves nothing: all chains may miss a mode.
"""

from __future__ import annotations

import math
import warnings
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.posteriors.parameters import SampleShape
from lowerbound.row_numbers import row_number
from lowerbound.warned import LowerboundWarning

__all__ = [
    "Draws",
    "InferenceWarning",
    "effective_sample_size",
    "r_hat",
    "warn_of_optima",
    "warn_of_problems",
]

_LARGEST_R_HAT, _SMALLEST_SIZE = 1.05, 100
_DIFFERENT_OPTIMA = 0.5  # nats: what inference may lose before it is called a fault


class InferenceWarning(LowerboundWarning):
    """The result of inference is unreliable; the message gives the reason and a remedy."""


class Draws(Distribution):
    """q(z | x) as a set of draws.

    Arguments:
        values: z (draw, chain, batch, *event).
        acceptance: mean probability of acceptance of each datum's chains.
        divergences: how many transitions of each datum's chains diverged.

    Attributes:
        r_hat: R̂ of each datum and coordinate.
        effective_sample_size: of each datum and coordinate, for its mean.
        trusted: the rows without a known problem.
        problems: sentences that say why some rows are unreliable; empty if none is.
    """

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType]
    has_rsample = False

    def __init__(
        self,
        values: Float[Tensor, "draw chain batch *event"],
        acceptance: Float[Tensor, "batch"],
        divergences: Int64[Tensor, "batch"],
    ):
        self.values, self.acceptance, self.divergences = values, acceptance, divergences
        super().__init__(values.shape[2:3], values.shape[3:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """Of all draws (B, *event)."""
        return self.values.mean((0, 1))

    @property
    def variance(self) -> Tensor:
        """Of all draws (B, *event)."""
        return self.values.flatten(0, 1).var(0)

    @cached_property
    def r_hat(self) -> Float[Tensor, "batch *event"]:
        """See the module."""
        return r_hat(self.values)

    @cached_property
    def effective_sample_size(self) -> Float[Tensor, "batch *event"]:
        """See the module."""
        return effective_sample_size(self.values)

    @cached_property
    def trusted(self) -> Bool[Tensor, "batch"]:
        """Which rows have chains that agree, draws enough, and no divergence."""
        largest, smallest = self._extremes
        return (largest <= _LARGEST_R_HAT) & (smallest >= _SMALLEST_SIZE) & (self.divergences == 0)

    @property
    def problems(self) -> tuple[str, ...]:
        """See the class."""
        largest, smallest = self._extremes
        draws = f"{self.values.shape[0] * self.values.shape[1]:,}"
        found = [
            _sentence(
                largest > _LARGEST_R_HAT,
                largest,
                f"have chains that disagree (R̂ above {_LARGEST_R_HAT}, at worst {{:.3g}}), as they do where there are "
                "several modes; do not use means or intervals of these rows: raise num_warmup and num_samples, and "
                "look at posterior.values.",
            ),
            _sentence(
                smallest < _SMALLEST_SIZE,
                -smallest,
                f"have an effective sample size below {_SMALLEST_SIZE} (at worst {{:.3g}} of {draws} draws), too few "
                "for means and intervals; raise num_samples or num_chains.",
            ),
            _sentence(
                self.divergences > 0,
                self.divergences.double(),
                f"have transitions that diverged (at worst {{:,.0f}} of {draws}), so that a part of p(z | x) may be "
                "missing; raise target_acceptance and num_leapfrog.",
            ),
        ]
        return tuple(sentence for sentence in found if sentence)

    @cached_property
    def _extremes(self) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch"]]:
        """The largest R̂ and the smallest effective sample size of each row, over its coordinates."""
        largest = self.r_hat.nan_to_num(nan=torch.inf, posinf=torch.inf).flatten(1).amax(1)
        return largest, self.effective_sample_size.nan_to_num(nan=0.0).flatten(1).amin(1)

    def sample(self, sample_shape: SampleShape = ()) -> Tensor:
        """Sample from the draws with replacement, separately for each datum: (*sample_shape, B, *event)."""
        pool = self.values.flatten(0, 1)
        index = torch.randint(pool.shape[0], (*sample_shape, pool.shape[1]), device=pool.device)
        return pool[index, torch.arange(pool.shape[1], device=pool.device)]

    def log_prob(self, value: Tensor) -> Tensor:
        """Refused: draws have no density."""
        raise ValueError(
            "A posterior of draws has no density and so no bound; use Local(), SemiAmortised() or Amortised() for one."
        )


def warn_of_problems(posterior: Distribution) -> None:
    """Issue an `InferenceWarning` for each problem of draws; other distributions have no problems."""
    for problem in posterior.problems if isinstance(posterior, Draws) else ():
        warnings.warn(problem, InferenceWarning, stacklevel=4)


def warn_of_optima(values: Float[Tensor, "restart batch"], errors: Float[Tensor, "restart batch"]) -> None:
    """An `InferenceWarning` if optima from several starts differ by more than half a nat in some rows.

    Arguments:
        values: the objective at each optimum of each datum, nats.
        errors: their standard errors; differences within three of them are noise.
    """
    best, at = values.max(0)
    apart = (best - values - 3 * torch.hypot(errors, errors.gather(0, at[None]))).amax(0)
    problem = _sentence(
        apart > _DIFFERENT_OPTIMA,
        apart,
        f"have optima that differ by more than {_DIFFERENT_OPTIMA} nats from one start to another (at worst by "
        "{:.3g} and more); the best was taken, and may not be the last: raise num_steps and num_restarts.",
    )
    if problem:
        warnings.warn(problem, InferenceWarning, stacklevel=4)


def _sentence(where: Tensor, badness: Float[Tensor, "batch"], rest: str) -> str:
    """A sentence with the number of rows concerned, the worst row and its value; empty if there is none."""
    if not bool(where.any()):
        return ""
    worst = int(badness.argmax())
    size = abs(float(badness[worst]))
    first = row_number(0)
    rows = f"{len(where)} rows" if first == 0 else f"the {len(where)} rows from row {first} on"
    return f"{int(where.sum())} of {rows}, row {row_number(worst)} most of all, {rest.format(size)}"


def r_hat(values: Float[Tensor, "draw chain *rest"]) -> Float[Tensor, "*rest"]:
    """The potential scale reduction of split chains."""
    halves = _halves(values)
    within, total = _variances(halves)
    return (total / within).sqrt()


def effective_sample_size(values: Float[Tensor, "draw chain *rest"]) -> Float[Tensor, "*rest"]:
    """How many independent draws would give the mean as precisely."""
    halves = _halves(values)
    length, chains = halves.shape[:2]
    within, total = _variances(halves)
    correlation = 1 - (within - _autocovariance(halves).mean(1)) / total
    correlation[0] = 1
    pairs = correlation[: length // 2 * 2].unflatten(0, (-1, 2)).sum(1)
    positive = (pairs > 0).cumprod(0)
    monotone = pairs.cummin(0).values * positive
    time = (2 * monotone.sum(0) - 1).clamp_min(1 / math.log10(length * chains))
    return length * chains / time


def _halves(values: Tensor) -> Tensor:
    """Each chain as two: (draw / 2, 2 chain, *rest), in double precision."""
    half = values.shape[0] // 2
    if half < 2:
        raise ValueError(f"R̂ and effective sample sizes need at least 4 draws of a chain and got {values.shape[0]}.")
    return torch.cat([values[:half], values[-half:]], 1).double()


def _variances(halves: Tensor) -> tuple[Tensor, Tensor]:
    """W, and the estimate of the total variance, which is too large if the chains disagree."""
    length = halves.shape[0]
    within = halves.var(0).mean(0)
    return within, within * (length - 1) / length + halves.mean(0).var(0)


def _autocovariance(halves: Tensor) -> Tensor:
    """At lags 0 … n − 1, each a sum over n − 1."""
    length = halves.shape[0]
    spectrum = torch.fft.rfft(halves - halves.mean(0), n=2 * length, dim=0)
    return torch.fft.irfft(spectrum.abs().square(), n=2 * length, dim=0)[:length] / (length - 1)
