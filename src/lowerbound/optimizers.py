"""Optimisers by choice: small values that make a `torch.optim` optimiser from parameters.

    train(loss, x, num_steps=1000, optimizer=optimizers.AdamW(weight_decay=0.01))

The loop sets the learning rate of every group at every step, times the `lr_factor` of the group if it has one. A group
that a function gave another `lr` than its optimiser has learns at that multiple: of `AdamW([{"params": p, "lr": 1e-4},
{"params": q}], lr=1e-3)` the first learns at a tenth of the rate of the second, which is that of `train`. A module
that states `lr_factor` (see `protocols.HasOwnRate`) has its own group, and one that states `optimizer_beta1` its own
momentum under Adam and its kin. Any function from parameters to an optimiser can replace these, such as
`torch.optim.RAdam`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from lowerbound.protocols import HasOwnMomentum, HasOwnRate
from lowerbound.spelling import construct

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Adamax",
    "MakeOptimizer",
    "load_optimizer_tensors",
    "optimizer_for",
    "optimizer_of",
    "optimizer_tensors",
    "parameter_groups",
]

MakeOptimizer: TypeAlias = Callable[[list[Any]], torch.optim.Optimizer]
"""From parameters, or from groups of them (dicts with "params" and "lr_factor"), as `torch.optim` takes both."""


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam (Kingma & Ba 2015, arXiv:1412.6980, Algorithm 1), fused.

    Arguments:
        beta1, beta2: decays of the two moments.
        eps: added to the root of the second.
        weight_decay: times a parameter, added to its gradient; for decay that Adam does not rescale take `AdamW`.
    """

    cites: ClassVar[tuple[str, ...]] = ("kingma2015adam",)

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check_numbers("adam", least_0=[self.eps, self.weight_decay], below_1=[self.beta1, self.beta2])

    def __call__(self, parameters: list[Any]) -> torch.optim.Optimizer:
        """The optimiser of these parameters."""
        return torch.optim.Adam(
            parameters, betas=(self.beta1, self.beta2), eps=self.eps, weight_decay=self.weight_decay, fused=True
        )


@dataclass(frozen=True, kw_only=True)
class AdamW:
    """Adam with weight decay apart from the gradient (Loshchilov & Hutter 2019, arXiv:1711.05101, Algorithm 2), fused.

    Arguments:
        beta1, beta2, eps: as in `Adam`.
        weight_decay: every step subtracts lr times this times the parameter.
    """

    cites: ClassVar[tuple[str, ...]] = ("loshchilov2019decoupled",)

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        _check_numbers("adamw", least_0=[self.eps, self.weight_decay], below_1=[self.beta1, self.beta2])

    def __call__(self, parameters: list[Any]) -> torch.optim.Optimizer:
        """The optimiser of these parameters."""
        return torch.optim.AdamW(
            parameters, betas=(self.beta1, self.beta2), eps=self.eps, weight_decay=self.weight_decay, fused=True
        )


@dataclass(frozen=True, kw_only=True)
class Adamax:
    """Adam with the largest recent gradient in place of the second moment (Kingma & Ba 2015, arXiv:1412.6980,
    Algorithm 2).

    Arguments:
        beta1, beta2, eps, weight_decay: as in `Adam`.
    """

    cites: ClassVar[tuple[str, ...]] = ("kingma2015adam",)

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check_numbers("adamax", least_0=[self.eps, self.weight_decay], below_1=[self.beta1, self.beta2])

    def __call__(self, parameters: list[Any]) -> torch.optim.Optimizer:
        """The optimiser of these parameters."""
        return torch.optim.Adamax(
            parameters, betas=(self.beta1, self.beta2), eps=self.eps, weight_decay=self.weight_decay
        )


@dataclass(frozen=True, kw_only=True)
class SGD:
    """Stochastic gradient descent (Robbins & Monro 1951).

    Arguments:
        momentum: μ in v ← μ v + g.
        nesterov: whether the momentum looks ahead.
        weight_decay: times a parameter, added to its gradient.
    """

    cites: ClassVar[tuple[str, ...]] = ("robbins1951stochastic",)

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check_numbers("sgd", least_0=[self.momentum, self.weight_decay])
        if self.nesterov and self.momentum == 0:
            raise ValueError("sgd got nesterov=True without momentum; give momentum=0.9 too.")

    def __call__(self, parameters: list[Any]) -> torch.optim.Optimizer:
        """The optimiser of these parameters."""
        return torch.optim.SGD(
            parameters, lr=1e-3, momentum=self.momentum, nesterov=self.nesterov, weight_decay=self.weight_decay
        )


