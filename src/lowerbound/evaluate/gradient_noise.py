"""How noisy the gradient of a step is: its variance, its signal-to-noise ratio and its angle to the expected gradient.

For R independent gradients g_1, …, g_R of the mean objective of one batch, with mean ḡ and g_r = ḡ + d_r,

    V = tr Cov[g] ≈ Σ_r ‖d_r‖² / (R − 1)              ‖E g‖² ≈ ‖ḡ‖² − V / R
    SNR = ‖E g‖ / √V                                  SNR_i = |ḡ_i| / σ_i  for each coordinate i
    cosine = mean_r  g_r · m_r / (‖g_r‖ ‖E g‖)        m_r = the mean of the other R − 1, or the exact gradient

SNR_i is that of Rainforth et al. (2018, arXiv:1802.04537, §3). ‖ḡ‖² alone would contain noise of V / R, and a mean that
includes g_r would be biased towards it. With these corrections pure noise has SNR and cosine 0 instead of 1 / √R. SNR_i
has no such correction and does not fall below √(2 / (π R)): take R large where it is small. Standard errors are the
jackknife's: the spread of a number over the R sets of repetitions that leave one out,

    ḡ₋ₜ = ḡ − d_t / (R − 1)        (R − 2) V₋ₜ = Σ_r ‖d_r‖² − ‖d_t‖² R / (R − 1)

Repetitions run in a loop: `torch.func.vmap` does not support reparameterised draws, tensor hooks or derivatives inside
an estimator, and where it works it is slower for networks of realistic size.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.cited import cited
from lowerbound.limits import MOST_ITERATIONS, MOST_SAMPLES, require_at_most
from lowerbound.model import LatentVariableModel
from lowerbound.protocols import Context, Gradient, Objective
from lowerbound.randomness import forked

__all__ = ["GradientStatistics", "Statistic", "gradient_statistics"]

_FEWEST = 4


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """A number with its standard error."""

    value: float
    standard_error: float


@dataclass(frozen=True, kw_only=True)
class GradientStatistics:
    """The noise of the gradient of one batch, for one group of parameters.

    Attributes:
        num_parameters: how many coordinates.
        norm: ‖E g‖, nats.
        variance: tr Cov[g], nats².
        snr: ‖E g‖ / √(tr Cov[g]); infinite without noise.
        snr_per_coordinate: the mean of |E g_i| / σ_i over the coordinates that vary; infinite if none does.
        cosine: mean cosine of one gradient and the expected (or exact) one; NaN where the estimate of ‖E g‖ is zero.
    """

    num_parameters: int
    norm: Statistic
    variance: Statistic
    snr: Statistic
    snr_per_coordinate: Statistic
    cosine: Statistic


@cited("rainforth2018tighter")
def gradient_statistics(
    model: LatentVariableModel,
    objective: Objective,
    gradient: Gradient,
    x: Float[Tensor, "batch *event"],
    *,
    num_samples: int = 1,
    num_repeats: int = 64,
    context: Context | None = None,
    reference: Mapping[str, Float[Tensor, "coordinate"]] | None = None,
    seed: int = 0,
) -> dict[str, GradientStatistics]:
    """Repeat the gradient of one batch and describe its noise.

    The model, the objective and the estimator are not changed: a copy of the estimator is used, whose running baseline
    continues from its present state. All gradients are kept in memory: num_repeats times the largest group.

    Arguments:
        model: p and q, on the device of x.
        objective: what is estimated.
        gradient: the estimator.
        x: one batch.
        num_samples: S, latents drawn per datum.
        num_repeats: R, at least 4.
        context: of the batch.
        reference: the exact gradient of the mean objective for some groups, flattened; for other groups it is the mean
            of the other repetitions.
        seed: of the draws.

    Returns:
        The statistics of each group that has parameters: "prior", "likelihood" and "posterior". Parameters of the prior
        that also belong to the posterior (those of a `VampPrior`) count as the posterior's.

    Raises:
        ValueError: too few repetitions, or choices that do not go together.

    >>> import lowerbound as lb
    >>> model = lb.models.vae((5,), latent_dim=2, hidden=[4])
    >>> x = torch.ones(3, 5)
    >>> found = lb.evaluate.gradient_statistics(model, lb.objectives.ELBO(), lb.gradients.Pathwise(), x)
    >>> list(found), found["posterior"].num_parameters
    (['likelihood', 'posterior'], 44)
    """
    if num_repeats < _FEWEST:
        raise ValueError(f"gradient_statistics got num_repeats={num_repeats} and needs at least {_FEWEST}.")
    require_at_most("gradient_statistics", MOST_ITERATIONS, num_repeats=num_repeats)
    require_at_most("gradient_statistics", MOST_SAMPLES, num_samples=num_samples)
    gradient.check(objective, model.infer(x, context), num_samples)
    estimator, groups = copy.deepcopy(gradient), _groups(model)

    def value() -> Tensor:
        q, joint = model.infer(x, context), model.joint(x, context)
        return estimator.estimate(objective, q, joint, num_samples).surrogate.mean()

    with forked(x.device, seed, "gradient_statistics"), torch.enable_grad():
        repeats = _repeat(value, groups, num_repeats)
    exact = {} if reference is None else reference
    return {name: _describe(found, exact.get(name)) for name, found in repeats.items()}


def _groups(model: LatentVariableModel) -> dict[str, list[Tensor]]:
    """The parameters of each part that has some, each in one group only."""
    posterior = _parameters(model.posterior)
    seen = {id(p) for p in posterior}
    groups: dict[str, list[Tensor]] = {}
    for name, part in (("prior", model.prior), ("likelihood", model.likelihood)):
        groups[name] = [p for p in _parameters(part) if id(p) not in seen]
        seen |= {id(p) for p in groups[name]}
    return {name: group for name, group in {**groups, "posterior": posterior}.items() if group}


def _parameters(part: object) -> list[Tensor]:
    return [p for p in part.parameters() if p.requires_grad] if isinstance(part, nn.Module) else []


def _repeat(value: Callable[[], Tensor], groups: Mapping[str, list[Tensor]], num_repeats: int) -> dict[str, Tensor]:
    """Gradients (repeat, coordinate) of each group."""
    parameters = [p for group in groups.values() for p in group]
    sizes = [len(group) for group in groups.values()]
    rows: dict[str, list[Tensor]] = {name: [] for name in groups}
    for _ in range(num_repeats):
        gradients = iter(torch.autograd.grad(value(), parameters, allow_unused=True))
        for (name, group), size in zip(groups.items(), sizes, strict=True):
            rows[name].append(_flat(group, [next(gradients) for _ in range(size)]))
    return {name: torch.stack(found) for name, found in rows.items()}


def _flat(group: Iterable[Tensor], gradients: Iterable[Tensor | None]) -> Tensor:
    pairs = zip(group, gradients, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in pairs])


def _describe(g: Float[Tensor, "repeat coordinate"], reference: Tensor | None) -> GradientStatistics:
    """All statistics of one group; the rows of g are overwritten by the d_r."""
    num_repeats, num_parameters = g.shape
    mean, d = _centred(g)
    products = (d @ d.mT).double()
    n, a, b = mean.double().square().sum(), (d @ mean).double(), products.diagonal()
    variance, variances = _variance(b)
    norm = _norm(n, variance, num_repeats)
    norms = _norm(n - 2 * a / (num_repeats - 1) + b / (num_repeats - 1) ** 2, variances, num_repeats - 1)
    lengths = (n + 2 * a + b).sqrt()
    if reference is None:
        cosine = _cosine_to_the_others(n, a, b, products, lengths, norm, norms)
    else:
        cosine = _average((d @ reference.to(d) + mean @ reference.to(d)).double() / lengths / reference.double().norm())
    return GradientStatistics(
        num_parameters=num_parameters,
        norm=_statistic(norm, norms),
        variance=_statistic(variance, variances),
        snr=_statistic(norm / variance.sqrt(), norms / variances.sqrt()),
        snr_per_coordinate=_snr_per_coordinate(mean, d),
        cosine=cosine,
    )


def _centred(g: Tensor) -> tuple[Tensor, Tensor]:
    """ḡ and the d_r, in place; rows that are all the same give zeros exactly."""
    first = g[0].clone()
    d = g.sub_(first)
    shift = d.mean(0)
    return first + shift, d.sub_(shift)


def _variance(b: Float[Tensor, "repeat"]) -> tuple[Tensor, Tensor]:
    """V, and V without each repetition, from ‖d_r‖²."""
    count, total = len(b), b.sum()
    return total / (count - 1), ((total - b * count / (count - 1)) / (count - 2)).clamp_min(0)


def _norm(squared: Tensor, variance: Tensor, count: int) -> Tensor:
    """‖E g‖ from ‖ḡ‖²."""
    return (squared - variance / count).clamp_min(0).sqrt()


def _cosine_to_the_others(
    n: Tensor, a: Tensor, b: Tensor, products: Tensor, lengths: Tensor, norm: Tensor, norms: Tensor
) -> Statistic:
    """From n = ‖ḡ‖², a_r = ḡ·d_r, b_r = ‖d_r‖² and the d_r·d_t: g_r · m_r, and the same without each repetition t."""
    count = len(b)
    with_mean = count * (n + a) - lengths.square()  # Σ_{t ≠ r} g_r · g_t
    if norm == 0:
        return Statistic(value=math.nan, standard_error=math.nan)
    cosine = (with_mean / (count - 1) / lengths).mean() / norm
    pairs = n + a[:, None] + a + products  # g_r · g_t
    without = (with_mean[:, None] - pairs) / (count - 2) / lengths[:, None]
    cosines = (without.sum(0) - without.diagonal()) / (count - 1) / norms
    return _statistic(cosine, cosines)


def _snr_per_coordinate(mean: Float[Tensor, "coordinate"], d: Float[Tensor, "repeat coordinate"]) -> Statistic:
    """The mean of |ḡ_i| / σ_i over the coordinates whose σ_i is not zero."""
    count = len(d)
    squares = d.square().sum(0)
    varies = squares > 0
    if not bool(varies.any()):
        return Statistic(value=math.inf, standard_error=0.0)
    mean, squares, d = mean[varies], squares[varies], d[:, varies]
    value = (mean.abs() / (squares / (count - 1)).sqrt()).mean()
    without = torch.stack([_without(mean, squares, row, count) for row in d])
    return _statistic(value, without)


def _without(mean: Tensor, squares: Tensor, row: Tensor, count: int) -> Tensor:
    """The same without one repetition; coordinates that then no longer vary are left out."""
    variance = (squares - row.square() * (count / (count - 1))) / (count - 2)
    varies = variance > 1e-6 * squares
    return (((mean - row / (count - 1)).abs() / variance.sqrt())[varies]).mean()


def _average(values: Float[Tensor, "repeat"]) -> Statistic:
    return Statistic(value=float(values.mean()), standard_error=float(values.std() / len(values) ** 0.5))


def _statistic(value: Tensor, without: Float[Tensor, "repeat"]) -> Statistic:
    """A value, and the jackknife's standard error from its values without each repetition."""
    if math.isinf(value):
        return Statistic(value=math.inf, standard_error=0.0)
    count = len(without)
    error = ((count - 1) / count * (without - without.mean()).square().sum()).sqrt()
    return Statistic(value=float(value), standard_error=float(error))
