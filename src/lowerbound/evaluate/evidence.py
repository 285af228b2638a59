"""log p(x) by importance sampling from q(z | x), for many data and many samples in little memory.

    log p̂(x) = log (1/S) Σ_s p(x, z_s) / q(z_s | x),      z_s ~ q(z | x)        (Burda et al. 2016, arXiv:1509.00519)

The work is split twice. Latents are drawn for blocks of rows and samples whose size depends on S alone, so that a seed
gives the same latents for every `max_elements`. Each block is decoded in slices of at most `max_elements` numbers,
whose activations stay in the cache. q(z | x) is computed once for each datum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.cited import cited
from lowerbound.evaluate.batches import check_rows, context_rows, latents_at, row_blocks
from lowerbound.evaluate.importance import FEWEST_WEIGHTS, effective_sample_size, log_mean_weight, pareto_k
from lowerbound.hooks import PointMass
from lowerbound.model import LatentVariableModel
from lowerbound.nets.products import fast_products, products_of_nets
from lowerbound.protocols import Context, Latents
from lowerbound.randomness import forked
from lowerbound.row_numbers import row_number, rows_from
from lowerbound.training.tuning import cpu_tuning
from lowerbound.weights import latents_of, log_density, log_reverse

__all__ = ["ELEMENTS_AT_ONCE", "Evidence", "log_evidence", "require_finite"]

ELEMENTS_AT_ONCE = 2**20
"""Numbers of decoder output in one slice."""

_DRAWS_PER_BLOCK = 2**14
_SAMPLES_PER_BLOCK = 256
_WEIGHTS_PER_BLOCK = 2**22


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Estimates of log p(x), one for each datum, and how far to trust them.

    Attributes:
        log_evidence: log of the mean weight, nats: in expectation a lower bound of log p(x).
        standard_error: of `log_evidence`, from the spread of the weights, nats; NaN for one sample.
        effective_sample_size: between 1 and num_samples.
        pareto_k: k̂; above 0.7 the three numbers before are unreliable; NaN for fewer than 21 samples.
        elbo: mean of log w over the same samples, nats.
        num_samples: S, drawn for each datum.
        num_dimensions: numbers in one datum.
    """

    log_evidence: Float[Tensor, "batch"]
    standard_error: Float[Tensor, "batch"]
    effective_sample_size: Float[Tensor, "batch"]
    pareto_k: Float[Tensor, "batch"]
    elbo: Float[Tensor, "batch"]
    num_samples: int
    num_dimensions: int

    @property
    def mean(self) -> float:
        """The mean of log p̂(x) over the data, nats."""
        return self.log_evidence.double().mean().item()

    @property
    def standard_error_of_mean(self) -> float:
        """The error of `mean` as an estimate for new data, nats, from the spread over the data; NaN for one datum."""
        size = self.log_evidence.shape[0]
        return self.log_evidence.double().std().item() / math.sqrt(size) if size > 1 else math.nan

    @property
    def sampling_error_of_mean(self) -> float:
        """The error of `mean` for these data, nats, from the spread of the weights alone."""
        return self.standard_error.double().square().sum().sqrt().item() / self.log_evidence.shape[0]

    @property
    def mean_elbo(self) -> float:
        """The mean of the ELBO over the data, nats."""
        return self.elbo.double().mean().item()

    @property
    def bits_per_dim(self) -> float:
        """−mean / (D ln 2), for x as it was given: there is no correction for a rescaling of the data."""
        return -self.mean / (self.num_dimensions * math.log(2))

    @property
    def unreliable_fraction(self) -> float | None:
        """The fraction of data with k̂ > 0.7; None for fewer than 21 samples, where k̂ is not defined."""
        return None if self.num_samples < FEWEST_WEIGHTS else (self.pareto_k > 0.7).double().mean().item()


