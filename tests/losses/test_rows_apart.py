"""Nets that mix the rows of a batch are refused; those that work within a row, or draw numbers, are not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lowerbound.gradients import Pathwise
from lowerbound.likelihoods import Normal
from lowerbound.losses import VariationalLoss
from lowerbound.model import LatentVariableModel
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO
from lowerbound.posteriors import DiagonalNormal
from lowerbound.priors import StandardNormal

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
WITHIN = nn.Sequential(nn.Unflatten(1, (2, 2)), nn.TransformerEncoderLayer(2, 1, 4, batch_first=True), nn.Flatten())


class Noisy(nn.Module):
    def forward(self, x):
        return x + torch.randn_like(x)


def loss_of(encoder=None, decoder=None):
    encoder = encoder if encoder is not None else nn.Identity()
    q = DiagonalNormal(nn.Sequential(encoder, nn.Linear(4, 4), nn.Unflatten(-1, (2, 2))), latent_shape=2)
    net = nn.Sequential(nn.Linear(2, 4), decoder) if decoder is not None else MLP(2, [4], 4)
    p = Normal(net, event_shape=4, scale="shared")
    return VariationalLoss(LatentVariableModel(prior=StandardNormal(2), likelihood=p, posterior=q), ELBO(), Pathwise())


@pytest.mark.parametrize("where", ["encoder", "decoder"])
def test_attention_over_the_batch_is_refused(where):
    """The report: a `TransformerEncoderLayer` on rows (N, d) trained silently."""
    owner = {"encoder": "DiagonalNormal", "decoder": "Normal"}[where]
    loss = loss_of(**{where: nn.TransformerEncoderLayer(4, 2, 8)})
    with pytest.raises(ValueError, match=f"net of {owner}, a Sequential, gives a row alone another output"):
        loss.check(X)


@pytest.mark.parametrize("net", [WITHIN, nn.Dropout(0.5), Noisy(), nn.LayerNorm(4)], ids=lambda n: type(n).__name__)
def test_other_nets_are_taken_and_keep_their_mode(net):
    loss = loss_of(net, net).train()
    net.eval()
    loss.check(X)
    assert loss.training
    assert not net.training
