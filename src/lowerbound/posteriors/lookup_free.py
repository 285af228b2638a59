"""Lookup-free quantisation: a code of D bits, each the sign of one number (Yu et al. 2023, arXiv:2310.05737, §3.1).

    b_d = sign f_d in {−1, 1},       2^D codes without a list of them

The gradient for b is copied to f. Large |f| would make the copy wrong, so that f is committed to b: ‖f − sg b‖². The
entropy terms of the source, which make single bits sure and all bits used, are not here.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.posteriors.parameters import latent_shape_of, require_at_least
from lowerbound.posteriors.quantized import QuantizedDistribution, numbers_of
from lowerbound.protocols import Context

__all__ = ["LookupFree"]

_MOST_BITS = 62  # of the number of a code


class LookupFree(nn.Module):
    """Codes of bits.

    Arguments:
        net: from a context (..., *event) to (..., bits, *latent_shape).
        bits: D.
        latent_shape: the positions of the codes; read from `net.out_shape` if the net states it.

    Returns (when called with a context of B rows):
        A `QuantizedDistribution` with batch shape (B,) and event shape (bits, *latent_shape, 2): each bit is one-hot.

    Raises:
        ValueError: no bits, more than 62, or a net of another output shape.
    """

    cites: ClassVar[tuple[str, ...]] = ("yu2023language",)
    recipe: ClassVar[str] = "fsq"  # whose nets have the shape of codes

    def __init__(self, net: nn.Module, bits: int = 8, latent_shape: Shape | None = None):
        super().__init__()
        require_at_least(1, owner="LookupFree", bits=bits)
        if bits > _MOST_BITS:
            raise ValueError(f"LookupFree got bits={bits} and takes at most {_MOST_BITS}; take more positions.")
        self.net, self.bits = net, bits
        self.latent_shape = latent_shape_of(net, latent_shape, owner="LookupFree", before=(bits,))
        self.event_shape = (bits, *self.latent_shape, 2)

    @staticmethod
    def parameter_shape(latent_shape: Shape, bits: int = 8) -> tuple[int, ...]:
        """What its net must output per datum."""
        return (bits, *as_shape(latent_shape))

    def forward(self, context: Context) -> QuantizedDistribution:
        """q(k | context)."""
        f = parameters_of(self.net, context)
        index = (f.detach() > 0).long()
        step = f - f.detach()
        return QuantizedDistribution(
            index,
            2,
            path=torch.stack([-0.5 * step, 0.5 * step], -1),  # that of least norm that embeds as the step
            commitment_error=(f - (2 * index - 1)).square().flatten(1).sum(1),
            dtype=f.dtype,
        )

    @property
    def num_codes(self) -> int:
        """See `hooks.Embeds`: 2^D."""
        return 2**self.bits

    def numbers(self, z: Float[Tensor, "..."]) -> Int[Tensor, "..."]:
        """See `hooks.Embeds`: the bits of a position as one number, in one stage."""
        weight = 2 ** torch.arange(self.bits, device=z.device)
        return (numbers_of(z, len(self.latent_shape)) * weight[:, None]).sum(-2, keepdim=True)

    def embed(self, z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """See `hooks.Embeds`."""
        return z[..., 1] - z[..., 0]
