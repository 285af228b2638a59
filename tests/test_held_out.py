"""The terms of held-out rows, over all processes."""

from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn

from lowerbound.losses import LossOutput
from lowerbound.training.engine import Engine
from lowerbound.training.held_out import HeldOut, held_out_terms


class _Mean(nn.Module):
    def forward(self, x: Tensor) -> LossOutput:
        return LossOutput(-x.mean(), {"bound": x.mean()})


@pytest.mark.parametrize("num_rows", [1, 3, 7])
def test_processes_with_few_rows_or_none_add_what_they_have(num_rows: int) -> None:
    x, parts = torch.arange(1.0, num_rows + 1)[:, None], []
    for rank in range(4):
        engine = Mock(
            spec=Engine, world_size=4, rank=rank, torch_device=torch.device("cpu"), mean=lambda part: part / 4
        )
        parts.append(held_out_terms(_Mean(), HeldOut(source=x, every=1, batch_size=1), 0, engine)["bound"])
    assert sum(parts) == pytest.approx(x.mean().item())