def _check_numbers(name: str, *, least_0: Sequence[float], below_1: Sequence[float] = ()) -> None:
    """Refuse what torch would refuse.

    Raises:
        ValueError: a negative number, one beyond float32, or a decay of 1 and more.
    """
    if not all(value <= torch.finfo(torch.float32).max for value in least_0):
        raise ValueError(f"{name} takes numbers up to 3.4e38, the largest of float32, and got {max(least_0):g}.")
    if not all(value >= 0 for value in (*least_0, *below_1)) or not all(value < 1 for value in below_1):
        raise ValueError(f"{name} takes beta1 and beta2 from 0 to below 1 and no negative number; leave them out.")


def optimizer_of(choice: str | MakeOptimizer | None) -> MakeOptimizer:
    """The maker of an optimiser: words select a class with its options, None selects Adam.

    >>> optimizer_of("sgd:momentum=0.9")
    SGD(momentum=0.9, nesterov=False, weight_decay=0.0)

    Raises:
        ValueError: another name, or an option that it has not.
    """
    if choice is None:
        return Adam()
    if isinstance(choice, torch.optim.Optimizer):
        raise ValueError(
            f"train got an {type(choice).__name__} that has its parameters already; give a function that makes one of "
            "parameters, as in optimizer=torch.optim.Adam, or a name with options."
        )
    if not isinstance(choice, str):
        return choice
    from lowerbound import optimizers

    return construct(optimizers, choice)


def parameter_groups(loss: nn.Module) -> list[Any]:
    """The parameters that learn, or groups of them if some have a rate or a momentum of their own; in the order of
    `parameters()`.
    """
    own: dict[nn.Parameter, tuple[float, float | None]] = {p: (1.0, None) for p in loss.parameters() if p.requires_grad}
    for module in loss.modules():  # from the outside in, so that the innermost has the last word
        trained = [p for p in module.parameters() if p.requires_grad]
        if isinstance(module, HasOwnRate):
            own.update({p: (module.lr_factor, own[p][1]) for p in trained})
        if isinstance(module, HasOwnMomentum):
            own.update({p: (own[p][0], module.optimizer_beta1) for p in trained})
    groups: dict[tuple[float, float | None], list[nn.Parameter]] = {}
    for p, settings in own.items():
        groups.setdefault(settings, []).append(p)
    if set(groups) <= {(1.0, None)}:
        return list(own)
    return [{"params": group, "lr_factor": lr, "own_beta1": beta1} for (lr, beta1), group in groups.items()]


def optimizer_for(loss: nn.Module, make_optimizer: MakeOptimizer) -> torch.optim.Optimizer:
    """The optimiser of the parameters of a loss that learn, with the rate and the momentum that a group has of its own.

    Raises:
        ValueError: a group with an lr, of an optimiser whose own is 0.
    """
    optimizer = make_optimizer(parameter_groups(loss))
    usual = optimizer.defaults.get("lr")
    for group in optimizer.param_groups:
        if usual is not None and "lr_factor" not in group and group["lr"] != usual:
            if not usual > 0:
                raise ValueError(f"A group has lr={group['lr']} and its optimiser lr={usual}; give it one above 0.")
            group["lr_factor"] = float(group["lr"]) / float(usual)
        if group.get("own_beta1") is not None and "betas" in group:
            group["betas"] = (group["own_beta1"], group["betas"][1])
    return optimizer


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimiser by the number of the parameter and its name."""
    state = optimizer.state_dict()["state"]
    return {f"{i}/{key}": value for i, entry in state.items() for key, value in entry.items() if value is not None}


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Load the result of `optimizer_tensors`, each tensor laid out in memory like its parameter: a fused update pairs
    numbers by their place in memory, and weights of convolutions lie with their channels last.

    Raises:
        ValueError: they are of other parameters.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition("/")
        known = index.isdecimal() and int(index) < len(parameters)
        like = parameters[int(index)] if known else None
        if like is None or tensor.shape not in (like.shape, ()):
            raise ValueError(f"The optimiser has no parameter {index} of the shape {tuple(tensor.shape)}.")
        if tensor.shape == like.shape:
            tensor = torch.empty_like(like, dtype=tensor.dtype, requires_grad=False).copy_(tensor)
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
