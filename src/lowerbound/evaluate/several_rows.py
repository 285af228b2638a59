"""log p of what several rows say, such as a molecule that has more than one derivation: importance sampling of the sum.

    log p̂ = log (1/S) Σ_s p(z_s) Σ_d p(x_d | z_s) / q(z_s | x_1),      z_s ~ q(z | x_1)

It is in expectation a lower bound of log Σ_d p(x_d), and never below log p̂(x_1) of the same latents. Where the rows are
not all that say it, it is a lower bound still.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.evaluate.batches import check_rows, row_blocks
from lowerbound.model import LatentVariableModel
from lowerbound.randomness import forked
from lowerbound.weights import latents_of, log_density

__all__ = ["log_evidence_of_sums"]

_DRAWS_PER_BLOCK = 2**12


def log_evidence_of_sums(
    model: LatentVariableModel, rows: Sequence[Tensor], *, num_samples: int, seed: int = 0
) -> Float[Tensor, "datum"]:
    """Estimate log Σ_d p(x_d) of each datum, nats.

    Arguments:
        model: p and q, without a context.
        rows: of each datum, different rows (M, *event) that say it; q(z | x) reads the first.
        num_samples: S.
        seed: of the latents.

    Returns:
        One number for each datum (N,), float64.

    Raises:
        ValueError: no data, values outside the support of the likelihood, or no samples.
    """
    if not len(rows):
        raise ValueError("log_evidence_of_sums got no data and needs one datum at least.")
    found = []
    with torch.inference_mode(), forked(rows[0].device, seed, "log_evidence_of_sums"):
        for x in rows:
            check_rows(model, x, None, num_samples, owner="log_evidence_of_sums")
            q = model.infer(x[:1])
            terms = []
            for part in row_blocks(num_samples, max(1, _DRAWS_PER_BLOCK // len(x))):
                shape = torch.Size((part.stop - part.start,))
                z = q.rsample(shape) if q.has_rsample else q.sample(shape)
                log_likelihood, log_prior = model.joint(x)(latents_of(q, z))  # of z (S, 1) and x (M): (S, M)
                terms.append(log_likelihood.double().logsumexp(1) + (log_prior - log_density(q, z))[:, 0].double())
            found.append(torch.cat(terms).logsumexp(0) - math.log(num_samples))
    return torch.stack(found)
