"""The aggregate posterior of given data, q(z) = (1/N) Σ_n q(z | x_n), and the parts of the rate.

    rate = I(n; z) + KL(q(z) ‖ p(z))                        (Hoffman & Johnson 2016)
    KL(q(z) ‖ p(z)) = TC + Σ_d KL(q(z_d) ‖ p(z_d))          (Chen et al. 2018, arXiv:1802.04942, eq. 2)

    I(n; z) = E[log q(z | x_n) − log q(z)]                  mutual information, at most log N
    TC = E[log q(z) − Σ_d log q(z_d)]                       total correlation

over n uniform on the data and z ~ q(z | x_n). q(z) and its marginals q(z_d) are summed over all N data, without a
minibatch approximation. The only error is that of the draws z, which all terms share, so that the two identities hold
to rounding. The numbers describe the N given data. For the distribution of the data, I(n; z) is too low because it is
at most log N, and KL too high by as much; if I is well below log N this does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, Independent

from lowerbound.cited import cited
from lowerbound.evaluate.batches import check_rows, context_rows, row_blocks
from lowerbound.evaluate.estimates import Estimates
from lowerbound.factors import log_prob_per_factor
from lowerbound.hooks import Augmented
from lowerbound.model import LatentVariableModel
from lowerbound.protocols import Context, Latents
from lowerbound.randomness import forked
from lowerbound.row_numbers import rows_from

__all__ = ["AggregatePosterior", "aggregate_posterior"]


@dataclass(frozen=True, kw_only=True)
class AggregatePosterior:
    """Averages over the draws of each datum, nats; their means are the quantities of the module's docstring.

    The spread over the data gives the standard error of each mean, for as many new data, to first order: the change of
    log q(z) with the data has no effect of this order.

    Attributes:
        rate: log q(z | x_n) − log p(z): `mutual_information` + `marginal_kl`.
        mutual_information: log q(z | x_n) − log q(z); its mean is at most log N.
        marginal_kl: log q(z) − log p(z); the divergence of the aggregate from the prior.
        total_correlation: log q(z) − Σ_d log q(z_d); None unless q(z | x) is a product over d.
        kl_per_dimension: log q(z_d) − log p(z_d), one for each d; None unless q(z | x) and p(z) are products over d.
        num_data: N.
        num_samples: S drawn for each datum.
    """

    rate: Estimates
    mutual_information: Estimates
    marginal_kl: Estimates
    total_correlation: Estimates | None
    kl_per_dimension: tuple[Estimates, ...] | None
    num_data: int
    num_samples: int


@cited("hoffman2016elbo", "chen2018isolating")
def aggregate_posterior(
    model: LatentVariableModel,
    x: Float[Tensor, "batch *event"],
    *,
    num_samples: int = 8,
    context: Context | None = None,
    seed: int = 0,
    max_elements: int = 2**20,
) -> AggregatePosterior:
    """Split the rate on data into mutual information and the divergence of the aggregate from the prior.

    The cost is S·N² densities q(z | x); 10,000 data of 50 latents take about a minute for each sample.

    Arguments:
        model: p and q.
        x: the data that make the aggregate, in the form the model was trained on.
        num_samples: S, drawn from q(z | x) for each datum.
        context: of q, one row for each datum.
        seed: of the samples; the caller's random state is untouched.
        max_elements: numbers in one slice of densities, and of x when it is encoded.

    Raises:
        ValueError: no data, no samples, a context of another length, a posterior without a density, or a prior that
            depends on the context.

    >>> from lowerbound.exact import LinearGaussian
    >>> exact = LinearGaussian(torch.ones(2, 1), torch.zeros(2), torch.tensor(1.0))
    >>> got = aggregate_posterior(exact.model(), torch.zeros(5, 2))  # five times the same datum
    >>> abs(got.mutual_information.mean) < 1e-6
    True
    """
    check_rows(model, x, context, num_samples, owner="aggregate_posterior")
    with torch.inference_mode(), forked(x.device, seed, "aggregate_posterior"):
        prior = model.prior(context)
        if prior.batch_shape:
            raise ValueError(
                "aggregate_posterior got a prior that depends on the context, so that there is no single p(z) to "
                "compare with; call it on the data of one context at a time, with a prior without context."
            )
        z, log_q = _draws(model, x, context, num_samples, max_elements)
        log_aggregate, log_marginals = _aggregate(model, x, context, z, max_elements)
        log_p = prior.log_prob(cast(Tensor, z)).double()
        log_priors = log_prob_per_factor(prior, cast(Tensor, z)).double() if isinstance(prior, Independent) else None
    return AggregatePosterior(
        rate=_averaged(log_q - log_p),
        mutual_information=_averaged(log_q - log_aggregate),
        marginal_kl=_averaged(log_aggregate - log_p),
        total_correlation=None if log_marginals is None else _averaged(log_aggregate - log_marginals.sum(-1)),
        kl_per_dimension=_per_dimension(log_marginals, log_priors),
        num_data=x.shape[0],
        num_samples=num_samples,
    )


def _blocks(
    model: LatentVariableModel, x: Tensor, context: Context | None, max_elements: int
) -> Iterator[tuple[slice, Distribution]]:
    """q(z | x) of consecutive data."""
    size = max(1, min(1024, max_elements // math.prod(x.shape[1:])))
    for rows in row_blocks(x.shape[0], size):
        with rows_from(rows.start):
            q = model.infer(x[rows], context_rows(context, rows))
        yield rows, q


def _draws(
    model: LatentVariableModel, x: Tensor, context: Context | None, num_samples: int, max_elements: int
) -> tuple[Latents, Float[Tensor, "sample batch"]]:
    """Draw z ~ q(z | x_n) for every datum; return it with log q(z | x_n)."""
    draws, log_q = [], []
    for _, q in _blocks(model, x, context, max_elements):
        z = q.sample(torch.Size((num_samples,)))
        log_q.append(_density_of(q)(z).double())
        draws.append(z)
    return _map(lambda *parts: torch.cat(parts, 1), *draws), torch.cat(log_q, 1)


def _aggregate(
    model: LatentVariableModel, x: Tensor, context: Context | None, z: Latents, max_elements: int
) -> tuple[Float[Tensor, "sample batch"], Float[Tensor, "sample batch latent"] | None]:
    """log q(z), and the log q(z_d) where q(z | x) is a product: sums over every datum m, blocks of it outermost."""
    flat = _map(lambda part: part.flatten(0, 1)[:, None], z)
    first = flat[0] if isinstance(flat, tuple) else flat
    num_points, width = first.shape[0], sum(p[0].numel() for p in (flat if isinstance(flat, tuple) else (flat,)))
    joint: Tensor | None = None
    marginal: Tensor | None = None
    for rows, q in _blocks(model, x, context, max_elements):
        size = rows.stop - rows.start
        factorised, parts = isinstance(q, Independent), []
        for points in row_blocks(num_points, max(1, max_elements // (size * width))):
            here = _map(lambda part: part[points].expand(-1, size, *part.shape[2:]), flat)  # noqa: B023
            if factorised:
                each = log_prob_per_factor(q, cast(Tensor, here))
                parts.append((each.sum(-1).double().logsumexp(1), each.double().logsumexp(1)))
            else:
                parts.append((_density_of(q)(here).double().logsumexp(1), None))
        joint = _add(joint, torch.cat([part for part, _ in parts]))
        if factorised:
            marginal = _add(marginal, torch.cat([cast(Tensor, part) for _, part in parts]))
    assert joint is not None
    log_n, shape = math.log(x.shape[0]), (-1, x.shape[0])
    return joint.reshape(shape) - log_n, None if marginal is None else marginal.unflatten(0, shape) - log_n


def _density_of(q: Distribution) -> Callable[[Latents], Tensor]:
    """log q(z | x), or a `ValueError` that says why there is none."""

    def log_prob(z: Latents) -> Tensor:
        try:
            return q.log_prob(cast(Tensor, z))
        except NotImplementedError:
            raise ValueError(refusal) from None

    refusal = (
        f"aggregate_posterior needs the density of z under q(z | x) and {type(q).__name__} has none; "
        "choose a posterior with a density, such as DiagonalNormal or a flow."
    )
    if isinstance(q, Augmented):
        raise ValueError(refusal)
    return log_prob


def _averaged(values: Float[Tensor, "sample batch"]) -> Estimates:
    size = values.shape[0]
    error = values.std(0) / math.sqrt(size) if size > 1 else torch.full_like(values[0], math.nan)
    return Estimates(values=values.mean(0), standard_error=error)


def _per_dimension(log_marginals: Tensor | None, log_priors: Tensor | None) -> tuple[Estimates, ...] | None:
    if log_marginals is None or log_priors is None or log_marginals.shape != log_priors.shape:
        return None
    return tuple(_averaged(each) for each in (log_marginals - log_priors).unbind(-1))


def _add(total: Tensor | None, part: Tensor) -> Tensor:
    return part if total is None else torch.logaddexp(total, part)


def _map(f: Callable[..., Tensor], *parts: Latents) -> Latents:
    """Apply f to the latents, layer by layer if there are several."""
    if isinstance(parts[0], tuple):
        return tuple(f(*layers) for layers in zip(*parts, strict=True))
    return f(*parts)
