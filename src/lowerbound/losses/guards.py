"""Checks that every loss makes before the first step.

They find mistakes that would train without an error: values of x outside the support of the likelihood, a discrete
prior with a continuous posterior or the reverse, maximisation of an upper bound, normalisation over a batch, which
makes log p(x | z) of a row depend on other rows, so that it is no density, and probabilities where logits are expected.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.modules.batchnorm import _BatchNorm

from lowerbound.hooks import Layered, PointMass
from lowerbound.inference.families import check_support
from lowerbound.model import LatentVariableModel
from lowerbound.objectives import ChiDivergence
from lowerbound.protocols import Context, Gradient, Latents, Objective
from lowerbound.support import StatesFacts

__all__ = [
    "batch_norms",
    "check_direction",
    "check_point_mass",
    "check_same_kind",
    "refuse_batch_norm",
    "refuse_squashed_logits",
    "to_training",
]

_BOUNDED = {
    "Sigmoid": "a Sigmoid",
    "Softmax": "a Softmax",
    "Tanh": "a Tanh",
    "Relu": "a ReLU",
    "Softplus": "a Softplus",
    "Hardsigmoid": "a Hardsigmoid",
}
"""What autograd calls functions of bounded range; the bounds of clamp and Hardtanh are for the user to say."""

_RESHAPES = frozenset(
    ("View", "UnsafeView", "ReshapeAlias", "AsStrided", "Squeeze", "Unsqueeze", "Permute", "Transpose", "T", "Expand",
     "Clone", "Alias", "Slice", "Select", "Split", "Unbind", "Stack", "ToCopy")
)  # fmt: skip


def check_direction(objective: Objective, model: LatentVariableModel) -> None:
    """Refuse to maximise what is no lower bound for the parameters that learn."""
    name = type(objective).__name__
    if not isinstance(objective, Objective):
        raise ValueError(
            f"{name} is no objective: it needs the members bound, linear and rate beside signal and reduce "
            "(protocols.Objective)."
        )
    if objective.bound == "upper":
        raise ValueError(
            f"{name} is an upper bound of log p(x), which training would raise; read it after training, and train on "
            "ELBO() or IWAE()."
        )
    parts = [part for part in (model.prior, model.likelihood) if isinstance(part, nn.Module)]
    if isinstance(objective, ChiDivergence) and any(p.requires_grad for part in parts for p in part.parameters()):
        raise ValueError(
            f"{name} fits q to a p that is held fixed, and would lower log p(x); freeze the parameters of prior and "
            "likelihood (requires_grad_(False)), or train on ELBO() or IWAE()."
        )


def check_same_kind(q: Distribution, p: Distribution) -> None:
    """Refuse a discrete prior with a continuous posterior, or the reverse: log w would be no bound."""
    kinds = [_is_discrete(q), _is_discrete(p)]
    if None not in kinds and kinds[0] != kinds[1]:
        words = ["a probability" if kind else "a density" for kind in kinds]
        raise ValueError(
            f"q(z | x) is {words[0]} and p(z) is {words[1]}, so log p(z) − log q(z | x) bounds nothing; choose a prior "
            "and a posterior over the same latents (both continuous, both Bernoulli, or both categorical)."
        )
    if not kinds[0] and not isinstance(q, Layered) and not isinstance(p, Layered):
        check_support(q, p)
    if not isinstance(q, Layered) and not isinstance(p, Layered) and len(q.event_shape) != len(p.event_shape):
        raise ValueError(
            f"q(z | x) is over latents of shape {tuple(q.event_shape)} and p(z) over {tuple(p.event_shape)}; choose a "
            "prior and a posterior over the same latents."
        )


def check_point_mass(q: Distribution, gradient: Gradient) -> None:
    """Refuse an unbiased estimator where q has one value: the bound is constant in φ but for jumps, and φ rests."""
    if isinstance(q, PointMass) and gradient.kind != "biased":
        raise ValueError(
            f"{type(gradient).__name__} differentiates the probability of z, and a code has probability one whatever "
            "the encoder does, which would not learn; use Quantized()."
        )


def batch_norms(model: nn.Module) -> tuple[nn.Module, ...]:
    """The parts that normalise over the batch while they are in training mode."""
    return tuple(module for module in model.modules() if isinstance(module, _BatchNorm))


def to_training(loss: nn.Module, kept: Iterable[nn.Module]) -> None:
    """Set training mode, but for some parts that are kept in eval mode."""
    loss.train()
    for part in kept:
        part.eval()


def refuse_batch_norm(model: nn.Module) -> None:
    """Raise a `ValueError` if a part of the model normalises over the batch, as BatchNorm in training mode does."""
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and (module.training or module.running_mean is None):
            raise ValueError(
                f"{name} is a {type(module).__name__}, with which the density of one row depends on the other rows of "
                "its batch, so that there is no bound; use GroupNorm or LayerNorm, or keep it in eval mode."
            )


def refuse_squashed_logits(model: LatentVariableModel, z: Latents, context: Context | None) -> None:
    """Raise a `ValueError` if the net of a likelihood that reads logits ends in a Sigmoid, a Softmax or the like.

    Such a decoder trains without complaint, for its output is taken for logits: after a Sigmoid they are between 0 and
    1, and so every probability is between 0.5 and 0.73. It is refused and not warned of, since no data are modelled
    better by it than without its last function. Autograd knows the last operation, also where it is none of a module.
    A compiled net hides it, and is not looked into.

    Arguments:
        model: p and q.
        z: latents of some rows.
        context: of the model, for these rows.
    """
    likelihood = model.likelihood
    net = getattr(likelihood, "net", None)
    if not (isinstance(likelihood, StatesFacts) and likelihood.facts.any_real and isinstance(net, nn.Module)):
        return
    outputs: list[Tensor] = []
    hook = net.register_forward_hook(lambda module, inputs, output: outputs.append(output))  # type: ignore[arg-type]
    try:
        with torch.enable_grad():
            model.decode(_with_gradient(z), context)
    finally:
        hook.remove()
    function = _last_function(outputs[-1]) if outputs and isinstance(outputs[-1], Tensor) else None
    if function in _BOUNDED:
        name = type(likelihood).__name__
        raise ValueError(
            f"The net of {name} ends in {_BOUNDED[function]} and {name} takes logits, which are any real numbers; "
            f"leave it out, for {name} makes probabilities of logits itself."
        )


def _with_gradient(z: Latents) -> Latents:
    """Latents to which autograd keeps the way, also through a net whose parameters are frozen."""
    parts = z if isinstance(z, tuple) else (z,)
    kept = tuple(part.detach().requires_grad_() if part.is_floating_point() else part for part in parts)
    return kept if isinstance(z, tuple) else kept[0]


def _last_function(output: Tensor) -> str | None:
    """What autograd calls the last function that computed, changes of shape and of type apart."""
    node = output.grad_fn
    while node is not None and node.name().partition("Backward")[0] in _RESHAPES:
        node = next((before for before, _ in node.next_functions if before is not None), None)
    return None if node is None else node.name().partition("Backward")[0]


def _is_discrete(distribution: Distribution) -> bool | None:
    """Whether the values of the distribution are discrete; None if it does not say."""
    try:
        support = distribution.support
    except NotImplementedError:
        return None
    return None if support is None else bool(support.is_discrete)
