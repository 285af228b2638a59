"""Semi-amortised inference: Kim, Wiseman, Miller, Sontag & Rush (2018, arXiv:1802.02550, Algorithm 1).

    λ_0 = enc_φ(x),      λ_{k+1} = λ_k + α ∇_λ ELBO(λ_k, θ; x),      k = 0, …, K − 1

and the model is trained on the bound at λ_K. Its total derivatives go through the steps,

    dL/dλ_k = dL/dλ_{k+1} + α (∂²ELBO/∂λ²) dL/dλ_{k+1},      dL/dθ += α (∂²ELBO/∂θ ∂λ) dL/dλ_{k+1}

so that the training of encoder and decoder takes the steps into account. Automatic differentiation gives the products
of second derivatives with a vector exactly, at about the cost of two more gradients per step; the paper approximates
them by finite differences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.gradients import Pathwise
from lowerbound.inference.families import Family, check_support, free_parameters
from lowerbound.inference.local import require_steps
from lowerbound.inference.path import keep
from lowerbound.inference.scheme import gradients_enabled, recordable
from lowerbound.model import LatentVariableModel
from lowerbound.objectives import ELBO
from lowerbound.posteriors.mixture_normal import MixtureNormalDistribution
from lowerbound.protocols import Context, Objective

__all__ = ["SemiAmortised"]


@dataclass(frozen=True)
class SemiAmortised:
    """A few gradient steps from the encoder's q(z | x), through which training differentiates.

    Arguments:
        num_steps: K.
        lr: α, in the units of λ.
        num_samples: latents drawn per datum and step.
        family: "own" (that of the model's posterior), "diagonal" or "full" Gaussian: see `families`.
        objective: what the steps maximise, by the pathwise gradient.

    Gradient: that of the bound at λ_K for given inner draws, second derivatives included, for θ and φ.

    Raises:
        ValueError: no steps or samples, or a family whose draws cannot be differentiated twice.
    """

    cites: ClassVar[tuple[str, ...]] = ("kim2018semi",)

    num_steps: int = 10
    lr: float = 0.05
    num_samples: int = 1
    family: Family = "own"
    objective: Objective = ELBO()  # noqa: RUF009  (frozen, shared safely)

    def __post_init__(self) -> None:
        """Refuse numbers that are too small."""
        require_steps("SemiAmortised", self.num_steps, self.num_samples, self.lr)

    def __call__(self, model: LatentVariableModel, x: Tensor, context: Context | None = None) -> Distribution:
        """See `InferenceScheme`."""
        trained = torch.is_grad_enabled()
        with gradients_enabled():
            x, context = recordable(x, context)
            with torch.set_grad_enabled(trained):
                free, head = free_parameters(model, x, context, self.family, "encoder")
                joint = model.joint(x, context)
                check_support(head(free), joint.prior)
                _check(self.objective, head(free), self.num_samples)
            for _ in range(self.num_steps):
                free = free if free.requires_grad else free.detach().requires_grad_()
                keep(free, head)
                value = Pathwise().estimate(self.objective, head(free), joint, self.num_samples).surrogate
                (step,) = torch.autograd.grad(value.sum(), free, create_graph=trained)
                free = free + self.lr * step
                free = free if trained else free.detach()
        keep(free, head)
        return head(free)


def _check(objective: Objective, q: Distribution, num_samples: int) -> None:
    Pathwise().check(objective, q, num_samples)
    if isinstance(q, MixtureNormalDistribution):  # its draws differentiate implicitly, once
        raise ValueError(
            "SemiAmortised needs draws that differentiate twice and those of MixtureNormal do so once; "
            "use family='full', or Local()."
        )
