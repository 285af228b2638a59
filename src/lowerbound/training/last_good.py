"""The state of a run at its last record, for when the next one meets a number that is not finite.

The tensors are made once and overwritten in place, on the device where they are: at a record, where the loop waits for
the device anyway. The best weights are not among them, because a bad number never reaches them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["LastGood"]


class LastGood:
    """Groups of named tensors and the loop's own numbers, as they were when `keep` was called last.

    Attributes:
        groups: of tensors, by the name of the group.
        numbers: those of the loop; empty before the first `keep`.
    """

    def __init__(self) -> None:
        self.groups: dict[str, dict[str, Tensor]] = {}
        self.numbers: dict[str, Any] = {}

    @torch.no_grad()
    def keep(self, groups: dict[str, dict[str, Tensor]], numbers: dict[str, Any]) -> None:
        """Copy what is there now."""
        for group, tensors in groups.items():
            kept = self.groups.setdefault(group, {})
            for name, tensor in tensors.items():
                if name in kept:
                    kept[name].copy_(tensor)
                else:
                    kept[name] = tensor.detach().clone()
        self.numbers = numbers
