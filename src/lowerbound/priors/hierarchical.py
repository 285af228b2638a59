"""p(z_1, …, z_L) = p(z_L) Π_l p(z_l | z_{l+1}): several stochastic layers (Rezende, Mohamed & Wierstra 2014,
arXiv:1401.4082, eq. 3; Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519, eq. 1).

The layers below the top are distributions whose parameters a net computes from the layer above, so that the marginal of
z_1, which the likelihood reads, is a continuous mixture. Drawn from the top down; latents are a tuple, z_1 first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

from torch import nn

from lowerbound.chain import Chain, given, layer_shapes
from lowerbound.protocols import Conditional, Context

__all__ = ["Hierarchical"]


class Hierarchical(nn.Module):
    """A prior over several layers, each given the layer above it.

    Arguments:
        conditionals: p(z_1 | z_2), …, p(z_{L−1} | z_L) and last p(z_L), modules that return distributions. With a
            context c they are called with (z_{l+1}, c), and the last with c.

    Returns (when called):
        A `Chain` over (z_1, …, z_L), drawn from the top down; its batch shape is that of p(z_L). p(z_L) is evaluated
        only when it is needed; a posterior that has evaluated it already may hand it over.

    Raises:
        ValueError: no conditional.

    >>> from lowerbound.nets import MLP
    >>> from lowerbound.priors import StandardNormal
    >>> from lowerbound.posteriors import DiagonalNormal
    >>> p = Hierarchical([DiagonalNormal(MLP(2, [8], (2, 5))), StandardNormal(2)])()
    >>> p.event_shape, [z.shape[-1] for z in p.sample()]
    (torch.Size([7]), [5, 2])
    """

    cites: ClassVar[tuple[str, ...]] = ("rezende2014stochastic", "burda2016importance")

    by_name: ClassVar[bool] = False  # made of other parts, in Python

    def __init__(self, conditionals: Sequence[Conditional]):
        super().__init__()
        if not conditionals:
            raise ValueError("Hierarchical got no conditional and needs one for each layer, the top one last.")
        self.conditionals = nn.ModuleList(cast(Sequence[nn.Module], conditionals))
        self.layer_shapes = layer_shapes(conditionals)

    def forward(self, context: Context | None = None) -> Chain:
        """p(z_1, …, z_L), given the context if there is one."""
        *below, top = self.conditionals
        c = () if context is None else context if isinstance(context, tuple) else (context,)
        steps = [given(cast(Conditional, layer), c) for layer in reversed(below)]
        return Chain(lambda: top(context), steps, downward=True, layer_shapes=self.layer_shapes, source=(self, *c))
