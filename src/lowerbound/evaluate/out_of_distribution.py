"""Scores that should be larger for data of another kind than the training data, and how well they separate (AUROC).

    −log p(x)                                     (Bishop 1994); it prefers simple data to the training data
    log p_b(x) − log p(x)                         with a background model b of what all pictures share
                                                  (Ren et al. 2019, arXiv:1906.02845, eq. 5)
    L[q*] − L[q]                                  the regret: the gain of fitting q to this one datum
                                                  (Xiao, Yan & Amit 2020, arXiv:2003.02977, eq. 6)
    |log p(x) − mean log p(x_train)|              distance from the typical set
                                                  (Nalisnick et al. 2019, arXiv:1906.02994, eq. 5, of one datum)
    var_θ log p_θ(x) − mean_θ log p_θ(x)          minus WAIC, over fits θ
                                                  (Choi, Jang & Alemi 2018, arXiv:1810.01392, eq. 3)

log p(x) is estimated by importance sampling, or given as estimates; all scores except the regret are functions of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.cited import cited
from lowerbound.evaluate.estimates import Estimates, Score
from lowerbound.evaluate.evidence import log_evidence
from lowerbound.evaluate.gaps import KnownEvidence, refined_elbos
from lowerbound.inference.local import Local
from lowerbound.inference.scheme import InferenceScheme
from lowerbound.model import LatentVariableModel
from lowerbound.protocols import Context
from lowerbound.randomness import derive_seed

__all__ = [
    "auroc",
    "bits_per_dim",
    "likelihood_ratio",
    "likelihood_regret",
    "mutated",
    "negative_log_evidence",
    "typicality",
    "waic",
]


@cited("bishop1994novelty")
def negative_log_evidence(
    model: LatentVariableModel,
    x: Float[Tensor, "batch *event"],
    *,
    num_samples: int = 1000,
    context: Context | None = None,
    seed: int = 0,
) -> Estimates:
    """−log p̂(x), nats.

    Arguments:
        model: p and q.
        x: data in the form the model was trained on.
        num_samples: latents drawn for each datum.
        context: of the model, one row for each datum.
        seed: of the samples.

    Raises:
        ValueError: as `log_evidence`.
    """
    got = log_evidence(model, x, num_samples=num_samples, context=context, seed=seed)
    return Estimates(values=-got.log_evidence, standard_error=got.standard_error)


def bits_per_dim(
    model: LatentVariableModel,
    x: Float[Tensor, "batch *event"],
    *,
    num_samples: int = 1000,
    context: Context | None = None,
    seed: int = 0,
) -> Estimates:
    """−log p̂(x) / (D ln 2), for data of different sizes. Arguments as `negative_log_evidence`."""
    score = negative_log_evidence(model, x, num_samples=num_samples, context=context, seed=seed)
    unit = math.prod(x.shape[1:]) * math.log(2)
    return Estimates(values=score.values / unit, standard_error=score.standard_error / unit)


@cited("ren2019likelihood")
def likelihood_ratio(
    model: LatentVariableModel,
    background: LatentVariableModel,
    x: Float[Tensor, "batch *event"],
    *,
    num_samples: int = 1000,
    context: Context | None = None,
    seed: int = 0,
) -> Estimates:
    """log p_b(x) − log p(x), nats.

    Arguments:
        model: p and q.
        background: b, the same model trained on `mutated` data.
        x: data in the form the model was trained on.
        num_samples: latents drawn for each datum and model.
        context: of both models, one row for each datum.
        seed: of the samples.

    Raises:
        ValueError: as `log_evidence`.
    """
    here = negative_log_evidence(model, x, num_samples=num_samples, context=context, seed=seed)
    return here - negative_log_evidence(background, x, num_samples=num_samples, context=context, seed=seed + 1)


@cited("xiao2020likelihood")
def likelihood_regret(
    model: LatentVariableModel,
    x: Float[Tensor, "batch *event"],
    *,
    refine: InferenceScheme = Local(num_steps=500),  # noqa: B008  (frozen, shared safely)
    num_samples: int = 100,
    context: Context | None = None,
    seed: int = 0,
) -> Estimates:
    """L[q*] − L[q], nats: the amortisation gap of each datum, all data optimised at once.

    Arguments:
        model: p and q.
        x: data in the form the model was trained on.
        refine: finds q* for each datum.
        num_samples: latents drawn from q and from q* to evaluate L.
        context: of the model, one row for each datum.
        seed: of refinement and samples.

    Raises:
        ValueError: no data, no samples, a context of another length, or a posterior without a density.
    """
    elbo, refined = refined_elbos(model, x, refine=refine, num_samples=num_samples, context=context, seed=seed)
    return refined - elbo


@cited("nalisnick2019detecting")
def typicality(evidence: KnownEvidence, training: KnownEvidence) -> Estimates:
    """|log p̂(x) − mean log p̂(x_train)|, nats.

    Arguments:
        evidence: of the data to be scored, from `log_evidence` with as many samples as for `training`.
        training: of training data, a few thousand.

    >>> from lowerbound.evaluate import log_evidence
    >>> from lowerbound.exact import LinearGaussian
    >>> exact = LinearGaussian(torch.ones(2, 1), torch.zeros(2), torch.tensor(1.0))
    >>> got = log_evidence(exact.model(), torch.zeros(3, 2))
    >>> typicality(got, got).values.max() < 1e-6
    tensor(True)
    """
    known = Estimates(values=training.log_evidence, standard_error=training.standard_error)
    entropy_error = torch.full_like(evidence.standard_error, known.standard_error_of_mean)
    here = Estimates(values=evidence.log_evidence, standard_error=evidence.standard_error)
    there = Estimates(values=torch.full_like(here.values, known.mean), standard_error=entropy_error)
    score = here - there
    return Estimates(values=score.values.abs(), standard_error=score.standard_error)


@cited("choi2018waic")
def waic(evidences: Sequence[KnownEvidence]) -> Estimates:
    """var_θ log p̂_θ(x) − mean_θ log p̂_θ(x), nats; the standard error is the jackknife's over the fits.

    Arguments:
        evidences: of the same data under fits that differ in their seed, two or more; three for a standard error.

    Raises:
        ValueError: fewer than two fits, or fits that were evaluated on different numbers of data.
    """
    if len(evidences) < 2:
        raise ValueError(f"waic got {len(evidences)} fits and needs two or more; fit the model again with other seeds.")
    sizes = sorted({len(one.log_evidence) for one in evidences})
    if len(sizes) > 1:
        raise ValueError(f"waic got fits evaluated on {sizes} data; evaluate each on the same data.")
    log_p = torch.stack([one.log_evidence for one in evidences])
    size = len(log_p)
    if size < 3:
        return Estimates(values=_negative_waic(log_p), standard_error=torch.full_like(log_p[0], math.nan))
    left_out = torch.stack([_negative_waic(torch.cat([log_p[:m], log_p[m + 1 :]])) for m in range(size)])
    error = (left_out.var(0, correction=0) * (size - 1)).sqrt()
    return Estimates(values=_negative_waic(log_p), standard_error=error)


@cited("ren2019likelihood")
def mutated(
    x: Float[Tensor, "batch *event"], rate: float, *, num_levels: int = 2, seed: int = 0
) -> Float[Tensor, "batch *event"]:
    """Data for a background model: with probability `rate`, each number is replaced by a draw from {0, 1/(K−1), …, 1}.

    Arguments:
        x: numbers in [0, 1].
        rate: of mutation; Ren et al. (2019, appendix B) use 0.1 to 0.3 for images.
        num_levels: K, 2 for binary data and 256 for bytes.
        seed: of the draws; the caller's random state is untouched.

    Raises:
        ValueError: a rate outside [0, 1] or fewer than two levels.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"mutated got rate={rate} and needs a probability, between 0 and 1.")
    if num_levels < 2:
        raise ValueError(f"mutated got num_levels={num_levels} and needs 2 (binary data) or more.")
    g = torch.Generator(x.device).manual_seed(derive_seed(seed, "mutated"))
    fresh = torch.randint(num_levels, x.shape, generator=g, device=x.device).to(x.dtype) / (num_levels - 1)
    return torch.where(torch.rand(x.shape, generator=g, device=x.device) < rate, fresh, x)


