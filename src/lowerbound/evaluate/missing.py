"""What a model knows about the missing entries of a row, from those that are there.

    p(x_mis | x_obs) = E_{p(z | x_obs)} p(x_mis | z) ≈ Σ_s w̃_s p(x_mis | z_s),      z_s ~ q(z | x_obs),

with w̃_s ∝ p(x_obs, z_s) / q(z_s | x_obs), which sum to 1 (Mattei & Frellsen 2019, "MIWAE", arXiv:1812.02633, sec. 3).
Under an exact posterior the weights are equal. Missing entries are NaN; the likelihood must integrate them out, and
the posterior take them. Entries that are there stay as they are.

Where states are summed out (`hooks.KnowsEachState`), z_s is each state in turn and the weight of an entry at step t is
p(c_t = z_s | x_obs): means are exact, and only the draws of an entry given its state are draws.

Where gaps depend on what they hide, the likelihood is p(x_obs, s | z) (`missingness`): the weights hold what s says of
z, and entries are drawn from p(x_mis | z, s). `of_values` gives the model of values alone.

The same draws answer two more questions: given some entries, what are the others (`draw_missing` of rows that are known
in part); and how unusual is an entry among the others of its row (`log_conditionals`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution

from lowerbound.cited import cited
from lowerbound.evaluate.batches import check_rows, context_rows, row_blocks
from lowerbound.evaluate.evidence import log_evidence
from lowerbound.evaluate.importance import effective_sample_size
from lowerbound.evaluate.resampling import resampled_latents
from lowerbound.hooks import CompletesRows, KnowsEachState, KnowsWhyMissing
from lowerbound.likelihoods import Mixed
from lowerbound.likelihoods.mixed import MixedDistribution, classes_by_column
from lowerbound.model import LatentVariableModel
from lowerbound.protocols import Context, Latents
from lowerbound.randomness import derive_seed, forked
from lowerbound.support import StatesFacts
from lowerbound.weights import is_exact, latents_of, weigh

__all__ = [
    "Completions",
    "completions",
    "draw_missing",
    "log_conditionals",
    "of_gaps",
    "of_values",
    "require_missing_allowed",
    "takes_missing",
    "weighted_mode",
    "weighted_quantile",
]

_NUMBERS_PER_BLOCK = 2**22


class Completions(NamedTuple):
    """Weighted draws of whole rows.

    Attributes:
        rows: which rows of the data these are.
        x: one draw of the missing entries at each z_s (S, B, *event).
        mean: E[x | z_s] in their place (S, B, *event); where the likelihood has no mean, its most typical value.
        weight: w̃_s, of each row (S, B) or of each step (S, B, T).
        class_probabilities: Σ_s w̃_s p(x_d = k | z_s) of the columns of classes of a table, 0 in other columns and for k
            that a column has not; None where the likelihood is not `Mixed` or has no such column. Its error is that of
            the weights alone: classes are not drawn (Rao-Blackwell). Exact where the posterior knows it
            (`hooks.CompletesRows`).
    """

    rows: slice
    x: Float[Tensor, "sample batch *event"]
    mean: Float[Tensor, "sample batch *event"]
    weight: Float[Tensor, "sample batch *time"]
    class_probabilities: Float[Tensor, "batch column class"] | None = None

    @property
    def weight_of_entries(self) -> Float[Tensor, "sample batch *event"]:
        """The weight of each entry of each sample."""
        missing = self.x.ndim - self.weight.ndim
        return self.weight.reshape(*self.weight.shape, *(1,) * missing).expand_as(self.x)


@cited("mattei2019miwae")
def completions(
    model: LatentVariableModel,
    x: Float[Tensor, "batch *event"],
    *,
    num_samples: int = 1000,
    context: Context | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Completions]:
    """Weighted draws of the missing entries, a block of rows at a time.

    Arguments:
        model: p and q, whose likelihood takes NaN.
        x: rows in the form that the likelihood scores, NaN where an entry is missing.
        num_samples: S, latents for each row; of K states that are summed out the next multiple of K.
        context: of the model, one row for each row of x.
        seed: of the draws.
        progress: called after each block with the rows done and their total.

    Raises:
        ValueError: no rows, no samples, a context of another length, or a likelihood that takes no NaN.
    """
    check_rows(model, x, context, num_samples, owner="completions")
    require_missing_allowed(model)
    for number, rows in enumerate(row_blocks(len(x), max(1, _NUMBERS_PER_BLOCK // (num_samples * x[0].numel())))):
        part, given = x[rows], context_rows(context, rows)
        with torch.no_grad(), forked(x.device, derive_seed(seed, number), "completions"):
            p, weight, classes = _decoded(model, part, given, num_samples)
            draw, mean = p.sample(), p.mean
        gap = part.isnan()
        yield Completions(rows, torch.where(gap, draw, part), torch.where(gap, mean, part), weight, classes)
        if progress is not None:
            progress(rows.stop, len(x))


@cited("mattei2019miwae")
@torch.no_grad()
def draw_missing(
    model: LatentVariableModel,
    x: Float[Tensor, "batch *event"],
    num_draws: int,
    *,
    num_samples: int = 1000,
    context: Context | None = None,
    seed: int = 0,
) -> tuple[Float[Tensor, "draw batch *event"], Float[Tensor, "batch"]]:
    """Independent draws of the missing entries given the others: sampling importance resampling.

    Arguments:
        model: as in `completions`.
        x: as in `completions`.
        num_draws: M, for each row.
        num_samples: S, latents from which those of the draws are chosen; M if that is more.
        context: as in `completions`.
        seed: of the draws.

    Returns:
        Completed rows (M, B, *event), and the effective sample size of the weights (B,), at most S: where it is below
        M, some draws share their z.

    Raises:
        ValueError: as `completions`.
    """
    check_rows(model, x, context, min(num_samples, num_draws), owner="draw_missing")
    require_missing_allowed(model)
    size = max(num_samples, num_draws)
    drawn, effective = [], []
    for number, rows in enumerate(row_blocks(len(x), max(1, _NUMBERS_PER_BLOCK // (size * x[0].numel())))):
        part, given = x[rows], context_rows(context, rows)
        with forked(x.device, derive_seed(seed, number), "draw_missing"):
            draw, number_of = _draw_rows(model, part, given, num_draws, size)
        drawn.append(torch.where(part.isnan(), draw, part))
        effective.append(number_of)
    return torch.cat(drawn, 1), torch.cat(effective)


@cited("mattei2019miwae")
def log_conditionals(
    model: LatentVariableModel,
    x: Float[Tensor, "batch column"],
    *,
    num_samples: int = 1000,
    context: Context | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Float[Tensor, "batch column"]:
    """log p(x_d | the other observed entries) of each entry, nats; NaN where it is missing.

        log p(x_d | x_others) = log p(x_d, x_others) − log p(x_others)

    Both terms are estimated by `log_evidence` with the same random numbers, and are exact under an exact posterior.
    They are of values alone, whatever a model says of gaps (`of_values`).

    Arguments:
        model: as in `completions`.
        x: as in `completions`.
        num_samples: of each estimate.
        context: as in `completions`.
        seed: of the draws.
        progress: called after each column with the columns done and their number.

    Raises:
        ValueError: as `completions`.
    """
    require_missing_allowed(model)
    model = of_values(model)
    num_samples = 1 if is_exact(model) else num_samples

    def of(rows: Tensor) -> Tensor:
        return log_evidence(model, rows, num_samples=num_samples, context=context, seed=seed).log_evidence

    together, columns = of(x), []
    for column in range(x.shape[1]):
        others = x.clone()
        others[:, column] = torch.nan
        columns.append(torch.where(x[:, column].isnan(), torch.nan, together - of(others)))
        if progress is not None:
            progress(column + 1, x.shape[1])
    return torch.stack(columns, 1)


def weighted_quantile(
    x: Float[Tensor, "sample *batch"], weight: Float[Tensor, "sample *#batch"], level: float
) -> Float[Tensor, "*batch"]:
    """The smallest of the samples with a weight of at least `level` at or below it; weights sum to 1.

    >>> weighted_quantile(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([0.2, 0.3, 0.5]), 0.5)
    tensor(2.)
    """
    ordered, order = x.sort(0)
    reached = weight.expand_as(x).gather(0, order).double().cumsum(0) >= level - 1e-9
    first = reached.to(torch.uint8).argmax(0, keepdim=True)
    none = ~reached[-1:]  # a level of 1 that rounding misses
    return ordered.gather(0, torch.where(none, len(x) - 1, first))[0]


def weighted_mode(x: Float[Tensor, "sample batch"], weight: Float[Tensor, "sample batch"]) -> Float[Tensor, "batch"]:
    """The value with the largest weight, such as a class number or a count; the smallest of several such.

    >>> weighted_mode(torch.tensor([[2.0], [0.0], [2.0]]), torch.tensor([[0.3], [0.4], [0.3]]))
    tensor([2.])
    """
    ordered, order = x.sort(0)
    run = nn.functional.pad((ordered[1:] != ordered[:-1]).long().cumsum(0), (0, 0, 1, 0))
    total = torch.zeros_like(weight).scatter_add_(0, run, weight.gather(0, order))
    first = (run == total.argmax(0)).to(torch.uint8).argmax(0, keepdim=True)
    return ordered.gather(0, first)[0]


def _weighted_latents(
    model: LatentVariableModel, x: Tensor, context: Context | None, num_samples: int
) -> tuple[Latents, Float[Tensor, "sample batch"]]:
    """z_s and w̃_s of some rows."""
    q = model.infer(x, context)
    draw = q.sample(torch.Size((num_samples,)))
    log_w = weigh(q, model.joint(x, context), draw).log_w
    return latents_of(q, draw), log_w.double().softmax(0).to(x)


def _weighted_states(
    model: LatentVariableModel, x: Tensor, num_samples: int
) -> tuple[Latents, Float[Tensor, "sample batch time"]] | None:
    """Every state as often as the others, for all steps at once, and p(state of the step | x) in as many parts; None
    where states are not summed out.
    """
    q = model.posterior
    if not (isinstance(q, KnowsEachState) and is_exact(model)):
        return None
    gamma = q.state_probabilities(x)
    batch, length, states = gamma.shape
    copies = -(-num_samples // states)
    z = torch.eye(states).to(gamma)[:, None, None].expand(states, batch, length, states).repeat(copies, 1, 1, 1)
    return z, gamma.movedim(-1, 0).repeat(copies, 1, 1) / copies


def _decoded(
    model: LatentVariableModel, x: Tensor, context: Context | None, num_samples: int
) -> tuple[Distribution, Tensor, Float[Tensor, "batch column class"] | None]:
    """p(x | z_s), w̃_s and the probabilities of classes (`Completions`) of some rows."""
    q = model.posterior
    if isinstance(q, CompletesRows) and is_exact(model):
        equal = x.new_full((num_samples, len(x)), 1 / num_samples)
        return q.decoded(x, num_samples), equal, q.class_probabilities(x)
    z, weight = _weighted_states(model, x, num_samples) or _weighted_latents(model, x, context, num_samples)
    p = _of_missing(model.decode(z, context))
    if not isinstance(p, MixedDistribution):
        return p, weight, None
    groups = [(columns, torch.einsum("sb,sbdk->bdk", weight, each)) for columns, each in p.classes()]
    return p, weight, classes_by_column(groups, len(p.order))


def _draw_rows(
    model: LatentVariableModel, x: Tensor, context: Context | None, num_draws: int, num_samples: int
) -> tuple[Float[Tensor, "draw batch *event"], Float[Tensor, "batch"]]:
    """Independent draws of whole rows, and the effective sample size of the weights."""
    q = model.posterior
    if isinstance(q, CompletesRows) and is_exact(model):
        return q.decoded(x, num_draws).sample(), x.new_full((len(x),), float(num_samples))
    z, weight = _weighted_latents(model, x, context, num_samples)
    draw = _of_missing(model.decode(resampled_latents(z, weight, num_draws), context)).sample()
    return draw, effective_sample_size(weight.log())


def of_gaps(model: LatentVariableModel) -> bool:
    """Whether its score is log p(x_obs, s), of values and of which entries are missing, and not log p(x_obs)."""
    return isinstance(model.likelihood, Mixed) and model.likelihood.missingness is not None


def of_values(model: LatentVariableModel) -> LatentVariableModel:
    """The model p(x, z) of a model p(x, z) p(s | x) of values and gaps, in which gaps are entries not asked for; parts
    are shared. Any other model is its own.
    """
    if not of_gaps(model):
        return model
    likelihood = cast(Mixed, model.likelihood).of_values()
    return LatentVariableModel(prior=model.prior, likelihood=likelihood, posterior=model.posterior).eval()


def _of_missing(p: Distribution) -> Distribution:
    """p(x_mis | z, s) in the place of p(x | z), where gaps say something of what they hide."""
    return p.of_missing() if isinstance(p, KnowsWhyMissing) else p


def takes_missing(model: LatentVariableModel) -> bool:
    """Whether its likelihood integrates NaN out."""
    likelihood = model.likelihood
    return isinstance(likelihood, StatesFacts) and likelihood.support.allows_missing


def require_missing_allowed(model: LatentVariableModel) -> None:
    """Refuse a model whose likelihood takes no NaN.

    Raises:
        ValueError: with the models that do.
    """
    if not takes_missing(model):
        raise ValueError(
            f"The likelihood {type(model.likelihood).__name__} takes no missing entries; fit the table with the recipe "
            "latent-classes, or with the likelihood mixed, and series with the recipe hidden-markov, which integrate "
            "them out."
        )
