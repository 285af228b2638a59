"""The update of torch's fused Adam on a CPU, without what torch looks up in each step.

`torch.optim.Adam.step` collects its lists of tensors, groups them and opens a profiler range in every step, which for a
small net takes four times as long as the update. Here the lists are collected once. The first update is torch's own,
which makes the state; the later ones are the same call of the same kernel, with the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["DirectAdam", "has_direct_update"]


def has_direct_update(optimizer: torch.optim.Optimizer) -> bool:
    """Whether an optimiser is a fused Adam over float32 parameters on a CPU."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return (
        type(optimizer) is torch.optim.Adam
        and all(group["fused"] and not group["amsgrad"] and not group["maximize"] for group in optimizer.param_groups)
        and all(p.device.type == "cpu" and p.dtype == torch.float32 for p in parameters)
    )


@dataclass(frozen=True)
class _Group:
    """One group of parameters and its state."""

    options: dict[str, Any]
    parameters: list[Tensor]
    means: list[Tensor]
    squares: list[Tensor]
    counts: list[Tensor]


class DirectAdam:
    """Updates the parameters and the state of an optimiser in place.

    Arguments:
        optimizer: one for which `has_direct_update`; its state must not be replaced after the first update.
    """

    def __init__(self, optimizer: torch.optim.Optimizer):
        self._optimizer = optimizer
        self._groups: list[_Group] | None = None

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter by its gradient; torch does it where one has none."""
        groups = self._groups
        gradients = [[p.grad for p in group.parameters if p.grad is not None] for group in groups or ()]
        if groups is None or any(len(g) < len(group.parameters) for g, group in zip(gradients, groups, strict=True)):
            self._optimizer.step()
            self._groups = self._collected()
            return
        left_out: Tensor | None = getattr(self._optimizer, "found_inf", None)  # 1 where nothing may change
        for group, found in zip(groups, gradients, strict=True):
            options = group.options
            torch._foreach_add_(group.counts, 1)  # pyright: ignore[reportPrivateImportUsage]
            torch._fused_adam_(  # pyright: ignore[reportPrivateImportUsage]
                group.parameters,
                found,
                group.means,
                group.squares,
                [],
                group.counts,
                lr=options["lr"],
                beta1=options["betas"][0],
                beta2=options["betas"][1],
                weight_decay=options["weight_decay"],
                eps=options["eps"],
                amsgrad=False,
                maximize=False,
                found_inf=left_out,
            )
            if left_out is not None:
                torch._foreach_sub_(group.counts, [left_out] * len(group.counts))  # pyright: ignore[reportPrivateImportUsage]

    def _collected(self) -> list[_Group] | None:
        """The lists of each group; None until each parameter has a state."""
        state = self._optimizer.state
        found = []
        for options in self._optimizer.param_groups:
            parameters = options["params"]
            if not all(state.get(p) for p in parameters):
                return None
            lists = ([state[p][key] for p in parameters] for key in ("exp_avg", "exp_avg_sq", "step"))
            found.append(_Group(options, parameters, *lists))
        return found
