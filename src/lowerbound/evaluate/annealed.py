"""log p(x) between two bounds, by annealed importance sampling in both directions.

From a start p_0 that can be sampled and normalised (the prior, or q(z | x)) to f_T = p(x, z), along the geometric path

    log f_t(z) = log p_0(z) + β_t r(z),      r = log p(x, z) − log p_0(z),      0 = β_0 < … < β_T = 1

with z_0 ~ p_0, z_t drawn from z_{t−1} by a transition that leaves f_t invariant, and

    log w = Σ_t (β_t − β_{t−1}) r(z_{t−1}),      E[w] = p(x)              (Neal 2001, arXiv:physics/9803008, eq. 11)

so that log (1/C) Σ_c w_c of C chains is in expectation a lower bound of log p(x); T = 1 is importance sampling. The
same chain run backwards from an exact draw of p(z | x) has E[1/w] = 1/p(x), which gives an upper bound (Grosse,
Ghahramani & Adams 2015, arXiv:1511.02543). For a simulated x such a draw is known: it is the z from which x was
simulated.

Transitions are Hamiltonian, and β is spaced by a sigmoid, as in Wu, Burda, Salakhutdinov & Grosse (2017,
arXiv:1611.04273, §3). They adapt the step size within the run, so that E[w] = p(x) holds only approximately. Here a
shorter run first finds step sizes for every datum and part of the path, aiming at an acceptance of 0.65. The main run
keeps them fixed, so that both identities are exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.cited import cited
from lowerbound.evaluate.annealing_path import AnnealingPath, AnnealingStart, annealing_path, draw_start
from lowerbound.evaluate.batches import check_rows, context_rows, row_blocks
from lowerbound.evaluate.estimates import Estimates
from lowerbound.evaluate.importance import effective_sample_size, log_mean_weight
from lowerbound.model import LatentVariableModel
from lowerbound.nets.products import fast_products
from lowerbound.protocols import Context
from lowerbound.randomness import forked
from lowerbound.row_numbers import rows_from
from lowerbound.training.tuning import cpu_tuning

__all__ = ["AnnealedEvidence", "AnnealingStart", "Sandwich", "annealed_importance", "bidirectional"]

_TARGET_ACCEPTANCE = 0.65  # Neal (2011, arXiv:1206.1901, §4.4)
_SPREAD = 4.0  # of the sigmoid, in Wu et al. (2017)
_FIRST_STEP, _ADAPTATION, _SETTLING = 0.3, 0.5, 10


@dataclass(frozen=True, kw_only=True)
class AnnealedEvidence:
    """Estimates of log p(x), one for each datum.

    Attributes:
        log_evidence: log of the mean weight of the chains, nats: in expectation a lower bound of log p(x).
        standard_error: of `log_evidence`, from the spread of the chains, nats; NaN for one chain.
        effective_sample_size: between 1 and num_chains; if it is near 1, the path needs more distributions.
        acceptance: the mean probability with which a transition was accepted; 1 where there was none.
        num_chains: C, run for each datum.
        num_distributions: T.
        num_dimensions: numbers in one datum.
    """

    log_evidence: Float[Tensor, "batch"]
    standard_error: Float[Tensor, "batch"]
    effective_sample_size: Float[Tensor, "batch"]
    acceptance: Float[Tensor, "batch"]
    num_chains: int
    num_distributions: int
    num_dimensions: int

    @property
    def per_datum(self) -> Estimates:
        """Only the estimates and their errors."""
        return Estimates(values=self.log_evidence, standard_error=self.standard_error)

    @property
    def mean(self) -> float:
        """The mean of log p̂(x) over the data, nats."""
        return self.per_datum.mean

    @property
    def standard_error_of_mean(self) -> float:
        """The error of `mean` as an estimate for new data, nats, from the spread over the data; NaN for one datum."""
        return self.per_datum.standard_error_of_mean

    @property
    def sampling_error_of_mean(self) -> float:
        """The error of `mean` for these data, nats, from the spread of the chains alone."""
        return self.per_datum.sampling_error_of_mean

    @property
    def bits_per_dim(self) -> float:
        """−mean / (D ln 2), for x in the units in which it was given."""
        return -self.mean / (self.num_dimensions * math.log(2))


@dataclass(frozen=True, kw_only=True)
class Sandwich:
    """log p(x) of data simulated from the model, from below and from above.

    Attributes:
        x: the simulated data (N, *event).
        lower: from chains that run from the start to the posterior: in expectation at most log p(x).
        upper: from chains that run backwards, nats: in expectation at least log p(x). The chains of a datum share one
            exact draw from the posterior, whose variance its standard error does not include; the errors of means over
            the data include it.
    """

    x: Float[Tensor, "batch *event"]
    lower: AnnealedEvidence
    upper: Estimates

    @property
    def gap(self) -> Estimates:
        """upper − lower, nats: in expectation at least the error of each of them."""
        return self.upper - self.lower.per_datum


@cited("neal2001annealed", "wu2017quantitative")
def annealed_importance(
    model: LatentVariableModel,
    x: Float[Tensor, "batch *event"],
    *,
    num_distributions: int = 1000,
    num_chains: int = 16,
    start: AnnealingStart = "prior",
    num_leapfrog: int = 10,
    context: Context | None = None,
    seed: int = 0,
    max_elements: int = 2**20,
    progress: Callable[[int, int], None] | None = None,
) -> AnnealedEvidence:
    """Estimate log p(x) of each datum by annealed importance sampling.

    Arguments:
        model: p, and q if chains start there, used in the mode (best eval) and on the device they are in. Its latents
            are one real vector.
        x: data in the form the model was trained on.
        num_distributions: T, steps from the start to the posterior. The bias falls as 1/T.
        num_chains: C for each datum, all run at once.
        start: "prior", or "posterior" for q(z | x).
        num_leapfrog: gradients of log p(x, z) in one transition.
        context: of the model, one row for each datum.
        seed: of the chains; the caller's random state is untouched.
        max_elements: numbers in one slice of decoder output: at most this many, but at least the chains of one datum.
            Slices of another size draw other chains.
        progress: called after each slice with the rows done and their total.

    Raises:
        ValueError: no data, a count below one, a context of another length, or latents that Hamiltonian transitions
            cannot move: discrete, bounded, or several layers.

    >>> from lowerbound.exact import LinearGaussian
    >>> exact = LinearGaussian(torch.ones(2, 1), torch.zeros(2), torch.tensor(1.0))
    >>> x = torch.zeros(1, 2)  # of which log p(x) = −2.3872
    >>> round(annealed_importance(exact.model(), x, num_distributions=50, start="posterior").mean, 4)
    -2.3872
    """
    _check_counts("annealed_importance", num_distributions, num_chains, num_leapfrog)
    check_rows(model, x, context, num_chains, owner="annealed_importance")
    beta = _spacing(num_distributions)
    parts: list[tuple[Tensor, Tensor]] = []
    with torch.no_grad(), forked(x.device, seed, "annealed_importance"), cpu_tuning(x.device), fast_products():
        for rows in row_blocks(x.shape[0], _rows_per_slice(x, num_chains, max_elements)):
            with rows_from(rows.start):
                path = annealing_path(model, x[rows], context_rows(context, rows), start, num_chains)
            parts.append(_forward(path, beta, _tuned(path, beta, num_leapfrog), num_leapfrog))
            if progress is not None:
                progress(rows.stop, x.shape[0])
    return _evidence(parts, num_distributions, math.prod(x.shape[1:]))


@cited("grosse2015sandwiching", "neal2001annealed")
def bidirectional(
    model: LatentVariableModel,
    num_data: int,
    *,
    num_distributions: int = 1000,
    num_chains: int = 16,
    start: AnnealingStart = "prior",
    num_leapfrog: int = 10,
    context: Context | None = None,
    seed: int = 0,
    max_elements: int = 2**20,
) -> Sandwich:
    """Bound log p(x) from both sides on data simulated from the model: how far to trust `annealed_importance`.

    The gap shows how accurate these settings are on data from the model; on similar data they are about as accurate.

    Arguments:
        model: as for `annealed_importance`.
        num_data: how many data to simulate.
        num_distributions: T.
        num_chains: C for each datum, each way.
        start: "prior", or "posterior" for q(z | x).
        num_leapfrog: gradients of log p(x, z) in one transition.
        context: of the model, one row for each datum to simulate.
        seed: of the data and the chains; the caller's random state is untouched.
        max_elements: numbers in one slice of decoder output.

    Raises:
        ValueError: as `annealed_importance`.
    """
    _check_counts("bidirectional", num_distributions, num_chains, num_leapfrog, num_data=num_data)
    check_rows(None, torch.empty(num_data, 1), context, num_chains, owner="bidirectional")
    beta = _spacing(num_distributions)
    there, back = [], []
    device = _device(model)
    with torch.no_grad(), forked(device, seed, "bidirectional"), cpu_tuning(device), fast_products():
        z = draw_start(model.prior(context), 1, num_data)[0]
        x = model.decode(z, context).sample()
        for rows in row_blocks(num_data, _rows_per_slice(x, num_chains, max_elements)):
            path = annealing_path(model, x[rows], context_rows(context, rows), start, num_chains)
            step_size = _tuned(path, beta, num_leapfrog)
            there.append(_forward(path, beta, step_size, num_leapfrog))
            back.append(_backward(path, z[rows], beta, step_size, num_leapfrog))
    value, error = log_mean_weight(torch.cat(back, 1))
    lower = _evidence(there, num_distributions, math.prod(x.shape[1:]))
    return Sandwich(x=x, lower=lower, upper=Estimates(values=-value, standard_error=error))


def _forward(
    path: AnnealingPath, beta: list[float], step_size: list[Tensor], num_leapfrog: int
) -> tuple[Float[Tensor, "chain batch"], Float[Tensor, "batch"]]:
    """log w of every chain, in float64, and the mean acceptance."""
    point = path.at(path.draw(), 0.0)
    log_w = torch.zeros((), dtype=torch.float64, device=path.joint.x.device)
    accepted: list[Tensor] = []
    for t in range(1, len(beta) - 1):
        log_w = log_w + (beta[t] - beta[t - 1]) * point.ratio.double()
        step = _step_at(step_size, t, len(beta))
        point, probability = path.move(point.at(beta[t]), beta[t], step, num_leapfrog)
        accepted.append(probability.mean(0))
    log_w = log_w + (beta[-1] - beta[-2]) * point.ratio.double()
    return log_w, torch.stack(accepted).mean(0) if accepted else log_w.new_ones(log_w.shape[1])


def _backward(
    path: AnnealingPath, exact: Tensor, beta: list[float], step_size: list[Tensor], num_leapfrog: int
) -> Float[Tensor, "chain batch"]:
    """log 1/w of chains that run backwards from exact draws of p(z | x), in float64."""
    point = path.at(exact.expand(path.num_chains, *exact.shape), 1.0)
    log_w = torch.zeros((), dtype=torch.float64, device=exact.device)
    for t in range(len(beta) - 2, 0, -1):
        log_w = log_w + (beta[t] - beta[t + 1]) * point.ratio.double()
        step = _step_at(step_size, t, len(beta))
        point, _ = path.move(point.at(beta[t]), beta[t], step, num_leapfrog)
    return log_w - (beta[1] - beta[0]) * point.ratio.double()


def _tuned(path: AnnealingPath, beta: list[float], num_leapfrog: int) -> list[Float[Tensor, "1 batch"]]:
    """A step size for each datum at a few points of the path: log ε rises by (acceptance − 0.65) / 2 a transition."""
    point = path.at(path.draw(), 0.0)
    log_step = point.z.new_full((1, point.z.shape[1]), math.log(_FIRST_STEP))
    found: list[Tensor] = []
    for b in _stages(beta):
        for _ in range(1 if found else _SETTLING):
            point, probability = path.move(point.at(b), b, log_step.exp(), num_leapfrog)
            log_step = log_step + _ADAPTATION * (probability.mean(0, keepdim=True) - _TARGET_ACCEPTANCE)
        found.append(log_step.exp())
    return found


def _stages(beta: list[float]) -> Iterator[float]:
    """The midpoints of the parts of the path that share a step size: T/10 of them, but 20 to 100."""
    size = min(len(beta) - 2, max(20, min(100, len(beta) // 10)))
    return (beta[1 + (2 * k + 1) * (len(beta) - 2) // (2 * size)] for k in range(size))


def _step_at(step_size: list[Tensor], t: int, length: int) -> Tensor:
    return step_size[(t - 1) * len(step_size) // (length - 2)]


def _spacing(num_distributions: int) -> list[float]:
    """β_0 = 0, …, β_T = 1: a sigmoid of −4 … 4, shifted and scaled; finest near both ends."""
    u = torch.linspace(-_SPREAD, _SPREAD, num_distributions + 1, dtype=torch.float64).sigmoid()
    return ((u - u[0]) / (u[-1] - u[0])).tolist()


def _rows_per_slice(x: Tensor, num_chains: int, max_elements: int) -> int:
    return max(1, max_elements // (num_chains * max(1, math.prod(x.shape[1:]))))


def _evidence(parts: list[tuple[Tensor, Tensor]], num_distributions: int, num_dimensions: int) -> AnnealedEvidence:
    log_w = torch.cat([part for part, _ in parts], 1)
    value, error = log_mean_weight(log_w)
    return AnnealedEvidence(
        log_evidence=value,
        standard_error=error,
        effective_sample_size=effective_sample_size(log_w),
        acceptance=torch.cat([part for _, part in parts]),
        num_chains=log_w.shape[0],
        num_distributions=num_distributions,
        num_dimensions=num_dimensions,
    )


def _device(model: LatentVariableModel) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def _check_counts(owner: str, num_distributions: int, num_chains: int, num_leapfrog: int, num_data: int = 1) -> None:
    counts = {
        "num_distributions": num_distributions,
        "num_chains": num_chains,
        "num_leapfrog": num_leapfrog,
        "num_data": num_data,
    }
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{owner} got {name}={value} and needs at least 1.")
