"""Draws of an autoregressive distribution with nothing kept: the whole net for every site."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lowerbound.distributions.autoregressive import AutoregressiveDistribution


@torch.no_grad()
def draw_naively(p: AutoregressiveDistribution, sample_shape: tuple[int, ...]) -> Tensor:
    """x (*sample_shape, *batch, *event), with the random numbers that `p.sample` uses."""
    lead, sites = torch.Size(sample_shape) + p.batch_shape, p.net.site_shape
    channels = sites[0] if len(sites) == 3 else 1
    weight = next(p.net.parameters())  # type: ignore[attr-defined]
    x = weight.new_zeros(lead.numel(), channels, math.prod(sites) // channels, *p.net.value_shape)
    context = p._contexts(lead)
    for d in range(math.prod(sites)):
        position, channel = divmod(d, channels)
        parameters = p.net(x.reshape(len(x), *sites, *p.net.value_shape), context).reshape(*x.shape[:3], -1)
        x[:, channel, position] = p.family(parameters[:, channel, position]).sample()
    return x.reshape(*lead, *p.event_shape)
