"""One step of an LSTM (Hochreiter & Schmidhuber 1997) over any leading axes, of plain operations, which torch compiles.

i, f, g, o = W [u, h] + b        c ← σ(f) c + σ(i) tanh(g)        h ← σ(o) tanh(c)
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.nets.precision import call_net

__all__ = ["LSTMCell"]


class LSTMCell(nn.Module):
    """From an input and a state to the next state.

    Arguments:
        in_dim: length of the input.
        width: of h and c. The bias of f starts at 1, so that c is kept at first.
    """

    cites: ClassVar[tuple[str, ...]] = ("hochreiter1997long",)

    def __init__(self, in_dim: int, width: int):
        super().__init__()
        self.gates = nn.Linear(in_dim + width, 4 * width)
        with torch.no_grad():
            self.gates.bias[width : 2 * width].fill_(1.0)

    def forward(
        self,
        u: Float[Tensor, "*#lead input"],
        h: Float[Tensor, "*#lead width"],
        c: Float[Tensor, "*#lead width"],
    ) -> tuple[Float[Tensor, "*lead width"], Float[Tensor, "*lead width"]]:
        """h and c after the input; all three broadcast."""
        lead = torch.broadcast_shapes(u.shape[:-1], h.shape[:-1])
        joined = torch.cat([part.expand(*lead, part.shape[-1]) for part in (u, h)], -1)
        i, f, g, o = call_net(self.gates, (joined,)).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c