@cited("delong1988comparing", "sun2014fast")
def auroc(inside: Float[Tensor, "inside"], outside: Float[Tensor, "outside"]) -> Score:
    """P(score of a datum from outside > score of one from inside) + ½ P(equal), with DeLong's standard error.

    Arguments:
        inside: scores of data like the training data.
        outside: scores of other data, which should be larger.

    Raises:
        ValueError: fewer than two scores on a side, or a score that is not a number.

    References:
        DeLong, DeLong & Clarke-Pearson (1988), by ranks as in Sun & Xu (2014).

    >>> auroc(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, 3.0])).value
    0.75
    """
    n, m = len(inside), len(outside)
    if n < 2 or m < 2:
        raise ValueError(f"auroc got {n} scores inside and {m} outside and needs two or more of each.")
    both = torch.cat([inside, outside]).double()
    if bool(both.isnan().any()):
        raise ValueError("auroc got a score that is not a number; leave such data out, or score them in float64.")
    rank, rank_inside, rank_outside = _midranks(both), _midranks(both[:n]), _midranks(both[n:])
    below = (rank[n:] - rank_outside) / n  # of each outside score, the fraction of the inside below it
    above = 1 - (rank[:n] - rank_inside) / m
    variance = above.var() / n + below.var() / m
    return Score(value=below.mean().item(), standard_error=variance.sqrt().item())


def _midranks(values: Float[Tensor, "score"]) -> Float[Tensor, "score"]:
    """1-based ranks; equal scores share the mean of theirs."""
    _, place, count = values.unique(return_inverse=True, return_counts=True)
    return (count.cumsum(0) - (count - 1) / 2)[place].double()


def _negative_waic(log_p: Float[Tensor, "fit batch"]) -> Float[Tensor, "batch"]:
    return log_p.var(0) - log_p.mean(0)
