"""Updates that are left out because their gradient is far larger than usual.

    an update is taken where  ‖g_t‖ ≤ c · median(‖g_s‖ of the last 100 steps)

In very deep hierarchies a gradient is now and then larger than usual by orders of magnitude, and one such update can
undo thousands. Child (2021, arXiv:2011.10650) skips those above a fixed norm, by which a run whose norms stay
above it never learns again. Here the norms of skipped steps count in the median like all others: if norms stay high,
the median has followed after half of its steps. A norm that is not finite ends training, skipped or not
(`history.NonFiniteError`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

__all__ = ["Skipping"]

_LENGTH, _FEWEST = 100, 20


class Skipping:
    """Which updates are left out, and how many were.

    Arguments:
        above: c, more than 1; 10 leaves out what is clearly no usual gradient.
        device: of the norms.

    Raises:
        ValueError: c of 1 or less, or not finite.
    """

    def __init__(self, above: float, device: torch.device):
        if not 1 < above < float("inf"):
            raise ValueError(f"skip_above is {above} and expected a number above 1, times the usual norm; use 10.")
        self.above = above
        self.tensors = {
            "norms": torch.full((_LENGTH,), torch.nan, device=device),
            "count": torch.zeros((), dtype=torch.long, device=device),
        }

    @property
    def count(self) -> int:
        """The number of updates that were left out so far; this waits for the device."""
        return int(self.tensors["count"])

    def limit(self) -> Tensor:
        """The largest norm of the next update; infinite before 20 norms are known."""
        norms = self.tensors["norms"]
        known = norms.isfinite().sum() >= _FEWEST
        return torch.where(known, self.above * norms.nanmedian(), norms.new_tensor(torch.inf))

    @torch.no_grad()
    def observe(self, norm: Tensor, taken: Tensor) -> None:
        """Remember the norm () of a step, and whether its update was taken (); this does not wait for the device."""
        norms = self.tensors["norms"]
        kept = torch.where(norm.isfinite(), norm, torch.nan).to(norms)
        norms.copy_(torch.cat([norms[1:], kept[None]]))
        self.tensors["count"].add_((~taken).long())

    @staticmethod
    @contextmanager
    def told(optimizer: torch.optim.Optimizer, taken: Tensor) -> Iterator[bool]:
        """Within this context the update of a fused optimiser of torch changes nothing unless it is `taken` (); whether
        it is such an optimiser.

        Its kernel reads on the device what torch's gradient scaler would write there: 1 leaves parameters and moments
        as they are, and the counts of steps go back by it. A class of one's own is not told, whose step may do more
        than call the kernel.
        """
        if not _is_fused_by_torch(optimizer):
            yield False
            return
        vars(optimizer)["found_inf"] = (~taken).float()
        try:
            yield True
        finally:
            del vars(optimizer)["found_inf"]

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Load what was saved.

        Raises:
            ValueError: tensors of other shapes.
        """
        for name, tensor in self.tensors.items():
            if tensors[name].shape != tensor.shape:
                raise ValueError(f"Skipping got {name} of shape {tuple(tensors[name].shape)}.")
            tensor.copy_(tensors[name])


def _is_fused_by_torch(optimizer: torch.optim.Optimizer) -> bool:
    is_of_torch = type(optimizer).__module__.startswith("torch.optim.")
    return is_of_torch and getattr(optimizer, "_step_supports_amp_scaling", False)