@cited("burda2016importance")
def log_evidence(
    model: LatentVariableModel,
    x: Float[Tensor, "batch *event"],
    *,
    num_samples: int = 1000,
    context: Context | None = None,
    seed: int = 0,
    max_elements: int = ELEMENTS_AT_ONCE,
    progress: Callable[[int, int], None] | None = None,
) -> Evidence:
    """Estimate log p(x) of each datum from num_samples importance samples.

    Arguments:
        model: p and q, used in the mode (train or eval) and on the device they are in.
        x: data in the form the model was trained on (binarized, scaled), on the device of the model.
        num_samples: S, exactly as many as are drawn for each datum.
        context: of the model, one row for each datum.
        seed: of the samples; the caller's random state is untouched. Slices of another size round differently, but the
            latents are the same.
        max_elements: numbers in one slice of decoder output: at most this many, or one datum if that is larger.
        progress: called after each block of data with the rows done and their total.

    Raises:
        ValueError: no data, values outside the support of the likelihood, no samples, or a context of another length.
    """
    check_rows(model, x, context, num_samples, owner="log_evidence")
    num_dimensions = math.prod(x.shape[1:])
    max_rows = max(1, max_elements // max(num_dimensions, 1))
    parts: list[tuple[Tensor, ...]] = []
    with torch.inference_mode(), forked(x.device, seed, "log_evidence"), cpu_tuning(x.device), fast_products():
        for rows in row_blocks(x.shape[0], _rows_per_block(num_samples)):
            with rows_from(rows.start):
                log_w = _log_weights(model, x[rows], context_rows(context, rows), num_samples, max_rows)
            value, error = log_mean_weight(log_w)
            parts.append((value, error, effective_sample_size(log_w), _shape(log_w, x.dtype), log_w.mean(0)))
            if progress is not None:
                progress(rows.stop, x.shape[0])
    value, error, size, k, elbo = (torch.cat(column) for column in zip(*parts, strict=True))
    return Evidence(
        log_evidence=value,
        standard_error=error,
        effective_sample_size=size,
        pareto_k=k,
        elbo=elbo,
        num_samples=num_samples,
        num_dimensions=num_dimensions,
    )


def require_finite(log_evidence: Float[Tensor, "batch"]) -> None:
    """Refuse a row without a finite log p(x), which would make every mean nothing.

    Raises:
        ValueError: with the number of such rows, and the first.
    """
    bad = (~log_evidence.isfinite()).nonzero()[:, 0]
    if len(bad):
        raise ValueError(
            f"log p(x) of {len(bad):,} of the {len(log_evidence):,} rows is no finite number, first of row "
            f"{row_number(int(bad[0]))}; leave such rows out, or fit the model again with a smaller learning rate."
        )


def _shape(log_w: Float[Tensor, "sample batch"], dtype: torch.dtype) -> Float[Tensor, "batch"]:
    """k̂ of weights that were computed in the precision of the data, by which their rounding is told from a tail."""
    return pareto_k(log_w.to(dtype) if dtype.is_floating_point else log_w)


def _rows_per_block(num_samples: int) -> int:
    few = max(1, min(64, _WEIGHTS_PER_BLOCK // num_samples))
    return min(max(_DRAWS_PER_BLOCK // num_samples, few), 1024)


def _log_weights(
    model: LatentVariableModel, x: Tensor, context: Context | None, num_samples: int, max_rows: int
) -> Float[Tensor, "sample batch"]:
    """log w (S, B) of one block of rows, in float64: sums over many samples follow. Of equal draws one is weighed."""
    q = model.infer(x, context)
    blocks, drawn = [], 1 if isinstance(q, PointMass) else num_samples
    for samples in row_blocks(drawn, _SAMPLES_PER_BLOCK):
        with products_of_nets():  # q may be a flow
            z = _draw(q, samples.stop - samples.start)
            log_q = log_density(q, z) - log_reverse(q, z)
        blocks.append(_log_joint(model, x, context, latents_of(q, z), log_q.shape[0], max_rows).double() - log_q)
    return torch.cat(blocks).expand(num_samples, -1)


def _draw(q: Distribution, num_samples: int) -> Latents:
    return (q.rsample if q.has_rsample else q.sample)(torch.Size((num_samples,)))


def _log_joint(
    model: LatentVariableModel, x: Tensor, context: Context | None, z: Latents, num_samples: int, max_rows: int
) -> Float[Tensor, "sample batch"]:
    """log p(x, z) (S, B), decoded in slices of at most max_rows latents."""
    columns = []
    for rows in row_blocks(x.shape[0], max_rows):
        joint = model.joint(x[rows], context_rows(context, rows))
        size = max(1, max_rows // (rows.stop - rows.start))
        terms = [joint(latents_at(z, samples, rows)) for samples in row_blocks(num_samples, size)]
        columns.append(torch.cat([log_likelihood + log_prior for log_likelihood, log_prior in terms]))
    return torch.cat(columns, 1)
