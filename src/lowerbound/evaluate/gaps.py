"""Why the ELBO is below log p(x): because of the family, or because of the encoder (Cremer, Li & Duvenaud 2018,
arXiv:1801.03558, eq. 4).

    log p(x) − L[q] = (log p(x) − L[q*]) + (L[q*] − L[q])
                       approximation        amortisation

q* is the best member of the family for this x, found by local optimisation. L is evaluated at fresh draws, so that q*
does not profit from the noise to which it was fitted. If q* is not quite optimal, the first gap is too large and the
second too small by the same amount.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.cited import cited
from lowerbound.evaluate.batches import check_rows, context_rows, row_blocks
from lowerbound.evaluate.estimates import Estimates
from lowerbound.inference.local import Local
from lowerbound.inference.scheme import InferenceScheme
from lowerbound.model import LatentVariableModel
from lowerbound.protocols import Context
from lowerbound.randomness import forked
from lowerbound.row_numbers import rows_from
from lowerbound.weights import weigh

__all__ = ["InferenceGaps", "KnownEvidence", "inference_gaps", "refined_elbos"]


@runtime_checkable
class KnownEvidence(Protocol):
    """log p(x) of each datum with its standard error: what `log_evidence` and `annealed_importance` return."""

    @property
    def log_evidence(self) -> Tensor:
        """(batch,), nats."""
        ...

    @property
    def standard_error(self) -> Tensor:
        """(batch,), nats."""
        ...


@dataclass(frozen=True, kw_only=True)
class InferenceGaps:
    """The parts of log p(x) − ELBO of each datum, nats.

    Attributes:
        approximation: log p̂(x) − L[q*], the loss by the family.
        amortisation: L[q*] − L[q], the loss by the encoder within the family.
        elbo: L[q], of the encoder.
        refined_elbo: L[q*].
    """

    approximation: Estimates
    amortisation: Estimates
    elbo: Estimates
    refined_elbo: Estimates


@cited("cremer2018inference")
def inference_gaps(
    model: LatentVariableModel,
    x: Float[Tensor, "batch *event"],
    evidence: KnownEvidence,
    *,
    refine: InferenceScheme = Local(num_steps=500),  # noqa: B008  (frozen, shared safely)
    num_samples: int = 1000,
    context: Context | None = None,
    seed: int = 0,
    max_elements: int = 2**20,
) -> InferenceGaps:
    """Split log p(x) − ELBO of each datum into the losses by the family and by the encoder.

    Call it for training and for test data: where the encoder overfits, their amortisation gaps differ.

    Arguments:
        model: p and q.
        x: data in the form the model was trained on.
        evidence: log p(x) of these data, preferably from `annealed_importance`, because importance sampling from q is
            too low where the gaps are large.
        refine: finds q* in the family.
        num_samples: latents drawn from q and from q* to evaluate L.
        context: of the model, one row for each datum.
        seed: of refinement and samples; the caller's random state is untouched.
        max_elements: numbers in one slice of decoder output.

    Raises:
        ValueError: no data, no samples, a context or evidence of another length, or a posterior without a density.

    >>> from lowerbound.evaluate import log_evidence
    >>> from lowerbound.exact import LinearGaussian
    >>> exact = LinearGaussian(torch.ones(2, 1), torch.zeros(2), torch.tensor(1.0))
    >>> model, x = exact.model(), torch.zeros(1, 2)  # the exact posterior: nothing is lost
    >>> abs(inference_gaps(model, x, log_evidence(model, x)).approximation.mean) < 0.01
    True
    """
    if evidence.log_evidence.shape != x.shape[:1]:
        raise ValueError(
            f"inference_gaps got {x.shape[0]} rows of x and the evidence of {evidence.log_evidence.numel()}; "
            "compute the evidence of the same rows."
        )
    elbo, refined = refined_elbos(
        model, x, refine=refine, num_samples=num_samples, context=context, seed=seed, max_elements=max_elements
    )
    known = Estimates(values=evidence.log_evidence, standard_error=evidence.standard_error)
    return InferenceGaps(approximation=known - refined, amortisation=refined - elbo, elbo=elbo, refined_elbo=refined)


def refined_elbos(
    model: LatentVariableModel,
    x: Float[Tensor, "batch *event"],
    *,
    refine: InferenceScheme = Local(num_steps=500),  # noqa: B008  (frozen, shared safely)
    num_samples: int = 1000,
    context: Context | None = None,
    seed: int = 0,
    max_elements: int = 2**20,
) -> tuple[Estimates, Estimates]:
    """L[q] of the encoder and L[q*] after refinement, for each datum, nats.

    Arguments:
        model: p and q.
        x: data in the form the model was trained on.
        refine: from the model and a batch to q*.
        num_samples: latents drawn from each to evaluate L.
        context: of the model, one row for each datum.
        seed: of refinement and samples; the caller's random state is untouched.
        max_elements: numbers in one slice of decoder output, which refinement draws one latent at a time.

    Raises:
        ValueError: no data, no samples, a context of another length, or a posterior without a density.
    """
    check_rows(model, x, context, num_samples, owner="refined_elbos")
    num_latents = max(1, max_elements // max(1, math.prod(x.shape[1:])))
    there, here = [], []
    with torch.no_grad(), forked(x.device, seed, "refined_elbos"):
        for rows in row_blocks(x.shape[0], num_latents):
            block, of_block = x[rows], context_rows(context, rows)
            with rows_from(rows.start):
                q, best = model.infer(block, of_block), refine(model, block, of_block)
            here.append(_elbo(model, q, block, of_block, num_samples, num_latents))
            there.append(_elbo(model, best, block, of_block, num_samples, num_latents))
    return _joined(here), _joined(there)


def _elbo(
    model: LatentVariableModel, q: Distribution, x: Tensor, context: Context | None, num_samples: int, num_latents: int
) -> Estimates:
    joint, size = model.joint(x, context), max(1, num_latents // x.shape[0])
    log_w = []
    for samples in row_blocks(num_samples, size):
        z = q.sample(torch.Size((samples.stop - samples.start,)))
        log_w.append(weigh(q, joint, z).log_w.double())
    values = torch.cat(log_w)
    error = values.std(0) if num_samples > 1 else torch.full_like(values[0], math.nan)
    return Estimates(values=values.mean(0), standard_error=error / math.sqrt(num_samples))


def _joined(parts: list[Estimates]) -> Estimates:
    return Estimates(
        values=torch.cat([part.values for part in parts]),
        standard_error=torch.cat([part.standard_error for part in parts]),
    )
