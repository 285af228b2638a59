"""The default ELBO learns as a tutorial's loop does: the same weights after each of a hundred steps."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from lowerbound.gradients import Pathwise
from lowerbound.likelihoods import Bernoulli as BernoulliLikelihood
from lowerbound.losses import VariationalLoss
from lowerbound.model import LatentVariableModel
from lowerbound.nets import MLP
from lowerbound.nets.softplus import positive
from lowerbound.objectives import ELBO
from lowerbound.optimizers import Adam
from lowerbound.posteriors import DiagonalNormal
from lowerbound.priors import StandardNormal

PIXELS, LATENTS, ROWS = 12, 3, 20


def test_a_hundred_steps_are_those_of_a_loop_by_hand() -> None:
    """From the same weights, with the same rows and noise; the scale of q is softplus in both."""
    torch.manual_seed(0)
    encoder = MLP(PIXELS, [8], (2, LATENTS), nn.Tanh).double()
    decoder = MLP(LATENTS, [8], (PIXELS,), nn.Tanh).double()
    theirs = copy.deepcopy(encoder.layers), copy.deepcopy(decoder.layers)
    q = DiagonalNormal(encoder)
    model = LatentVariableModel(prior=StandardNormal(LATENTS), likelihood=BernoulliLikelihood(decoder), posterior=q)
    loss = VariationalLoss(model=model, objective=ELBO(rate="kl"), gradient=Pathwise(), num_samples=1)
    ours = Adam()(list(loss.parameters()))
    adam = torch.optim.Adam([*theirs[0].parameters(), *theirs[1].parameters()], lr=1e-3)
    shares = torch.rand(ROWS, PIXELS, dtype=torch.float64)
    for step in range(100):
        x = torch.bernoulli(shares)
        torch.manual_seed(step)
        _step(ours, loss(x).loss)
        torch.manual_seed(step)
        mean, raw = theirs[0](x).chunk(2, -1)
        by_hand = Normal(mean, positive(raw, q.min_scale))
        likelihood = Bernoulli(logits=theirs[1](by_hand.rsample()), validate_args=False)
        rate = kl_divergence(by_hand, Normal(torch.zeros_like(mean), 1.0)).sum(-1)
        _step(adam, (rate - likelihood.log_prob(x).sum(-1)).mean())
    for mine, other in zip((encoder.layers, decoder.layers), theirs, strict=True):
        for a, b in zip(mine.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(a, b, atol=1e-12, rtol=0)


def _step(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
