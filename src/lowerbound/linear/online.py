"""Online EM: the E step on a minibatch, blended into running statistics (Cappé & Moulines 2009, arXiv:0712.4273).

    ŝ ← (1 − γ_t) ŝ + γ_t E[s(x_t, z) | x_t; θ],      θ ← the M step at ŝ,      γ_t = t^-κ,   t = 1, 2, …,   ½ < κ ≤ 1

With γ = 1 and all rows in the batch it is one step of EM. The sum of the steps must be infinite and that of their
squares finite, hence the range of κ: near ½ the start is soon forgotten, near 1 the noise of single batches averages
out. The first step, γ_1 = 1, takes the statistics of the first batch alone, which should therefore be large enough for
a regression of a column on z.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jaxtyping import Float
from torch import Tensor

from lowerbound.exact import LinearGaussian
from lowerbound.linear.em import SMALLEST_SCALE, Iteration
from lowerbound.linear.observed import observe
from lowerbound.linear.statistics import Noise, Statistics, expected_statistics
from lowerbound.linear.units import Units

__all__ = ["online_expectation_maximization"]


def online_expectation_maximization(
    start: LinearGaussian,
    batches: Iterable[Float[Tensor, "batch data"]],
    *,
    decay: float = 0.7,
    noise: Noise = "per-dimension",
    min_scale: float | None = None,
) -> Iterator[Iteration]:
    """Yield a model after each batch, as long as there are batches.

    Arguments:
        start: the model to start from.
        batches: rows; NaN where an entry is missing. Each column must be observed in the first batch, whose units
            (`units`) are those of the statistics.
        decay: κ.
        noise: of each dimension, or shared.
        min_scale: the floor of σ, in the units of x; None: `SMALLEST_SCALE` of the spread of the column in the first
            batch.

    Yields:
        An `Iteration` per batch, counted from 1, whose log_likelihood is that of the batch before the update, which for
        a stream is that of rows not seen before.

    Raises:
        ValueError: a decay out of range.

    >>> batch = LinearGaussian.random(4, 1).sample(100)
    >>> [fit.iteration for fit in online_expectation_maximization(LinearGaussian.random(4, 1), [batch, batch])]
    [1, 2]
    """
    if not 0.5 < decay <= 1:
        raise ValueError(f"decay is {decay} and must be above ½ and at most 1, or the iterates do not settle.")
    return _iterations(start, batches, decay, noise, min_scale)


def _iterations(
    exact: LinearGaussian, batches: Iterable[Tensor], decay: float, noise: Noise, min_scale: float | None
) -> Iterator[Iteration]:
    running: Statistics | None = None
    units: Units | None = None
    for t, x in enumerate(batches, 1):
        if units is None:
            units = Units.of(x, noise)
            exact = units.enter(exact)
        y = units.standard(x)
        p = observe(exact, y)
        new = expected_statistics(exact, y, observed=p)
        running = new if running is None else running.blend(new, t**-decay)
        exact = running.maximise(noise, units.floor(min_scale, SMALLEST_SCALE))
        yield Iteration(t, float(p.log_evidence.mean()) - units.log_volume(x), units.leave(exact))
