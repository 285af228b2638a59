"""A model with its data, and the measurements that several findings share, each made once and only if asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.diagnosis.refit import Refit
from lowerbound.evaluate import Evidence, PerDatum, Summary, log_evidence, summary
from lowerbound.evaluate.gaps import refined_elbos
from lowerbound.gradients import Pathwise, ScoreFunction
from lowerbound.inference import Local
from lowerbound.losses import Loss
from lowerbound.model import LatentVariableModel

__all__ = ["LEAST_ALLOWANCE", "MOST_REFINED", "SHARE_OF_RATE", "Case", "error_of_mean"]

MOST_REFINED = 100
"""Rows for which q is optimised: enough for a standard error of a tenth of the spread over rows."""
SHARE_OF_RATE, LEAST_ALLOWANCE = 0.15, 0.5
"""What inference may lose: nats in proportion to what the code costs at all, and never less than half a nat.

The healthy fits of Cremer, Li & Duvenaud (2018, table 2, MNIST) lose 1.5 to 2 nats by amortisation at a rate near 25.
"""
_IMPORTANCE_SAMPLES = 256
_STEPS, _DISCRETE_SAMPLES, _ELBO_SAMPLES = 300, 8, 256


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """What is examined.

    Arguments:
        model: p and q, in eval mode, on the device of the rows.
        x_train: rows it was trained on, as the likelihood scores them; a few hundred to a few thousand.
        x_held_out: rows it was not trained on.
        loss: how it was trained, for the noise of the gradient; it holds the same model.
        batch_size: rows of a training step.
        x_against: rows of other data that the model should find unlikely.
        against: what those are called.
        refit: the command that fits it again, for remedies.
        seed: of all draws.

    Raises:
        ValueError: fewer than two rows of a kind.
    """

    model: LatentVariableModel
    x_train: Float[Tensor, "row *event"]
    x_held_out: Float[Tensor, "batch *event"]
    loss: Loss | None = None
    batch_size: int = 128
    x_against: Float[Tensor, "other *event"] | None = None
    against: str = "other data"
    refit: Refit = field(default_factory=Refit)
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse rows too few for a standard error."""
        for name in ("x_train", "x_held_out", "x_against"):
            rows = getattr(self, name)
            if rows is not None and len(rows) < 2:
                raise ValueError(f"Case got {len(rows)} row in {name} and needs two or more for a standard error.")

    @cached_property
    def posterior(self) -> Distribution:
        """q(z | x) of two rows, to ask what kind it is."""
        with torch.no_grad():
            return self.model.infer(self.x_held_out[:2])

    @cached_property
    def summary(self) -> Summary:
        """Rate, distortion and active latents of held-out rows."""
        return summary(self.model, self.x_held_out, seed=self.seed)

    @property
    def allowance(self) -> float:
        """Nats above which a loss counts: 15 % of the rate, at least half a nat."""
        return max(LEAST_ALLOWANCE, SHARE_OF_RATE * self.summary.rate)

    @cached_property
    def evidence_train(self) -> Evidence:
        """log p̂(x) of training rows, as many as are held out."""
        return self._evidence(self.x_train[: len(self.x_held_out)])

    @cached_property
    def evidence_held_out(self) -> Evidence:
        """log p̂(x) of held-out rows."""
        return self._evidence(self.x_held_out)

    @cached_property
    def refined_train(self) -> tuple[PerDatum, PerDatum]:
        """L[q] and L[q*] of training rows."""
        return self._refined(self.x_train)

    @cached_property
    def refined_held_out(self) -> tuple[PerDatum, PerDatum]:
        """L[q] and L[q*] of held-out rows."""
        return self._refined(self.x_held_out)

    @cached_property
    def evidence_against(self) -> Evidence:
        """log p̂(x) of the other data."""
        assert self.x_against is not None
        return self._evidence(self.x_against)

    def _evidence(self, x: Tensor) -> Evidence:
        return log_evidence(self.model, x, num_samples=_IMPORTANCE_SAMPLES, seed=self.seed)

    def _refined(self, x: Tensor) -> tuple[PerDatum, PerDatum]:
        if self.posterior.has_rsample:
            refine = Local(num_steps=_STEPS, gradient=Pathwise())
        else:
            refine = Local(num_steps=_STEPS, num_samples=_DISCRETE_SAMPLES, gradient=ScoreFunction())
        x = x[:MOST_REFINED]
        return refined_elbos(self.model, x, refine=refine, num_samples=_ELBO_SAMPLES, seed=self.seed)


def error_of_mean(values: Tensor) -> float:
    """The standard error of the mean over rows."""
    return values.double().std().item() / math.sqrt(len(values))
