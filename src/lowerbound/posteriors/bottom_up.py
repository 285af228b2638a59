"""q(z_1, …, z_L | x) = q(z_1 | x) Π_l q(z_l | z_{l−1}) (Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519, eq. 2).

The chain runs against the prior's, from the data up. The posterior of z_1 does not depend on z_2, although the prior
p(z_1 | z_2) does. The rates of single layers are therefore no divergences (`factors.rate_per_layer`), and KL(q ‖ p) has
no closed form given a draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

from torch import nn

from lowerbound.chain import Chain, given, layer_shapes
from lowerbound.protocols import Conditional, Context

__all__ = ["BottomUp"]


class BottomUp(nn.Module):
    """A posterior over several layers, each given the layer below it.

    Arguments:
        conditionals: q(z_1 | x), q(z_2 | z_1), …, q(z_L | z_{L−1}), modules that return distributions. With a context c
            they are called with (x, c) and (z_{l−1}, c).

    Returns (when called with a context of B rows):
        A `Chain` over (z_1, …, z_L) with batch shape (B,), drawn from the bottom up.

    Raises:
        ValueError: no conditional.
    """

    cites: ClassVar[tuple[str, ...]] = ("burda2016importance",)

    by_name: ClassVar[bool] = False  # made of other parts, in Python

    def __init__(self, conditionals: Sequence[Conditional]):
        super().__init__()
        if not conditionals:
            raise ValueError("BottomUp got no conditional and needs one for each layer, that of z_1 first.")
        self.conditionals = nn.ModuleList(cast(Sequence[nn.Module], conditionals))
        self.layer_shapes = layer_shapes(conditionals)

    def forward(self, context: Context) -> Chain:
        """q(z_1, …, z_L | context)."""
        bottom, *above = self.conditionals
        c = context[1:] if isinstance(context, tuple) else ()
        steps = [given(cast(Conditional, layer), c) for layer in above]
        return Chain(lambda: bottom(context), steps, downward=False, layer_shapes=self.layer_shapes)
