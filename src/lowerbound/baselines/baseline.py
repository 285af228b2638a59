"""The protocol of baselines.

The score function weighs the score of sample s by V − b_s, the value of the objective minus its value with a prediction
f̂_s in place of the signal of sample s:

    b_s = R(f_1, …, f_{s−1}, f̂_s, f_{s+1}, …, f_S),      V = R(f_1, …, f_S),      R = `objective.reduce`

On the ELBO V − b_s = (f_s − f̂_s)/S. A baseline gives the prediction; one that does not depend on z_s leaves the
gradient unbiased.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

__all__ = ["Baseline", "NeedsSamples", "require_samples"]


@runtime_checkable
class Baseline(Protocol):
    """A prediction of the signal (for most objectives log w, nats) of each sample and datum.

    A baseline with parameters is a module and returns a differentiable prediction; `ScoreFunction` lowers its squared
    error in the same step.
    """

    def __call__(self, signal: Float[Tensor, "sample batch"], x: Tensor) -> Float[Tensor, "sample batch"]:
        """The prediction, which must not depend on z_s in row s.

        Arguments:
            signal: f, as constants. Row s of the prediction may use the other rows; later steps may use all of them.
            x: the batch (B, *event).
        """
        ...


@runtime_checkable
class NeedsSamples(Protocol):
    """A baseline, an estimator or an objective made from several samples, which is not defined for fewer."""

    @property
    def fewest_samples(self) -> int:
        """The least number of samples that it works with."""
        ...


def require_samples(baseline: Baseline | None, num_samples: int) -> None:
    """Raise a `ValueError` if these are fewer samples than the baseline needs."""
    if isinstance(baseline, NeedsSamples) and num_samples < baseline.fewest_samples:
        raise ValueError(
            f"{type(baseline).__name__} needs num_samples ≥ {baseline.fewest_samples} and got {num_samples}: there is "
            "no other sample; draw more or use MovingAverage."
        )
