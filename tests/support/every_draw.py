"""An estimator on every draw that it could make: its exact mean and variance, for a few discrete latents.

The sample of q is replaced by all S-tuples of states, one for each row of a batch of copies of one datum. Each row has
logits of its own, so that one backward pass gives the gradient of every draw.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent, OneHotCategorical

from lowerbound.exact.expectation import expectation
from lowerbound.model import LatentVariableModel
from lowerbound.protocols import Gradient, Objective
from lowerbound.weights import weigh


class Fixed(Independent):
    """A product whose samples are given."""

    def __init__(self, base: Distribution, z: Tensor):
        super().__init__(base, 1, validate_args=False)
        self.z = z

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        assert tuple(sample_shape) == self.z.shape[:1]
        return self.z


@dataclass(frozen=True)
class EveryDraw:
    """Gradients of the surrogate at every draw, for the logits (draw, *logits), and their probabilities (draw,)."""

    gradients: Tensor
    probability: Tensor
    theta: Tensor
    value: Tensor

    @property
    def mean(self) -> Tensor:
        return torch.einsum("m,m...->...", self.probability, self.gradients)

    @property
    def variance(self) -> Tensor:
        return torch.einsum("m,m...->...", self.probability, (self.gradients - self.mean).square())


def every_draw(
    model: LatentVariableModel,
    x: Tensor,
    states: Tensor,
    estimator: Gradient,
    objective: Objective,
    num_samples: int,
    logits: Tensor | None = None,
) -> EveryDraw:
    """Arguments: x (1, data); states (state, *event); logits of q at x, if not those of the model."""
    logits = logits_of(model, x) if logits is None else logits
    index = torch.cartesian_prod(*[torch.arange(len(states))] * num_samples).reshape(-1, num_samples)
    z = states[index.mT]
    leaf = logits.expand(len(index), *logits.shape).clone().requires_grad_()
    q = Fixed(base_of(leaf, states), z)
    estimate = estimator.estimate(objective, q, model.joint(x.expand(len(index), -1)), num_samples)
    probability = q.log_prob(z).sum(0).exp().detach()
    (gradients,) = torch.autograd.grad(estimate.surrogate.sum(), leaf, retain_graph=True)
    value = (probability * estimate.surrogate).sum()
    return EveryDraw(gradients, probability, torch.cat([g.flatten() for g in _grad(value, model)]), value.detach())


def exact(
    model: LatentVariableModel,
    x: Tensor,
    states: Tensor,
    objective: Objective,
    num_samples: int,
    logits: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The value of the objective and its gradients for the logits and for θ, by summing over all draws."""
    logits = logits_of(model, x) if logits is None else logits
    leaf = logits.clone().requires_grad_()
    z = states[:, None]
    q = Independent(base_of(leaf[None], states), 1, validate_args=False)
    w = weigh(q, model.joint(x), z, rate=objective.rate)
    value = expectation(objective, w, q.log_prob(z), num_samples).sum()
    (gradient,) = torch.autograd.grad(value, leaf, retain_graph=True)
    return value.detach(), gradient, torch.cat([g.flatten() for g in _grad(value, model)])


def logits_of(model: LatentVariableModel, x: Tensor) -> Tensor:
    """The logits of q(z | x) for one datum."""
    q = model.infer(x)
    assert isinstance(q, Independent)
    return q.base_dist.logits[0].detach()


def base_of(logits: Tensor, states: Tensor) -> Distribution:
    """Factors with these logits, of the kind of these states."""
    kind = Bernoulli if states.ndim == 2 else OneHotCategorical
    return kind(logits=logits, validate_args=False)


def _grad(value: Tensor, model: LatentVariableModel) -> tuple[Tensor, ...]:
    theta = [*model.prior.parameters(), *model.likelihood.parameters()]
    gradients = torch.autograd.grad(value, theta, retain_graph=True, allow_unused=True)
    return tuple(torch.zeros_like(p) if g is None else g for p, g in zip(theta, gradients, strict=True))
