"""zuko's composition of transforms, as torch's compiler can follow it.

zuko asserts that there are transforms by the truth of a tuple of them, at which the compiler gives up.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.distributions import Transform
from zuko.transforms import ComposedTransform

from lowerbound.nets.products import products_of_nets

__all__ = ["composed", "transforms_of"]


class _Composed(ComposedTransform):
    def __init__(self, transforms: Sequence[Transform]):
        Transform.__init__(self)
        needed = 0
        for transform in reversed(transforms):
            needed = transform.domain.event_dim + max(needed - transform.codomain.event_dim, 0)
        self.domain_dim = needed
        for transform in transforms:
            needed += transform.codomain.event_dim - transform.domain.event_dim
        self.codomain_dim = needed
        self.transforms = tuple(transforms)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with products_of_nets():
            return super().call_and_ladj(x)


def composed(transforms: Sequence[Transform]) -> ComposedTransform:
    """f_n ∘ … ∘ f_1 of one transform or more."""
    return _Composed(transforms)


def transforms_of(lazy: nn.Module, context: Tensor | None) -> list[Transform]:
    """The transforms of zuko's lazy composition, given a context."""
    return [transform(context) for transform in lazy.transforms]  # type: ignore[union-attr]
