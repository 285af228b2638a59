"""The score-function estimator, REINFORCE: Williams (1992); Ranganath et al. (2014, arXiv:1401.0118, eq. 3).

For a value V = R(f(z_1), …, f(z_S)) of samples z_s ~ q_φ,

    ∇_φ E[V] = E[∇V at fixed z + Σ_s (V − b_s) ∇_φ log q_φ(z_s)]

for any b_s that does not depend on z_s, such as those of `baselines`. It needs only samples and a density, so that
latents may be discrete. Where V is linear in log w, the first term depends on φ only through a multiple of E[∇_φ log
q_φ] = 0, which is omitted: with `LeaveOneOut` the estimator then has no variance where q(z | x) = p(z | x).

Mnih & Gregor (2014, arXiv:1402.0030, §3.3) divide V − b_s by max(1, σ), with σ² its mean square over past steps, so
that the steps of plain gradient ascent do not shrink with the scale of the bound during training. This is `normalise`.
"""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution

from lowerbound.baselines import Baseline, LeaveOneOut, MovingAverage
from lowerbound.baselines.baseline import NeedsSamples, require_samples
from lowerbound.gradients.path_only import detach
from lowerbound.protocols import Estimate, JointDensity, Kind, Objective
from lowerbound.weights import weigh

__all__ = ["ScoreFunction", "with_guess", "without_score"]


class ScoreFunction(nn.Module):
    """Weighs the score of each sample by the difference of its signal and its baseline.

    Arguments:
        baseline: predicts the signal; `LeaveOneOut` needs at least two samples; None for no baseline (high variance). A
            learned baseline lowers its squared error in the same step, with a gradient separate from that of θ and φ.
        normalise: whether to divide by max(1, σ), as above.

    Gradient: unbiased for θ and φ, for every objective and every posterior with a density. With `normalise` the
    gradient for φ is the unbiased one times a number in (0, 1] that past steps determine: its direction is right but
    not its size relative to that of θ, so that `kind` is "biased". `normalise` is refused where it would divide only a
    part of the gradient.
    """

    cites: ClassVar[tuple[str, ...]] = ("williams1992simple", "ranganath2014black", "mnih2014neural")

    kind: Kind

    def __init__(self, baseline: Baseline | None = LeaveOneOut(), normalise: bool = False):  # noqa: B008  (frozen)
        super().__init__()
        self.baseline = baseline
        self.mean_square = MovingAverage() if normalise else None
        self.kind = "biased" if normalise else "unbiased"

    @property
    def works(self) -> tuple[str, ...]:
        """The normalised reward only where it is."""
        return self.cites[:2] if self.mean_square is None else self.cites

    @property
    def fewest_samples(self) -> int:
        """That its baseline needs of each datum."""
        return self.baseline.fewest_samples if isinstance(self.baseline, NeedsSamples) else 1

    def estimate(
        self, objective: Objective, posterior: Distribution, joint: JointDensity, num_samples: int
    ) -> Estimate:
        """See `protocols.Gradient`."""
        z = detach(posterior.sample(torch.Size((num_samples,))))
        log_q = posterior.log_prob(cast(Tensor, z))
        w = weigh(posterior, joint, z, rate=objective.rate, log_q=without_score(objective, log_q))
        signal = objective.signal(w)
        value = objective.reduce(signal)
        reward, error = self._reward(objective, signal.detach(), value.detach(), joint.x)
        score = (reward * (log_q - log_q.detach())).sum(0)
        return Estimate(surrogate=value + score - error, weights=w)

    def check(self, objective: Objective, posterior: Distribution, num_samples: int) -> None:
        """Accept every posterior with samples and a density; `normalise` only for the sampled ELBO."""
        require_samples(self.baseline, num_samples)
        if self.mean_square is not None and not _is_linear(objective):
            raise ValueError(
                f"ScoreFunction(normalise=True) got {objective}, whose gradient has a part that would not be divided; "
                "use ELBO(), or normalise=False."
            )

    def _reward(self, objective: Objective, signal: Tensor, value: Tensor, x: Tensor) -> tuple[Tensor, Tensor | float]:
        """V − b_s (sample, batch), a constant; and a zero whose gradient is that of the baseline's squared error."""
        reward, error = value.expand_as(signal), 0.0
        if self.baseline is not None:
            guess = self.baseline(signal, x)
            reward = value - with_guess(objective, signal, guess.detach())
            if guess.requires_grad:
                square = (signal - guess).square().mean(0)
                error = square - square.detach()
        if self.mean_square is not None:
            sigma = self.mean_square.level.sqrt().clamp(min=1.0)
            self.mean_square(reward.square(), x)
            reward = reward / sigma
        return reward, error


def without_score(objective: Objective, log_q: Float[Tensor, "sample batch"]) -> Float[Tensor, "sample batch"]:
    """log q(z | x) at fixed latents, as a constant where its gradient has expectation zero in the objective."""
    return log_q.detach() if _is_linear(objective) else log_q


def _is_linear(objective: Objective) -> bool:
    return objective.linear and objective.rate == "sampled"


def with_guess(objective: Objective, signal: Tensor, guess: Tensor) -> Tensor:
    """The values (sample, batch): in row s, that with the signal of sample s replaced by its baseline."""
    size, batch = signal.shape
    own = torch.eye(size, dtype=torch.bool, device=signal.device)[:, :, None]
    replaced = torch.where(own, guess[None], signal[:, None])  # (j, s, batch): column s has its s-th entry replaced
    return objective.reduce(replaced.reshape(size, size * batch)).reshape(size, batch)
