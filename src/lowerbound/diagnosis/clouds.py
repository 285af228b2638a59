"""Latents in a plane, to be drawn."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.diagnosis.finding import Clouds

__all__ = ["on_main_directions"]


def on_main_directions(drawn: Mapping[str, Float[Tensor, "draw *event"]]) -> Clouds:
    """Several clouds projected on the two directions in which the last of them varies most, in units of the latents."""
    points = {name: z.flatten(1).double().cpu() for name, z in drawn.items()}
    last = list(points.values())[-1]
    mean = last.mean(0)
    directions = torch.linalg.svd(last - mean, full_matrices=False)[2][:2].mT
    series = {name: (z - mean) @ directions for name, z in points.items()}
    return Clouds(
        series={name: torch.nn.functional.pad(z, (0, 2 - z.shape[1])).numpy() for name, z in series.items()},
        label="latents along their two main directions",
    )
