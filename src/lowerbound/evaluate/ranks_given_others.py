"""Is each number of a row where the model expects it, given the others of its row? The leave-one-out PIT (Gelfand, Dey
& Chang 1992; Vehtari, Gelman & Gabry 2017, arXiv:1507.04544, §2).

    u_d = P(x'_d ≤ x_d),      x'_d ~ p(x_d | x_others)

is uniform on [0, 1] over test rows where the model is right; P is the share of draws, with ties at random (`ranks`).
It sees what the ranks of p(x_d) cannot: a model that ties columns together more closely than they are is too narrow
here, and one that does so too loosely is too wide. One that ignores the other columns altogether passes both, for
p(x_d) is then right by itself; the correlations among the statistics of `predictive_checks` see that.

The draws are by importance weights of a proposal r(z) that has not seen x_d:

    w_s ∝ p(x_others, z_s) / r(z_s),      z_s ~ r

r is q(z | x) with NaN for x_d where the likelihood takes it. Elsewhere it is the mixture of q(z | x_others, x_d = v_k)
over 32 quantiles v_k of p(x_d), as p(z | x_others) is a mixture of p(z | x_others, x_d) over x_d.

An entry whose weights are worth fewer than 20 draws is not judged. What they are worth depends on the others only and
not on x_d, so that the ranks that are left are uniform still.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal

from lowerbound.cited import cited
from lowerbound.evaluate.batches import check_rows, context_rows, row_blocks
from lowerbound.evaluate.importance import effective_sample_size
from lowerbound.evaluate.missing import takes_missing
from lowerbound.evaluate.ranks import rank_among
from lowerbound.evaluate.resampling import resampled_latents
from lowerbound.model import LatentVariableModel
from lowerbound.protocols import Context, Latents
from lowerbound.randomness import derive_seed, forked
from lowerbound.weights import latents_of, weigh

__all__ = ["FEWEST_WORTH", "conditional_ranks", "has_conditionals"]

FEWEST_WORTH = 20
_NUMBERS_PER_BLOCK, _ROWS_OF_QUANTILES, _NUM_QUANTILES = 2**22, 1000, 32
_ASIDE = 4 * _NUM_QUANTILES  # numbers of each latent in log q of all quantiles


@torch.no_grad()
def has_conditionals(
    model: LatentVariableModel, x: Float[Tensor, "batch *event"], context: Context | None = None
) -> bool:
    """Whether `conditional_ranks` can be asked: rows are vectors whose elements may be missing, or are independent
    given z while q is a Gaussian or a product.
    """
    if x.ndim != 2 or takes_missing(model):
        return x.ndim == 2
    try:
        conditional_ranks(model, x[:2], num_columns=1, num_draws=2, context=context_rows(context, slice(0, 2)))
    except (NotImplementedError, ValueError):
        return False
    return True


@cited("gelfand1992model", "vehtari2017practical")
@torch.no_grad()
def conditional_ranks(
    model: LatentVariableModel,
    x: Float[Tensor, "batch column"],
    *,
    num_columns: int | None = None,
    num_draws: int = 63,
    num_samples: int = 512,
    context: Context | None = None,
    seed: int = 0,
) -> Float64[Tensor, "batch column_2"]:
    """u of each entry of each row; NaN where it is missing, or where the weights do not do.

    Arguments:
        model: p and q, in eval mode.
        x: test rows in the form that the likelihood scores, NaN where an entry is missing.
        num_columns: only so many columns, the first.
        num_draws: of each entry.
        num_samples: latents from which those of the draws are chosen; taken up to a multiple of 32.
        context: of the model, one row for each row of x.
        seed: of all draws; the caller's random state is untouched.

    Raises:
        ValueError: no rows, no draws, a context of another length, elements that depend on each other given z,
            or a q that is neither a Gaussian nor a product.
    """
    check_rows(model, x, context, min(num_draws, num_samples), owner="conditional_ranks")
    values = None if takes_missing(model) else _quantiles(model, x, context, seed)
    columns = []
    for column in range(x.shape[1])[:num_columns]:
        blocks = []
        for rows in row_blocks(len(x), max(1, _NUMBERS_PER_BLOCK // (num_samples * max(x.shape[1], _ASIDE)))):
            with forked(x.device, derive_seed(seed, column, rows.start), "conditional_ranks"):
                part, given = x[rows], context_rows(context, rows)
                others = part.clone()
                others[:, column] = torch.nan
                if values is None:
                    z, log_w = _by_missing(model, others, given, num_samples)
                else:
                    z, log_w = _by_mixture(model, others, given, column, values[:, column], num_samples)
                made = model.decode(resampled_latents(z, log_w.softmax(0), num_draws), given).sample()[..., column]
                judged = ~part[:, column].isnan() & (effective_sample_size(log_w) >= FEWEST_WORTH)
                found = rank_among(part[:, column].nan_to_num(), made)
                blocks.append(found.masked_fill(~judged, torch.nan))
        columns.append(torch.cat(blocks))
    return torch.stack(columns, 1)


def _by_missing(
    model: LatentVariableModel, others: Tensor, context: Context | None, num_samples: int
) -> tuple[Latents, Float64[Tensor, "sample batch"]]:
    """z_s ~ q(z | x_others) and log w."""
    q = model.infer(others, context)
    drawn = q.sample(torch.Size((num_samples,)))
    return latents_of(q, drawn), weigh(q, model.joint(others, context), drawn).log_w.double()


def _by_mixture(
    model: LatentVariableModel,
    others: Tensor,
    context: Context | None,
    column: int,
    values: Float[Tensor, "quantile"],
    num_samples: int,
) -> tuple[Tensor, Float64[Tensor, "sample batch"]]:
    """z_s of the mixture of q(z | x_others, x_d = v_k), as many of each, and log w."""
    size = (len(values), len(others))
    filled = others.repeat(len(values), 1, 1)
    filled[..., column] = values[:, None]
    q = model.infer(filled.flatten(0, 1), _repeated(context, len(values)))
    if not isinstance(q, Independent | MultivariateNormal):
        raise ValueError(f"conditional_ranks got {type(q).__name__} for q; it needs a Gaussian or independent latents.")
    z = q.sample(torch.Size((-(-num_samples // len(values)),))).unflatten(1, size).flatten(0, 1)
    each = q.log_prob(z[:, None].expand(-1, *size, *z.shape[2:]).flatten(1, 2)).double().unflatten(1, size)
    proposal = each.logsumexp(1) - math.log(len(values))
    own = _log_probs(model.decode(z, context), filled[0])[..., column]
    log_likelihood, log_prior = model.joint(filled[0], context)(z)
    return z, (log_likelihood - own).double() + log_prior.double() - proposal


def _log_probs(p: Distribution, x: Tensor) -> Float[Tensor, "sample batch column"]:
    """log p(x_d | z) of each element, nats."""
    if not (isinstance(p, Independent) and p.reinterpreted_batch_ndims == len(p.event_shape) == 1):
        raise ValueError(
            f"conditional_ranks got a likelihood that gives {type(p).__name__}; it needs elements that are independent "
            "given z, or a likelihood that takes missing entries, such as mixed."
        )
    return p.base_dist.log_prob(x)


def _quantiles(
    model: LatentVariableModel, x: Tensor, context: Context | None, seed: int
) -> Float[Tensor, "quantile column"]:
    """Of each column, by a thousand rows that the model makes or more; values that occur."""
    with forked(x.device, seed, "conditional_ranks"):
        count = _ROWS_OF_QUANTILES if context is None else 1 + _ROWS_OF_QUANTILES // len(x)
        ordered = model.sample(count, context).flatten(0, -2).sort(0).values
    return ordered[((torch.arange(_NUM_QUANTILES) + 0.5) / _NUM_QUANTILES * len(ordered)).long()]


def _repeated(context: Context | None, count: int) -> Context | None:
    """All rows of a context again and again."""
    if context is None:
        return None
    parts = context if isinstance(context, tuple) else (context,)
    again = tuple(part.repeat(count, *(1,) * (part.ndim - 1)) for part in parts)
    return again if isinstance(context, tuple) else again[0]
