"""A net that outputs the same parameters for every datum."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor, nn


class ConstantNet(nn.Module):
    """Learnable parameters, whatever the context (B, ...)."""

    def __init__(self, parameters: Tensor):
        super().__init__()
        self.value = nn.Parameter(parameters)
        self.out_shape = tuple(parameters.shape)

    def forward(self, context: Tensor) -> Tensor:
        return self.value.expand(context.shape[0], *self.out_shape)


@pytest.fixture
def constant_net() -> Callable[[Tensor], nn.Module]:
    return ConstantNet
