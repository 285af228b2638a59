"""The variance of log w: Richter et al. (2020, arXiv:2010.10436, eq. 5), and the variance loss of a VAE.

    L(x) = c Var_r[log w],      r any distribution,      estimated by c/(S−1) Σ_s (f_s − f̄)²,      f_s = log w_s

Where q(z | x) is the posterior, w = p(x) for every z and L = 0; where r has full support, only there. c = ½ is the
log-variance divergence, c = 1 the variance loss. Each datum has a mean f̄ of its own: one over the sum of a minibatch
would let the data share a baseline, and the variance of the gradient would grow with the batch.

With r = q and the samples taken as constants (`FixedSamples`), the gradient for φ is

    ∇_φ L = −2c/(S−1) Σ_s (f_s − f̄) ∇_φ log q(z_s | x)

which is −2c times the leave-one-out score-function estimator of the ELBO's: in expectation −2c ∇_φ ELBO (ibid.,
proposition 1). `Pathwise` and `ScoreFunction` differentiate through the sampling distribution as well, and have the
gradient of another function, Var_q, with the same zero.

For θ it is not the gradient of a likelihood: p(x) cancels in f_s − f̄, so that L asks that p's posterior be like q, and
nothing about how probable x is. By itself it does not fit data; `VarGrad` takes θ's gradient from the ELBO.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from lowerbound.objectives.require import sampled_log_w
from lowerbound.protocols import Bound
from lowerbound.weights import LogWeights, RateForm

__all__ = ["LogVariance"]


@dataclass(frozen=True)
class LogVariance:
    """Minus a multiple of the sample variance of log w, per datum, nats²: 0 where q is the posterior, else negative.

    Arguments:
        factor: c; ½ is the log-variance divergence, 1 the variance loss.

    Raises:
        ValueError: a factor that is not positive.
    """

    factor: float = 0.5
    bound: Bound = field(default="none", init=False, repr=False)
    linear: bool = field(default=False, init=False, repr=False)
    rate: RateForm = field(default="sampled", init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.factor > 0:
            raise ValueError(f"LogVariance got factor={self.factor} and needs a positive number, ½ or 1.")

    def signal(self, w: LogWeights) -> Float[Tensor, "sample batch"]:
        """log w.

        Raises:
            ValueError: weights whose rate is in closed form.
        """
        return sampled_log_w(w, "LogVariance")

    def reduce(self, signal: Float[Tensor, "sample batch"]) -> Float[Tensor, "batch"]:
        """−c times the sample variance.

        Raises:
            ValueError: one sample, which has no variance.
        """
        if signal.shape[0] < 2:
            raise ValueError("LogVariance got num_samples=1 and needs at least 2, for a variance; draw more.")
        return -self.factor * signal.var(0)
