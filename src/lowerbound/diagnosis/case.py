"""A model with its data, and the measurements that several findings share. Each is made once, and only if needed."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from lowerbound.diagnosis.refit import Refit
from lowerbound.evaluate import Estimates, Evidence, Summary, log_evidence, summary
from lowerbound.evaluate.batches import context_rows
from lowerbound.evaluate.missing import of_gaps
from lowerbound.gradients import Pathwise, ScoreFunction
from lowerbound.inference import Local
from lowerbound.losses import Loss
from lowerbound.losses.loss import first_two
from lowerbound.model import LatentVariableModel
from lowerbound.objectives import ELBO, IWAE
from lowerbound.protocols import Context, JointDensity, Objective
from lowerbound.randomness import forked
from lowerbound.verbs.evidence_name import evidence_name
from lowerbound.weights import weigh

__all__ = ["LEAST_ALLOWANCE", "SHARE_OF_RATE", "Case", "error_of_mean", "over_reals"]

_FEWEST_REFINED, _MOST_REFINED, _MOST_NUMBERS = 20, 100, 2**19
SHARE_OF_RATE, LEAST_ALLOWANCE = 0.15, 0.5
"""The loss that is allowed to inference: a share of the rate, and at least half a nat.

The healthy fits of Cremer, Li & Duvenaud (2018, table 2, MNIST) lose 1.5 to 2 nats by amortisation at a rate near 25.
"""
_IMPORTANCE_SAMPLES = 256
_STEPS, _DISCRETE_SAMPLES, _DRAWS, _FEWEST_REPEATS = 300, 8, 256, 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A model and its data, to be examined.

    Arguments:
        model: p and q, in eval mode, on the device of the rows.
        x_train: rows it was trained on, as the likelihood scores them; a few hundred to a few thousand.
        x_held_out: rows it was not trained on.
        context_train: of the model, one row for each of x_train; None for a model without a context.
        context_held_out: the same for x_held_out.
        loss: how it was trained, for the noise of the gradient; it holds the same model.
        batch_size: rows of a training step.
        told: what the loss is given beside x_train (labels, −1 where there is none); None if that is the context.
        x_against: rows of other data that the model should find unlikely.
        context_against: of the model, one row for each of x_against.
        against: the name of those data.
        refit: the command that fits it again, for remedies.
        seed: of all draws.

    Raises:
        ValueError: fewer than two rows of a kind, or a context of another length.
    """

    model: LatentVariableModel
    x_train: Float[Tensor, "row *event"]
    x_held_out: Float[Tensor, "batch *event"]
    context_train: Context | None = None
    context_held_out: Context | None = None
    loss: Loss | None = None
    told: Context | None = None
    batch_size: int = 128
    x_against: Float[Tensor, "other *event"] | None = None
    context_against: Context | None = None
    against: str = "other data"
    refit: Refit = field(default_factory=Refit)
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse fewer rows than a standard error needs."""
        for name in ("x_train", "x_held_out", "x_against"):
            rows = getattr(self, name)
            if rows is not None and len(rows) < 2:
                raise ValueError(f"Case got {len(rows)} row in {name} and needs two or more for a standard error.")
            context = getattr(self, name.replace("x_", "context_"))
            for part in context if isinstance(context, tuple) else () if context is None else (context,):
                if rows is None or len(part) != len(rows):
                    told = "none" if rows is None else len(rows)
                    raise ValueError(f"Case got {len(part)} rows of context and {told} in {name}; give one for each.")

    @cached_property
    def posterior(self) -> Distribution:
        """q(z | x) of two rows, which shows the kind of distribution."""
        with torch.no_grad():
            return self.model.infer(*first_two(self.x_held_out, self.context_held_out))

    @cached_property
    def prior(self) -> Distribution:
        """p(z), or p(z | c) of two rows where it depends on the context."""
        with torch.no_grad():
            return self.model.joint(*first_two(self.x_held_out, self.context_held_out)).prior

    @cached_property
    def summary(self) -> Summary:
        """Rate, distortion and active latents of test rows."""
        return summary(self.model, self.x_held_out, context=self.context_held_out, seed=self.seed)

    @property
    def evidence_name(self) -> str:
        """What the model scores rows by."""
        return evidence_name(of_gaps(self.model))

    @property
    def num_refined(self) -> int:
        """The rows for which q is optimised: 100, which makes the standard error a tenth of the spread over rows, and
        fewer where they have more than 5,000 numbers each, but 20.
        """
        return max(_FEWEST_REFINED, min(_MOST_REFINED, _MOST_NUMBERS // self.x_held_out[0].numel()))

    @property
    def allowance(self) -> float:
        """Nats above which a loss counts: 15 % of the rate, at least half a nat."""
        return max(LEAST_ALLOWANCE, SHARE_OF_RATE * self.summary.rate)

    @cached_property
    def evidence_train(self) -> Evidence:
        """log p̂(x) of as many training rows as are held out."""
        rows = slice(len(self.x_held_out))
        return self._evidence(self.x_train[rows], context_rows(self.context_train, rows))

    @cached_property
    def evidence_held_out(self) -> Evidence:
        """log p̂(x) of test rows."""
        return self._evidence(self.x_held_out, self.context_held_out)

    @property
    def num_samples(self) -> int:
        """Latents that training drew for each datum."""
        return int(getattr(self.loss, "num_samples", 1))

    @cached_property
    def objective(self) -> Objective:
        """The objective of training, in eval mode; the ELBO if the loss has none."""
        objective = getattr(self.loss, "objective", None)
        if not isinstance(objective, Objective):
            return ELBO()
        objective = copy.deepcopy(objective)
        return cast(Objective, objective.eval()) if isinstance(objective, nn.Module) else objective

    @cached_property
    def refined_train(self) -> tuple[Estimates, Estimates]:
        """The objective at q and at the best q*, for training rows."""
        return self._refined(self.x_train, self.context_train, self.objective)

    @cached_property
    def refined_held_out(self) -> tuple[Estimates, Estimates]:
        """The objective at q and at the best q*, for test rows."""
        return self._refined(self.x_held_out, self.context_held_out, self.objective)

    @cached_property
    def best_bound(self) -> Estimates:
        """The bound at the best q*, for test rows: the ELBO, or L_K if training took K draws."""
        bound = ELBO() if self.objective.linear else IWAE()
        if type(bound) is type(self.objective):
            return self.refined_held_out[1]
        return self._refined(self.x_held_out, self.context_held_out, bound)[1]

    @cached_property
    def evidence_against(self) -> Evidence:
        """log p̂(x) of the other data."""
        assert self.x_against is not None
        return self._evidence(self.x_against, self.context_against)

    def _evidence(self, x: Tensor, context: Context | None) -> Evidence:
        return log_evidence(self.model, x, num_samples=_IMPORTANCE_SAMPLES, context=context, seed=self.seed)

    @torch.no_grad()
    def _refined(self, x: Tensor, context: Context | None, objective: Objective) -> tuple[Estimates, Estimates]:
        """The objective at q and at q*, each at fresh draws."""
        x, context = x[: self.num_refined], context_rows(context, slice(self.num_refined))
        size = 1 if objective.linear else self.num_samples
        gradient = Pathwise() if self.posterior.has_rsample else ScoreFunction()
        draws = size if self.posterior.has_rsample else max(size, _DISCRETE_SAMPLES)
        refine = Local(num_steps=_STEPS, num_samples=draws, objective=objective, gradient=gradient)
        with forked(x.device, self.seed):
            best, joint = refine(self.model, x, context), self.model.joint(x, context)
            own = self.model.infer(x, context)
            return _value(objective, own, joint, size), _value(objective, best, joint, size)


def _value(objective: Objective, q: Distribution, joint: JointDensity, size: int) -> Estimates:
    """The objective of `size` draws, repeated."""
    repeats = []
    for _ in range(max(_FEWEST_REPEATS, _DRAWS // size)):
        w = weigh(q, joint, q.sample(torch.Size((size,))), rate=objective.rate)
        repeats.append(objective.reduce(objective.signal(w)).double())
    values = torch.stack(repeats)
    return Estimates(values=values.mean(0), standard_error=values.std(0) / math.sqrt(len(values)))


def error_of_mean(values: Tensor) -> float:
    """The standard error of the mean over rows."""
    return values.double().std().item() / math.sqrt(len(values))


def over_reals(distribution: Distribution) -> bool:
    """Whether the values are real vectors, also of a mixture; or the distribution does not say."""
    try:
        support: object = distribution.support
    except (NotImplementedError, AttributeError):
        return True
    while (inner := getattr(support, "base_constraint", None)) is not None:
        support = inner
    return support is None or support is constraints.real
